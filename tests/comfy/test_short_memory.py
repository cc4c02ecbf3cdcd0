"""A process whose memory is limited: what KSampler can sample can also be measured, on a processor as on a card."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dev.bootstrap import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does")

# Prints what happened in the least memory in which KSampler works.
SCRIPT = """
import importlib, json, logging, sys
from pathlib import Path

sys.argv = ["main.py", "--cpu", "--use-pytorch-cross-attention", "--base-directory", sys.argv[1]]
sys.path.insert(0, str(Path("tests/support").resolve()))

from dev.launcher import import_pack, prepare_imports

prepare_imports()
import comfy.options
comfy.options.enable_args_parsing()
import torch
torch.set_num_threads(1)  # threads that start later would need memory too
name = import_pack().__name__
from real_models import Sampling, _sd15

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger(name).addHandler(handler)
from benchmarks.limited_memory import least_room, limited

SMALL = 16 << 20  # maps, probes, and fragments

with torch.inference_mode():
    loaded = _sd15()
    module = lambda path: importlib.import_module(f"{name}.{path}")
    sampling = Sampling(module, images=1)
    given = {"latent_image": {"samples": torch.zeros(1, 4, 48, 48)}, "steps": 3}
    # Whatever this machine has: 12 probes at once.
    measuring = given | {"options": module("uncertainty.options").Options(max_batch=12), "samples": 12}
    measuring |= {"window_start": 0.3, "window_end": 0.6}
    expected = sampling.plain(loaded, **given)
    _, found, _ = sampling.node(loaded, **measuring)
    in_ample = list(said)
    room = least_room(lambda: sampling.plain(loaded, **given), 4 << 20, 4 << 20)
    said.clear()
    with limited(room + SMALL):
        again, measured, _ = sampling.node(loaded, **measuring)
    apart = {each: float((measured.quantities[each] - found.quantities[each]).norm() / found.quantities[each].norm())
            for each in found.quantities}
    print("facts", json.dumps({
        "room": room, "said": said, "in_ample": in_ample, "maps": max(apart.values()),
        "same": bool(torch.equal(again["samples"], expected)),
    }))
"""


def test_what_ksampler_can_sample_can_be_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("facts ")).removeprefix("facts "))
    assert facts["in_ample"] == []
    assert ["ran out of memory with 12 probes per call" in line for line in facts["said"]] == [True], facts
    assert facts["maps"] < 1e-3 and facts["same"], facts
