"""``python -m uncertainty batch`` as a user runs it: whole processes, a real ComfyUI in each, and what can go wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image

from batch_runs import PROMPTS, RUNS, SIZE, Command, Files, ended, whole
from dev.bootstrap import ROOT, comfyui
from small_disk import mounted, needs_mount, resize
from uncertainty.storage.ledger import Ledger, Query
from uncertainty_runs.rows import Rows
from uncertainty_runs.run_folder import ROWS, read


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished folder of one's own."""
    return shutil.copytree(finished, tmp_path / "out")


def test_the_same_is_done_already(command: Command, copied: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    done = command(copied)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before


def test_what_is_damaged_is_drawn_again(command: Command, expected: Files, copied: Path) -> None:
    images, maps = (sorted((copied / name).rglob(f"*{suffix}")) for name, suffix in (("images", "png"), ("maps", "safetensors")))
    images[0].unlink()
    images[5].write_bytes(images[5].read_bytes()[:-9])
    flipped = bytearray(maps[6].read_bytes())
    flipped[-1] ^= 1
    maps[6].write_bytes(flipped)
    done = command(copied, "--verify")
    assert done.returncode == 0, done.stderr
    assert whole(copied) == expected


def test_stopped_by_hand(command: Command, expected: Files, tmp_path: Path) -> None:
    folder = tmp_path / "out of two words"
    with command.running(folder) as process:
        process.send_signal(signal.SIGINT)
        done = ended(process, folder)
    assert done.returncode == 1
    assert "stopped. Finished images are kept. To resume:" in done.stderr
    assert f"--output '{folder}'" in done.stderr
    assert "Traceback" not in done.stderr
    assert Rows(folder / ROWS)  # nothing that was finished is drawn again
    assert command(folder).returncode == 0
    assert whole(folder) == expected


def test_the_driver_is_killed(command: Command, expected: Files, tmp_path: Path) -> None:
    """With two workers, then one process draws the rest."""
    folder = tmp_path / "out"
    with command.running(folder, "--workers", "2") as process:
        process.kill()
    assert command(folder).returncode == 0
    assert whole(folder) == expected


def test_a_worker_is_killed(command: Command, expected: Files, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with command.running(folder, "--workers", "2") as process:
        workers = [
            each for each in psutil.Process(process.pid).children(recursive=True) if "ray::Worker" in " ".join(each.cmdline())
        ]
        assert len(workers) == 2
        workers[0].kill()
        done = ended(process, folder)
    assert done.returncode == 0, done.stderr
    assert whole(folder) == expected


@pytest.mark.parametrize("fault", ["memory", "death"])
def test_a_worker_runs_out_of_memory(fault: str, command: Command, expected: Files, tmp_path: Path) -> None:
    """As torch says it, on a GPU, and as the system does, which ends the process; the graph differs in the name of the fault."""
    folder = tmp_path / "out"
    done = command(folder, *(("--workers", "2") if fault == "death" else ()), fault=fault)
    assert done.returncode == 0, done.stderr
    assert command.happened.exists()
    found = whole(folder)
    assert found.keys() == expected.keys()
    for name in found:
        assert pixels(found[name]) == pixels(expected[name]), name


def pixels(content: bytes) -> bytes:
    """A file without the texts that tell of its graph: of a PNG its compressed pixels, else everything."""
    start = content.find(b"IDAT")
    return content if start < 0 else content[start:]


@needs_mount
def test_a_full_disk(command: Command, expected: Files, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with mounted(folder, "size=256k"):
        done = command(folder / "out")
        assert done.returncode == 1
        assert "No space left on device" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
        resize(folder, "size=16m")
        assert command(folder / "out").returncode == 0
        assert whole(folder / "out") == expected


def test_a_batch_leaves_the_ledger_alone(finished: Path, command: Command) -> None:
    assert (command.base / "user").is_dir()
    assert not (command.base / "user" / "uncertainty").exists()


def test_the_sidebar_is_told(copied: Path, tmp_path: Path) -> None:
    """The folders are those of ComfyUI's options, whatever they are called."""
    output, user = tmp_path / "elsewhere", tmp_path / "of users"
    output.mkdir()
    user.mkdir()
    folder = output / "night"
    copied.rename(folder)
    ledger = Ledger(user / "uncertainty" / "ledger.sqlite3")
    given = (folder, "--comfyui", comfyui(), "--", "--output-directory", output, "--user-directory", user)
    for _ in range(2):  # the second time adds nothing
        assert f"{RUNS * SIZE} images are in the ledger" in uncertainty("record", *given)
    page = ledger.page(Query())
    assert page.total == RUNS * SIZE
    assert {entry.file.split("/")[0] for entry in page.images} == {"night"}
    assert all((output / entry.file).is_file() for entry in page.images)
    assert {entry.prompt for entry in page.images} == set(PROMPTS)

    assert "moved 14 of 16" in uncertainty("rank", folder, "--each-prompt", "--keep", "1", "--move")
    uncertainty("record", *given)
    kept = ledger.page(Query(states=("unreviewed",)))
    assert kept.total == len(PROMPTS) == len({entry.prompt_digest for entry in kept.images})
    assert all((output / entry.file).is_file() for entry in ledger.page(Query(states=("sorted_out",))).images)
    assert "brought 14 back" in uncertainty("rank", folder, "--undo")


def test_the_sidebar_is_told_of_what_lies_below_a_base_directory(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "base" / "output").mkdir(parents=True)
    copied.rename(tmp_path / "base" / "output" / "night")
    told = uncertainty(
        "record", tmp_path / "base" / "output" / "night", "--comfyui", comfyui(), "--", "--base-directory", tmp_path / "base"
    )
    assert str(tmp_path / "base" / "user" / "uncertainty" / "ledger.sqlite3") in told


def test_the_sidebar_is_told_from_the_folder_of_the_pack(copied: Path, tmp_path: Path) -> None:
    """The pack lies in the custom_nodes of a ComfyUI with folders of its own; no options are needed."""
    own = tmp_path / "ComfyUI"
    for name in ("main.py", "folder_paths.py", "comfy/__init__.py", "comfy/options.py", "comfy/cli_args.py"):
        if (comfyui() / name).is_file():
            (own / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(comfyui() / name, own / name)
    pack = own / "custom_nodes" / "uncertainty-sampling"
    for name in ("uncertainty", "uncertainty_runs"):
        shutil.copytree(ROOT / name, pack / name)
    (own / "output").mkdir()
    copied.rename(own / "output" / "night")
    told = uncertainty("record", "../../output/night", cwd=pack)
    assert str(own / "user" / "uncertainty" / "ledger.sqlite3") in told
    assert Ledger(own / "user" / "uncertainty" / "ledger.sqlite3").page(Query()).total == RUNS * SIZE


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--output-directory", "{folder}/other"), "is not inside ComfyUI's output folder {folder}/other"),
        (("--no-such-option",), "does not accept the options --no-such-option"),
    ],
)
def test_what_the_sidebar_cannot_show_is_said(options: tuple[str, ...], words: str, finished: Path, tmp_path: Path) -> None:
    given = [option.format(folder=tmp_path) for option in options]
    line = [sys.executable, "-m", "uncertainty", "record", finished, "--comfyui", comfyui(), "--", *given]
    done = subprocess.run([*map(str, line)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert words.format(folder=tmp_path) in done.stderr.splitlines()[-1]


def uncertainty(*arguments: object, cwd: Path = ROOT) -> str:
    """What another of the commands prints."""
    line = [sys.executable, "-m", "uncertainty", *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "COMFYUI_PATH"}
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_evaluation_draws_the_same_way(command: Command, tmp_path: Path) -> None:
    """Without a server, by two workers; real pictures reach each of them."""
    workflow = json.loads(Path(command.line(tmp_path)[5]).read_text())
    workflow["5"]["inputs"]["model"] = ["1", 0]
    del workflow["fails"]
    (tmp_path / "workflow.json").write_text(json.dumps(workflow))
    (tmp_path / "real").mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64), (90 * number, 50, 200)).save(tmp_path / "real" / f"cat face {number}.png")
    given = ["--workflow", tmp_path / "workflow.json", "--reference", tmp_path / "real", "--count", 2, "--out", tmp_path / "out"]
    line = [sys.executable, "-m", "uncertainty", "evaluate", "reconstruction", *map(str, given), "--comfyui", str(comfyui())]
    line += ["--workers", "2", "--", "--base-directory", str(command.base)]
    with command.started(line) as process:
        done = ended(process, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    drawn = list(read(tmp_path / "out" / "drawn", Rows(tmp_path / "out" / "drawn" / ROWS)))
    assert sorted((image.number, image.place) for image in drawn) == [
        (number, place) for number in range(3) for place in range(2)
    ]
    assert "denoised_variance" in (tmp_path / "out" / "sparsification.md").read_text()
