"""Nothing is lost when servers are killed or share a ledger, when disks are full or read-only, or when the browser leaves."""

import asyncio
import io
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from PIL import Image

from bad_input import GROUND, SAMPLER, SUBJECTS
from dev.client import Graph, PromptFailed, get, make, run, view
from dev.server import ComfyServer
from patience import until
from small_disk import mounted, needs_mount, resize
from uncertainty.storage import tensor_files
from uncertainty.storage.ledger import Ledger, Query
from uncertainty.storage.ledger_file import LedgerFile

SAVED = 2  # images a run
PREFIX = "faults/image"


def saving(seed: int) -> Graph:
    """Sample, save the images and their map, and add to a calibration."""
    graph = {name: GROUND[name] for name in ("model", "positive", "negative", "latent", "images")}
    graph["sampler"] = make("UncertaintyKSampler", **SAMPLER | {"seed": seed})
    graph["saved"] = make("UncertaintySaveImage", **SUBJECTS["UncertaintySaveImage"] | {"filename_prefix": PREFIX})
    graph["map"] = make("UncertaintyMapSave", uncertainty=["sampler", 1], filename_prefix="faults/map")
    graph["calibration"] = make("UncertaintyCalibrate", uncertainty=["sampler", 1], name="faults", percentile=95.0)
    return graph


def keep_running(url: str, seeds: Iterable[int]) -> None:
    """Run one graph after the other."""
    for seed in seeds:
        run(url, saving(seed))


def server(base: Path, name: str = "server") -> ComfyServer:
    """A server that works in this folder."""
    return ComfyServer(base=base, log=base / f"{name}.log")


def ledger(base: Path) -> Ledger:
    """The ledger of a base folder."""
    return Ledger(base / "user" / "uncertainty" / "ledger.sqlite3")


def check(base: Path) -> int:
    """Check that every file is complete and every row of the ledger has its file; returns the number of images."""
    output = base / "output"
    pictures = sorted((output / "faults").glob("*.png"))
    for path in pictures:
        with Image.open(path) as image:
            image.load()
            assert image.size == (32, 32)
    for path in (output / "faults").glob("*.safetensors"):
        tensor_files.load_map(path)
    calibration = output / "uncertainty" / "faults.safetensors"
    if calibration.exists():
        assert tensor_files.load_calibration(calibration).count % SAVED == 0
    rows = ledger(base).page(Query(), limit=1000).images if ledger(base).path.exists() else []
    names = [entry.file for entry in rows]
    assert len(set(names)) == len(names) and all((output / str(name)).is_file() for name in names)
    return len(pictures)


def test_a_killed_server_leaves_whole_files_and_goes_on(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    draw = np.random.default_rng(1)
    seeds, images = count(1), 0
    for _ in range(12 if request.config.getoption("--long") else 2):
        with server(tmp_path) as running:
            run(running.url, saving(next(seeds)))
            found = check(tmp_path)
            assert found >= images + SAVED
            images = found
            kill = threading.Timer(draw.uniform(0.2, 2.0), lambda: os.killpg(running.process_id, signal.SIGKILL))
            kill.start()
            with pytest.raises((PromptFailed, aiohttp.ClientError, ConnectionError)):
                keep_running(running.url, seeds)
        assert check(tmp_path) >= images
    with server(tmp_path) as running:
        run(running.url, saving(next(seeds)))
    assert check(tmp_path) > images


def test_two_servers_share_a_ledger(tmp_path: Path) -> None:
    """Both use the same base folder, each with its own file name prefix."""
    runs = 6
    failures: list[BaseException] = []

    def work(url: str, first: int) -> None:
        try:
            for seed in range(first, first + runs):
                graph = saving(seed)
                graph["saved"]["inputs"]["filename_prefix"] = f"faults/{first}"
                del graph["map"], graph["calibration"]
                run(url, graph)
        except BaseException as error:  # reported in the test's thread
            failures.append(error)

    with server(tmp_path, "one") as one, server(tmp_path, "two") as two:
        threads = [threading.Thread(target=work, args=(each.url, first)) for each, first in ((one, 100), (two, 200))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert check(tmp_path) == 2 * runs * SAVED
    assert ledger(tmp_path).page(Query(), limit=1000).total == 2 * runs * SAVED


def test_a_browser_that_goes_away_stops_nothing(server: ComfyServer) -> None:
    async def queue_and_leave() -> str:
        async with aiohttp.ClientSession(base_url=server.url) as session:
            async with session.ws_connect("/ws", params={"clientId": "gone"}, max_msg_size=0) as socket:
                async with session.post("/prompt", json={"prompt": saving(301), "client_id": "gone"}) as response:
                    number = (await response.json())["prompt_id"]
                await socket.receive()
            return str(number)

    number = asyncio.run(queue_and_leave())
    history = partial(get, server.url, f"/history/{number}")
    until(lambda: number.encode() in history(), alive=lambda: server._process.poll() is None)
    assert b'"status_str": "success"' in history()
    assert run(server.url, saving(302))["saved"]["images"]


@pytest.fixture(scope="module")
def on_a_small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A server whose output folder is a small disk."""
    base = tmp_path_factory.mktemp("small disk")
    with mounted(base / "output", "size=1m"), server(base) as running:
        yield running


@needs_mount
def test_a_full_disk_is_told_and_leaves_no_half_files(on_a_small_disk: ComfyServer) -> None:
    base, output = on_a_small_disk.base, on_a_small_disk.base / "output"
    with pytest.raises(PromptFailed, match="No space left on device"):
        keep_running(on_a_small_disk.url, range(80))
    assert check(base) >= SAVED
    assert not list(output.rglob("*.part"))
    images = check(base)
    resize(output, "size=8m")
    run(on_a_small_disk.url, saving(99))
    assert check(base) >= images + SAVED


@needs_mount
def test_a_read_only_folder_is_told(on_a_small_disk: ComfyServer) -> None:
    base, output = on_a_small_disk.base, on_a_small_disk.base / "output"
    resize(output, "size=8m")
    before = check(base)
    run(on_a_small_disk.url, saving(201))
    resize(output, "ro")
    with pytest.raises(PromptFailed, match="Read-only file system"):
        run(on_a_small_disk.url, saving(202))
    assert check(base) == before + SAVED
    resize(output, "rw")
    run(on_a_small_disk.url, saving(203))
    assert check(base) == before + 2 * SAVED


def test_a_locked_ledger_costs_no_image(server: ComfyServer) -> None:
    def keep(seed: int) -> set[str]:
        images = run(server.url, saving(seed))["saved"]["images"]
        assert all(Image.open(io.BytesIO(view(server.url, image))).size == (32, 32) for image in images)
        return {f"{image['subfolder']}/{image['filename']}" for image in images}

    recorded = keep(311)
    said = len(server.log.read_text())
    with LedgerFile(ledger(server.base).path).writing():
        unrecorded = keep(312)
    assert "scores were not recorded" in server.log.read_text()[said:]
    recorded |= keep(313)
    assert (len(recorded), len(unrecorded)) == (2 * SAVED, SAVED)
    known = {entry.file for entry in ledger(server.base).page(Query(), limit=1000).images}
    assert recorded <= known and not unrecorded & known
