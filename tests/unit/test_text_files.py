"""Text files as people have them: with byte order marks, separators inside prompts, in other encodings, under any locale."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from described_nodes import describe
from dev.bootstrap import ROOT
from uncertainty.storage.text_files import read_text
from uncertainty_runs.evaluation.judges import Reference
from uncertainty_runs.graph import WorkflowError
from uncertainty_runs.graph_file import read_graph
from uncertainty_runs.plan import read_prompts
from uncertainty_runs.workflow import Workflow

PROMPTS = ["a Kätzchen 猫", "one\u2028prompt\u2029and\x85more\x0band\x0cmore\x1cstill"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_prompts_are_lines_and_nothing_else(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(end.join(["", *PROMPTS, " ", ""]).encode(encoding))
    assert read_prompts(path) == PROMPTS


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "shift-jis", "utf-16-le", "utf-16-be"])
def test_other_encodings_are_refused_by_name(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(("猫" if encoding == "shift-jis" else "a Kätzchen").encode(encoding))
    for read in (read_prompts, read_text):
        with pytest.raises(ValueError, match=r"mine\.txt is not text in UTF-8: .* Save the file as UTF-8\."):
            read(path)
    with pytest.raises(WorkflowError, match=r"mine\.txt is not text in UTF-8"):
        read_graph(path)


def test_a_caption_is_read_in_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "a.txt").write_bytes("Kätzchen".encode("utf-8-sig"))
    assert Reference.of(tmp_path).captions == ("kätzchen",)
    (tmp_path / "a.txt").write_bytes("Kätzchen".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.txt is not text in UTF-8"):
        Reference.of(tmp_path)


def test_a_workflow_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    graph = json.loads((ROOT / "dev" / "best_of_16.api.json").read_text(encoding="utf-8"))
    (tmp_path / "w.json").write_bytes(json.dumps(graph).encode("utf-8-sig"))
    assert Workflow.read(tmp_path / "w.json", describe).prompt() == "cat face"


def test_files_are_read_under_a_locale_without_utf_8(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_bytes("\n".join(PROMPTS).encode())
    script = (
        "import sys, pathlib; from uncertainty_runs.plan import read_prompts as r; print(ascii(r(pathlib.Path(sys.argv[1]))))"
    )
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PATH": ""}
    line = [sys.executable, "-c", script, str(tmp_path / "prompts.txt")]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ascii(PROMPTS)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"1": {"class_type": "A", "inputs": {"seed": ' + "1" * 5000 + "}}}", '"\\ud800"']
)
def test_hostile_json_is_refused_in_words(tmp_path: Path, content: str) -> None:
    (tmp_path / "w.json").write_text(content, encoding="utf-8")
    with pytest.raises(WorkflowError, match=r"^w\.json "):
        read_graph(tmp_path / "w.json")


def calls_without_encoding(file: Path) -> list[int]:
    """Lines that read or write text in the encoding of the locale."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, base = node.func.attr, ast.unparse(node.func.value)
            opens = name == "open" and base.split(".")[0] not in ("Image", "tarfile", "os", "self", "front_end")
            mode = ast.literal_eval(node.args[0]) if opens and node.args and isinstance(node.args[0], ast.Constant) else "r"
            is_text = name in ("read_text", "write_text") or (opens and "b" not in mode)
            if is_text and not any(keyword.arg == "encoding" for keyword in node.keywords):
                found.append(node.lineno)
    return found


FOLDERS = ("uncertainty", "uncertainty_runs", "nodes", "demo", "paper_models", "benchmarks", "dev")
FILES = [path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("name", FILES)
def test_every_text_file_is_opened_with_an_encoding(name: str) -> None:
    assert calls_without_encoding(ROOT / name) == []
