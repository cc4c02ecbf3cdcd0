"""Maps, scores and guidance of every model family, in ComfyUI's own classes at toy size."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from families import FAMILIES
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


def test_guiding(
    family: str,
    loaded: Loaded,
    sampling: Sampling,
    pack: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
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
    assert len(differences) == 2
    # Rounding only: at low noise levels an untrained noise-predicting model has almost no gradient.
    assert max(differences) < 1e-3, differences


def test_the_documentation_lists_what_is_tested() -> None:
    rows = [line.split(" | ") for line in (ROOT / "docs" / "families.md").read_text().splitlines() if line.startswith("| ")]
    listed = {row[0].strip("| "): row[1:4] for row in rows}
    for name, family in FAMILIES.items():
        shape = "×".join(map(str, family.latent))
        assert listed[name] == [f"`{family.config}`", family.sampling, f"{shape}"], name
