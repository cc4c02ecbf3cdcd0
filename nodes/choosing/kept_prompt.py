"""The text of the prompt that the ledger keeps with saved images, unless somebody keeps it out."""

from pathlib import Path
from typing import Any

import folder_paths
from comfy.cli_args import args

from ...uncertainty.storage.prompt_permission import may_be_kept
from ...uncertainty_runs.prompt_text import prompt_in


def text_of(graph: Any, saver: Any) -> str | None:
    """The prompt of the images that a node of the running graph saves; None if it is not told there, or kept out.

    Files without metadata hold no prompts, and then neither does the ledger.
    """
    if args.disable_metadata or not may_be_kept(Path(folder_paths.get_user_directory())):
        return None
    return prompt_in(graph, str(saver)) or None
