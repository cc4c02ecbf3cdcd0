"""``make evidence``: measures every number of ``docs/evidence.md`` and ``docs/evidence/confirming.md``.

This takes hours. An interrupted run resumes where it stopped. ``make evidence ARGS=filtering`` runs one protocol again, with the
demo model in a real ComfyUI server; ``confirming`` is the run of ``docs/evidence/protocol.md``. ``ARGS=--page`` only writes the
tables of the pages from the last results.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from PIL import Image

from .bootstrap import ROOT, RUNTIME, shown
from .launcher import mend_torchvision
from .server import ComfyServer, ServerError

WORK = RUNTIME / "evidence"
DOCS = ROOT / "docs"
RESULTS = DOCS / "evidence"
PAGES = (DOCS / "evidence.md", RESULTS / "confirming.md")
CONFIRMING = "confirming"
WORKFLOW = ROOT / "dev" / "evidence.api.json"
FEATURES = ("demo.classifier:judge", "efficientnet-lite0")
PROMPTS, FEW = 128, 32
COUNT = {"filtering": 2048, "equal_evaluations": 512, "reconstruction": 8, "guidance": 96, "course": 384}
BATCH = {"filtering": 16, "equal_evaluations": 16, "guidance": 3, "course": 12}
EQUAL_SAMPLES = 28  # with 4 recorded steps, about the same cost as BayesDiff: 110 evaluations
SHEET = re.compile(r"(<!-- table: (?P<name>[^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def lay_out_pictures() -> None:
    """Write training and held-out pictures as PNG files with captions, and prompts made from the training captions."""
    from demo import data

    if (WORK / "prompts.txt").exists():
        return
    pictures = data.load(data.download(ROOT / "demo" / ".train"))
    captions = []
    for picture in pictures:
        folder = WORK / ("held_out" if picture.held_out else "training")
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "_", picture.name)
        caption = " ".join(picture.words)
        pixels = ((picture.pixels + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(caption, encoding="utf-8")
        if not picture.held_out and caption not in captions:
            captions.append(caption)
    every = len(captions) / PROMPTS
    chosen = [captions[int(number * every)] for number in range(PROMPTS)]
    (WORK / "few_prompts.txt").write_text("\n".join(chosen[:: PROMPTS // FEW]) + "\n", encoding="utf-8")
    (WORK / "prompts.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")


def workflow_of(protocol: str) -> Path:
    """File of a protocol's workflow. Filtering and reconstruction measure baselines; equal_evaluations takes more copies."""
    if protocol == "filtering":
        return WORKFLOW
    graph = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    if protocol == "reconstruction":
        graph["baselines"]["inputs"] |= dict.fromkeys(("mc_dropout", "score_acceleration", "prompt_information"), True)
    else:
        del graph["sampler"]["inputs"]["options"]
    if protocol == "equal_evaluations":
        graph["sampler"]["inputs"]["samples"] = EQUAL_SAMPLES
    path = WORK / f"{protocol}.api.json"
    path.write_text(json.dumps(graph), encoding="utf-8")
    return path


def commands(protocol: str, url: str) -> list[str]:
    """Command-line arguments of a protocol, as a user would type them."""
    command = "filtering" if protocol == "equal_evaluations" else protocol
    given = ["evaluate", command, "--workflow", str(workflow_of(protocol)), "--server", url, "--out", str(WORK / protocol)]
    given += ["--count", str(COUNT[protocol])]
    if protocol == "reconstruction":
        return [*given, "--reference", str(WORK / "held_out")]
    prompts = "prompts.txt" if protocol == "filtering" else "few_prompts.txt"
    given += ["--prompts", str(WORK / prompts), "--batch", str(BATCH[protocol]), "--reference", str(WORK / "training")]
    given += [part for name in FEATURES for part in ("--features", name)]
    if protocol == "filtering":
        given += ["--baselines", "paper_score", "mc_dropout", "cfg_rejection"]
    return given


def evaluate(protocols: Sequence[str]) -> None:
    """Run protocols and copy their tables and figures into the repository."""
    from uncertainty_runs.command_line import parser

    lay_out_pictures()
    base = WORK / f"comfyui-{protocols[0]}"  # one per protocol, so that two can run at the same time
    shutil.copytree(WORK / "training", base / "input" / "evidence", dirs_exist_ok=True)
    print("starting ComfyUI, which can take two minutes …", flush=True)
    with ComfyServer(base=base, log=WORK / f"server-{protocols[0]}.log") as server:
        for protocol in protocols:
            arguments = parser().parse_args(commands(protocol, server.url))
            arguments.run(arguments)
            keep(protocol)


def confirm() -> None:
    """Run the confirming run, stage by stage."""
    for stage in ("1", "2"):
        subprocess.run([sys.executable, "-m", "dev.launcher", "-m", "testbed.confirming", "--stage", stage], cwd=ROOT, check=True)


def keep(protocol: str) -> None:
    """Copy tables and figures into the repository, with date and device."""
    from benchmarks.results import device

    source, target = WORK / protocol, RESULTS / protocol
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        if (
            path.suffix in (".csv", ".md", ".png", ".jpg") and path.name != "scores.md"
        ):  # has a line per image: the CSV file is enough
            shutil.copy(path, target / (re.sub(r"\W+", "_", path.stem).strip("_") + path.suffix))
    about = json.loads((source / "about.json").read_text(encoding="utf-8"))
    about = {key: about[key] for key in ("count", "seed", "drawing_seconds")} | {
        "date": date.today().isoformat(),
        "device": device(),
    }
    (target / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def write_pages() -> None:
    """Write the measured tables between the markers of the pages."""

    def measured(match: re.Match[str]) -> str:
        table = RESULTS / f"{match.group('name')}.md"
        if not table.is_file():
            print(f"not measured yet: {match.group('name')}")
            return match.group(0)
        return f"{match.group(1)}{table.read_text(encoding='utf-8')}{match.group(3)}"

    for page in PAGES:
        page.write_text(SHEET.sub(measured, page.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("protocols", nargs="*", choices=[*COUNT, CONFIRMING, []], help="protocols to run (default: all)")
    parser.add_argument("--page", action="store_true", help="only write the tables of the pages")
    arguments = parser.parse_args()
    wanted = arguments.protocols or [*COUNT, CONFIRMING]
    try:
        if not arguments.page:
            mend_torchvision()
            if protocols := [name for name in wanted if name in COUNT]:
                evaluate(protocols)
            if CONFIRMING in wanted:
                confirm()
        write_pages()
        print(f"pages: {', '.join(shown(page) for page in PAGES)}")
    except (ServerError, RuntimeError, OSError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped: run the same command to resume")


if __name__ == "__main__":
    main()
