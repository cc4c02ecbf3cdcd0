"""A whole ComfyUI in this process: its nodes, its custom nodes, its queue, and nobody listening on a port.

ComfyUI's own ``main.start_comfyui`` makes all of it and returns the function that would begin to listen, which is not called.
"""

import asyncio
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from uncertainty_runs.workflow import Graph, refusals

PACK = Path(__file__).resolve().parent.parent
NEEDED = "UncertaintyKSampler"
POLL_SECONDS = 0.005


class ComfyError(RuntimeError):
    """ComfyUI does not start, refused a graph, or a node failed; the message says which and what to do."""


class OutOfMemory(ComfyError):
    """A node ran out of memory."""


class Comfy:
    """The ComfyUI of this process; a process can have one.

    Args:
        path: the folder that holds ComfyUI's ``main.py``.
        options: what ComfyUI is started with, as on its command line. Without an accelerator ``--cpu`` is added.

    Raises:
        ComfyError: it does not start, or has not this pack.
    """

    def __init__(self, path: Path, options: Sequence[str] = ()) -> None:
        try:
            loop, self.server, _ = self._import_main(path, options).start_comfyui()
        except SystemExit as error:
            raise ComfyError(f"ComfyUI in {path} does not start with {' '.join(options) or 'no options'}.") from error
        self.loop: asyncio.AbstractEventLoop = loop
        threading.Thread(target=loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self.server.publish_loop(), loop)  # what is told to browsers must not pile up
        import comfy.utils
        import execution

        import nodes

        comfy.utils.set_progress_bar_enabled(False)  # one line for all is shown, not one a run
        self.validate, self.classes = execution.validate_prompt, nodes.NODE_CLASS_MAPPINGS
        if NEEDED not in self.classes:
            raise ComfyError(
                f"ComfyUI in {path} has not this pack: put it into its custom_nodes, or give behind -- the "
                "--base-directory whose custom_nodes has it."
            )

    def _import_main(self, path: Path, options: Sequence[str]) -> ModuleType:
        if not (path / "main.py").is_file():
            raise ComfyError(f"comfyui must be the folder that holds ComfyUI's main.py, got {path}.")
        # ComfyUI's folder first, this pack's last: both have a module ``nodes``.
        sys.path[:] = [str(path), *(entry for entry in sys.path if Path(entry or ".").resolve() != PACK), str(PACK)]
        self.temporary = tempfile.TemporaryDirectory(prefix="uncertainty-")
        # Of its own, since ComfyUI empties the one and locks the other: several may run side by side.
        own = ["--disable-auto-launch", "--temp-directory", self.temporary.name]
        own += ["--database-url", f"sqlite:///{Path(self.temporary.name) / 'comfyui.db'}"]
        own += ["--disable-api-nodes", *([] if "--verbose" in options else ["--verbose", "ERROR"])]
        accelerator = getattr(torch, "accelerator", torch.cuda)  # since torch 2.6
        own += [] if accelerator.is_available() or "--cpu" in options else ["--cpu"]
        arguments, sys.argv = sys.argv, [str(path / "main.py"), *own, *options]
        streams = sys.stdout, sys.stderr
        try:
            import main
        finally:
            sys.argv = arguments
            sys.stdout, sys.stderr = streams  # ComfyUI puts its own there, which keep what browsers ask for
        return main

    def run(self, graph: Graph) -> None:
        """Run a graph in API format to its end.

        Raises:
            OutOfMemory: a node ran out of memory; ComfyUI has freed what it could.
            ComfyError: validation refused it, or a node failed.
            KeyboardInterrupt: it was stopped; ComfyUI was told so.
        """
        number = uuid.uuid4().hex
        valid = asyncio.run_coroutine_threadsafe(self.validate(number, graph, None), self.loop).result()
        is_valid, error, outputs, node_errors = valid
        if not is_valid or node_errors:
            raise ComfyError(_refusal(error, node_errors))
        queue = self.server.prompt_queue
        queue.put((0, number, graph, {}, outputs, {}))
        try:
            while not (found := queue.get_history(number)):
                time.sleep(POLL_SECONDS)
        except BaseException:
            import nodes

            nodes.interrupt_processing()
            raise
        queue.delete_history_item(number)
        for name, event in found[number]["status"]["messages"]:
            if name == "execution_error":
                told = f"{event['node_type']} failed: {event['exception_message'].strip()}"
                raise OutOfMemory(told) if "OutOfMemory" in event["exception_type"] else ComfyError(told)
            if name == "execution_interrupted":
                raise ComfyError("the run was interrupted.")


def _refusal(error: Any, node_errors: dict[str, Any]) -> str:
    return "ComfyUI refused the workflow: " + (
        "; ".join(refusals(node_errors)) or f"{error['message']} {error['details']}".strip()
    )
