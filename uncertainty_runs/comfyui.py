"""ComfyUI in this process: its nodes, custom nodes and queue, without a web server; and where its folders are.

ComfyUI's own ``main.start_comfyui`` makes all of it and returns a function that would start to listen, which is not called.
"""

import asyncio
import copy
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from .graph import Graph, Outputs, refusals
from .node_info import NodeInfo, no_such_node
from .shared_package import SharedPackage
from .temporary import TemporaryFolder

# The folder that holds this package: the pack, or site-packages.
HOME = Path(__file__).resolve().parent.parent
NEEDED = "UncertaintyKSampler"
POLL_SECONDS = 0.005


class ComfyError(RuntimeError):
    """ComfyUI does not start or rejected a graph, or a node failed; the message says which and what to do."""


class OutOfMemory(ComfyError):
    """A node ran out of memory."""


@dataclass(frozen=True)
class Folders:
    """Where a ComfyUI keeps what it saves, and what belongs to its users."""

    output: Path
    user: Path


def default_comfyui() -> Path:
    """The ComfyUI of COMFYUI_PATH, or the one whose custom_nodes folder holds this pack.

    Raises:
        ValueError: there is none.
    """
    given = os.environ.get("COMFYUI_PATH")
    path = Path(given).expanduser() if given else HOME.parent.parent
    if not (path / "main.py").is_file():
        if given:
            raise ValueError(
                f"COMFYUI_PATH must be the folder that holds ComfyUI's main.py, got {given}: correct it, or unset it."
            )
        raise ValueError(
            "comfyui: this pack is not in the custom_nodes folder of a ComfyUI; give --comfyui DIR, the folder with its main.py."
        )
    return path


def folders(path: Path, options: Sequence[str]) -> Folders:
    """Where ComfyUI's folders are when it is started with some options. It is not started.

    Args:
        path: the folder that holds ComfyUI's ``main.py``.
        options: as on its command line, such as ``--output-directory``.

    Raises:
        ComfyError: this is not a ComfyUI, or it does not know the options.
    """
    with _importing(path, options):
        import comfy.options

        comfy.options.enable_args_parsing()
        import folder_paths
        from comfy.cli_args import args
    # As main.py does it: these two override --base-directory, which folder_paths has read.
    output = args.output_directory or folder_paths.get_output_directory()
    user = args.user_directory or folder_paths.get_user_directory()
    return Folders(Path(output).resolve(), Path(user).resolve())


class Comfy:
    """The ComfyUI of this process; a process can have one.

    Args:
        path: the folder that holds ComfyUI's ``main.py``.
        options: as on its command line. ``--cpu`` is added where there is no accelerator.

    Raises:
        ComfyError: it does not start, or lacks this pack, or has another version of it.
    """

    def __init__(self, path: Path, options: Sequence[str] = ()) -> None:
        self.temporary = TemporaryFolder()
        shared = SharedPackage()
        sys.meta_path.insert(0, shared)
        main = _import_main(path, [*_own_options(self.temporary.path, options), *options])
        try:
            loop, self.server, _ = main.start_comfyui()
        except SystemExit as error:
            raise ComfyError(f"the ComfyUI in {path} does not start with {_listed(options)}.") from error
        self.loop: asyncio.AbstractEventLoop = loop
        threading.Thread(target=loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self.server.publish_loop(), loop)  # messages to browsers must not pile up
        import comfy.utils
        import execution

        import nodes

        comfy.utils.set_progress_bar_enabled(False)  # there is one progress bar for all runs
        self.validate, self.classes = execution.validate_prompt, nodes.NODE_CLASS_MAPPINGS
        if shared.refusal:
            raise ComfyError(shared.refusal)
        if NEEDED not in self.classes:
            raise ComfyError(
                f"the ComfyUI in {path} does not have this pack: put it into its custom_nodes folder, or give the "
                "--base-directory whose custom_nodes folder has it, behind --."
            )
        # A batch keeps rows of its own; workers that share a user directory must not all write its ledger.
        pack = self.classes[NEEDED].__module__.partition(".nodes.")[0]
        sys.modules[f"{pack}.nodes.choosing.ledger_access"].stop_recording()

    def describe(self, class_type: str) -> NodeInfo:
        """What this ComfyUI says of a node class.

        Raises:
            NodeError: there is none of that name.
        """
        if class_type not in self.classes:
            raise no_such_node(class_type)
        node = self.classes[class_type]
        return NodeInfo.of(class_type, node.INPUT_TYPES(), node.RETURN_TYPES)

    def check(self, graph: Graph) -> None:
        """Let ComfyUI validate a graph in API format.

        Raises:
            ComfyError: it is rejected, because a node, a model or a picture is missing, for example.
        """
        self._validated("check", copy.deepcopy(graph))

    def _validated(self, number: str, graph: Graph) -> list[str]:
        """Validate a graph under an id. Values in it may change. Returns the ids of its output nodes."""
        validating = asyncio.run_coroutine_threadsafe(self.validate(number, graph, None), self.loop)
        is_valid, error, outputs, node_errors = validating.result()
        if not is_valid or node_errors:
            raise ComfyError(_rejection(error, node_errors))
        return list(outputs)

    def run(self, graph: Graph) -> Outputs:
        """Run a graph in API format and wait until it has finished; returns what its nodes reported, by node id.

        Raises:
            OutOfMemory: a node ran out of memory; ComfyUI has freed what it could.
            ComfyError: validation rejected the graph, or a node failed.
            KeyboardInterrupt: the user stopped it; ComfyUI has been interrupted.
        """
        number, own = uuid.uuid4().hex, copy.deepcopy(graph)  # ComfyUI writes into it
        ends = self._validated(number, own)
        queue = self.server.prompt_queue
        queue.put((0, number, own, {}, ends, {}))
        try:
            while not (history := queue.get_history(number)):
                time.sleep(POLL_SECONDS)
        except BaseException:
            import nodes

            nodes.interrupt_processing()
            raise
        queue.delete_history_item(number)
        _raise_failure(history[number]["status"]["messages"])
        outputs: Outputs = history[number]["outputs"]
        return outputs


def _own_options(temporary: Path, given: Sequence[str]) -> list[str]:
    """Options that let several ComfyUIs run side by side, quietly."""
    # ComfyUI empties its temporary folder and locks its database: each process has its own.
    own = ["--disable-auto-launch", "--disable-api-nodes", "--temp-directory", str(temporary)]
    own += ["--database-url", f"sqlite:///{temporary / 'comfyui.db'}"]
    if "--verbose" not in given:
        own += ["--verbose", "ERROR"]
    accelerator = getattr(torch, "accelerator", torch.cuda)  # since torch 2.6
    if not accelerator.is_available() and "--cpu" not in given:
        own.append("--cpu")
    return own


def _import_main(path: Path, options: Sequence[str]) -> ModuleType:
    with _importing(path, options):
        import main

    module: ModuleType = main
    return module


@contextmanager
def _importing(path: Path, options: Sequence[str]) -> Iterator[None]:
    """Imports inside find ComfyUI's modules, which read their command line as they are imported."""
    if not (path / "main.py").is_file():
        raise ComfyError(f"comfyui must be the folder that holds ComfyUI's main.py, got {path}.")
    # ComfyUI's folder comes first and this pack last, since both have a module ``nodes``.
    sys.path[:] = [str(path), *(entry for entry in sys.path if Path(entry or ".").resolve() != HOME), str(HOME)]
    arguments, sys.argv = sys.argv, [str(path / "main.py"), *options]
    streams = sys.stdout, sys.stderr
    try:
        yield
    except SystemExit as error:
        raise ComfyError(f"the ComfyUI in {path} does not accept {_listed(options)}.") from error
    finally:
        sys.argv = arguments
        sys.stdout, sys.stderr = streams  # ComfyUI replaces them by its own, which keep everything for browsers


def _listed(options: Sequence[str]) -> str:
    return f"the options {' '.join(options)}" if options else "no options"


def _raise_failure(messages: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Raise what went wrong in a run, according to the messages of its history."""
    for name, event in messages:
        if name == "execution_error":
            text = f"{event['node_type']} failed: {event['exception_message'].strip()}"
            raise OutOfMemory(text) if "OutOfMemory" in event["exception_type"] else ComfyError(text)
        if name == "execution_interrupted":
            raise ComfyError("the run was interrupted.")


def _rejection(error: Any, node_errors: dict[str, Any]) -> str:
    reasons = refusals(node_errors) or [f"{error['message']} {error['details']}".strip()]
    return f"ComfyUI rejected the workflow: {'; '.join(reasons)}"
