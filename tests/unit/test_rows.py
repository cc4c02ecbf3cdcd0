"""Rows in Parquet files: there once, whatever was cut off when."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from called import called
from described_nodes import describe
from dev.bootstrap import ROOT
from uncertainty.quantities import QUANTITIES
from uncertainty.scores import SCORES as SCORES_OF_ALL
from uncertainty.storage import picture_entry
from uncertainty.storage.rating import write_rating
from uncertainty.storage.records import ImageRecord
from uncertainty_runs import argument_types
from uncertainty_runs import rows as module
from uncertainty_runs.argument_types import copyable
from uncertainty_runs.batch_command import check_amount, planned
from uncertainty_runs.command_line import parser
from uncertainty_runs.drawing import draw
from uncertainty_runs.drawn_files import Drawn
from uncertainty_runs.engines.one_by_one import OneByOne
from uncertainty_runs.node_info import NodeInfo
from uncertainty_runs.plan import Job, Listed, Plan
from uncertainty_runs.rows import MERGED_AT_ONCE, File, Row, Rows
from uncertainty_runs.run_folder import BatchFolder, image_of, keep, map_of, read, without_scores
from uncertainty_runs.workflow import Workflow

pytestmark = pytest.mark.usefixtures("each_desk")

SEED = 2**64 - 1


def row(
    number: int,
    place: int = 0,
    prompt: str = "a cat",
    score: float | None = None,
    folder: Path | None = None,
    content: bytes | None = None,
) -> Row:
    """A row; with its file, where a folder is given."""
    name, content = image_of(number, place), content or f"{number} {place}".encode()
    file = keep(folder, name, content) if folder else File(name, len(content), hashlib.sha256(content).hexdigest())
    value = float(number) if score is None else score
    scores = dict.fromkeys(QUANTITIES, (value, 0.5))
    about = {
        "number": number,
        "place": place,
        "prompt": prompt,
        "seed": SEED,
        "digest": f"{number}-{place}",
        "prompt_digest": f"digest of {prompt}",
    }
    return Row(ImageRecord(scores, "f", "m", settings="{}", file=name, **about), file, None, 0.25)


def numbers(rows: Rows) -> list[int]:
    return rows.table(["number"])["number"].to_pylist()


def test_extra_scores_come_back(tmp_path: Path) -> None:
    extra = {"pickscore": (21.5, True), "Größe": (-1.0, False)}
    scored = replace(row(0), record=replace(row(0).record, extra_scores=extra))
    rows = Rows(tmp_path / "rows")
    rows.add([scored, row(0, 1)])
    assert [image.extra_scores for image in read(tmp_path, rows)] == [extra, {}]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows")
    assert not rows and numbers(rows) == []
    rows.add([row(0), row(0, 1, "ein Kätzchen 😺")])
    rows.add([row(1, score=float("nan"))])
    assert rows
    first, second, third = read(tmp_path, rows)
    assert (first.prompt, second.prompt, second.seed) == ("a cat", "ein Kätzchen 😺", SEED)
    assert first.path == tmp_path / "images" / "00000" / "0000000_000.png"
    assert first.scores == dict.fromkeys(QUANTITIES, (0.0, 0.5))
    assert third.scores.keys() == first.scores.keys()
    assert third.scores["denoised_variance"][0] != third.scores["denoised_variance"][0]
    assert rows.table(["id"])["id"].to_pylist() == ["0000000_000", "0000000_001", "0000001_000"]


@pytest.mark.here_alone("slow; test_desks merges while somebody reads")
def test_small_files_are_merged_and_every_row_stays(tmp_path: Path) -> None:
    rows, count = Rows(tmp_path), MERGED_AT_ONCE**2 + 3
    for number in range(count):
        rows.add([row(number)])
    assert numbers(rows) == list(range(count))
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        f"{0:09}-{MERGED_AT_ONCE**2 - 1:09}.parquet",
        *(f"{number:09}-{number:09}.parquet" for number in range(MERGED_AT_ONCE**2, count)),
    ]


def test_a_merge_that_was_cut_off_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda path, missing_ok=False: None)  # killed before it deletes
        for number in range(MERGED_AT_ONCE):
            rows.add([row(number)])
    assert len(list(tmp_path.iterdir())) == MERGED_AT_ONCE + 1
    assert numbers(rows) == list(range(MERGED_AT_ONCE))
    (tmp_path / "000000016-000000016.parquet.0123abcd.part").write_bytes(b"half a file")
    rows.clean()
    assert [path.name for path in tmp_path.iterdir()] == [f"{0:09}-{MERGED_AT_ONCE - 1:09}.parquet"]
    assert numbers(rows) == list(range(MERGED_AT_ONCE))
    rows.add([row(MERGED_AT_ONCE)])
    assert numbers(rows) == list(range(MERGED_AT_ONCE + 1))


def test_rows_are_taken_out(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    for number in range(5):
        rows.add([row(number), row(number, 1)])
    untouched = (tmp_path / "000000000-000000000.parquet").stat().st_mtime_ns
    rows.remove([1, 4, 77])
    assert numbers(rows) == [0, 0, 2, 2, 3, 3]
    assert (tmp_path / "000000000-000000000.parquet").stat().st_mtime_ns == untouched


def test_a_damaged_file_of_rows_is_named(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    rows.add([row(0)])
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="000000000-000000000.parquet is no readable Parquet file .*: delete it"):
        numbers(rows)


GRAPH = {
    "sampler": {
        "class_type": "KSampler",
        "inputs": {"seed": 0, "steps": 4, "positive": ["text", 0], "latent_image": ["latent", 0], "model": ["model", 0]},
    },
    "text": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}},
    "latent": {"class_type": "EmptyLatentImage", "inputs": {"batch_size": 2}},
    "model": {"class_type": "UncertaintyDemoModel", "inputs": {}},
    "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sampler", 0], "vae": ["model", 2]}},
}


def plan(count: int, prompts: tuple[str, ...] = ("a cat", "a dog"), **more: object) -> Plan:
    return Plan(Workflow(GRAPH, describe), prompts, 10, count, **more)


def test_every_prompt_with_one_seed_then_with_the_next() -> None:
    assert [(job.number, job.prompt, job.seed) for job in plan(5)] == [
        (0, "a cat", 10), (1, "a dog", 10), (2, "a cat", 11), (3, "a dog", 11), (4, "a cat", 12),
    ]  # fmt: skip
    assert [job.seed for job in plan(3, every_seed_once=True)] == [10, 11, 12]
    job = plan(5, batch=7)[3]
    assert job.graph["sampler"]["inputs"]["seed"] == 11
    assert job.graph["text"]["inputs"]["text"] == "a dog"
    assert job.graph["latent"]["inputs"]["batch_size"] == 7
    assert plan(5, batch=7)[3] == job


def test_a_folder_is_known_by_workflow_and_prompts() -> None:
    assert plan(5).identity() == plan(500).identity()
    others = [plan(5, ("a cat",)), plan(5, batch=3), plan(5, maps=True), plan(5, ("a cat", "a dog", "a pig"))]
    others.append(Plan(Workflow(GRAPH, describe), ("a cat", "a dog"), 11, 5))
    assert len({plan(5).identity(), *(other.identity() for other in others)}) == len(others) + 1


def test_what_is_missing(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path, plan(6))
    assert list(folder.missing()) == list(range(6))
    folder.rows.add([row(number, place, folder=tmp_path) for number in (0, 1, 2, 4) for place in range(2)])
    assert list(folder.missing()) == [3, 5]
    (tmp_path / image_of(1, 1)).unlink()
    content = (tmp_path / image_of(2, 0)).read_bytes()
    (tmp_path / image_of(2, 0)).write_bytes(content[::-1])  # as long as before
    assert list(folder.missing()) == [1, 3, 5]
    assert list(folder.missing(verify=True)) == [1, 2, 3, 5]
    assert numbers(folder.rows) == [0, 0, 4, 4]
    assert list(BatchFolder(tmp_path, plan(2)).missing()) == [1]
    assert [image.number for image in BatchFolder(tmp_path, plan(2)).drawn()] == [0, 0]


def test_what_was_rejected_is_not_missing(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path, plan(1))
    folder.rows.add([row(0, place, folder=tmp_path) for place in range(2)])
    rejected = (tmp_path / image_of(0, 1)).parent / "rejected"
    rejected.mkdir()
    (tmp_path / image_of(0, 1)).rename(rejected / "0000000_001.png")
    assert list(folder.missing(verify=True)) == []


def test_an_image_that_got_stars_is_not_missing(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path, plan(1))
    content = picture_entry.png(torch.zeros(8, 8, 3), {"prompt": "{}"})
    folder.rows.add([row(0, place, folder=tmp_path, content=content) for place in range(2)])
    path = tmp_path / image_of(0, 1)
    write_rating(path, 4)
    assert list(folder.missing(verify=True)) == list(folder.missing()) == []
    path.write_bytes(path.read_bytes()[:-4])
    assert list(folder.missing()) == [0]


def test_another_plan_is_refused(tmp_path: Path) -> None:
    BatchFolder(tmp_path, plan(3))
    with pytest.raises(ValueError, match="holds images of another workflow, other prompts or other settings"):
        BatchFolder(tmp_path, plan(3, ("a pig",)))
    for content in ("no JSON", "[]", '{"graph": 1}'):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(ValueError, match="holds images of another workflow"):
            BatchFolder(tmp_path, plan(3))
    jobs = Listed([Job(0, "a cat", 1, {}), Job(1, "a dog", 1, {})])
    with pytest.raises(ValueError, match="holds images of another workflow"):
        BatchFolder(tmp_path, jobs)


def test_a_folder_has_one_driver(tmp_path: Path) -> None:
    jobs = plan(1)
    BatchFolder(tmp_path, jobs)
    with FileLock(tmp_path / "run.lock"), pytest.raises(RuntimeError, match="another process writes to"):
        draw(lambda: OneByOne(Nobody()), jobs, tmp_path)
    with pytest.raises(ConnectionError):  # it was asked now
        draw(lambda: OneByOne(Nobody()), jobs, tmp_path)


class Interrupted:
    """Each job's first worker is killed while it writes."""

    def draw_all(self, jobs: Iterable[Job], folder: Path) -> Iterator[list[Row]]:
        """The rows of each job, as the second worker makes them."""
        for job in jobs:
            begun = folder / f"{image_of(job.number, 0)}.0123abcd.part"
            begun.parent.mkdir(parents=True, exist_ok=True)
            begun.write_bytes(b"half")
            yield [row(job.number, folder=folder)]


def test_what_killed_workers_left_of_files_is_removed_in_the_end(tmp_path: Path) -> None:
    draw(Interrupted, plan(3), tmp_path)  # type: ignore[arg-type]
    assert len(list(tmp_path.rglob("*.png"))) == 3
    assert not list(tmp_path.rglob("*.part"))


RACE = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/support")
sys.path.insert(0, "tests/unit")
from test_rows import plan, row
from uncertainty_runs.drawing import draw

class Engine:
    def draw_all(self, jobs, folder):
        return ([row(job.number, place, job.prompt, folder=folder) for place in range(2)] for job in jobs)

folder, prompt = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
try:
    draw(Engine, plan(1, (prompt,)), folder)
except (RuntimeError, ValueError) as error:
    sys.exit(str(error))
"""


@pytest.mark.here_alone("other processes are not at the desk")
@pytest.mark.parametrize("turn", range(4))
def test_of_two_plans_begun_at_once_the_folder_names_the_one_that_generates(turn: int, tmp_path: Path) -> None:
    folder, prompts = tmp_path / "new" / "folder", ("a cat", "a dog")
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(folder), prompt], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        for prompt in prompts
    ]  # fmt: skip
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [process.communicate() for process in started]
    codes = [process.returncode for process in started]
    assert codes.count(0) == 1, ends
    prompt = prompts[codes.index(0)]
    assert {image.prompt for image in BatchFolder(folder, plan(1, (prompt,))).drawn()} == {prompt}


def test_who_is_refused_leaves_nothing_in_a_new_folder(tmp_path: Path) -> None:
    with FileLock(tmp_path / "run.lock"), pytest.raises(RuntimeError, match="another process writes to"):
        draw(lambda: OneByOne(Nobody()), plan(1), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["run.lock"])


class Nobody:
    """Cannot be reached."""

    def describe(self, class_type: str) -> NodeInfo:
        raise ConnectionError

    def sample(self, job: Job, folder: Path) -> Callable[[], Drawn]:
        raise ConnectionError

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        raise ConnectionError

    def close(self) -> None:
        raise ConnectionError


def arguments(tmp_path: Path, *given: str) -> object:
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(GRAPH))
    return parser().parse_args(["batch", "--workflow", str(path), "--output", str(tmp_path / "out"), *given])


def test_counts_and_seeds(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat\n\n  a dog \n")
    given = ("--prompts", str(prompts))
    found = planned(arguments(tmp_path, "--count", "7", *given), describe)
    assert (len(found), found.prompts, found.first, found.batch) == (4, ("a cat", "a dog"), 0, 2)
    found = planned(arguments(tmp_path, "--seeds", "3:6", *given, "--batch", "4", "--maps", "sum"), describe)
    assert (len(found), found.first, found.batch, found.maps) == (6, 3, 4, True)
    assert found[0].graph["evaluation options"]["inputs"]["keep_maps"] == "sum"
    assert len(planned(arguments(tmp_path, "--seeds", "3:6", "--count", "3"), describe)) == 2
    with pytest.raises(ValueError, match="count: give --count N, or --seeds A:B, or both"):
        check_amount(arguments(tmp_path))
    for given, words in (
        (("--draw", "16"), "draw: give --draw N and --finish M together"),
        (("--draw", "4", "--finish", "4"), "finish: must be below --draw 4, got 4"),
        (("--draw", "4", "--finish", "2", "--batch", "4"), "batch: leave out --batch, since --draw 4 says"),
    ):
        with pytest.raises(ValueError, match=words):
            check_amount(arguments(tmp_path, "--count", "3", *given))
    with pytest.raises(ValueError, match="count: 20 images need 10 runs, but --seeds and prompts give only 3: give more seeds"):
        planned(arguments(tmp_path, "--seeds", "3:6", "--count", "20"), describe)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--count", "0"), "must be a whole number of at least 1, got 0"),
        (("--count", "many"), "must be a whole number of at least 1, got many"),
        (("--seeds", "5"), "must be two whole numbers A:B with A < B, such as 0:100, got 5"),
        (("--seeds", "5:5"), "must be two whole numbers A:B with A < B"),
        (("--seeds", f"0:{2**64 + 1}"), "must be two whole numbers A:B with A < B"),
        (("--workers", "-1"), "must be a whole number of at least 1, got -1"),
        (("--maps", "all"), "invalid choice"),
    ],
)
def test_what_makes_no_sense_is_refused(
    given: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        arguments(tmp_path, *given)
    assert words in capsys.readouterr().err


@pytest.mark.here_alone("other processes are not at the desk")
def test_what_is_missing_on_the_machine_is_said(tmp_path: Path) -> None:
    """Without pyarrow, without Ray, without ComfyUI: in a sentence, before anything is drawn."""
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(GRAPH))
    command = ["batch", "--workflow", str(path), "--output", str(tmp_path / "out"), "--count", "2"]
    environment = {name: value for name, value in os.environ.items() if name != "COMFYUI_PATH"}
    for blocked, more, words in (
        ("pyarrow", (), "rows are kept in Parquet files: pip install pyarrow"),
        ("ray", ("--workers", "2", "--comfyui", str(tmp_path)), "several workers need Ray: pip install ray"),
        ("", (), "comfyui: this pack is not in the custom_nodes folder of a ComfyUI; give --comfyui DIR"),
        ("", ("--comfyui", str(tmp_path), "--workers", "2"), "comfyui must be the folder that holds"),
        ("", ("--comfyui", str(tmp_path)), f"comfyui must be the folder that holds ComfyUI's main.py, got {tmp_path}"),
    ):
        enter = "sys.argv[0] = 'x'; from uncertainty_runs.command_line import main; main()"
        script = f"import sys; sys.modules[{blocked!r}] = None; {enter}"
        run = [sys.executable, "-c", script, *command, *more]
        done = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"error: {words}"), done.stderr
    assert not list(tmp_path.rglob("*.png"))


def test_a_command_line_to_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["python", "rank", "C:\\two words\\", "C:\\one\\", "--keep", "1"]
    assert copyable(words[:3]) == "python rank 'C:\\two words\\'"
    monkeypatch.setattr(argument_types, "WINDOWS", True)
    assert copyable(words) == r'python rank "C:\two words\\" C:\one\ --keep 1'


def test_the_best_of_each_prompt_and_of_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Rows(tmp_path / "rows")
    prompts = ("cat", "cat", "cat", "dog", "dog", "pig")
    scored = enumerate(zip(prompts, SCORES, strict=True))
    rows.add([row(number, prompt=prompt, score=score, folder=tmp_path) for number, (prompt, score) in scored])

    def lines(*given: str) -> list[str]:
        assert called(monkeypatch, "rank", tmp_path, *given) == ""
        return capsys.readouterr().out.splitlines()

    def numbers(*given: str) -> set[int]:
        return {int(line.split("/")[2][:7]) for line in lines(*given) if line.endswith("kept")}

    assert numbers("--keep", "1") == numbers("--keep", "1", "--each-prompt") == {2, 4, 5}
    assert numbers("--keep", "2") == {0, 2, 3, 4, 5}
    assert numbers("--keep", "3", "--across-prompts") == {2, 4, 0}
    assert numbers("--percentile", "50", "--across-prompts") == {2, 4, 0}
    assert numbers() == set(range(6))
    told = lines("--keep", "1")
    assert [line for line in told if line.startswith("—")] == ["— cat: 3 images", "— dog: 2 images", "— pig: 1 image"]
    assert told[1].startswith("images/00000/0000002_000.png  1 ± 0.5  1st of 3")
    assert told[1].endswith("kept") and told[2].endswith("rejected")


SCORES = (3.0, 9.0, 1.0, 5.0, 2.0, 8.0)


def test_images_without_scores_are_counted_as_far_as_the_plan_goes(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path, plan(4))
    lost = replace(row(3, folder=tmp_path), why_no_map="no luck.")
    folder.rows.add([row(number, folder=tmp_path) for number in range(3)] + [lost])
    assert without_scores(tmp_path, 3) == ""
    said = without_scores(tmp_path)
    assert said.startswith("1 image in ") and f" has no scores, such as {lost.image.name}, because no luck. To sample" in said
    assert "measure it again, delete its file" in said


def test_every_score_has_its_column() -> None:
    assert set(SCORES_OF_ALL) <= set(row(0).flat())
    assert list(row(0).flat()) and set(row(0).flat()) == set(module._schema().names)
    assert map_of(12_345_678) == "maps/12345/12345678.safetensors"


def test_what_a_network_does_not_reach_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, look = BatchFolder(tmp_path, plan(1)), os.stat
    folder.rows.add([row(0, folder=tmp_path)])

    def stat(path: object, *more: object, **named: object) -> os.stat_result:
        if str(path).endswith(".png"):
            raise OSError(errno.EIO, "Input/output error")
        return look(path, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        with pytest.raises(OSError, match="Input/output error"):
            folder.missing()
    assert numbers(folder.rows) == [0]
