"""Numbers the images of a node whose inputs are lists: it runs once per batch, and ComfyUI joins the answers of all runs."""

from comfy_execution.utils import get_executing_context

# Number of images so far, by execution and node: of the latest alone, because ComfyUI executes one node at a time.
_images: dict[tuple[str, str], int] = {}


def first_number(images: int) -> int:
    """Number of images in this node's earlier batches of the same execution.

    Args:
        images: number of images in this batch.
    """
    context = get_executing_context()
    if context is None:  # called by a script
        return 0
    key = (context.prompt_id, context.node_id)
    before = _images.get(key, 0) if context.list_index else 0
    _images.clear()
    _images[key] = before + images
    return before
