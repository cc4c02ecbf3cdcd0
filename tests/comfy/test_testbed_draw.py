"""The test bed draws what KSampler draws, scores it as the sampler node does, and resumes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from testbed.prompts import Prompt
from uncertainty.quantities import QUANTITIES

PROMPT = Prompt("choosing", "plain", "cat face", ("cat face",), "", ("cat", "face"))
SETTING = ("demo", "noise prediction", 3.0, 4)


@pytest.fixture(scope="module")
def draw(comfy_pack: ModuleType) -> ModuleType:
    """``testbed.draw``, which is a developer's tool and no module of the pack."""
    from testbed import draw

    return draw


@pytest.fixture
def small(draw: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draws two images at a time, of a quarter of the size."""
    monkeypatch.setattr(draw, "IMAGES", 2)
    load = draw.Drawing.load
    monkeypatch.setattr(draw.Drawing, "load", lambda self, *key: replace(load(self, *key), latent=(3, 16, 16)))
    return draw.Drawing()


def test_a_unit_is_ksamplers_images_with_the_nodes_scores(
    small: Any, draw: ModuleType, pack: Callable[[str], ModuleType]
) -> None:
    import nodes as comfy_nodes

    loaded = small.load("demo", "noise prediction")
    images, scores = small.images(loaded, draw.Setting(*SETTING), PROMPT)
    positive, negative = (loaded.clip.encode_from_tokens_scheduled(loaded.clip.tokenize(text)) for text in (PROMPT.text, ""))
    inputs = {
        "model": loaded.model, "seed": PROMPT.seed, "steps": 4, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal",
        "positive": positive, "negative": negative, "denoise": 1.0,
    }  # fmt: skip
    empty = {"samples": torch.zeros(2, 3, 16, 16)}
    plain = comfy_nodes.common_ksampler(**inputs, latent=empty)[0]["samples"]
    assert torch.equal(images, (loaded.vae.decode(plain).clamp(0, 1) * 255).round().byte())

    node = pack("nodes.sampling.ksampler").UncertaintyKSampler
    measured = {"samples": draw.SAMPLES, "strength": 0.0, "percentile": 95.0, "window_start": 0.75, "window_end": 1.0}
    _, found, _ = node.execute(**inputs, latent_image=empty, **measured).args
    assert found.steps == (3,) == (draw.measured_steps(4)[-1],)
    for name in found.quantities:
        assert torch.equal(scores[f"{name}@0.85"], found.score(name).value)
    assert torch.equal(scores["drift"], found.score("drift").value)
    assert {name.partition("@")[0] for name in scores} >= {*QUANTITIES, "mc_dropout", "paper_score", "cfg_rejection"}


def test_without_cfg_what_needs_it_is_left_out(small: Any, draw: ModuleType) -> None:
    _, scores = small.images(small.load("demo", "rectified flow"), draw.Setting("demo", "rectified flow", 1.0, 4), PROMPT)
    assert "cfg_rejection" not in scores and "mc_dropout" in scores


def test_a_stopped_command_resumes_and_other_weights_start_anew(
    small: Any, draw: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = draw.Setting(*SETTING)
    asked = [PROMPT, replace(PROMPT, text="dog face")]
    assert [prompt.text for _, prompt, _ in draw.draw([setting], asked[:1], tmp_path)] == ["cat face"]
    path = draw.unit_path(tmp_path, setting, PROMPT)
    before = path.read_bytes()
    assert [prompt.text for _, prompt, _ in draw.draw([setting], asked, tmp_path)] == ["dog face"]
    assert list(draw.draw([setting], asked, tmp_path)) == [] and path.read_bytes() == before
    with np.load(path) as unit:
        assert unit["images"].shape == (2, 16, 16, 3) and unit["score denoised_variance@0.3"].shape == (2,)

    load = draw.Drawing.load
    monkeypatch.setattr(draw.Drawing, "load", lambda self, *key: replace(load(self, *key), digest="other"))
    assert len(list(draw.draw([setting], asked, tmp_path))) == 2


@pytest.mark.parametrize(("steps", "measured"), [(20, [6, 11, 17]), (8, [2, 4, 6]), (50, [15, 27, 42])])
def test_measured_steps(steps: int, measured: list[int], draw: ModuleType) -> None:
    assert draw.measured_steps(steps) == measured
