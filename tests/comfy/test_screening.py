"""Steered sampling of the screening: what an arm does not change stays bit for bit, and what it changes has the stated size."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from testbed import prompts

PROMPT = prompts.Prompt("choosing", "plain", "cat face", ("cat face",), "", ("cat", "face"))
HEART = prompts.Prompt("choosing", "plain", "heart", ("red heart",), "", ("heart",))
CFG = 3.0


@pytest.fixture(scope="module")
def screening(comfy_pack: ModuleType) -> ModuleType:
    """The module, which can be imported once ComfyUI can."""
    import testbed.screening

    return testbed.screening


@pytest.fixture(autouse=True)
def gradients() -> Iterator[None]:
    """The screening differentiates, so it runs outside inference mode."""
    with torch.inference_mode(False):
        yield


@pytest.fixture(scope="module")
def sampling(screening: ModuleType) -> Any:
    """The demo model, an image at a time."""
    from demo import model

    with torch.inference_mode(False):
        return screening.Sampling(model.WEIGHTS, "noise prediction", 1, CFG)


@pytest.fixture
def run(screening: ModuleType, sampling: Any) -> Callable[..., tuple[Tensor, dict[str, Any]]]:
    """Samples with an arm that has these fields."""
    return lambda **fields: sampling(screening.Arm(**({"name": "arm"} | fields)), PROMPT)


@pytest.fixture
def plain(run: Callable[..., tuple[Tensor, dict[str, Any]]], screening: ModuleType) -> Tensor:
    """The unguided image."""
    return run(name=screening.BASE)[0]


def empty(guider: Any, step: int, x: Tensor, measured: Any) -> Tensor:
    return torch.zeros_like(x[:, :1], dtype=torch.bool)


def test_the_unguided_arm_is_comfyuis(sampling: Any, screening: ModuleType, plain: Tensor) -> None:
    import comfy.samplers

    positive, negative = (sampling.clip.encode_from_tokens_scheduled(sampling.clip.tokenize(text)) for text in (PROMPT.text, ""))
    guider = comfy.samplers.CFGGuider(sampling.model)
    guider.set_conds(positive, negative)
    guider.set_cfg(CFG)
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(PROMPT.seed))
    sigmas = comfy.samplers.calculate_sigmas(sampling.model.get_model_object("model_sampling"), "normal", screening.STEPS)
    sampler = comfy.samplers.sampler_object("euler")
    with torch.no_grad():
        latent = guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True, seed=PROMPT.seed)
        assert torch.equal(sampling.vae.decode(latent).movedim(-1, 1).clamp(0, 1), plain)


def test_an_empty_region_changes_nothing(run: Callable[..., Any], screening: ModuleType, plain: Tensor) -> None:
    images, noted = run(restart=screening.Restart(6, 3, empty))
    assert torch.equal(images, plain)
    assert noted["evaluations"] == screening.STEPS + 6 - 3 + 1 + 2 * 5
    before, after = noted["scores"]
    assert list(before) == list(after)
    assert all(values == pytest.approx(after[name], rel=1e-4) and len(values) == 1 for name, values in before.items())


def test_the_rest_is_on_its_path_when_the_region_is_back(screening: ModuleType, sampling: Any) -> None:
    """At the end of the restart, outside the region, latents are those that the unguided run had at this step."""
    low, high = 8, 4
    seen: list[Tensor] = []

    def left(guider: Any, step: int, x: Tensor, measured: Any) -> Tensor:
        region = empty(guider, step, x, measured)
        region[..., :32] = True
        return region

    class Watching:
        first = screening.STEPS

        def __call__(self, guider: Any, step: int, x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
            seen.append(x.clone())
            return denoised

    guider = sampling._guider(Watching(), screening.Start(), PROMPT)
    sampling._sample(guider, screening.Arm("arm", restart=screening.Restart(low, high, left)), PROMPT.seed)
    back = low + 1 + low - high  # the call after the steps before, and those of the restart
    for again, call in enumerate(range(low + 1, back + 1), start=high):
        assert torch.equal(seen[call][..., 32:], seen[again][..., 32:])
        assert not torch.equal(seen[call][..., :32], seen[again][..., :32])


@pytest.mark.parametrize("quantity", ["score_variance", "denoised_variance"])
def test_every_update_has_the_stated_size(quantity: str, screening: ModuleType, sampling: Any) -> None:
    changes: list[Tensor] = []

    class Compared(screening.Guidance):
        def __call__(self, guider: Any, step: int, x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
            guided = super().__call__(guider, step, x, sigma, denoised)
            if step in self.steps:
                changes.append((guided - denoised) / sigma.reshape(-1, 1, 1, 1))
            return guided

    for size in (-0.5, 0.5):
        guider = sampling._guider(Compared(range(3, 5), quantity, size, 90.0), screening.Start(), PROMPT)
        sampling._sample(guider, screening.Arm("arm"), PROMPT.seed)
    for change in changes:
        chosen = change != 0
        assert float(chosen.float().mean()) == pytest.approx(0.1, abs=0.001)
        torch.testing.assert_close(change[chosen].square().mean().sqrt(), torch.tensor(0.5), rtol=1e-3, atol=0)
    torch.testing.assert_close(changes[0], -changes[2], rtol=1e-4, atol=1e-5)  # the same first call


def test_a_start_that_is_not_computed_again_gives_the_same_image(screening: ModuleType, sampling: Any, plain: Tensor) -> None:
    guidance = {"steps": range(4, 6), "quantity": "denoised_variance", "size": -1.0}
    arm = screening.Arm("arm", guidance)
    images, noted = sampling(arm, PROMPT)
    whole = sampling._guider(arm.steering(), screening.Start(), PROMPT)
    assert torch.equal(sampling._sample(whole, arm, PROMPT.seed), images) and not torch.equal(images, plain)
    assert noted["evaluations"] == whole.evaluations == 20 + 2 * 5 * 4


def test_a_screening_resumes(screening: ModuleType, sampling: Any, tmp_path: Path) -> None:
    arms = [screening.Arm(screening.BASE), screening.Arm("SG-prev 1", self_guidance=1.0)]
    screening.draw(sampling, arms[:1], [PROMPT], tmp_path)
    screening.draw(sampling, arms, [PROMPT, HEART], tmp_path)
    screening.draw(sampling, arms, [PROMPT, HEART], tmp_path)
    units = [json.loads(line) for line in (tmp_path / "units.jsonl").read_text().splitlines()]
    assert [(unit["prompt"], unit["arm"]) for unit in units] == [
        (prompt.text, arm.name) for prompt in (PROMPT, HEART) for arm in arms
    ]
    files = [screening.file_of(tmp_path, arm.name, prompt, 0) for arm in arms for prompt in (PROMPT, HEART)]
    assert all(file.is_file() for file in files)
    assert files[0].read_bytes() != files[2].read_bytes()
