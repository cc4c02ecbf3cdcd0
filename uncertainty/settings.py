"""The settings that a map stores about its run: what each means, and what depends on it.

Calibrations, fingerprints, the sidebar and the views all read these declarations. A setting that is not declared here, such as
one from a later version, counts as ``compared``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: key in the settings.
        meaning: a few words of explanation.
        compared: whether scores and maps can be compared only if this setting agrees.
        guides: whether it changes the image when guidance is on.
    """

    name: str
    meaning: str
    compared: bool = True
    guides: bool = False


SETTINGS = (
    Setting("model", "class of the model and a digest of its weights"),
    Setting("model_family", "how the model is parameterised"),
    Setting("samples", "probes at each recorded step"),
    Setting("estimator", "how quantities are estimated from the probes"),
    Setting("score_source", "whose prediction is measured"),
    Setting("window", "part of the schedule that is recorded, from and to"),
    Setting("steps", "steps asked for"),
    Setting("total_steps", "steps of the schedule that ran"),
    Setting("summed_steps", "steps whose maps were added up"),
    Setting("sampler", "sampler"),
    Setting("scheduler", "scheduler"),
    Setting("cfg", "guidance scale of the prompt"),
    Setting("denoise", "part of the schedule that was sampled"),
    Setting("sampler_options", "options of a custom sampler"),
    Setting("guider", "class of the guider"),
    Setting("guider_options", "options of the guider"),
    Setting("sigmas", "noise levels of the schedule"),
    Setting("strength", "strength of guidance", compared=False, guides=True),
    Setting("percentile", "percentile above which elements are guided", compared=False, guides=True),
    Setting("direction", "direction of guidance", compared=False, guides=True),
    Setting("gradient", "how guidance differentiates", compared=False, guides=True),
    Setting("mask_scope", "what the percentile is taken over", compared=False, guides=True),
    Setting("mask_side", "side of the percentile that is guided", compared=False, guides=True),
    Setting("control", "control arm of an experiment", compared=False, guides=True),
    Setting("seed", "seed of the noise and the probes", compared=False),
    Setting("prompt", "digest of the encoded prompts", compared=False),
    Setting("quantity", "default quantity", compared=False),
    Setting("max_batch", "latents that went through the model at once", compared=False),
    Setting("evaluations", "extra evaluations of the model", compared=False),
    Setting("pack_version", "version of this pack", compared=False),
)

_BY_NAME = {setting.name: setting for setting in SETTINGS}
GUIDANCE = tuple(setting.name for setting in SETTINGS if setting.guides)


def compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that must agree if scores or maps are compared."""
    return {name: value for name, value in settings.items() if name not in _BY_NAME or _BY_NAME[name].compared}


def of_guidance(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that determine what guidance did to the image; none if guidance was off."""
    return {name: settings.get(name) for name in GUIDANCE} if settings.get("strength") else {}


def check_agreement(before: Mapping[str, Any], now: Mapping[str, Any], complaint: str, when: str) -> None:
    """Raise ValueError that starts with the complaint and names every setting that both have but with different values."""
    wrong = {name: (value, now[name]) for name, value in before.items() if name in now and now[name] != value}
    if wrong:
        listed = "; ".join(f"{name}: {a!r} {when}, {b!r} now" for name, (a, b) in wrong.items())
        raise ValueError(f"{complaint} ({listed}).")


def in_words(settings: Mapping[str, Any]) -> str:
    """A short description for the user: model, sampler, steps, CFG, size of the latent."""
    model = str(settings.get("model", "")).partition(" ")[0] or "unknown model"
    size = "×".join(str(side) for side in reversed((settings.get("latent shape") or [])[1:]))
    parts = [model, settings.get("sampler"), f"{settings.get('total_steps')} steps"]
    if settings.get("cfg") is not None:
        parts.append(f"CFG {settings['cfg']:g}")
    parts += [f"latent {size}", "inpainted" if settings.get("masked") else None]
    return ", ".join(str(part) for part in parts if part)
