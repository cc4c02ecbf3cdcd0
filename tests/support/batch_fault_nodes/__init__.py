"""A pack for tests: its node makes a model fail once, at a chosen call of the network, and records that in a file.

Beside this file, another says that the network was called, and calls wait as long as a third one exists.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch


class FailsOnce:
    """Fails if the file does not exist yet; otherwise the model is unchanged."""

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
            happened.with_suffix(".called").touch()
            while happened.with_suffix(".wait").exists():
                time.sleep(0.05)
            if calls == call and fault != "none" and not happened.exists():
                happened.touch()
                if fault == "death":  # as the system ends a process that takes too much memory
                    os.kill(os.getpid(), signal.SIGKILL)
                raise torch.cuda.OutOfMemoryError("no memory, for a test")
            return apply(given["input"], given["timestep"], **given["c"])

        patched = model.clone()
        patched.set_model_unet_function_wrapper(network)
        return (patched,)


NODE_CLASS_MAPPINGS = {"FailsOnce": FailsOnce}
