"""Apple's graphics processors have no float64: outside the drawing of probes on the processor, the pack makes no such tensor.

Nor does it call operators that torch once lacked there.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from real_models import Loaded, Sampling

# Operators that older versions of torch lack there: https://github.com/pytorch/pytorch/issues/77764.
LACKING = {torch.ops.aten.kthvalue}


class Forbidden(Exception):
    """The device has no such thing."""


class WithoutDoubles(TorchDispatchMode):
    """Refuses what such a device refuses."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at an operation and what it returns."""
        if func.overloadpacket in LACKING:
            raise Forbidden(f"{func} does not run there")
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and tensor.dtype in (torch.float64, torch.complex128):
                raise Forbidden(f"{func} made {tensor.dtype}")
        return made


@pytest.fixture
def as_on_mps(pack: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the hook does after a model call runs without float64, except for the model itself and the drawing on the processor.

    Gives a list of the calls that ran so.
    """
    hook, probes = pack("nodes.hook.sampling_hook"), pack("uncertainty.probes")
    ran: list[str] = []

    def on_the_processor(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with _disable_current_modes():
                return function(*args, **kwargs)

        return call

    def on_the_device(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            ran.append(function.__name__)
            with WithoutDoubles():
                return function(*args, **kwargs)

        return call

    for kind, name in ((hook.UncertaintyRun, "_handle"), (pack("nodes.hook.run_maps").RunMaps, "of_run")):
        monkeypatch.setattr(kind, name, on_the_device(getattr(kind, name)))
    monkeypatch.setattr(probes, "orthogonal", on_the_processor(probes.orthogonal))
    monkeypatch.setattr(torch.nn.Module, "__call__", on_the_processor(torch.nn.Module.__call__))
    return ran


CASES: dict[str, dict[str, Any]] = {
    "filtered": {},
    "control variate": {"estimator": "control_variate"},
    "paper": {"estimator": "paper"},
    "centered": {"estimator": "centered"},
    "guided exactly": {"strength": 1.0},
    "guided, forward only": {"strength": 1.0, "gradient": "forward_only"},
    "guided by channels": {"strength": 1.0, "mask_scope": "channel", "mask_side": "low", "guided_quantity": "denoised_variance"},
    "conditional": {"score_source": "conditional"},
    "random direction": {"strength": 1.0, "control": "random_direction"},
    "random mask": {"strength": 1.0, "control": "random_mask"},
    "live preview": {"live_preview": True},
    "baselines": {"baselines": ("paper_score", "cfg_rejection", "score_acceleration", "prompt_information")},
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", ["sd15", "sd3"])
def test_nothing_needs_float64(
    family: str,
    case: str,
    masked: bool,
    loaded_models: dict[str, Loaded],
    sampling: Sampling,
    pack: Callable[[str], ModuleType],
    as_on_mps: list[str],
) -> None:
    loaded = loaded_models[family]
    changed = dict(CASES[case])
    strength = changed.pop("strength", 0.0)
    latent = loaded.latent(2)
    if masked:
        latent["noise_mask"] = torch.zeros(1, 1, 8, 8)
        latent["noise_mask"][..., 2:6] = 1
    sampled, found, _ = sampling.node(
        loaded, strength=strength, options=pack("uncertainty.options").Options(**changed), latent_image=latent
    )
    assert torch.isfinite(sampled["samples"]).all()
    assert found.steps == (2, 3)
    assert as_on_mps.count("_handle") >= 2


def test_the_test_notices(loaded_models: dict[str, Loaded], sampling: Sampling, as_on_mps: list[str], pack: Any) -> None:
    with pytest.MonkeyPatch.context() as patched:
        original = pack("nodes.hook.measurement").estimate
        patched.setattr(
            pack("nodes.hook.measurement"),
            "estimate",
            lambda *args, **kwargs: (torch.zeros(1).double(), original(*args, **kwargs))[1],
        )
        _, found, _ = sampling.node(loaded_models["sd15"])
    assert "made torch.float64" in found.message
