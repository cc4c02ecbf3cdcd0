"""The options that say which ComfyUI generates images, shared by ``batch`` and ``evaluate``, and the engine they ask for."""

import argparse
import functools
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from .argument_types import Parser, not_empty, path, positive
from .drawing import Engine, Renderer
from .engines.one_by_one import OneByOne
from .engines.ray_cluster import on_this_machine
from .engines.ray_workers import RayEngine
from .node_info import Describe
from .temporary import remove_abandoned
from .terminal import warn


def add_comfyui(command: Parser) -> None:
    """Where ComfyUI is, and its own options."""
    command.add_argument(
        "--comfyui", type=path, metavar="DIR", help="folder with ComfyUI's main.py (default: the ComfyUI that this pack is in)"
    )
    command.add_comfyui_options()


def add_engine(command: Parser) -> None:
    """ComfyUI, and how many of it."""
    add_comfyui(command)
    command.add_argument(
        "--workers", type=positive, metavar="N", help="run N ComfyUIs side by side, on Ray (default: one per GPU)"
    )
    command.add_argument(
        "--address",
        type=not_empty,
        metavar="ADDRESS",
        help="address of a running Ray cluster, or auto (default: this machine alone)",
    )


@contextmanager
def engines(arguments: argparse.Namespace) -> Iterator[Callable[[], Engine]]:
    """A function that makes the engine when it is first called and returns the same one later; it is closed at the end."""
    # Only here, since it needs more packages than other commands do.
    from .engines.in_process import Renderer as InProcess

    comfyui = arguments.comfyui and arguments.comfyui.resolve()  # else every machine finds its own
    make = functools.partial(InProcess, comfyui, tuple(arguments.options))
    workers = arguments.workers
    if workers is None and arguments.address is None:
        workers = _gpus()
    made: list[Renderer | RayEngine] = []

    @functools.cache
    def engine() -> Engine:
        if workers == 1 and arguments.address is None:
            renderer = make()
            made.append(renderer)
            return OneByOne(renderer)
        several = RayEngine(make, workers, arguments.address)
        made.append(several)
        return several

    try:
        yield engine
    finally:
        for each in made:
            each.close()
        remove_abandoned()  # of workers that died


def describing(engine: Callable[[], Engine]) -> Describe:
    """What the engine's ComfyUI says of node classes, each asked for once."""
    return functools.cache(lambda class_type: engine().describe(class_type))


def _gpus() -> int:
    """Number of workers if none was given: the number of GPUs; 1 without any, or without Ray."""
    count = torch.cuda.device_count()
    if count > 1:
        try:
            on_this_machine()
        except ImportError:
            warn(f"Using one of {count} GPUs, since Ray is not installed. To use all: pip install ray")
            return 1
    return max(1, count)


@contextmanager
def stopping() -> Iterator[None]:
    """SIGTERM and SIGINT raise KeyboardInterrupt, also in the background, where a shell lets processes ignore Ctrl-C."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
