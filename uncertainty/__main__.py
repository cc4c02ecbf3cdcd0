"""``python -m uncertainty``, the same as the installed command ``uncertainty``.

Python also runs the folder, ``python path/to/uncertainty``, from wherever it is called. It is the only way for a Python that
searches neither the current folder nor PYTHONPATH, such as ``python_embeded`` of ComfyUI's portable version for Windows.
"""

import sys
from pathlib import Path

if not __package__:  # run as a folder, which Python then searches for modules instead of the one that holds it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from uncertainty_runs.command_line import main

if __name__ == "__main__":
    main()
