"""On the path of processes that other processes start (PYTHONPATH=dev/site): makes what ``dev.launcher`` mends importable there.

Nothing happens before torchvision or torchaudio is imported.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

ROOT = str(Path(__file__).resolve().parents[2])


class Mend(MetaPathFinder):
    """Sees the first import of either, and mends both before it happens."""

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Never finds anything itself."""
        if name in ("torchvision", "torchaudio"):
            sys.meta_path.remove(self)
            added = ROOT not in sys.path
            sys.path.append(ROOT)
            try:
                from dev.launcher import mend_torchaudio, mend_torchvision

                mend_torchvision()
                mend_torchaudio()
            finally:
                if added:
                    sys.path.remove(ROOT)
            if name in sys.modules:
                return sys.modules[name].__spec__
        return None


sys.meta_path.insert(0, Mend())
