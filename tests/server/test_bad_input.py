"""Bad input at every node of a real server. ``docs/reliability.md`` shows the messages that these tests see."""

import json
import os
import pickle
import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bad_input import CASES, FILES, MODELS, Case
from dev.bootstrap import BUNDLED, ROOT, comfyui
from dev.client import PromptFailed, PromptRejected, run
from dev.server import NODES, ComfyServer
from made_maps import made
from uncertainty.calibration import Calibration
from uncertainty.storage import tensor_files

PAGE = ROOT / "docs" / "reliability.md"
HEAD = "| node | input | given | what the user sees |\n| --- | --- | --- | --- |\n"
TABLE = re.compile(r"(<!-- bad input -->\n).*?(<!-- end -->)", re.DOTALL)
PACK = ROOT / "tests" / "support" / "fault_nodes"
LONGEST = 300


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A server with nodes that inject faults, and with bad files in its folders."""
    base = tmp_path_factory.mktemp("faulty")
    shutil.copytree(PACK, base / "custom_nodes" / PACK.name)
    models = base / "models" / "diffusion_models"
    models.mkdir(parents=True)
    (models / "rubbish.safetensors").write_bytes(b"rubbish")
    save_file({"weight": torch.zeros(2)}, models / "other.safetensors")
    torch.save({"code": Path("a pickled path is code")}, models / "code.pt")
    assert {path.name for path in models.iterdir()} == set(MODELS)
    with ComfyServer(base=base, log=base / "server.log") as running:
        lay_out(base)
        yield running


def lay_out(base: Path) -> None:
    """Write every file of ``FILES`` where the load nodes find it, and one outside of ComfyUI's folders."""
    folder = base / "output" / "uncertainty"
    folder.mkdir(parents=True)
    good = folder / "good map.safetensors"
    found = made(2)
    tensor_files.save_map(good, found)
    whole, tensors = good.read_bytes(), load_file(good)
    tensor_files.save_calibration(folder / "calibration.safetensors", Calibration.like(found).add(found))

    def header(**changed: object) -> dict[str, str]:
        (size,) = struct.unpack("<Q", whole[:8])
        entry = json.loads(json.loads(whole[8 : 8 + size])["__metadata__"]["uncertainty"])
        return {"uncertainty": json.dumps(entry | changed)}

    contents = {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "long header": struct.pack("<Q", 2**63) + b"{}",
        "bad header": struct.pack("<Q", 8) + b"not json",
        "pickle": pickle.dumps({"a": 1}),
    }
    for name, content in contents.items():
        (folder / f"{name}.safetensors").write_bytes(content)
    quantity = next(name for name in tensors if name.startswith("quantities."))
    broken = {
        "other": ({"weight": torch.zeros(2)}, None),
        "newer": (tensors, header(version=99)),
        "deep header": (tensors, {"uncertainty": "[" * 100_000}),
        "setting": (tensors, header(settings={"cfg": "7"})),
        "lacking": ({name: tensor for name, tensor in tensors.items() if name != "sigmas"}, header()),
        "ragged": (tensors | {quantity: torch.zeros(1, 9, 1, 2, 2)}, header()),
        "flipped": (tensors | {quantity: torch.full_like(tensors[quantity], torch.nan)}, header()),
    }
    for name, (values, about) in broken.items():
        save_file(values, folder / f"{name}.safetensors", about)
    (folder / "folder.safetensors").mkdir()
    os.mkfifo(folder / "pipe.safetensors")
    (folder / "damaged.safetensors").write_bytes(whole[:100])
    shutil.copy(good, base / "secret.safetensors")
    assert {path.stem for path in folder.iterdir()} >= set(FILES) - {"missing"}


def seen(server: ComfyServer, case: Case) -> str:
    """The message that the user gets from validation or from a node; empty if there is none."""
    try:
        run(server.url, case.graph())
    except PromptRejected as rejected:
        errors = [error for node in rejected.answer["node_errors"].values() for error in node["errors"]]
        own = [error["details"].partition(" - ")[2] for error in errors if " - " in error["details"]]
        return own[0] if own else f"{errors[0]['message']}: {errors[0]['details']}"
    except PromptFailed as failed:
        return str(failed).removeprefix(f"{case.node} failed: ")
    return ""


# Messages of ComfyUI's own checks.
OF_COMFYUI = ("Value not in list", "sampler_name must be one of")


def row(case: Case, message: str) -> str:
    """A line of the table."""
    text = f"works: {case.works}" if case.works else message
    text = re.sub(r"\s+", " ", text if len(text) <= LONGEST else f"{text[:LONGEST]} …").replace("|", "\\|")
    return f"| {case.node.removeprefix('Uncertainty')} | {case.name} | {case.given} | {text} |"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.node}-{case.name}-{case.given}")
def test_bad_input_is_told_as_the_page_says(faulty: ComfyServer, case: Case, request: pytest.FixtureRequest) -> None:
    message = seen(faulty, case)
    assert bool(case.works) == (message == ""), message
    assert str(faulty.base) not in message
    line = row(case, message)
    text = PAGE.read_text()
    if request.config.getoption("--update-golden"):
        table = TABLE.search(text)
        assert table is not None
        known = {} if case is CASES[0] else {_key(each): each for each in table.group(0).splitlines() if each.startswith("| ")}
        known[_key(line)] = line
        rows = [known[_key(row(each, ""))] for each in CASES if _key(row(each, "")) in known]
        PAGE.write_text(TABLE.sub(lambda match: match.group(1) + HEAD + "\n".join(rows) + "\n" + match.group(2), text))
    if comfyui() != BUNDLED and any(words in message for words in OF_COMFYUI):
        return  # other versions use other words and offer other choices
    assert line in PAGE.read_text().splitlines()


def _key(line: str) -> str:
    return " | ".join(line.split(" | ")[:3])


def test_after_all_that_a_good_run_works(faulty: ComfyServer) -> None:
    assert seen(faulty, Case("UncertaintyKSampler", "seed", "a good one", 12)) == ""


def test_every_node_has_bad_input() -> None:
    assert {case.node for case in CASES} == set(NODES)
