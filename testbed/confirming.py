"""The confirming run of ``docs/evidence/protocol.md``, whole: ``python -m dev.launcher -m testbed.confirming --stage 1``.

It draws, judges, screens and writes the tables into ``docs/evidence/confirming``. Started again, it resumes. The sheets of pairs
are to be looked at before the tables are (``python -m testbed.pairs confirming``).
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from demo.model import FAMILIES
from uncertainty.storage.atomic import write_whole

from .prompts import KINDS

WORK = Path(__file__).parent / ".train" / "report" / "confirming"
RESULTS = Path(__file__).parents[1] / "docs" / "evidence" / "confirming"
MODELS = {1: ("styles",), 2: ("demo", "latent")}
SCREENED = {1: "styles", 2: "demo"}
PROMPTS = 40
# Guidance under test and its controls, then repair under test and its controls; see testbed/screening.py.
ARMS = (
    "early descend denoised_variance", "early ascend denoised_variance", "early descend score_variance",
    "early ascend score_variance", "early random direction", "40 steps", "SG-prev 0.5",
    "restart far denoising_loss", "restart far mask turned", "restart far random region", "restart far everything", "other noise",
)  # fmt: skip


@dataclass(frozen=True)
class Pool:
    """Settings that are reported together.

    Attributes:
        name: of the folder of its tables.
        settings: file pattern of their names.
        kinds: of prompts.
    """

    name: str
    settings: str
    kinds: Sequence[str] = KINDS


def pools(stage: int) -> list[Pool]:
    """What is reported of a stage, the primary endpoint's pool first."""
    found = []
    for model in MODELS[stage]:
        found += [Pool(f"{model}_cfg{cfg}", f"{model}, * CFG {cfg}, 20 steps") for cfg in (1, 3, 6)]
        found += [Pool(f"{model}_cfg1_{family}", f"{model}, {family}, CFG 1, 20 steps") for family in FAMILIES]
    if stage == 1:
        found.append(Pool("styles_cfg3_8_steps", "styles, * CFG 3, 8 steps"))
        found += [Pool(f"styles_cfg1_{kind}", "styles, * CFG 1, 20 steps", (kind,)) for kind in KINDS[:-1]]
    return found


def run(module: str, *arguments: str, comfyui: bool = False) -> None:
    """Run a module of the test bed.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, *(["-m", "dev.launcher"] if comfyui else []), "-m", f"testbed.{module}", *arguments]
    print(" ".join(command[1:]), flush=True)
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})  # one process a family


def together(work: Callable[[Any], None], on: Iterable[Any]) -> None:
    """Do the work on everything, as much at a time as there are families."""
    with ThreadPoolExecutor(len(FAMILIES)) as pool:
        list(pool.map(work, on))


def draw(stage: int, family: str) -> None:
    """Draw and screen all settings of a family."""
    steps = [] if stage == 1 else ["--steps", "20"]
    run("draw", "confirming", "--models", *MODELS[stage], "--families", family, *steps, comfyui=True)
    given = ["--model", SCREENED[stage], "--family", family, "--prompts", str(PROMPTS), "--arms", *ARMS]
    run("screening", "confirming", *given, comfyui=True)


def tabulate(pool: Pool) -> None:
    """Write the tables of a pool."""
    run("report", "confirming", "--settings", pool.settings, "--name", pool.name, "--kinds", *pool.kinds)


def report(stage: int) -> None:
    """Judge a stage, and write and publish its tables."""
    together(lambda of: run("judged", "confirming", "--settings", ", ".join((*of, "*"))), product(MODELS[stage], FAMILIES))
    together(tabulate, pools(stage))
    model = SCREENED[stage]
    run("screened", "confirming", "--settings", f"{model}, * CFG 1, 20 steps", "--name", f"{model}_screening")
    if stage == 1:  # whose images were looked at
        run("pairs", "confirming")
    publish()


def publish() -> None:
    """Copy the tables into the repository."""
    for path in WORK.glob("*/*"):
        folder, name = (re.sub(r"\W+", "_", part) for part in (path.parent.name, path.stem))
        write_whole(RESULTS / folder / f"{name}{path.suffix}", path.read_bytes())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stage", type=int, choices=MODELS, required=True)
    stage = parser.parse_args().stage
    together(lambda family: draw(stage, family), FAMILIES)
    report(stage)


if __name__ == "__main__":
    main()
