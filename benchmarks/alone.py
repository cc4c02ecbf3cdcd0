"""Parts of a benchmark, each in a process of its own: for its memory, and because a process can have one ComfyUI."""

import json
import os
import subprocess
import sys
from typing import Any

from dev.bootstrap import ROOT

WORD = "alone"


def asked() -> list[str]:
    """What this process was asked to measure; nothing if it was started by a user. Takes it from the command line."""
    given = sys.argv[2:] if sys.argv[1:2] == [WORD] else []
    if given:
        sys.argv = sys.argv[:1]  # ComfyUI reads the command line when it is imported
    return given


def run(module: str, *what: object) -> Any:
    """What a module prints of a measurement, as JSON, in a process of its own."""
    print(*what, "…", flush=True)
    command = [sys.executable, "-m", module, WORD, *map(str, what)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "dev" / "site")}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
