"""Run ComfyUI, or a module that imports it, in this process: ``python -m dev.launcher [-m MODULE] ARGUMENTS``.

With ``--end-with-parent`` in front, the process ends when its standard input closes.
"""

import importlib.util
import os
import runpy
import signal
import sys
import threading
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from .bootstrap import ROOT, comfyui

PACK = "custom_nodes_x_uncertainty-sampling"  # like the names ComfyUI gives, which no import statement can write
END_WITH_PARENT = "--end-with-parent"


def prepare_imports() -> None:
    """Let this process import ComfyUI."""
    prepare_path()
    mend_torchvision()
    mend_torchaudio()


def prepare_path() -> None:
    """ComfyUI's folder comes first on the path and this repository last, for both have a module ``nodes``."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    sys.path.insert(0, str(comfyui()))
    sys.path.append(str(ROOT))


def import_pack() -> ModuleType:
    """Import the pack as ComfyUI does: as a package whose name does not depend on its folder."""
    if PACK not in sys.modules:
        loader = SourceFileLoader(PACK, str(ROOT / "__init__.py"))
        spec = importlib.util.spec_from_loader(PACK, loader, is_package=True)
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[PACK] = module
        loader.exec_module(module)
    return sys.modules[PACK]


def mend_torchvision() -> None:
    """Make torchvision importable if it was built for CUDA and torch was not.

    It registers fake implementations of two operators that do not exist then. If the import fails, define these two operators.
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


def mend_torchaudio() -> None:
    """Make torchaudio, if installed, importable without its extension if that was built for CUDA and torch was not.

    Versions of ComfyUI after 0.3.75 import torchaudio when they start.
    """
    try:
        import torchaudio
    except ModuleNotFoundError:
        return
    except OSError as error:
        if "_torchaudio" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        extension = ModuleType("torchaudio._extension")
        extension._IS_TORCHAUDIO_EXT_AVAILABLE = extension._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]
        extension.fail_if_no_align = lambda function: function  # type: ignore[attr-defined]
        sys.modules[extension.__name__] = extension
        import torchaudio  # noqa: F401


def end_with_parent() -> None:
    """End this process group when standard input closes, as it does when the process that holds its other end is gone."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Command line. Tells ComfyUI to use the CPU if there is no accelerator."""
    if sys.argv[1:2] == [END_WITH_PARENT]:
        del sys.argv[1]
        end_with_parent()
    prepare_imports()
    import torch

    on_cpu = not getattr(torch, "accelerator", torch.cuda).is_available()
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
