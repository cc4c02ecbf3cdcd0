"""Access to ComfyUI's ledger: its location, and recording that never makes a run fail."""

import logging
from collections.abc import Sequence
from pathlib import Path

import folder_paths

from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.storage.ledger import Ledger, LedgerError

log = logging.getLogger(__name__)

_recording = True


def stop_recording() -> None:
    """For the workers of a batch, which keeps rows of its own: they must not all write one ledger."""
    global _recording
    _recording = False


def ledger() -> Ledger:
    """The ledger of this ComfyUI, in its user directory."""
    return Ledger(Path(folder_paths.get_user_directory()) / "uncertainty" / "ledger.sqlite3")


def output() -> Path:
    """The output folder, which paths in the ledger are relative to and within which files are moved."""
    return Path(folder_paths.get_output_directory())


def record(uncertainty: UncertaintyMap, files: Sequence[str] | None = None) -> None:
    """Record the images. If that fails, log a warning instead of raising, so that the run continues."""
    if not _recording:
        return
    try:
        ledger().record(uncertainty, files)
    except LedgerError as error:
        log.warning("scores were not recorded: %s", error)
