"""The parts of ``gpu`` that run inside a ComfyUI: see there. Each writes what it found into a folder."""

import gc
import importlib
import json
import logging
import math
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import comfy.ldm.modules.attention
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.utils
import safetensors.torch
import torch
from torch import Tensor, nn

import nodes as comfy_nodes
from dev.bootstrap import ROOT

from .architectures import ARCHITECTURES, Architecture
from .gpu import FOUND, GIB, PLAIN, TENSORS, WEIGHTS
from .joint_graph import JointGraph
from .outside_calls import PROBES, seconds_outside, timed
from .pack_modules import pack

CFG = 3.0
# SD1.5 at 192 × 192, which a processor draws in a minute.
SMALL = replace(ARCHITECTURES["SD1.5"], latent=(4, 24, 24))
# What is left of the card's memory where little is to be free: less than the weights of SD1.5 in half precision.
LITTLE = 1.5 * GIB
# Width of the pooled prompt, by model.
POOLED = {"SDXL": 1280, "SD3.5 medium": 2048, "Flux.1 dev": 768}
# Seconds that rounds of one model may take; the first round is a warm-up.
ROUNDS_SECONDS = 12.0
MOST_ROUNDS = 5
KEPT, UNKEPT = "guided, exact, graph kept", "guided, exact, one probe at once"


def device() -> torch.device:
    """Where ComfyUI samples."""
    chosen: torch.device = comfy.model_management.get_torch_device()
    return chosen


def prompt(architecture: Architecture, name: str, seed: int) -> Any:
    """A random prompt, as ComfyUI's text encoders return it."""
    rng = torch.Generator().manual_seed(seed)
    text = torch.randn(1, *architecture.text, generator=rng)
    return [[text, {"pooled_output": torch.randn(1, POOLED.get(name, 1), generator=rng)}]]


def randomise(network: nn.Module) -> None:
    """Random weights of a size that keeps activations in range."""
    rng = torch.Generator(next(network.parameters()).device).manual_seed(0)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(1.0 if name.endswith(("weight", "scale")) else 0.0)
        else:
            parameter.normal_(std=parameter[0].numel() ** -0.5, generator=rng)


def unchanged(model: Any) -> Any:
    """The model with nothing attached."""
    return model


@dataclass
class Sampling:
    """Short samplings of one model.

    Attributes:
        model: the model.
        architecture: what it draws.
        name: the model's name.
        steps: number of steps.
        window: which of them are measured, as for a node.
    """

    model: Any
    architecture: Architecture
    name: str
    steps: int
    window: tuple[float, float]

    def __call__(self, attach: Callable[[Any], Any]) -> Tensor:
        """The latent, drawn by the model with something attached."""
        positive, negative = (prompt(self.architecture, self.name, seed) for seed in (1, 2))
        latent = {"samples": torch.zeros(1, *self.architecture.latent)}
        cfg = CFG if self.architecture.halves == 2 else 1.0
        (drawn,) = comfy_nodes.common_ksampler(
            attach(self.model), 1, self.steps, cfg, "euler", "simple", positive, negative, latent
        )
        samples: Tensor = drawn["samples"]
        return samples

    def run(self, strength: float = 0.0, **changed: Any) -> Any:
        """A run of this pack that measures, and guides unless the strength is 0."""
        options, window = pack("uncertainty.options"), pack("uncertainty.window").Window(*self.window)
        settings = options.RunSettings(PROBES, strength, 95.0, window, 1, options.Options(**changed))
        return pack("nodes.hook.sampling_hook").UncertaintyRun(settings, [0], {})


def write_weights(folder: Path) -> None:
    """Write SD1.5 at full width with random weights, in half precision."""
    model = SMALL.build(torch.float16)
    randomise(model.diffusion_model)
    weights = {name: tensor.half().contiguous() for name, tensor in model.diffusion_model.state_dict().items()}
    safetensors.torch.save_file(weights, folder / WEIGHTS)


def agree(folder: Path, compiled: bool = False) -> None:
    """Sample, measure and guide with SD1.5 as this ComfyUI was started; the last of four steps is measured and guided."""
    model = comfy.sd.load_diffusion_model(str(folder.parent / WEIGHTS))
    if compiled:
        (model,) = importlib.import_module("comfy_extras.nodes_torch_compile").TorchCompileModel.execute(model, "inductor").args
    sampling = Sampling(model, SMALL, "SD1.5", 4, (0.75, 1.0))
    runs = {"KSampler": lambda: None, "measuring": sampling.run, "guiding": lambda: sampling.run(50.0)}
    attention = comfy.ldm.modules.attention.optimized_attention.__name__
    found: dict[str, Any] = {"peak": {}, "weights": str(model.model.diffusion_model.dtype), "attention": attention}
    tensors = {}
    for name, make in runs.items():
        run = make()
        with peak_memory(found["peak"], name):
            tensors[name] = sampling(run.attach if run else unchanged).float().cpu()
        if run:
            measured = run.uncertainty_map()
            found["gradient"] = measured.settings["gradient"]
            tensors[f"map of {name}"] = measured.quantities["denoised_variance"]
    found["identical"] = torch.equal(tensors["KSampler"], tensors["measuring"])
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / TENSORS)
    write(folder, found)


def agree_with_little_memory(folder: Path) -> None:
    """The same where most of the card's memory is taken."""
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(max(0, int(free - LITTLE)), dtype=torch.uint8, device=device())
    agree(folder)
    del taken


def agree_compiled(folder: Path) -> None:
    """The same with core's TorchCompileModel."""
    agree(folder, compiled=True)


@contextmanager
def peak_memory(found: dict[str, int], name: str) -> Iterator[None]:
    """Note the most bytes of tensors on the card that come up within this context."""
    if device().type != "cuda":
        yield
        return
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    try:
        yield
    finally:
        found[name] = torch.cuda.max_memory_allocated() - before


def synchronisations(folder: Path) -> None:
    """Where the host waits for the card in a measured and in a guided step, by line of the pack."""
    sampling = Sampling(comfy.sd.load_diffusion_model(str(folder.parent / WEIGHTS)), SMALL, "SD1.5", 4, (0.5, 0.75))
    found = {}
    for name, strength, kept in (
        ("measuring", 0.0, "sum"),
        ("measuring, every step", 0.0, "every_step"),
        ("guiding", 1.0, "sum"),
    ):
        sampling(sampling.run(strength, keep_maps=kept).attach)
        counts = [_waits(sampling, window, strength, kept) for window in ((0.5, 0.75), (0.25, 1.0))]
        lines = sorted({line for count in counts for line in count})
        found[name] = {line: [count[line] for count in counts] for line in lines}
    write(folder, found)


def _waits(sampling: Sampling, window: tuple[float, float], strength: float, kept: str) -> Counter[str]:
    """How often each line of the pack waited while the steps of a window were recorded."""
    counts: Counter[str] = Counter()

    def count(message: Warning | str, *rest: Any) -> None:
        if "synchroniz" in str(message):
            frames = [frame for frame in traceback.extract_stack() if "site-packages" not in frame.filename]
            asked = next(frame for frame in reversed(frames) if frame.filename not in (__file__, warnings.__file__))
            path = Path(asked.filename).resolve()
            if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in ("uncertainty", "nodes"):
                counts[f"{path.relative_to(ROOT)}:{asked.lineno}"] += 1

    sampling.window = window
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = count
        torch.cuda.set_sync_debug_mode("warn")
        try:
            sampling(sampling.run(strength, keep_maps=kept).attach)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return counts


def sizes(folder: Path) -> None:
    """Seconds and bytes of every model at full width, in bf16, in each way; and seconds of what is no model call."""
    found: dict[str, Any] = {}
    for name, architecture in ARCHITECTURES.items():
        found[name] = _size(name, architecture)
        found[name]["outside"] = seconds_outside(architecture.latent, device().type)
        write(folder, found)
        print(f"ran {name}", flush=True)


def _size(name: str, architecture: Architecture) -> dict[str, Any]:
    with torch.device(device()):
        model = architecture.build(torch.bfloat16)
    randomise(model.diffusion_model)
    patcher = comfy.model_patcher.ModelPatcher(model, device(), device())
    found = _rounds(Sampling(patcher, architecture, name, 6, (0.5, 0.6)))
    del patcher, model
    comfy.model_management.unload_all_models()
    gc.collect()  # a model and its patcher refer to each other
    comfy.model_management.soft_empty_cache()
    return found


def _rounds(sampling: Sampling) -> dict[str, Any]:
    """Seconds of each way in each round, its most bytes, and why a way was not possible."""
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, int] = {}
    failures: dict[str, str] = {}
    began = time.monotonic()
    for turn in range(MOST_ROUNDS + 1):
        started = time.monotonic()
        for way, (make, around) in ways(sampling).items():
            if way in failures:
                continue
            run = make()
            try:
                with around(), peak_memory(peaks, way):
                    taken = timed(partial(sampling, run.attach if run else unchanged))
            except (RuntimeError, ValueError) as error:  # out of memory, too
                failures[way] = str(error)
                comfy.model_management.soft_empty_cache()
            else:
                failures.update(_other_way(way, run))
                if turn:  # the first is a warm-up
                    seconds.setdefault(way, []).append(taken)
        now = time.monotonic()
        if turn and now - began + (now - started) > ROUNDS_SECONDS:
            break
    return {"seconds": seconds, "peak": peaks, "failures": failures}


def _other_way(way: str, run: Any) -> dict[str, str]:
    """What a run had to do instead of what its row says."""
    if way not in (KEPT, UNKEPT):
        return {}
    gradient = run.guidance.gradient
    return {way: "does not fit"} if gradient._recompute or (way == KEPT and gradient._one_by_one) else {}


def ways(sampling: Sampling) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """By name, what makes the thing to attach, and a context that decides on memory."""
    differentiation = pack("nodes.hook.differentiation")

    @contextmanager
    def changed(where: Any, name: str, value: Any) -> Iterator[None]:
        before = getattr(where, name)
        setattr(where, name, value)
        try:
            yield
        finally:
            setattr(where, name, before)

    def guided(gradient: str) -> Callable[[], Any]:
        return lambda: sampling.run(1.0, gradient=gradient)

    return {
        PLAIN: (lambda: None, nullcontext),
        "measuring": (sampling.run, nullcontext),
        "measuring, one probe at once": (lambda: sampling.run(max_batch=1), nullcontext),
        KEPT: (guided("exact"), lambda: changed(differentiation, "GRAPH_MEMORY", 0.0)),
        UNKEPT: (guided("exact"), lambda: changed(differentiation, "GRAPH_MEMORY", math.inf)),
        "guided, exact, recomputed": (
            guided("exact"), lambda: changed(differentiation, "are_streamed", lambda patcher: True),
        ),
        "guided, forward-only": (guided("forward_only"), nullcontext),
        "guided, joint graph (peer)": (lambda: JointGraph(sampling.window, sampling.steps, PROBES), nullcontext),
    }  # fmt: skip


def write(folder: Path, found: dict[str, Any]) -> None:
    """Write what was found."""
    (folder / FOUND).write_text(json.dumps(found), encoding="utf-8")


def _run(part: Callable[[Path], None]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        logging.getLogger().setLevel(logging.WARNING)
        comfy.utils.set_progress_bar_enabled(False)
        with torch.inference_mode():
            part(folder)

    return run


PARTS = {
    part.__name__: _run(part)
    for part in (write_weights, agree, agree_with_little_memory, agree_compiled, synchronisations, sizes)
}
