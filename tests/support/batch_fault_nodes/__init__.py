"""A node for tests alone, a pack of its own: a model that fails once, at a call of its network, and says so in a file."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch


class FailsOnce:
    """Fails where no file is yet; afterwards the model is what it was."""

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "run"
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"model": ("MODEL",), "fault": (["memory", "death", "none"],), "call": ("INT", {"default": 20})}}

    def run(self, model: Any, fault: str, call: int) -> tuple:
        calls = 0

        def network(apply: Any, given: dict) -> torch.Tensor:
            nonlocal calls
            calls += 1
            time.sleep(float(os.environ["BATCH_SLOW"]))
            happened = Path(os.environ["BATCH_FAULT"])
            if calls == call and fault != "none" and not happened.exists():
                happened.touch()
                if fault == "death":  # as the system ends what takes too much memory
                    os.kill(os.getpid(), signal.SIGKILL)
                raise torch.cuda.OutOfMemoryError("no memory, for a test")
            return apply(given["input"], given["timestep"], **given["c"])

        patched = model.clone()
        patched.set_model_unet_function_wrapper(network)
        return (patched,)


NODE_CLASS_MAPPINGS = {"FailsOnce": FailsOnce}
