"""Access to ComfyUI's ledger: its location, and recording that never makes a run fail."""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

import folder_paths

from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.storage.ledger import LOCATION, Ledger
from ...uncertainty.storage.ledger_file import LedgerError

log = logging.getLogger(__name__)

_recording = True


def stop_recording() -> None:
    """For the workers of a batch, which keeps rows of its own: they must not all write one ledger."""
    global _recording
    _recording = False


def ledger() -> Ledger:
    """The ledger of this ComfyUI, in its user directory."""
    return _ledger(Path(folder_paths.get_user_directory()), output())


@functools.lru_cache(maxsize=1)
def _ledger(user: Path, output: Path) -> Ledger:
    """Always the same object, because it keeps sorted scores in memory."""
    return Ledger(user / LOCATION, output)


def output() -> Path:
    """The output folder, which paths in the ledger are relative to and within which files are moved."""
    return Path(folder_paths.get_output_directory())


def upgrade() -> None:
    """Bring the ledger up to the current schema when ComfyUI starts. If that fails, log it: everything else still works."""
    try:
        ledger().upgrade()
    except LedgerError as error:
        log.warning("%s", error)


def record_sampled(measured: UncertaintyMap) -> None:
    """Record each part of what was sampled, because images that are never saved count as references too."""
    for part in measured.parts:
        record(part)


def record(uncertainty: UncertaintyMap, files: Sequence[str] | None = None, prompt: str | None = None) -> None:
    """Record the images and their files. If that fails, log a warning instead of raising, so that the run continues.

    The map may come from another pack, with settings that are no JSON or names that are no text.

    Args:
        uncertainty: the map of the images.
        files: path of each saved image, relative to the output folder.
        prompt: text of the prompt; None to keep no text.
    """
    if not _recording:
        return
    try:
        ledger().record(uncertainty, files, prompt=prompt)
    except (LedgerError, OSError, ValueError, TypeError, OverflowError) as error:
        log.warning("scores were not recorded: %s", error)
