"""The ledger of all runs in ComfyUI: where it lies, and recording that never costs an image."""

import logging
from collections.abc import Sequence
from pathlib import Path

import folder_paths

from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.storage.ledger import Ledger, LedgerError

log = logging.getLogger(__name__)

# Off in the workers of a batch, which keeps rows of its own.
recording = True


def ledger() -> Ledger:
    """The one ledger of this ComfyUI, in its user directory."""
    return Ledger(Path(folder_paths.get_user_directory()) / "uncertainty" / "ledger.sqlite3")


def output() -> Path:
    """The folder below which files are named in the ledger, and moved."""
    return Path(folder_paths.get_output_directory())


def record(uncertainty: UncertaintyMap, files: Sequence[str] | None = None) -> None:
    """Record the images, or say in the log why not: what was made of them is not lost with the ledger."""
    if not recording:
        return
    try:
        ledger().record(uncertainty, files)
    except LedgerError as error:
        log.warning("scores were not recorded: %s", error)
