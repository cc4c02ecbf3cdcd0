"""Files and requests from elsewhere at the nodes and routes: what is deep, large or no file costs nobody else anything."""

import asyncio
import base64
import inspect
import io
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load_file, save_file

from desks import Desk
from effort import decoded, seconds
from made_maps import made

DEEP = 100_000
MEGABYTE = 1_000_000

Pack = Callable[[str], ModuleType]


@pytest.fixture
def folders(pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that lists files, with folders of this test."""
    module = pack("nodes.folders")
    for kind in ("input", "output"):
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(module.folder_paths, f"get_{kind}_directory", lambda kind=kind: str(tmp_path / kind))
    return module


def test_one_file_cannot_hide_the_others(folders: ModuleType, pack: Pack, tmp_path: Path) -> None:
    files, place = pack("uncertainty.storage.tensor_files"), tmp_path / "input"
    files.save_map(place / "good.safetensors", pack("uncertainty.maps").UncertaintyMap(**vars(made(2))))
    tensors = load_file(place / "good.safetensors")
    entries = {"deep": "[" * DEEP, "kinds": '{"kind": ["map"], "version": 1}', "true": '{"kind": "map", "version": true}'}
    for name, entry in entries.items():
        save_file(tensors, place / f"{name}.safetensors", {"uncertainty": entry})
    os.mkfifo(place / "pipe.safetensors")
    (place / "folder.safetensors").mkdir()
    (place / "gone.safetensors").symlink_to(tmp_path / "gone")
    (place / "zero.safetensors").symlink_to("/dev/zero")
    (place / "loop").symlink_to(place)
    (place / "long.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{")
    assert folders.file_input("map").options == ["good.safetensors"]
    assert folders.file_input("thresholds").options == []
    for name in ("x" * 300, "x" * 5000, "a\0b", "pipe.safetensors", "zero.safetensors", "folder.safetensors"):
        with pytest.raises(ValueError, match="is not in ComfyUI's folders"):
            folders.located(name)


def test_folders_may_lie_deeper_than_python_recurses(folders: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "input" / ("deeper/" * 300)).mkdir(parents=True)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 200)
    try:
        assert folders.file_input("map").options == []
    finally:
        sys.setrecursionlimit(limit)


@pytest.fixture
def routes(pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The sidebar's routes over a ledger of this test with three images, one of which was read from a bad file."""
    module = pack("nodes.choosing.ledger_routes")
    ledger = pack("uncertainty.storage.ledger").Ledger(tmp_path / "ledger.sqlite3")
    monkeypatch.setattr(module.ledger_access, "ledger", lambda: ledger)
    monkeypatch.setattr(module.ledger_access, "output", lambda: tmp_path)
    ledger.record(made(2), ["a.png", "b.png"])
    ledger.record(made(1, 1, cfg="7", model=["x"], prompt={}), ["c.png"])
    return module


def answered(routes: ModuleType, answer: Any, **request: Any) -> tuple[int, Any]:
    """Status code and content of an answer."""
    response = asyncio.run(routes._in_words(answer)(SimpleNamespace(**{"query": {}, "if_none_match": None, **request})))
    return response.status, json.loads(response.body) if response.content_type == "application/json" else response.body


def test_a_bad_map_in_the_ledger_costs_its_label(routes: ModuleType) -> None:
    status, told = answered(routes, routes.models)
    assert status == 200
    assert [(group["images"], group["label"]) for group in told["models"]] == [
        (2, "SD15, euler, latent 4×4"),
        (1, "unknown model, euler, latent 4×4"),
    ]
    status, told = answered(routes, routes.rows)
    assert status == 200 and {row["file"]["filename"] for row in told["rows"]} == {"a.png", "b.png", "c.png"}


@pytest.mark.parametrize("file", ["x" * 300 + ".png", "a/" * 3000 + "b.png", "a\0b.png"])
def test_a_name_that_no_file_can_have_costs_its_row(routes: ModuleType, file: str) -> None:
    ledger = routes.ledger_access.ledger()
    first = ledger.find([1])[0]
    ledger.change(first.id, file=file)
    status, told = answered(routes, routes.rows)
    assert status == 200
    assert {row["file"]["filename"] for row in told["rows"]} >= {"b.png", "c.png"}


@pytest.mark.parametrize(
    "cursor", ["[" * 8000, "[" * 50, '{"a": 1}', "[1]", "[1, 2, 3]", "[true, 1]", '["1", "1"]', "[NaN, 1]", "[1, -1]", "[1, 1.5]",
     "[1, true]", "9" * 190],
    ids=lambda cursor: cursor[:12],
)  # fmt: skip
def test_a_bad_cursor_is_named(routes: ModuleType, cursor: str) -> None:
    status, told = answered(routes, routes.rows, query={"after": cursor})
    assert status == 400 and told["error"].startswith("after must be the cursor of a next page")
    assert len(told["error"]) < 300


@pytest.mark.parametrize("given", ["9" * 5000, str(2**63), "-1", "²"])
@pytest.mark.parametrize("picture", ["heatmap", "thumbnail"])
def test_a_bad_id_is_named(routes: ModuleType, given: str, picture: str) -> None:
    status, told = answered(routes, getattr(routes.library_pictures, picture), match_info={"id": given})
    assert status == 400 and told["error"].startswith("id must be")


def stamp(routes: ModuleType, path: Path) -> None:
    """Make a file the one of its row."""
    about = path.stat()
    with closing(sqlite3.connect(routes.ledger_access.ledger().path)) as connection, connection:
        connection.execute(
            "UPDATE images SET size = ?, modified = ? WHERE file = ?", (about.st_size, about.st_mtime_ns, path.name)
        )


def with_map(path: Path, entry: str, side: int) -> None:
    """A picture whose map has this side length."""
    data, about = io.BytesIO(), PngInfo()
    Image.new("L", (side, side)).save(data, "PNG")
    about.add_text("uncertainty", json.dumps({**json.loads(entry), "map": {"png": base64.b64encode(data.getvalue()).decode()}}))
    Image.new("RGB", (8, 8)).save(path, pnginfo=about)


def test_a_heatmap_of_gigabytes_is_refused_before_it_is_decoded(routes: ModuleType, pack: Pack, tmp_path: Path) -> None:
    entry = pack("uncertainty.storage.picture_entry").entry(made(1), 0)
    with_map(tmp_path / "a.png", entry, 13_000)
    stamp(routes, tmp_path / "a.png")
    with decoded() as sizes:
        status, told = answered(routes, routes.library_pictures.heatmap, match_info={"id": "1"})
    assert status == 400 and "13000 x 13000 pixels" in told["error"]
    assert sizes == []
    with_map(tmp_path / "b.png", entry, 4000)
    stamp(routes, tmp_path / "b.png")
    with decoded() as sizes:
        status, picture = answered(routes, routes.library_pictures.heatmap, match_info={"id": "2"})
    assert sizes == [(4000, 4000)]
    assert status == 200 and Image.open(io.BytesIO(picture)).size == (1000, 1000)


def no_picture(path: Path, kind: str) -> None:
    """Something of that name that is no picture, or no good one."""
    if kind == "deep":
        about = PngInfo()
        about.add_text("uncertainty", "[" * DEEP)
        Image.new("RGB", (8, 8)).save(path, pnginfo=about)
    elif kind == "text":
        path.write_text("no picture")
    elif kind == "half":
        Image.effect_noise((400, 400), 50).save(path)
        path.write_bytes(path.read_bytes()[:9000])
    elif kind == "bomb":
        Image.new("1", (20_000, 20_000)).save(path)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


@pytest.mark.parametrize(
    ("picture", "kind", "expected"),
    [
        ("heatmap", "deep", 400),
        ("heatmap", "pipe", 404),
        ("heatmap", "folder", 404),
        ("thumbnail", "text", 400),
        ("thumbnail", "half", 404),
        ("thumbnail", "bomb", 400),
        ("thumbnail", "pipe", 404),
        ("thumbnail", "folder", 404),
    ],
)
def test_a_picture_of_no_picture_is_refused(routes: ModuleType, tmp_path: Path, picture: str, kind: str, expected: int) -> None:
    path = tmp_path / "a.png"
    no_picture(path, kind)
    stamp(routes, path)
    status, told = answered(routes, getattr(routes.library_pictures, picture), match_info={"id": "1"})
    assert status == expected
    assert "a.png" in told["error"] and str(tmp_path) not in told["error"]


def asked(routes: ModuleType, ask: Callable[[TestClient], Awaitable[Any]]) -> tuple[Any, int]:
    """What a client gets from a server as ComfyUI's, which takes bodies of 100 MB, and the bytes of the body that came before."""
    received: list[int] = []

    answer = routes._in_words(routes._acting(routes.hand_verdicts.reject))

    async def noted(request: web.Request) -> web.StreamResponse:
        response = await answer(request)
        received.append(request.content.total_bytes)
        return response

    async def run() -> Any:
        app = web.Application(client_max_size=100 * MEGABYTE)
        app.router.add_post("/reject", noted)
        async with TestClient(TestServer(app)) as client:
            return await ask(client)

    return asyncio.run(run()), *received


async def post(client: TestClient | ClientSession, body: Any) -> tuple[int, str]:
    async with client.post("/reject", data=body, headers={"Content-Type": "application/json"}) as response:
        return response.status, (await response.json())["error"]


@pytest.mark.parametrize(
    "body", ["[" * DEEP, '{"ids": ' + "[" * DEEP, '{"ids": [1e400]}',
             '{"ids": [' + "9" * 5000 + "]}", '{"ids": [18446744073709551616]}',
             '{"ids": NaN}', '{"ids": [1.0]}', '{"ids": [-1]}',
             '{"ids": ' + str([1] * 5001) + "}", b'{"ids": ["\xff"]}', "", "null", "[1]"],
    ids=lambda body: str(body[:20]),
)  # fmt: skip
def test_a_bad_body_is_named(routes: ModuleType, body: str | bytes) -> None:
    (status, error), _ = asked(routes, lambda client: post(client, body))
    assert status == 400 and "ids" in error and len(error) < 300


def test_the_largest_valid_body_is_read(routes: ModuleType) -> None:
    async def ask(client: TestClient) -> tuple[int, int]:
        async with client.post("/reject", json={"ids": [2**63 - 1 - number for number in range(5000)]}) as response:
            return response.status, len((await response.json())["failed"])

    assert asked(routes, ask)[0] == (200, 5000)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_many_megabytes_is_refused_before_it_is_read(routes: ModuleType, chunked: bool) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(98):
            yield b"1," * (MEGABYTE // 2)

    async def ask(client: TestClient) -> int:
        body = parts() if chunked else b'{"ids": [' + b"1," * (49 * MEGABYTE)
        try:
            status, _ = await post(client, body)
        except ConnectionError:  # it sent on after the answer
            status = 413
        return status

    status, received = asked(routes, ask)
    assert status == 413 and received < MEGABYTE


def test_images_are_saved_whatever_their_map_says(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The map of another pack may hold what no ledger takes; the images are written by then."""
    access = pack("nodes.choosing.ledger_access")
    ledger = pack("uncertainty.storage.ledger").Ledger(tmp_path / "ledger.sqlite3")
    monkeypatch.setattr(access, "ledger", lambda: ledger)
    monkeypatch.setattr(access, "output", lambda: tmp_path)
    for name in (*(f"{number}.png" for number in range(7)), "odd.png", "\udcff.png"):
        (tmp_path / name).touch()
    for number, (name, value) in enumerate(
        [
            ("seed", 2**70),
            ("seed", -(2**70)),
            ("seed", "x"),
            ("seed", []),
            ("model", "\ud800"),
            ("prompt", "\udfff"),
            ("prompt", {}),
        ]
    ):
        measured = made(1, number)
        access.record(type(measured)(**{**vars(measured), "settings": {**measured.settings, name: value}}), [f"{number}.png"])
    assert ledger.state()[0] == 7 and not caplog.records
    for odd in ({"guider_options": object()}, {"cfg": torch.ones(1)}):
        access.record(made(1, 99, **odd), ["odd.png"])
    access.record(made(1, 100), ["\udcff.png"])
    assert [record.message.partition(":")[0] for record in caplog.records] == ["scores were not recorded"] * 3


class Views:
    """Runs of views with files of a given size, in a folder of the test."""

    def __init__(self, module: ModuleType, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.module, self.patch, self.folder, self.number = module, patch, folder / module.FOLDER, 0

    def write(self, size: int, prompt: str | None = None) -> str:
        """One run of two files in a prompt."""
        executing = None if prompt is None else SimpleNamespace(prompt_id=prompt)
        self.patch.setattr(self.module, "get_executing_context", lambda: executing)
        stem = self.module.new_stem("map")
        for part in ("_0", ""):
            self.number += 1
            path = self.folder / f"{stem}{part}.png"
            path.write_bytes(bytes(size // 2))
            os.utime(path, (self.number, self.number))
        self.module.forget_old_runs()
        return stem

    @property
    def stems(self) -> set[str]:
        return {path.name.partition(".")[0] for path in self.folder.iterdir() if "_0." not in path.name}

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir())


@pytest.fixture
def views(pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Views:
    module = pack("nodes.view_files")
    monkeypatch.setattr(module.folder_paths, "get_temp_directory", lambda: str(tmp_path))
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    return Views(module, monkeypatch, tmp_path)


def test_a_file_of_a_view_that_is_being_sent_is_deleted_later(views: Views, windows: Desk) -> None:
    sent = views.write(900)
    with windows.viewing(views.folder / f"{sent}_0.png"):
        assert views.write(900) in views.stems and (views.folder / f"{sent}_0.png").exists()
    last = views.write(900)
    assert views.stems == {last} and views.size == 900


def test_files_of_views_are_bounded_by_bytes(views: Views) -> None:
    stems = []
    for _ in range(10):
        stems.append(views.write(300))
        assert views.size <= 1000
    assert views.stems == set(stems[-3:])


def test_the_newest_run_is_kept_whole(views: Views) -> None:
    views.write(300)
    large = views.write(5000)
    assert views.stems == {large} and views.size == 5000
    small = views.write(10)
    assert views.stems == {small}


def test_the_views_of_one_prompt_are_kept_together(views: Views) -> None:
    before = views.write(400, "first")
    shown = [views.write(700, "second") for _ in range(3)]
    assert before not in views.stems and views.stems == set(shown)
    last = views.write(700, "third")
    assert views.stems == {last}


def test_what_is_no_file_of_a_view_is_left_alone(views: Views) -> None:
    views.write(10)
    (views.folder / "mine.png").write_bytes(bytes(5000))
    (views.folder / "map_0123456789ab.png").mkdir()
    os.utime(views.folder / "map_0123456789ab.png", (0, 0))
    views.write(990)
    views.write(990)
    assert (views.folder / "mine.png").is_file() and (views.folder / "map_0123456789ab.png").is_dir()


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\0.png", "\udcff" * 200 + ".png"])
def test_a_name_that_no_file_can_have_is_not_there(pack: Pack, name: str) -> None:
    answer = pack("nodes.view_route").temporary(SimpleNamespace(match_info={"name": name}))
    assert asyncio.run(answer).status == 204


def test_a_large_map_is_enlarged_less(pack: Pack) -> None:
    size = pack("nodes.looking.map_preview").image_size
    assert size(torch.empty(1, 1024, 1024)) == (8192, 8192) and size(torch.empty(9, 64, 96)) == (512, 768)
    for height, width in ((1, 2**26), (4096, 4096), (3000, 1)):
        tall, wide = size(torch.empty(1, 1, 1).expand(1, height, width))
        assert tall * wide <= max(2**26, height * width)


def test_thousands_of_steps_take_linear_time(pack: Pack) -> None:
    per_step = pack("uncertainty.images.steps_plot").per_step

    def cost(steps: int) -> float:
        values = {"denoised_variance": torch.rand(steps, 1, 1, 2, 2)}
        errors = {"denoised_variance": torch.zeros(steps, 1)}
        measured = pack("uncertainty.maps").UncertaintyMap(values, errors, tuple(range(steps)), steps, torch.ones(steps))
        return seconds(lambda: per_step(measured, "denoised_variance"), 3)

    assert cost(16_000) < 2 * 8 * cost(2000)
