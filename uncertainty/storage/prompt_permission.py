"""Whether the text of prompts may be kept in the ledger: a setting of ComfyUI's users."""

import logging
from pathlib import Path

from .foreign import read_fields

# The setting in ComfyUI's dialog, see web/index.js, and where ComfyUI stores the settings of each of its users.
SETTING = "Uncertainty.Ledger.KeepPrompts"
SETTINGS = "comfy.settings.json"
MOST_BYTES = 1 << 24

log = logging.getLogger(__name__)


def may_be_kept(user: Path) -> bool:
    """Whether nobody has switched it off: all users share one ledger, and a node is not told whose run it is in.

    Args:
        user: ComfyUI's user folder, which has a folder for each user.
    """
    return all(map(_permits, user.glob(f"*/{SETTINGS}")))


def _permits(settings: Path) -> bool:
    try:
        return read_fields(settings, MOST_BYTES).get(SETTING, True) is True
    except (OSError, ValueError) as error:
        log.warning("prompts are kept out of the ledger, because the settings cannot be read: %s", error)
        return False
