"""Names of recorded samplings: which node sampled, which of its samplings it was, and where a tile lies."""

from collections.abc import Sequence

from torch import Tensor

from ...uncertainty.placing import place
from ..hook.recording import Measured, Recording


def named(recording: Recording, wholes: Sequence[Sequence[Tensor]]) -> list[tuple[str, Measured]]:
    """What the running node collects, with names.

    Args:
        recording: the recording.
        wholes: the latents that tiles may have been cut from, each with all its parts.
    """
    return [
        (", ".join([node.title or "sampling", *_number(index, len(node.measured)), *_latent(measured, wholes)]), measured)
        for node in recording.before_running_node()
        for index, measured in enumerate(node.measured)
    ]


def _number(index: int, count: int) -> list[str]:
    return [] if count == 1 else [f"{index + 1} of {count}"]


def _latent(measured: Measured, wholes: Sequence[Sequence[Tensor]]) -> list[str]:
    """Size of the latent and its place, in latent pixels; of several, which one it is, unless the first."""
    latent, part = measured.latent, measured.part
    if latent is None:
        return []
    size = f"latent {'×'.join(map(str, reversed(latent.shape[2:])))}"
    if part:
        size = f"part {part}, {size}"
    if not wholes or not latent.any():  # an empty latent shows nothing that could have been cut
        return [size]
    for whole in (parts[part] for parts in wholes if part < len(parts)):
        found = place(latent, whole)
        if found is not None:
            return [size] if latent.shape == whole.shape else [f"{size} at x {found[0]}", f"y {found[1]}"]
    return [size, "place not found"]
