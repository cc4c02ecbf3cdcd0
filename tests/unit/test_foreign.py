"""What somebody else wrote: JSON of any depth and size, fields of other kinds, and names that are no regular files."""

import base64
import io
import json
import os
import re
import socket
import sqlite3
import struct
import sys
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load_file, save_file

from effort import calls, decoded, seconds
from made_maps import made
from uncertainty.calibration import Calibration
from uncertainty.images import heatmaps
from uncertainty.maps import UncertaintyMap
from uncertainty.settings import SETTINGS, check_settings, in_words
from uncertainty.storage import foreign, picture_entry, tensor_files
from uncertainty.storage.ledger import Ledger
from uncertainty.storage.ledger_query import Query
from uncertainty_runs import command_line

DEEP = 100_000
MILLION = 1_000_000
MOST_JSON = "[" + "0," * (foreign.MOST_VALUES - 3) + "0]"  # the most values that are read
BAD_JSON = {
    "deep lists": ("[" * DEEP + "]" * DEEP, "nested more than 32 levels"),
    "deep objects": ('{"a":' * DEEP + "1" + "}" * DEEP, "nested more than 32 levels"),
    "unclosed": ("[" * DEEP, "nested more than 32 levels"),
    "only closed": ("]" * MILLION, "more than 200000 values"),
    "many values": ("[" + "0," * MILLION + "0]", "more than 200000 values"),
    "many texts": ("[" + '"",' * MILLION + '""]', "more than 200000 values"),
    "long": ('"' + "a" * foreign.MOST_CHARACTERS + '"', "characters long"),
    "a large integer": (str(10**400), "a number of 401 digits"),
    "a large number": ("[1e400]", "not finite"),
    "NaN": ("NaN", "not finite"),
    "infinity": ("[-Infinity]", "not finite"),
    "half a surrogate pair": ('{"a": "\\ud800"}', "surrogate"),
    "half a surrogate pair as a name": ('{"\\udfff": 1}', "surrogate"),
    "a quotation mark too many": ('"' + '\\"' * MILLION, "Unterminated"),
    "backslashes": ('"' + "\\\\" * MILLION, "Unterminated"),
    "no JSON": ("{", "Expecting"),
    "no UTF-8": (b'"\xff"', "decode"),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_json_is_refused_in_words_and_at_once(name: str) -> None:
    text, words = BAD_JSON[name]

    def refuse() -> None:
        with pytest.raises(ValueError, match=words):
            foreign.parsed(text)

    assert seconds(refuse) < 10 * seconds(lambda: foreign.parsed(MOST_JSON))


def test_a_raised_recursion_limit_changes_nothing() -> None:
    """Other packs raise it; Python's parser then crashes on deep texts."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    try:
        with pytest.raises(ValueError, match="nested"):
            foreign.parsed("[" * DEEP)
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    "value",
    [{"a": [1, -2.5, None, True, "ü 😀 \\ \" [{"]}, "[" * DEEP, {}, ['\\"[[', "\\\\", '\\\\"{'],
     [[[[]]]], 2**64 - 1, -(2**63), 1e308],
    ids=str,
)  # fmt: skip
def test_other_json_is_read_as_it_is(value: object) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert foreign.parsed(text) == foreign.parsed(text.encode()) == value


def header_of(path: Path) -> dict:
    raw = path.read_bytes()
    return json.loads(json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]["uncertainty"])


def with_header(path: Path, entry: str) -> None:
    save_file(load_file(path), path, {"uncertainty": entry})


@pytest.mark.parametrize(
    "entry", ["[" * DEEP, '{"kind": ' + "[" * DEEP, '{"settings": {"a": ' + '{"a":' * DEEP, "[]", "1e400", "NaN"]
)
def test_a_listing_leaves_out_files_with_such_headers(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "map.safetensors"
    tensor_files.save_map(path, made(2))
    with_header(path, entry)
    assert tensor_files.kind_of(path) is None
    with pytest.raises(ValueError, match=r"map\.safetensors is damaged"):
        tensor_files.load_map(path)


def test_long_headers_are_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "map.safetensors"
    size = tensor_files.MOST_HEADER + 1
    path.write_bytes(struct.pack("<Q", size) + b'{"__metadata__": {"uncertainty": "' + b"a" * size)
    assert tensor_files.kind_of(path) is None
    with pytest.raises(ValueError, match=r"map\.safetensors is damaged or of another program: its header claims"):
        tensor_files.load_map(path)


@pytest.fixture(params=["pipe", "device", "folder", "broken link", "link to a device", "socket"])
def special(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes something that is no regular file under a name."""

    def make(name: str) -> Path:
        path = tmp_path / name
        if request.param == "pipe":
            os.mkfifo(path)
        elif request.param == "device":
            path.symlink_to("/dev/tty")
        elif request.param == "folder":
            path.mkdir()
        elif request.param == "broken link":
            path.symlink_to(tmp_path / "gone")
        elif request.param == "link to a device":
            path.symlink_to("/dev/zero")
        else:
            monkeypatch.chdir(tmp_path)  # the names of sockets are short
            with closing(socket.socket(socket.AF_UNIX)) as bound:
                bound.bind(name)
        return path

    return make


def test_only_regular_files_are_opened(special: Callable[[str], Path]) -> None:
    """A pipe would be waited for until somebody writes to it."""
    path = special("map.safetensors")
    assert tensor_files.kind_of(path) is None
    for load in (tensor_files.load_map, tensor_files.load_calibration, tensor_files.load_thresholds):
        with pytest.raises(OSError, match=r"^map\.safetensors does not exist, or is not a regular file\.$"):
            load(path)
    picture = special("image.png")
    for read in (picture_entry.read, picture_entry.read_map):
        with pytest.raises(OSError, match=r"^image\.png does not exist, or is not a regular file\.$"):
            read(picture)


def save(path: Path, entry: str, compressed: bool = False) -> None:
    about = PngInfo()
    about.add_text(picture_entry.ENTRY, entry, zip=compressed)
    Image.new("RGB", (8, 8)).save(path, pnginfo=about)


def changed_entry(**changed: object) -> str:
    return json.dumps({**json.loads(picture_entry.entry(made(1), 0)), **changed})


HUGE = changed_entry(place=77).replace("77", str(10**400))
BAD_ENTRIES = {
    "deep": changed_entry()[:-1] + ', "x": ' + "[" * DEEP,
    "a huge place": HUGE,
    "a huge score": changed_entry(scores={"denoised_variance": [77, 0]}).replace("77", str(10**400)),
    "a large score": changed_entry(scores={"denoised_variance": [1e39, 0]}),
    "an infinite score": changed_entry(scores={"denoised_variance": [float("inf"), 0]}),
    "a score of three parts": changed_entry(scores={"denoised_variance": [1, 0, 0]}),
    "a score that is no list": changed_entry(scores={"denoised_variance": 1}),
    "a score that is true": changed_entry(scores={"denoised_variance": [True, False]}),
    "a score that is a text": changed_entry(scores={"denoised_variance": ["1", "0"]}),
    "no scores": changed_entry(scores=None),
    "a list as fingerprint": changed_entry(fingerprint=["a"]),
    "an object as fingerprint": changed_entry(fingerprint={}),
    "half a pair as fingerprint": changed_entry(fingerprint="\ud800"),
    "a long fingerprint": changed_entry(fingerprint="a" * 10_000),
    "escape sequences as model": changed_entry(model="\x1b[2J"),
    "a list as model": changed_entry(model=[]),
    "a seed that is a text": changed_entry(seed="1"),
    "a broken seed": changed_entry(seed=1.5),
    "a seed beyond 64 bits": changed_entry(seed=2**64),
    "a place that is true": changed_entry(place=True),
    "a negative place": changed_entry(place=-1),
    "a version that is a text": changed_entry(version="1"),
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_a_bad_entry_costs_its_picture(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in range(2):
        save(tmp_path / f"good {place}.png", picture_entry.entry(made(2), place))
    save(tmp_path / "bad.png", BAD_ENTRIES[name])
    monkeypatch.setattr(sys, "argv", ["uncertainty", "rank", str(tmp_path)])
    command_line.main()
    told = capsys.readouterr()
    assert told.out.count(" of 2 ") == 2
    assert "left out: bad.png has a damaged entry" in told.err


def test_text_that_unpacks_to_gigabytes_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    save(path, " " * 300_000_000, compressed=True)
    assert path.stat().st_size < MILLION
    with pytest.raises(ValueError, match=r"bomb\.png is damaged"):
        picture_entry.read(path)


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("place", [b"IDAT", b"IEND"])
def test_a_million_chunks_are_not_gone_through(tmp_path: Path, place: bytes) -> None:
    """Neither in the file, before the pixels, nor anywhere in the map inside it."""
    path = tmp_path / "x.png"
    save(path, picture_entry.entry(made(1), 0))
    many = chunk(b"tEXt", b"a\0") * MILLION
    inside = base64.b64decode(bomb(8)).replace(chunk(place, b"")[:8], many + chunk(place, b"")[:8]) if place == b"IEND" else b""
    if inside:
        save(path, changed_entry(map={"png": base64.b64encode(inside).decode()}))
    else:
        raw = path.read_bytes()
        path.write_bytes(raw[: raw.index(b"IDAT") - 4] + many + raw[raw.index(b"IDAT") - 4 :])

    def refuse() -> None:
        with pytest.raises(ValueError, match=r"x\.png .*more than 10000 chunks"):
            picture_entry.read_map(path)

    assert calls(refuse) < MILLION / 10


def test_rank_goes_past_what_is_no_file(
    tmp_path: Path, special: Callable[[str], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "good.png", picture_entry.entry(made(1), 0))
    special("special.png")
    monkeypatch.setattr(sys, "argv", ["uncertainty", "rank", str(tmp_path)])
    command_line.main()
    assert re.findall(r"^\S+\.png", capsys.readouterr().out, re.MULTILINE) == ["good.png"]


def bomb(side: int) -> str:
    data = io.BytesIO()
    Image.new("L", (side, side)).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def test_a_map_of_claimed_gigapixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    save(tmp_path / "x.png", changed_entry(map={"png": bomb(13_000)}))
    with decoded() as sizes, pytest.raises(ValueError, match=r"x\.png has a damaged entry .*13000 x 13000 pixels"):
        picture_entry.read_map(tmp_path / "x.png")
    assert sizes == []


def test_a_large_map_is_shown_smaller(tmp_path: Path) -> None:
    save(tmp_path / "x.png", changed_entry(map={"png": bomb(3000)}))
    with decoded() as sizes:
        small = picture_entry.read_map(tmp_path / "x.png")
    assert small is not None and small.shape == (750, 750)
    assert sizes == [(3000, 3000)]


def test_what_is_written_can_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(picture_entry, "MOST_PIXELS", 7)
    save(tmp_path / "x.png", picture_entry.entry(made(1), 0))
    small = picture_entry.read_map(tmp_path / "x.png")
    assert small is not None and small.shape == (2, 2)


BAD_SETTINGS = {
    "cfg": ["7", True, [7], 10**400, {}],
    "seed": ["1", 1.5, 2**64, -(2**63) - 1, [], True],
    "model": [["a"], 7, "a" * 2000, "a\nb", "\x1b[31m", None],
    "sampler": [3, "a\0b"],
    "steps": ["4", 4.5, -1, True],
    "total_steps": ["4", -1, None],
    "window": [0.5, [0.5], [0.5, 0.6, 0.7], ["a", "b"], {}],
    "sigmas": [1.0, ["a"], [[1.0]]],
    "evaluations": [[], {"a": "b"}, 3],
    "sampler_options": [[], {"a": []}],
    "strength": ["1", None],
    "guided_by": [{}, ["a"], [{"strength": {}}], [{"window": ["a"]}]],
    "prompt": [3, {"a": 1}],
    "pack_version": [1, []],
}
CASES = [(name, value) for name, values in BAD_SETTINGS.items() for value in values]


def with_setting(images: int, name: str, value: object) -> UncertaintyMap:
    measured = made(images)
    return replace(measured, settings={**measured.settings, name: value})


@pytest.mark.parametrize(("name", "value"), CASES, ids=lambda part: str(part)[:20])
def test_a_file_with_an_impossible_setting_is_refused(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "map.safetensors"
    measured = made(2)
    calibration = Calibration.like(measured).add(measured)
    for save_file_of, load, content in (
        (tensor_files.save_map, tensor_files.load_map, measured),
        (tensor_files.save_calibration, tensor_files.load_calibration, calibration),
        (tensor_files.save_thresholds, tensor_files.load_thresholds, calibration.thresholds(95)),
    ):
        save_file_of(path, content)
        header = header_of(path)
        with_header(path, json.dumps({**header, "settings": {**header["settings"], name: value}}))
        words = "number of 401 digits" if value == 10**400 else rf"setting {name} must be"
        with pytest.raises(ValueError, match=rf"map\.safetensors is damaged \(.*{words}"):
            load(path)
    with pytest.raises(ValueError, match="setting"):  # what cannot be read is not written
        tensor_files.save_map(path, with_setting(2, name, value))


@pytest.mark.parametrize(
    "value", [10**30, float("nan"), "\ud800", {"\udfff": 1}, [[[]]] * 100_000], ids=lambda value: str(value)[:20]
)
def test_what_could_not_be_read_is_not_written(tmp_path: Path, value: object) -> None:
    """Other packs' guiders may have any attributes."""
    path = tmp_path / "map.safetensors"
    with pytest.raises(ValueError, match="the map cannot be saved, because it could not be read again"):
        tensor_files.save_map(path, made(1, something=value))
    assert not path.exists()


@pytest.mark.parametrize(("name", "value"), [case for case in CASES if case[1] != 10**400], ids=lambda part: str(part)[:20])
def test_a_ledger_that_holds_an_impossible_setting_is_still_listed(tmp_path: Path, name: str, value: object) -> None:
    """Earlier versions recorded such maps."""
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.record(made(2, 1), ["a.png", "b.png"])
    ledger.record(with_setting(1, name, value), ["c.png"])
    assert sorted(image.file or "" for image in ledger.page(Query()).images) == ["a.png", "b.png", "c.png"]
    groups = ledger.groups()
    assert sum(count for _, _, count in groups) == 3
    assert all(in_words(settings) for _, settings, _ in groups)


@pytest.mark.parametrize(
    "stored", ["", "{", "[]", "[" * DEEP, '{"cfg": NaN}', '{"cfg": "7", "model": 3, "latent shape": "ab"}', b"\xff"]
)
def test_settings_that_are_damaged_cost_their_label(tmp_path: Path, stored: str | bytes) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.record(made(2, 1), ["a.png", "b.png"])
    bad = ledger.record(made(1, 2, sampler="heun"), ["c.png"])
    with closing(sqlite3.connect(ledger.path)) as connection, connection:
        connection.execute("UPDATE settings SET settings = ? WHERE fingerprint = ?", (stored, bad))
    assert [(in_words(settings), count) for _, settings, count in ledger.groups()] == [
        ("SD15, euler, latent 4×4", 2),
        ("unknown model", 1),
    ]


@pytest.mark.parametrize(
    ("column", "value"),
    [("seed", "abc"), ("seed", b"\x01"), ("seed", 7.5), ("place", "x"), ("created", "yesterday"), ("prompt_digest", b"\xff"),
     ("score_variance", "high"), ("score_variance_error", b"\0"), ("fingerprint", "gone"), ("fingerprint", b"\xff\xfe"),
     ("digest", b"\xff")],
)  # fmt: skip
def test_a_damaged_row_costs_what_is_damaged(tmp_path: Path, column: str, value: object) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.record(made(3), ["a.png", "b.png", "c.png"])
    with closing(sqlite3.connect(ledger.path)) as connection, connection:
        connection.execute(f"UPDATE images SET {column} = ? WHERE file = 'b.png'", (value,))  # noqa: S608
    images = ledger.page(Query()).images
    assert sorted(image.file or "" for image in images) == ["a.png", "b.png", "c.png"]
    for image in images:
        assert image.seed is None or isinstance(image.seed, int)
        json.dumps([image.created, image.place, image.score("score_variance"), image.model], allow_nan=False)


def test_every_declared_setting_of_a_run_is_possible() -> None:
    check_settings({"model": "SD15 abc", "cfg": 7, "seed": -1, "window": (0.9, 0.98), "evaluations": {"probes": 20}})
    assert {setting.name for setting in SETTINGS} >= set(BAD_SETTINGS)


def damaged(**changed: object) -> UncertaintyMap:
    return replace(made(2), **changed)


def many(*shape: int) -> dict[str, object]:
    quantity = {"denoised_variance": torch.zeros(shape)}
    return {"quantities": quantity, "standard_errors": {"denoised_variance": torch.zeros(shape[:2])}, "places": (), "stars": ()}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sigmas": torch.tensor([torch.nan])}, "sigmas must be finite"),
        ({"sigmas": torch.tensor([torch.inf])}, "sigmas must be finite"),
        ({"sigmas": torch.tensor([1], dtype=torch.int64)}, "sigmas must be float32"),
        ({"mask": torch.full((2, 1, 4, 4), torch.nan)}, "mask must be finite"),
        ({"mask": torch.ones(2, 1, 4, 4, dtype=torch.bool)}, "mask must be float32"),
        ({"total_steps": 10**9}, "total_steps"),
        (many(1, 20_000, 1, 1, 1) | {"settings": {}}, "at most 10000 steps and 10000 images"),
        (many(1, 2, 1) | {"settings": {}}, "1 to 3 axes"),
        (many(1, 2, 1, 1, 1, 1, 1) | {"settings": {}}, "1 to 3 axes"),
        (many(1, 2, 0, 4, 4), "not empty"),
        ({"quantities": {"denoised_variance": torch.zeros(1, 2, 2, 4, 4, dtype=torch.float64)}}, "must be float32"),
        ({"steps": (3, 1), **many(2, 2, 2, 4, 4), "sigmas": torch.ones(2)}, "steps must rise"),
    ],
    ids=str,
)  # fmt: skip
def test_a_map_that_no_run_makes_is_refused(
    tmp_path: Path, changed: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.safetensors"
    measured = damaged(**changed)
    with pytest.raises(ValueError, match=words):
        tensor_files.save_map(path, measured)
    check = tensor_files._check_map
    monkeypatch.setattr(tensor_files, "_check_map", lambda measured: None)
    tensor_files.save_map(path, measured)
    monkeypatch.setattr(tensor_files, "_check_map", check)
    with pytest.raises(ValueError, match=rf"map\.safetensors is damaged \(.*{words}"):
        tensor_files.load_map(path)


@pytest.mark.parametrize("low", [-3.4e38, 0.0, 3.4e38])
def test_the_largest_values_are_drawn(low: float) -> None:
    values = torch.full((2, 4, 4), low)
    values[:, 0] = 3.4e38
    assert bool(heatmaps.colorize(heatmaps.normalize(values, "batch"), "magma").isfinite().all())
