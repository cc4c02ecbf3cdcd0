"""The browser for tests/browser: ``python -m dev.chromium`` installs it if there is none."""

import os
import shutil
import sys

from .bootstrap import SetupError, logged

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """Path of an installed Chromium: CHROMIUM, or the first one on PATH.

    Raises:
        SetupError: CHROMIUM is set but is no program.
    """
    given = os.environ.get("CHROMIUM")
    if given and not shutil.which(given):
        raise SetupError(f"CHROMIUM={given} is no program: give the path of a Chromium, or unset it.")
    return next(filter(None, map(shutil.which, [given] if given else NAMES)), None)


def ensure_chromium() -> None:
    """Install Chromium if none is found and this process may install packages.

    Raises:
        SetupError: Chromium is missing and must be installed by the user, or the installation failed.
    """
    if find_chromium():
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SetupError("the browser tests need Chromium: install it (Debian: sudo apt-get install chromium) or set CHROMIUM.")
    print("installing Chromium for the browser tests …", flush=True)
    logged(["apt-get", "update"], "apt-get update")
    logged(["apt-get", "install", "-y", "--no-install-recommends", "chromium"], "installing Chromium")


if __name__ == "__main__":
    try:
        ensure_chromium()
    except SetupError as problem:
        sys.exit(f"error: {problem}")
