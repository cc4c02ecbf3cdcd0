"""Test situations for benchmarks: the trained models at some steps of real sampling runs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import comfy.sampler_helpers
import comfy.samplers
import comfy.utils
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

import nodes
from demo import model as demo
from demo.report import PROMPTS
from uncertainty.noising import Noising, from_noise_scaling
from uncertainty.probes import Probes, orthogonal, score_probes

from . import latent_model

MODELS = ("pixel", "latent")
STEPS = 50
CFG = 3.0
PROBES_PER_CALL = 32


@dataclass
class Situation:
    """One image at one step: its latent x (1, C, h, w), the model's noise prediction there, and ``score(x, sigma)``."""

    prompt: str
    step: int
    x: Tensor
    sigma: Tensor
    center: Tensor
    noising: Noising
    score: Callable[[Tensor, Tensor], Tensor]

    def noise(self, *count: int, seed: int) -> Tensor:
        """Probe noise (*count, C, h, w), which depends only on this situation and the seed."""
        rng = torch.Generator().manual_seed(hash_of(self.prompt, self.step, seed))
        return torch.randn(*count, *self.x.shape[1:], generator=rng)

    def orthogonal_probes(self, samples: int, draws: int, *, seed: int) -> Probes:
        """Scored orthogonal probes in independent draws."""
        return self.probes(torch.stack([orthogonal(n) for n in self.noise(draws, samples, seed=seed)], 1), is_orthogonal=True)

    def probes(self, noise: Tensor, *, is_orthogonal: bool = False) -> Probes:
        """Scored probes in independent draws, from noise (M, draws, C, h, w). The draws take the place of images."""
        draws = noise.shape[1]
        center, sigma = self.center.expand(draws, *self.x.shape[1:]), self.sigma.expand(draws)
        noising = Noising(self.noising.a.expand(draws), self.noising.b.expand(draws))
        perturbed = noising.renoise(self.x, center, noise)
        calls = max(1, PROBES_PER_CALL // draws)
        scores = score_probes(self.score, perturbed, sigma, calls)
        return Probes(noise, scores, perturbed, center, noising, sigma, is_orthogonal)


def hash_of(*parts: Any) -> int:
    """A seed that depends on all parts and is the same in every process."""
    import zlib

    return zlib.crc32(repr(parts).encode())


def load(name: str, dtype: torch.dtype = torch.float32) -> tuple[Any, Any, tuple[int, ...]]:
    """Patcher, text encoder and latent shape of a trained model, with weights in the given precision."""
    model, clip, _ = demo.load() if name == "pixel" else latent_model.load()
    network = model.model.diffusion_model
    network.to(dtype)
    network.dtype = dtype
    return model, clip, (3, 64, 64) if name == "pixel" else latent_model.LATENT


def encode(clip: Any, text: str) -> list:
    """Conditioning of a prompt."""
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def visit(model: Any, clip: Any, shape: tuple[int, ...], images: int, steps: tuple[int, ...]) -> Iterator[list[Situation]]:
    """Sample one image for each of the first prompts (Euler, scheduler "normal") and record the given steps.

    Yields:
        the situations of one image, which are valid until the next image is requested.
    """
    comfy.utils.set_progress_bar_enabled(False)

    for index, prompt in enumerate(PROMPTS[:images]):
        reached: dict[int, tuple[Tensor, Tensor]] = {}

        def remember(executor: Any, x: Tensor, timestep: Tensor, *rest: Any, reached: dict = reached) -> Tensor:
            reached[len(reached)] = (x.clone(), timestep.clone())
            return executor(x, timestep, *rest)

        clone = model.clone()
        clone.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "situations", remember)
        latent = {"samples": torch.zeros(1, *shape)}
        nodes.common_ksampler(clone, 100 + index, STEPS, CFG, "euler", "normal", encode(clip, prompt), encode(clip, ""), latent)
        yield [situation(model, clip, prompt, step, *reached[step]) for step in steps]


def situation(model: Any, clip: Any, prompt: str, step: int, x: Tensor, sigma: Tensor) -> Situation:
    """The situation of a model at one latent x (1, C, h, w) and step."""
    base = model.model
    positive, negative = encode(clip, prompt), encode(clip, "")
    model.pre_run()  # sampling has cleaned the model up after use
    device = x.device

    def conditioning(entries: list) -> list:
        processed = comfy.samplers.process_conds(
            base, x, {"c": comfy.sampler_helpers.convert_cond(entries)}, device, latent_image=torch.zeros_like(x), seed=0
        )
        return processed["c"]

    conds = [conditioning(positive), conditioning(negative)]

    def noising(level: Tensor) -> Noising:
        return from_noise_scaling(base.model_sampling.noise_scaling, level)

    def score(z: Tensor, level: Tensor) -> Tensor:
        options = {"transformer_options": {}}
        denoised = comfy.samplers.sampling_function(base, z, level, conds[1], conds[0], CFG, options, 0)
        return noising(level).noise_prediction(z, denoised.float())

    level = sigma.float().expand(1)
    return Situation(prompt, step, x, level, score(x, level), noising(level), score)
