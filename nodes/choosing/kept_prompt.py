"""The text of the prompt that the ledger keeps with saved images, unless somebody keeps it out."""

import logging
from pathlib import Path
from typing import Any

import folder_paths
from comfy.cli_args import args

from ...uncertainty.storage.foreign import read_fields
from ...uncertainty_runs.prompt_text import prompt_in

# The setting in ComfyUI's dialog, see web/index.js, and where ComfyUI stores the settings of each of its users.
SETTING = "Uncertainty.Ledger.KeepPrompts"
SETTINGS = "comfy.settings.json"
MOST_BYTES = 1 << 24

log = logging.getLogger(__name__)


def text_of(graph: Any, saver: Any) -> str | None:
    """The prompt of the images that a node of the running graph saves; None if it is not told there, or kept out.

    Files without metadata hold no prompts, and then neither does the ledger.
    """
    if args.disable_metadata or not _may_be_kept():
        return None
    return prompt_in(graph, str(saver)) or None


def _may_be_kept() -> bool:
    """Whether no user has switched it off: all users share one ledger, and a node is not told whose run it is in."""
    return all(map(_permits, Path(folder_paths.get_user_directory()).glob(f"*/{SETTINGS}")))


def _permits(settings: Path) -> bool:
    try:
        return read_fields(settings, MOST_BYTES).get(SETTING, True) is True
    except (OSError, ValueError) as error:
        log.warning("the prompt is kept out of the ledger, because the settings cannot be read: %s", error)
        return False
