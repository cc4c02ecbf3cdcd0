"""The settings that a map stores about its run: what each means, which values it has, and what depends on it.

Calibrations, fingerprints, the sidebar and the views all read these declarations. A setting that is not declared here, such as
one from a later version, counts as ``compared``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .gradients import GUIDED_QUANTITIES
from .kinds import COUNT, NUMBER, SEED, SIMPLE, TEXT, TRUTH, Kind, either, listed, named, shown
from .plain_numbers import canonical


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: key in the settings.
        meaning: a few words of explanation.
        kind: which values it can have.
        compared: whether scores and maps can be compared only if this setting agrees.
        guides: whether it changes the image when guidance is on.
        fraction: whether its numbers may be fractions, so that 3 and 3.0 are the same.
    """

    name: str
    meaning: str
    kind: Kind
    compared: bool = True
    guides: bool = False
    fraction: bool = False


GUIDED = "guided_quantity"
GUIDED_BY = "guided_by"
# Settings of every run that also determine what guidance does.
_PROBING = ("samples", "estimator", "score_source", "window")

SETTINGS = (
    Setting("model", "class of the model and a digest of its weights", TEXT),
    Setting("model_family", "how the model is parameterised", TEXT),
    Setting("part", "which of the latents that were sampled together this is, counted from 0", COUNT),
    Setting("samples", "probes at each recorded step", COUNT),
    Setting("estimator", "how quantities are estimated from the probes", TEXT),
    Setting("score_source", "whose prediction is measured", TEXT),
    Setting("prompted_by", "whose prediction stands for that under the prompt alone, if not the prompt's own", TEXT),
    Setting("window", "part of the schedule that is recorded, from and to", listed(NUMBER, most=2, least=2), fraction=True),
    Setting("steps", "steps asked for", COUNT),
    Setting("total_steps", "steps of the schedule that ran", COUNT),
    Setting("summed_steps", "steps whose maps were added up", listed(COUNT)),
    Setting("sampler", "sampler", TEXT),
    Setting("scheduler", "scheduler", TEXT),
    Setting("cfg", "guidance scale of the prompt", NUMBER, fraction=True),
    Setting("denoise", "part of the schedule that was sampled", NUMBER, fraction=True),
    Setting("start_at_step", "first step of the schedule that was sampled", COUNT),
    Setting("end_at_step", "step of the schedule at which sampling stopped", COUNT),
    Setting("add_noise", "whether noise was added to the latent", TRUTH),
    Setting("return_with_leftover_noise", "whether the noise left at the last step stayed", TRUTH),
    Setting("sampler_options", "options of a custom sampler", named(SIMPLE), fraction=True),
    Setting("guider", "class of the guider", TEXT),
    Setting("guider_options", "options of the guider", named(SIMPLE), fraction=True),
    Setting("sigmas", "noise levels of the schedule", listed(NUMBER), fraction=True),
    Setting("strength", "strength of guidance", NUMBER, compared=False, guides=True, fraction=True),
    Setting("percentile", "percentile above which elements are guided", NUMBER, compared=False, guides=True, fraction=True),
    Setting(GUIDED, "quantity that guides", TEXT, compared=False, guides=True),
    Setting("direction", "direction of guidance", TEXT, compared=False, guides=True),
    Setting("gradient", "how guidance differentiates", TEXT, compared=False, guides=True),
    Setting("mask_scope", "what the percentile is taken over", TEXT, compared=False, guides=True),
    Setting("mask_side", "side of the percentile that is guided", TEXT, compared=False, guides=True),
    Setting("control", "control arm of an experiment", TEXT, compared=False, guides=True),
    Setting(
        GUIDED_BY,
        "settings of guidance by other nodes",
        listed(named(either(SIMPLE, listed(NUMBER)))),
        compared=False,
        fraction=True,
    ),
    Setting("seed", "seed of the noise and the probes", SEED, compared=False),
    Setting("prompt", "digest of the encoded prompts", TEXT, compared=False),
    Setting("quantity", "default quantity", TEXT, compared=False),
    Setting("evaluations", "extra evaluations of the model", named(COUNT), compared=False),
    Setting("sorted_out", "whether the filter sorted these images out", TRUTH, compared=False),
    Setting("pack_version", "version of this pack", TEXT, compared=False),
)

_BY_NAME = {setting.name: setting for setting in SETTINGS}
# The ledger stores these beside the settings.
_OF_THE_MAP = {"latent shape": listed(COUNT), "recorded steps": listed(COUNT)}
GUIDANCE = tuple(setting.name for setting in SETTINGS if setting.guides)


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check settings that come from a file; raise ValueError that names the first declared one with an impossible value."""
    for name, setting in _BY_NAME.items():
        if name in settings:
            setting.kind.check(f"setting {name}", settings[name])


def possible(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that have an impossible value, which an earlier version took from a file unchecked."""
    kinds = {**{name: setting.kind for name, setting in _BY_NAME.items()}, **_OF_THE_MAP}
    return {name: value for name, value in settings.items() if name not in kinds or kinds[name].fits(value)}


def compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that must agree if scores or maps are compared; equal settings in one form."""
    return {name: _canonical(name, value) for name, value in settings.items() if name not in _BY_NAME or _BY_NAME[name].compared}


def of_guidance(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that determine what guidance did to the image, by this run and by others; none if guidance was off."""
    others = {GUIDED_BY: _canonical(GUIDED_BY, settings[GUIDED_BY])} if settings.get(GUIDED_BY) else {}
    if not settings.get("strength"):
        return others
    own = {name: _canonical(name, settings.get(name)) for name in GUIDANCE} | {GUIDED: guided_quantity(settings)}
    return own | others


def guiding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run that determine how it guides."""
    return {name: settings[name] for name in (*_PROBING, *GUIDANCE)}


def _canonical(name: str, value: Any) -> Any:
    return canonical(value, fraction=name in _BY_NAME and _BY_NAME[name].fraction)


def guided_quantity(settings: Mapping[str, Any]) -> str:
    """The quantity that guides. Files of versions that guided by ``score_variance`` alone do not name it."""
    quantity: str = settings.get(GUIDED, GUIDED_QUANTITIES[0])
    return quantity


def check_agreement(before: Mapping[str, Any], now: Mapping[str, Any], complaint: str, when: str) -> None:
    """Raise ValueError that starts with the complaint and names every setting that both have but with different values."""
    wrong = {name: (value, now[name]) for name, value in before.items() if name in now and now[name] != value}
    if wrong:
        listed = "; ".join(f"{name}: {shown(a)} {when}, {shown(b)} now" for name, (a, b) in wrong.items())
        raise ValueError(f"{complaint} ({listed}).")


def parts_in_words(settings: Sequence[Mapping[str, Any]]) -> str:
    """Which latents these are the settings of, one each: parts that were sampled together, or one that was sampled alone."""
    numbers = [each.get("part") for each in settings]
    if numbers == [None]:
        return "one latent alone"
    return f"{'part' if len(numbers) == 1 else 'parts'} {' and '.join(map(str, numbers))}"


def in_words(settings: Mapping[str, Any]) -> str:
    """A short description for the user: model, sampler, steps, CFG, size of the latent. Impossible values are left out."""
    known = possible(settings)
    model = known.get("model", "").partition(" ")[0] or "unknown model"
    parts = [model, known.get("sampler")]
    if "total_steps" in known:
        parts.append(f"{known['total_steps']} steps")
    if "cfg" in known:
        parts.append(f"CFG {known['cfg']:g}")
    if "latent shape" in known:
        parts.append(f"latent {'×'.join(str(side) for side in reversed(known['latent shape'][1:]))}")
    parts.append(f"part {known['part']}" if "part" in known else None)
    parts.append("inpainted" if known.get("masked") else None)
    return ", ".join(part for part in parts if part)
