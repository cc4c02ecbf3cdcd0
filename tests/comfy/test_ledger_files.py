"""Which file belongs to which row of the ledger, where new files go, and the answers of the routes."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from desks import Desk
from made_maps import made
from xmp import rating

pytestmark = pytest.mark.usefixtures("each_desk")


@dataclass
class Comfy:
    """ComfyUI's folders, the node that saves, and the answers of the routes."""

    pack: Callable[[str], ModuleType]
    patch: pytest.MonkeyPatch
    graph: Any = None

    def start(self, output: Path) -> None:
        """As after a start with ``--output-directory``."""
        import folder_paths

        output.mkdir(parents=True, exist_ok=True)
        self.patch.setattr(folder_paths, "output_directory", str(output))

    def save(
        self, seed: int, prefix: str = "a", count: int = 1, *, measured: Any = None, extra: object = None, kind: str = "png"
    ) -> list[str]:
        """Save images with their map; returns their paths below the output folder."""
        node = self.pack("nodes.choosing.save_image").UncertaintySaveImage
        hidden = SimpleNamespace(prompt=self.graph, extra_pnginfo=extra, unique_id="save")
        saver = type("Saver", (node,), {"hidden": hidden})
        measured = made(count, seed) if measured is None else measured
        images = torch.rand(len(measured.places), 8, 8, 3, generator=torch.Generator().manual_seed(seed))
        shown = saver.execute(images, prefix, self.own(measured), kind).ui["images"]
        return [f"{file['subfolder']}/{file['filename']}".lstrip("/") for file in shown]

    def own(self, measured: Any) -> Any:
        """The map as an object of the pack's own class: ComfyUI loads the pack under another name."""
        parts = {name: getattr(measured, name) for name in measured.__dataclass_fields__}
        return self.pack("uncertainty.maps").UncertaintyMap(**parts)

    def rows(self, **query: str) -> list[dict[str, Any]]:
        """The rows of the list, newest first."""
        routes = self.pack("nodes.choosing.ledger_routes")
        answer = asyncio.run(routes._in_words(routes.rows)(SimpleNamespace(query={"limit": "500", **query})))
        assert answer.status == 200, answer.text
        rows: list[dict[str, Any]] = json.loads(answer.text)["rows"]
        return rows

    def move(self, what: str, *ids: int) -> dict[str, Any]:
        """Reject, restore or relocate."""
        moving, verdicts = (self.pack(f"nodes.choosing.{name}") for name in ("moving_images", "hand_verdicts"))
        answer: dict[str, Any] = moving.act(getattr(moving if what == "relocate" else verdicts, what), ids)
        return answer

    def judge(self, *ids: int, **said: Any) -> dict[str, Any]:
        """Give a verdict, stars, or both."""
        verdicts = self.pack("nodes.choosing.hand_verdicts")
        answer: dict[str, Any] = self.pack("nodes.choosing.moving_images").act(
            verdicts.judging(said.get("state"), said.get("stars")), ids
        )
        return answer

    def heatmap(self, number: int) -> int:
        """Status of the answer."""
        routes = self.pack("nodes.choosing.ledger_routes")
        request = SimpleNamespace(match_info={"id": str(number)}, if_none_match=None)
        status: int = asyncio.run(routes._in_words(routes.library_pictures.heatmap)(request)).status
        return status


@pytest.fixture
def comfy(pack: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comfy:
    """With a ledger and an output folder of its own."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path / "user"))
    running = Comfy(pack, monkeypatch)
    running.start(tmp_path / "output")
    return running


def stranger(path: Path) -> None:
    """An image that another node saved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(path)


def state(comfy: Comfy) -> list[tuple[str, bool, bool]]:
    """File, whether moved away and whether missing, of each row."""
    rows = comfy.rows()
    return [(f"{r['file']['subfolder']}/{r['file']['filename']}".lstrip("/"), r["away"], r["missing"]) for r in rows]


def test_a_stranger_under_a_freed_name_is_not_the_image(comfy: Comfy, tmp_path: Path) -> None:
    (name,) = comfy.save(1)
    (row,) = comfy.rows()
    assert not row["missing"] and comfy.heatmap(row["id"]) == 200
    (tmp_path / "output" / name).unlink()
    stranger(tmp_path / "output" / name)
    assert state(comfy) == [(name, False, True)]
    assert comfy.heatmap(row["id"]) == 404
    for what in ("reject", "restore", "relocate"):
        answer = comfy.move(what, row["id"])
        assert answer["done"] == [] and "no longer in its folder" in answer["failed"][0]["reason"]
    assert (tmp_path / "output" / name).is_file()


def test_strangers_among_the_rejected_are_not_the_image(comfy: Comfy, tmp_path: Path) -> None:
    (name,) = comfy.save(1)
    (row,) = comfy.rows()
    comfy.move("reject", row["id"])
    shutil.rmtree(tmp_path / "output" / "rejected")
    for place in (tmp_path / "output" / name, tmp_path / "output" / "rejected" / name):
        stranger(place)
    assert state(comfy) == [(f"rejected/{name}", True, True)]
    assert comfy.heatmap(row["id"]) == 404
    assert comfy.move("restore", row["id"])["done"] == []
    assert state(comfy) == [(f"rejected/{name}", True, True)]


@pytest.mark.parametrize(("kind", "suffix"), [("png", ".png"), ("webp", ".webp"), ("jpeg", ".jpg")])
def test_verdicts_and_stars_are_in_the_ledger_and_in_the_file(comfy: Comfy, tmp_path: Path, kind: str, suffix: str) -> None:
    (name,) = comfy.save(1, kind=kind)
    assert name == f"a_00001_{suffix}"
    path, (row,) = tmp_path / "output" / name, comfy.rows()
    untouched = path.read_bytes()
    for said, expected, told in (
        ({"state": "kept"}, ("kept", 0), None),
        ({"stars": 3}, ("kept", 3), "3"),
        ({"state": "rejected"}, ("rejected", 3), "-1"),
        ({"state": "unreviewed"}, ("unreviewed", 3), "3"),
        ({"state": "kept", "stars": 5}, ("kept", 5), "5"),
        ({"state": "unreviewed", "stars": 0}, ("unreviewed", 0), None),
    ):
        assert comfy.judge(row["id"], **said) == {"done": [row["id"]], "failed": []}
        (now,) = comfy.rows()
        assert ((now["state"], now["stars"]), rating(path)) == (expected, told)
        assert not now["missing"] and comfy.heatmap(row["id"]) == 200
        (known,) = comfy.pack("nodes.choosing.ledger_access").ledger().find([row["id"]])
        assert (known.size, known.modified) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert path.read_bytes() == untouched
    assert comfy.move("reject", row["id"])["failed"] == []
    assert rating(tmp_path / "output" / "rejected" / name) == "-1" and comfy.rows()[0]["state"] == "rejected"
    assert comfy.move("restore", row["id"])["failed"] == []
    assert path.read_bytes() == untouched and comfy.rows()[0]["state"] == "unreviewed"


@pytest.mark.parametrize(("kind", "suffix"), [("png", ".png"), ("webp", ".webp"), ("jpeg", ".jpg")])
def test_stars_from_the_filter_are_saved(comfy: Comfy, tmp_path: Path, kind: str, suffix: str) -> None:
    comfy.pack("nodes.choosing.ledger_access").record(comfy.own(made(2, 1)))  # as the sampler does
    measured = replace(made(2, 1), stars=(0, 4))
    names = comfy.save(1, measured=measured, kind=kind)
    assert [rating(tmp_path / "output" / name) for name in names] == [None, "4"]
    found = {row["file"]["filename"]: (row["stars"], row["missing"]) for row in comfy.rows()}
    assert found == {names[0]: (0, False), names[1]: (4, False)}
    starred = next(row for row in comfy.rows() if row["stars"])
    assert comfy.judge(starred["id"], stars=0)["failed"] == []
    comfy.save(1, "bare", measured=made(2, 1), kind=kind)
    assert (tmp_path / "output" / names[1]).read_bytes() == (tmp_path / "output" / f"bare_00002_{suffix}").read_bytes()


@pytest.mark.here_alone("makes links")
def test_a_file_that_is_not_the_images_own_is_never_written(comfy: Comfy, tmp_path: Path) -> None:
    (name,), (other,) = comfy.save(1), comfy.save(2)
    second, first = comfy.rows()
    foreign, secret = tmp_path / "output" / name, tmp_path / "secret.png"
    shutil.copy2(tmp_path / "output" / other, secret)
    stranger(foreign)
    (tmp_path / "output" / other).unlink()
    (tmp_path / "output" / other).symlink_to(secret)
    before = foreign.read_bytes(), secret.read_bytes()
    for row, words in ((first, "no longer in its folder"), (second, "is a link")):
        (failed,) = comfy.judge(row["id"], stars=4)["failed"]
        assert words in failed["reason"]
    assert (foreign.read_bytes(), secret.read_bytes()) == before
    assert {row["stars"] for row in comfy.rows()} == {0}


def test_a_file_that_cannot_be_written_keeps_what_was_said(comfy: Comfy, tmp_path: Path) -> None:
    (name,) = comfy.save(1)
    (row,) = comfy.rows()
    rating_module = comfy.pack("uncertainty.storage.rating")
    comfy.patch.setattr(rating_module, "_edited", lambda packet, stars: (_ for _ in ()).throw(OSError(28, "No space left")))
    before = (tmp_path / "output" / name).read_bytes()
    (failed,) = comfy.judge(row["id"], stars=4)["failed"]
    assert "No space left" in failed["reason"]
    assert comfy.rows()[0]["stars"] == 0 and (tmp_path / "output" / name).read_bytes() == before
    assert [path.name for path in (tmp_path / "output").glob("*.part")] == []


def test_the_filter_and_rank_sort_out_and_hands_decide(comfy: Comfy, tmp_path: Path) -> None:
    (name,) = comfy.save(1, "rest", measured=made(1, 1, sorted_out=True))
    (ranked,) = comfy.save(2)
    states = {row["file"]["filename"]: row["state"] for row in comfy.rows()}
    assert states == {name: "sorted_out", ranked: "unreviewed"}
    (tmp_path / "output" / "rejected").mkdir()
    (tmp_path / "output" / ranked).rename(tmp_path / "output" / "rejected" / ranked)  # as ``rank --move`` does
    found = next(row for row in comfy.rows() if row["file"]["filename"] == ranked)
    assert (found["state"], found["away"], found["relocated"]) == ("sorted_out", True, True)
    comfy.move("relocate", found["id"])
    comfy.judge(found["id"], state="kept")
    (tmp_path / "output" / "rejected" / ranked).rename(tmp_path / "output" / ranked)
    found = next(row for row in comfy.rows() if row["file"]["filename"] == ranked)
    assert (found["state"], found["away"]) == ("kept", False)
    assert [row["file"]["filename"] for row in comfy.rows(state="sorted_out,kept")] == [ranked, name]


def test_images_whose_files_are_gone_are_taken_off_the_list(comfy: Comfy, tmp_path: Path) -> None:
    gone, there = comfy.save(1, count=2)
    by_name = {row["file"]["filename"]: row["id"] for row in comfy.rows()}
    (tmp_path / "output" / gone).unlink()
    routes = comfy.pack("nodes.choosing.ledger_routes")
    ids = list(by_name.values())
    assert routes._taken_off(ids, True) == [by_name[gone]]
    assert state(comfy) == [(there, False, False)]
    assert routes._taken_off(ids, False) == [by_name[there]]
    assert (tmp_path / "output" / there).is_file() and comfy.rows() == []
    comfy.pack("nodes.choosing.ledger_access").ledger().put_back(ids)
    assert sorted(state(comfy)) == [(gone, False, True), (there, False, False)]


def saving(text: str) -> dict[str, Any]:
    """A graph that saves images of a prompt, and other images of another prompt."""
    nodes: dict[str, Any] = {}
    for name, prompt in (("", text), ("other ", "a rocket")):
        nodes |= {
            f"{name}text": {"class_type": "CLIPTextEncode", "inputs": {"text": prompt}},
            f"{name}sample": {"class_type": "UncertaintyKSampler", "inputs": {"positive": [f"{name}text", 0]}},
            f"{name}judge": {"class_type": "UncertaintyScoreFilter", "inputs": {"uncertainty": [f"{name}sample", 1]}},
            f"{name}save": {"class_type": "UncertaintySaveImage", "inputs": {"uncertainty": [f"{name}judge", 3]}},
        }
    return nodes


def test_the_prompt_is_kept_unless_the_user_keeps_it_out(comfy: Comfy, tmp_path: Path) -> None:
    from comfy.cli_args import args

    settings = tmp_path / "user" / "default" / "comfy.settings.json"
    settings.parent.mkdir(parents=True)
    comfy.graph = saving("cat face \ud83d")
    for number, kept in enumerate((None, {"Comfy.Locale": "en"}, {"Uncertainty.Ledger.KeepPrompts": False}, "damaged")):
        if kept is not None:
            settings.write_text(json.dumps(kept))
        comfy.save(number, measured=made(1, number, prompt=f"p{number}"))
    settings.unlink()
    comfy.patch.setattr(args, "disable_metadata", True)
    comfy.save(4, measured=made(1, 4, prompt="p4"))
    texts = {row["prompt_digest"]: row["prompt"] for row in comfy.rows()}
    assert texts == {"p0": "cat face ?", "p1": "cat face ?", "p2": None, "p3": None, "p4": None}
    assert {row["prompt_digest"] for row in comfy.rows(search="FACE")} == {"p0", "p1"}


def test_another_output_folder_has_other_files(comfy: Comfy, tmp_path: Path) -> None:
    """Two output folders with equal names in them, and one ledger."""
    names = {}
    for seed, folder in enumerate(("A", "B")):
        comfy.start(tmp_path / folder)
        names[folder] = comfy.save(seed)
    assert names["A"] == names["B"]
    for seed, folder in enumerate(("A", "B")):
        comfy.start(tmp_path / folder)
        (row,) = comfy.rows()
        assert (row["seed"], row["missing"]) == (str(seed), False)
        assert row["of"] == 2  # scores of all folders are compared
        other = ({1, 2} - {row["id"]}).pop()
        assert comfy.move("reject", other)["done"] == []
        assert comfy.move("reject", row["id"])["done"] == [row["id"]]
        assert len(list((tmp_path / folder / "rejected").glob("*.png"))) == 1


def test_an_output_folder_that_was_renamed_keeps_its_images(comfy: Comfy, tmp_path: Path) -> None:
    (name,) = comfy.save(1)
    (tmp_path / "output").rename(tmp_path / "moved")
    comfy.start(tmp_path / "moved")
    (row,) = comfy.rows()
    assert not row["missing"]
    assert comfy.move("reject", row["id"])["done"] == [row["id"]]
    assert state(comfy) == [(f"rejected/{name}", True, False)]
    comfy.start(tmp_path / "output")
    assert comfy.rows() == []  # it belongs to the other folder now


def test_a_copy_that_was_brought_back_is_the_image(comfy: Comfy, tmp_path: Path) -> None:
    """Its time is another, but the entry inside it says whose it is."""
    (name,) = comfy.save(1)
    path = tmp_path / "output" / name
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, (1, 1))
    assert state(comfy) == [(name, False, False)]


def test_without_metadata_size_and_time_tell(comfy: Comfy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfy.cli_args import args

    monkeypatch.setattr(args, "disable_metadata", True)
    (name,) = comfy.save(1)
    (row,) = comfy.rows()
    assert comfy.move("reject", row["id"])["done"] == [row["id"]]
    assert comfy.move("restore", row["id"])["done"] == [row["id"]]
    assert state(comfy) == [(name, False, False)]
    os.utime(tmp_path / "output" / name, (1, 1))
    assert state(comfy) == [(name, False, True)]


def test_a_file_moved_under_a_number_is_found(comfy: Comfy, tmp_path: Path) -> None:
    """The name was taken in the folder ``rejected``, and the process was killed before the ledger knew."""
    (name,) = comfy.save(1)
    moved = tmp_path / "output" / "rejected" / f"{Path(name).stem} (1).png"
    stranger(moved.with_name(name))
    (tmp_path / "output" / name).rename(moved)
    assert state(comfy) == [(f"rejected/{moved.name}", True, False)]


def test_an_image_does_not_take_over_the_file_of_another(comfy: Comfy, tmp_path: Path) -> None:
    """One image in two files: the row of the first must not take the second."""
    measured = made(1)
    (first,), (second,) = comfy.save(1, measured=measured), comfy.save(1, "rejected_/a", measured=measured)
    rows = {row["file"]["filename"]: row["id"] for row in comfy.rows()}
    assert len(rows) == 1 and len(comfy.rows()) == 2  # equal names in two folders
    (tmp_path / "output" / first).unlink()
    assert sorted(state(comfy)) == [(first, False, True), (second, False, False)]


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "a/../../secret.png"])
def test_files_outside_are_neither_shown_nor_moved(comfy: Comfy, tmp_path: Path, name: str) -> None:
    (saved,) = comfy.save(1)
    secret = tmp_path / "secret.png"
    shutil.copy2(tmp_path / "output" / saved, secret)  # with a valid entry
    (row,) = comfy.rows()
    ledger = comfy.pack("nodes.choosing.ledger_access").ledger()
    ledger.change(row["id"], file=name)
    assert comfy.rows()[0]["missing"]
    assert comfy.heatmap(row["id"]) == 404
    (failed,) = comfy.move("reject", row["id"])["failed"]
    assert "outside" in failed["reason"] and str(tmp_path) not in failed["reason"]
    assert secret.is_file()


@pytest.mark.parametrize(
    "prefix",
    ["plain", "folder/plain", "slash/", "two/slashes//", "batch_%batch_num%", "dotted/./x", "%width%x%height%", "a_00007"],
)
def test_no_run_replaces_a_file(comfy: Comfy, tmp_path: Path, prefix: str) -> None:
    names = [name for seed in range(3) for name in comfy.save(seed, prefix, 2)]
    assert len(set(names)) == 6
    files = [path for path in (tmp_path / "output").rglob("*") if path.is_file()]
    assert sorted(path.relative_to(tmp_path / "output").as_posix() for path in files) == sorted(names)
    assert len({path.read_bytes() for path in files}) == 6
    assert len([row for row in comfy.rows() if not row["missing"]]) == 6


def test_names_tell_score_and_rank(comfy: Comfy) -> None:
    """Ranks sort as text, the best first."""
    measured = made(12, 3)
    scores = measured.score(measured.default).value
    names = comfy.save(0, "%rank%_%score%_%batch_num%", measured=measured)
    order = scores.argsort().tolist()
    assert sorted(names) == [f"{rank:02}_{scores[image]:.4g}_{image}_00001_.png" for rank, image in enumerate(order, start=1)]


@pytest.mark.parametrize(("sorted_out", "verdict"), [(True, "rejected"), (False, "kept"), (None, "")])
def test_names_tell_what_the_filter_said(comfy: Comfy, sorted_out: bool | None, verdict: str) -> None:
    measured = made(2, 3)
    if sorted_out is not None:
        measured = replace(measured, settings={**measured.settings, "sorted_out": sorted_out})
    assert comfy.save(0, "%verdict%_cat", measured=measured) == [f"{verdict}_cat_00001_.png", f"{verdict}_cat_00002_.png"]


@pytest.mark.parametrize("prefix", ["%verdict%/cat", "a/%rank%/cat", "%score%\\\\cat"])
def test_no_folder_is_named_after_an_image(comfy: Comfy, tmp_path: Path, prefix: str) -> None:
    node = comfy.pack("nodes.choosing.save_image").UncertaintySaveImage
    assert "filename_prefix must not name a folder %" in node.validate_inputs(filename_prefix=prefix)
    with pytest.raises(ValueError, match="after the last slash"):
        comfy.save(0, prefix)
    assert not any((tmp_path / "output").iterdir()) and comfy.rows() == []


def test_a_format_that_does_not_exist_is_refused(comfy: Comfy, tmp_path: Path) -> None:
    node = comfy.pack("nodes.choosing.save_image").UncertaintySaveImage
    assert "format" in node.validate_inputs(format="gif") and node.validate_inputs(format="webp") is True
    with pytest.raises(ValueError, match="format must be one of png, webp, jpeg"):
        comfy.save(0, kind="gif")
    assert not any((tmp_path / "output").iterdir())


def test_the_images_are_passed_on(comfy: Comfy) -> None:
    node = comfy.pack("nodes.choosing.save_image").UncertaintySaveImage
    saver = type("Saver", (node,), {"hidden": SimpleNamespace(prompt={}, extra_pnginfo=None, unique_id="save")})
    images = torch.rand(2, 8, 8, 3)
    assert saver.execute(images, "x", comfy.own(made(2, 0))).args == (images,)


@pytest.mark.parametrize("prefix", ["plain", "slash/", "%year%/map"])
def test_no_map_replaces_a_map(comfy: Comfy, tmp_path: Path, prefix: str) -> None:
    save = comfy.pack("nodes.looking.map_files").UncertaintyMapSave
    for seed in range(3):
        save.execute(comfy.own(made(1, seed)), prefix)
    files = list((tmp_path / "output").rglob("*.safetensors"))
    assert len({path.read_bytes() for path in files}) == len(files) == 3


def test_a_number_that_another_process_takes_is_left_to_it(comfy: Comfy, tmp_path: Path) -> None:
    files = comfy.pack("nodes.numbered_files").NumberedFiles("x")
    (tmp_path / "output" / "x_00001_.png").write_text("another's")
    write_whole = comfy.pack("uncertainty.storage.atomic").write_whole
    shown = files.write(".png", lambda path: write_whole(path, b"ours", replace=False))
    assert shown["filename"] == "x_00002_.png"
    assert (tmp_path / "output" / "x_00001_.png").read_text() == "another's"
    assert len(list((tmp_path / "output").iterdir())) == 2


@pytest.mark.parametrize("prefix", ["rejected/x", "Rejected/x", "a/rejected/x", "./rejected/b/x"])
def test_nothing_is_saved_where_rejected_files_go(comfy: Comfy, prefix: str) -> None:
    node = comfy.pack("nodes.choosing.save_image").UncertaintySaveImage
    assert "rejected images go" in node.validate_inputs(prefix)
    with pytest.raises(ValueError, match="rejected images go"):
        comfy.save(1, prefix)
    comfy.save(1, "rejected")  # as a name it is as good as any other


def test_equal_maps_are_as_many_rows_as_images(comfy: Comfy) -> None:
    black = torch.zeros(1, 8, 2, 4, 4)
    for values in (black, black * torch.nan):
        measured = made(8)
        equal = type(measured)(
            quantities=dict.fromkeys(measured.quantities, values),
            standard_errors=measured.standard_errors,
            steps=measured.steps,
            total_steps=measured.total_steps,
            sigmas=measured.sigmas,
            settings=measured.settings,
        )
        before = len(comfy.rows())
        names = comfy.save(0, measured=equal)
        assert len(comfy.rows()) == before + 8
        # Saved once more, by another node or after a filter: every file has a row.
        comfy.save(0, "kept", measured=equal.select([1, 3]))
        assert len(comfy.rows()) == before + 10
        assert {(row["file"]["filename"], row["index"]) for row in comfy.rows()} >= {(names[3], 3), ("kept_00002_.png", 3)}


def test_an_entry_of_another_pack_does_not_replace_ours(comfy: Comfy, tmp_path: Path) -> None:
    (name,) = comfy.save(1, extra={"uncertainty": {"x": 1}, "workflow": {"nodes": []}})
    with Image.open(tmp_path / "output" / name) as image:
        assert json.loads(image.info["uncertainty"])["version"] == 1
        assert json.loads(image.info["workflow"]) == {"nodes": []}
    assert state(comfy) == [(name, False, False)]


def test_asking_writes_nothing_and_waits_for_nobody(comfy: Comfy, tmp_path: Path) -> None:
    path = tmp_path / "user" / "uncertainty" / "ledger.sqlite3"
    assert comfy.rows() == [] and not path.parent.exists()
    comfy.save(1)
    import sqlite3

    with sqlite3.connect(path, isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE images SET seed = 7")
        (row,) = comfy.rows()  # which would fail, did it wait: the writer does not end
        assert row["seed"] == "1" and comfy.heatmap(row["id"]) == 200
        writer.execute("ROLLBACK")


def test_numbers_that_no_ledger_holds_are_refused(comfy: Comfy) -> None:
    comfy.save(1)
    routes = comfy.pack("nodes.choosing.ledger_routes")
    huge = str(1 << 70)
    for answer, request in (
        (routes.library_pictures.heatmap, SimpleNamespace(match_info={"id": huge}, if_none_match=None)),
        (routes.rows, SimpleNamespace(query={"after": f"[1, {huge}]"})),
        (routes.rows, SimpleNamespace(query={"after": "[1, 1e400]"})),
    ):
        assert asyncio.run(routes._in_words(answer)(request)).status == 400


def test_an_image_that_somebody_shows_is_rejected_once_it_is_closed(
    comfy: Comfy, tmp_path: Path, each_desk: Desk | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if each_desk is None or not each_desk.is_windows:
        pytest.skip("elsewhere, what is open can be moved")
    monkeypatch.setattr(comfy.pack("uncertainty.storage.in_use"), "WAIT_UNTIL_CLOSED", 0.1)
    (name,) = comfy.save(1)
    (row,) = comfy.rows()
    with each_desk.viewing(tmp_path / "output" / name):
        for answer in (comfy.move("reject", row["id"]), comfy.judge(row["id"], stars=3)):
            (failed,) = answer["failed"]
            assert failed["reason"] == f"{name} is open in another program, or write-protected: close it there, and try again."
    assert comfy.rows() == [row]
    assert comfy.move("reject", row["id"])["done"] == [row["id"]]
    assert comfy.rows()[0]["away"] and comfy.rows()[0]["state"] == "rejected"
