"""Why a finished image has no map: the samplers of this pack report it to ComfyUI, whose history tells whoever queued the run.

It also runs inside ComfyUI.
"""

from collections.abc import Mapping
from typing import Any

WHY = "why_no_map"
# ComfyUI does not report again what it has kept.
UNKNOWN = (
    "a node blocks it that does not say why, unless an earlier run with the same prompt and seed said it. Run the workflow in "
    "ComfyUI to see which."
)


def reported(reason: str) -> dict[str, list[str]]:
    """What a sampler reports to ComfyUI of an image without a map."""
    return {WHY: [reason]}


def reasons(outputs: Mapping[str, Mapping[str, Any]]) -> str:
    """The reasons among what the nodes of a run reported, by node id, as sentences; empty where no sampler reported one."""
    return " ".join(dict.fromkeys(f"{reason.rstrip('.')}." for node in outputs.values() for reason in node.get(WHY, ())))
