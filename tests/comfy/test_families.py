"""Maps, scores and guidance of every model family, in ComfyUI's own classes at toy size."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from families import FAMILIES, LATER
from joint_graph import joint_gradient
from real_models import Loaded, Sampling

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    return request.param


@pytest.fixture(scope="module")
def loaded(family: str, pack: Callable[[str], ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """The family's model, built once and dropped after its tests."""
    from comfyui_version import __version__

    if FAMILIES[family].later and tuple(map(int, __version__.split(".")[:2])) < LATER:
        pytest.skip(f"was run from ComfyUI {LATER[0]}.{LATER[1]} on; this is {__version__}")
    with torch.inference_mode():
        return FAMILIES[family].load(tmp_path_factory.mktemp("weights"))


def test_measuring(family: str, loaded: Loaded, sampling: Sampling) -> None:
    latent, found, scores = sampling.node(loaded)
    assert torch.equal(latent["samples"], sampling.plain(loaded))
    assert found.steps == (2, 3)
    assert found.values.shape == (2, 2, *FAMILIES[family].latent)
    for values in found.quantities.values():
        assert torch.isfinite(values).all()
        assert values.std() > 0
    assert found.settings["model_family"] == FAMILIES[family].sampling
    assert scores == found.score().value.tolist()


# This one writes sums over its input, which autograd refuses.
OVERWRITING = ("HiDream O1",)


def test_guiding(
    family: str,
    loaded: Loaded,
    sampling: Sampling,
    pack: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    differentiation = pack("nodes.hook.differentiation")
    exact, differences = differentiation.exact_gradient, []

    def compare(score: Any, probes: Any, *rest: Any) -> torch.Tensor:
        found, joint = exact(score, probes, *rest), joint_gradient(score, probes)
        differences.append(float((found - joint).norm() / joint.norm()))
        return found

    monkeypatch.setattr(differentiation, "exact_gradient", compare)
    latent, _, _ = sampling.node(loaded, strength=1.0)
    assert torch.isfinite(latent["samples"]).all()
    assert not torch.equal(latent["samples"], sampling.plain(loaded))
    if family in OVERWRITING:
        assert "uses forward-only gradients, which are less accurate: part of this model has no backward pass" in caplog.text
        return
    assert len(differences) == 2
    # Rounding only: at low noise levels an untrained noise-predicting model has almost no gradient.
    assert max(differences) < 1e-3, differences


def test_copies_of_the_batch(family: str, loaded: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType]) -> None:
    """They share a call unless the network mixes the images of a batch: each then gets what it would get alone."""
    attached = pack("nodes.hook.attached")
    joined, apart = [], []

    def twice(executor: Any, x: torch.Tensor, sigma: torch.Tensor, options: dict, seed: int) -> torch.Tensor:
        alone = executor(x, sigma, options, seed)
        joined.append(attached.joins_copies(executor.class_obj, options, len(x)))
        together = executor.original(x.repeat(2, *[1] * (x.ndim - 1)), sigma.repeat(2), options, seed)
        apart.append(float((together - torch.cat([alone, alone])).abs().max() / alone.std()))
        return alone

    model = loaded.model.clone()
    model.add_wrapper_with_key("predict_noise", "test", twice)
    sampling.plain(replace(loaded, model=model))
    mixes = FAMILIES[family].config in attached.MIXING
    assert joined == [not mixes] * 5
    assert max(apart) > 1e-5 if mixes else max(apart) < 1e-5, apart


def test_the_documentation_lists_what_is_tested() -> None:
    rows = [
        line.split(" | ")
        for line in (ROOT / "docs" / "families.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    listed = {row[0].strip("| "): row[1:] for row in rows}
    for name, family in FAMILIES.items():
        shape = "×".join(map(str, family.latent))
        loaded = f"file, `{family.loader}`" if family.loader else "built"
        guidance = "forward-only" if name in OVERWRITING else "yes"
        row = [f"`{family.config}`", family.sampling, shape, loaded, "yes", f"{guidance} |"]
        assert listed[f"{name} †" if family.later else name] == row, name
    for text in ("README.md", "docs/method.md"):
        assert f"{len(FAMILIES)} families and variants" in (ROOT / text).read_text(encoding="utf-8")
