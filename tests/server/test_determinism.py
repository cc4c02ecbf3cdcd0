"""The same seed gives the same image and map bit for bit, independent of earlier runs, previews and restarts."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bad_input import GROUND, OPTIONS, SAMPLER
from dev.client import Graph, make, run, view
from dev.server import ComfyServer
from uncertainty.quantities import PROBED
from uncertainty.storage import tensor_files

Result = tuple[np.ndarray, dict[str, np.ndarray]]


def graph(strength: float, **options: object) -> Graph:
    """Sample two images and save them and their map."""
    found = {name: GROUND[name] for name in ("model", "positive", "negative", "latent", "images")}
    found["options"] = make("UncertaintyOptions", **OPTIONS | options)
    found["sampler"] = make("UncertaintyKSampler", **SAMPLER | {"seed": 77, "strength": strength, "options": ["options", 0]})
    found["saved"] = make("SaveImage", images=["images", 0], filename_prefix="same/image")
    found["map"] = make("UncertaintyMapSave", uncertainty=["sampler", 1], filename_prefix="same/map")
    return found


def result(server: ComfyServer, queued: Graph, folder: Path) -> Result:
    """Pixels and maps of a run. A run with another seed goes first, so that ComfyUI's cache holds no results."""
    other = graph(0.0)
    other["sampler"]["inputs"]["seed"] = 78
    run(server.url, other)
    outputs = run(server.url, queued)
    pictures = [np.asarray(Image.open(io.BytesIO(view(server.url, file)))) for file in outputs["saved"]["images"]]
    path = folder / "map.safetensors"
    path.write_bytes(view(server.url, outputs["map"]["files"][0]))
    found = tensor_files.load_map(path)
    return np.stack(pictures), {name: found.quantities[name].numpy() for name in PROBED}


def check_equal(one: Result, other: Result) -> None:
    """Check that two results are equal bit for bit."""
    assert np.array_equal(one[0], other[0])
    assert all(one[1][name].tobytes() == other[1][name].tobytes() for name in PROBED)


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A second server, as after a restart."""
    base = tmp_path_factory.mktemp("restarted")
    with ComfyServer(base=base, log=base / "server.log") as running:
        yield running


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_whatever_is_around_it_and_after_a_restart(
    strength: float, server: ComfyServer, again: ComfyServer, tmp_path: Path
) -> None:
    first = result(server, graph(strength), tmp_path)
    check_equal(result(server, graph(strength), tmp_path), first)
    check_equal(result(server, graph(strength, live_preview=True), tmp_path), first)
    between = graph(strength)
    between["preview"] = make(
        "UncertaintyMapPreview", uncertainty=["sampler", 1], images=["images", 0], quantity="score_variance", step=-1,
        colormap="magma", opacity=0.5, normalize="image",
    )  # fmt: skip
    between["noise"] = make("KSampler", **{name: SAMPLER[name] for name in _stock()})
    between["other"] = make("SaveLatent", samples=["noise", 0], filename_prefix="same/other")
    check_equal(result(server, between, tmp_path), first)
    check_equal(result(again, graph(strength), tmp_path), first)


def test_batches_of_probes_round_alike(server: ComfyServer, tmp_path: Path) -> None:
    """Batches of other sizes may use other kernels, so maps agree to float32 rounding. Images are equal bit for bit."""
    first, other = (result(server, graph(0.0, max_batch=size), tmp_path) for size in (0, 1))
    assert np.array_equal(first[0], other[0])
    for name in PROBED:
        np.testing.assert_allclose(first[1][name], other[1][name], rtol=1e-3, atol=1e-5)


def _stock() -> list[str]:
    names = ("model", "seed", "steps", "cfg", "sampler_name", "scheduler", "positive", "negative", "latent_image", "denoise")
    return list(names)
