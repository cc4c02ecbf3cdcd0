"""The baseline prompt_information in a sampling run."""

from functools import partial
from typing import Any

from torch import Tensor

from ....uncertainty.baselines import prompt_information
from ....uncertainty.probes import packed_noise, score_probes_both
from ..model_call import Call, stream
from ..transfer import sent
from .summed_score import SummedScore

PROMPTS = ("positive", "negative")
_STREAM = 0x696E666F  # keeps its probes independent of those of the map


class PromptInformation(SummedScore):
    """How much better the prompt explains the image, x̂0 of a late step, than the negative prompt does."""

    name = prompt_information.BASELINE.name

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Select its step, whatever the window; raise ValueError for a guider without a positive and a negative prompt."""
        self.schedule = schedule
        image = prompt_information.image_step(len(schedule) - 1)
        self.steps = range(image, image + 1)
        if not set(PROMPTS) <= set(guider.conds):
            raise ValueError(
                f"prompt_information compares a positive with a negative prompt, but {type(guider).__name__} has "
                f"{', '.join(guider.conds) or 'none'}: use CFGGuider, or turn prompt_information off."
            )

    def measure(self, call: Call) -> Tensor:
        """Map of the information in M probes of the image, noised to an earlier level."""
        early = prompt_information.level_step(call.step, len(self.schedule) - 1)
        levels = self.schedule[early].expand_as(call.levels)
        level, sigma = call.noising(levels), sent(levels.to(call.sigma.dtype), call.x.device)
        seed = stream(self.settings.seed, _STREAM)
        noise = packed_noise(call.parts, self.settings.samples, seed, early, 0, call.images, orthogonally=True)
        perturbed = level.noised(call.denoised, sent(noise, call.x.device))
        prompted, unprompted = score_probes_both(partial(call.denoised_under, PROMPTS), perturbed, sigma, call.probes_per_call)
        return call.parts.each(prompt_information.information, prompted, unprompted, call.denoised, mask=call.mask)
