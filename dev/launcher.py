"""Run ComfyUI, or a module that imports it, in this process: ``python -m dev.launcher [-m MODULE] ARGUMENTS``."""

import runpy
import sys
from pathlib import Path

from .bootstrap import ROOT, comfyui


def prepare_imports() -> None:
    """Let this process import ComfyUI: its folder first on the path, this repository last (both have a module ``nodes``)."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    sys.path.insert(0, str(comfyui()))
    sys.path.append(str(ROOT))
    mend_torchvision()


def mend_torchvision() -> None:
    """Make torchvision importable where it was built for CUDA and torch was not.

    It gives fake implementations to two operators which then do not exist; define them, and nothing else, if the import fails.
    """
    import torch

    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401


def main() -> None:
    """Command line; without an accelerator ComfyUI is told to use the CPU."""
    prepare_imports()
    import torch

    on_cpu = not torch.accelerator.is_available()
    if sys.argv[1:2] == ["-m"]:
        import comfy.cli_args

        comfy.cli_args.args.cpu = on_cpu
        _, _, module, *arguments = sys.argv
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        script = str(comfyui() / "main.py")
        sys.argv = [script, *sys.argv[1:], *(["--cpu"] if on_cpu else [])]
        runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
