"""A ComfyUI as it is started, without its server: ``python -m benchmarks.card_process PART FOLDER [OPTIONS OF COMFYUI]``.

Runs one part of ``on_card`` in it.
"""

import importlib
import sys
from pathlib import Path

from dev.launcher import prepare_path


def main() -> None:
    """Command line. The order matters: ComfyUI reads its options, chooses an allocator, and then lets torch be imported."""
    _, part, folder, *options = sys.argv
    sys.argv = ["main.py", *options]
    prepare_path()
    importlib.import_module("comfy.options").enable_args_parsing()
    importlib.import_module("cuda_malloc")
    importlib.import_module("main")  # ComfyUI's own, which sets up how weights are loaded
    importlib.import_module("benchmarks.on_card").PARTS[part](Path(folder))


if __name__ == "__main__":
    main()
