"""Faults at every point of a measured and guided run: the state is restored, and the next run gives the same result."""

import math
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from limited_model import AMPLE, free_memory
from real_models import Loaded, Sampling

OutOfMemory = torch.cuda.OutOfMemoryError
MODELS = ("sd15", "flux")
# The short run tests every twelfth place that allocates memory; `make soak` tests all.
EVERY = 12


class Broken(Exception):
    """Another pack's hook fails."""


@dataclass(frozen=True)
class State:
    """What a run may not change: weights and buffers, hooks of modules and of the model, and torch's modes."""

    tensors: dict[str, tuple[int, float]]
    attached: dict[str, tuple]
    patcher: str
    modes: tuple[bool, bool]

    @classmethod
    def of(cls, loaded: Loaded) -> "State":
        """Read the state of a model."""
        model = loaded.model.model
        hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        return cls(
            {name: (id(value), float(value.double().sum())) for name, value in _tensors(model)},
            {
                name: ("forward" in vars(module), module.training, *(len(getattr(module, each)) for each in hooks))
                for name, module in model.named_modules()
            },
            repr((loaded.model.wrappers, loaded.model.callbacks, sorted(loaded.model.model_options["transformer_options"]))),
            (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        )


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def faulty(loaded: Loaded, happens: Callable[[int], object]) -> Any:
    """The model with another pack's hook, which calls ``happens`` with the number of each call."""
    calls = 0

    def forward(apply: Callable, args: dict) -> Tensor:
        nonlocal calls
        calls += 1
        happens(calls)
        return apply(args["input"], args["timestep"], **args["c"])

    model = loaded.model.clone()
    model.set_model_unet_function_wrapper(forward)
    return model


def _break(wanted: int) -> Callable[[int], None]:
    def happens(call: int) -> None:
        if call == wanted:
            raise Broken

    return happens


def _interrupt(wanted: int) -> Callable[[int], None]:
    import comfy.model_management

    return lambda call: comfy.model_management.interrupt_current_processing(True) if call == wanted else None


@pytest.mark.parametrize("gradient", ["exact", "exact, kept", "forward_only"])
@pytest.mark.parametrize("fault", ["interrupt", "exception"])
@pytest.mark.parametrize("name", MODELS)
def test_a_fault_at_every_call_of_the_model(
    name: str,
    fault: str,
    gradient: str,
    loaded_models: dict[str, Loaded],
    sampling: Sampling,
    pack: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import comfy.model_management

    loaded, (way, *kept) = loaded_models[name], gradient.split(", ")
    free_memory(monkeypatch, AMPLE)
    if not kept:
        monkeypatch.setattr(pack("nodes.hook.differentiation"), "GRAPH_MEMORY", math.inf)
    options = pack("uncertainty.options").Options(max_batch=1, gradient=way)  # one probe a call: faults between any two

    def run(happens: Callable[[int], object]) -> Tensor:
        latent, found, _ = sampling.node(loaded, model=faulty(loaded, happens), strength=1.0, options=options)
        return torch.cat([latent["samples"].flatten(), found.values.flatten()])

    calls = 0

    def count(call: int) -> None:
        nonlocal calls
        calls = call

    expected, before = run(count), State.of(loaded)
    assert calls > (10 if kept else 15)
    happens = {"interrupt": _interrupt, "exception": _break}[fault]
    error = {"interrupt": comfy.model_management.InterruptProcessingException, "exception": Broken}[fault]
    # ComfyUI checks for an interrupt during the last call only before the next node.
    for call in range(1, calls if fault == "interrupt" else calls + 1):
        with pytest.raises(error):
            run(happens(call))
        assert State.of(loaded) == before, call
    comfy.model_management.interrupt_current_processing(False)
    assert torch.equal(run(count), expected)


@dataclass
class Memory(TorchDispatchMode):
    """Raises out-of-memory the first time that a given place, in this pack or in a model that it calls, allocates memory.

    Args:
        folders: folders with the pack's code.
        fails_at: the place; None only records all places.
    """

    folders: tuple[str, ...]
    fails_at: tuple | None = None
    places: dict[tuple, int] = field(default_factory=dict)
    failed: bool = False

    def __post_init__(self) -> None:
        """Initialise the base class."""
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Watch every operation."""
        takes_memory = any(result.alias_info is None and "Tensor" in str(result.type) for result in func._schema.returns)
        place = self._place(str(func)) if takes_memory and not self.failed else None
        if place is not None:
            self.places[place] = self.places.get(place, 0) + 1
            if place == self.fails_at:
                self.failed = True
                raise OutOfMemory("no memory left, says the test")
        return func(*args, **(kwargs or {}))

    def _place(self, operation: str) -> tuple | None:
        """The operation with the two innermost lines of this pack that led to it; None for operations outside of this pack."""
        lines = []
        frame = sys._getframe(2)
        while frame is not None and len(lines) < 2:
            if frame.f_code.co_filename.startswith(self.folders):
                lines.append((frame.f_code.co_filename.rpartition("/")[2], frame.f_lineno))
            frame = frame.f_back
        return (operation, *lines) if len(lines) == 2 else None


@pytest.mark.parametrize("name", MODELS)
def test_memory_that_runs_out_anywhere(
    name: str,
    loaded_models: dict[str, Loaded],
    sampling: Sampling,
    pack: Callable[[str], Any],
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    loaded = loaded_models[name]
    root = pack("uncertainty").__file__.removesuffix("uncertainty/__init__.py")
    folders = f"{root}nodes/", f"{root}uncertainty/"

    def run(fails_at: tuple | None) -> tuple[Memory, Tensor | None]:
        memory = Memory(folders, fails_at)
        try:
            with memory:
                latent, _, _ = sampling.node(loaded, strength=1.0, options=pack("uncertainty.options").Options())
        except OutOfMemory as error:
            traceback.clear_frames(error.__traceback__)
            return memory, None
        return memory, latent["samples"]

    memory, expected = run(None)
    before = State.of(loaded)
    places = list(memory.places)
    chosen = places if request.config.getoption("--long") else places[::EVERY]
    survived = 0
    for place in chosen:
        memory, latent = run(place)
        assert memory.failed, place
        assert State.of(loaded) == before, place
        if latent is not None:
            survived += 1
            assert torch.isfinite(latent).all(), place
    record_property("places", len(places))
    record_property("tried", len(chosen))
    record_property("survived", survived)
    print(f"{name}: memory ran out at {len(chosen)} of {len(places)} places; {survived} runs went on with less")
    assert survived > 0
    assert expected is not None
    assert torch.equal(run(None)[1], expected)  # type: ignore[arg-type]
