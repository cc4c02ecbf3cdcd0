"""Reads graphs in ComfyUI's API format from files."""

from pathlib import Path

from uncertainty.storage.foreign import parsed
from uncertainty.storage.text_files import read_text

from .graph import MOST_VALUES, Graph, WorkflowError, is_graph, links

EXPORT = "File → Export (API)"


def read_graph(path: Path) -> Graph:
    """Read a file that *File → Export (API)* saved.

    Raises:
        OSError: it cannot be read.
        WorkflowError: it is not a complete graph in API format.
    """
    try:
        text = read_text(path)
    except ValueError as error:
        raise WorkflowError(str(error)) from error
    try:
        graph = parsed(text, values=MOST_VALUES)
    except ValueError as error:
        raise WorkflowError(f"{path.name} is not JSON that can be used ({str(error).rstrip('.')}): export it again.") from error
    if isinstance(graph, dict) and "nodes" in graph:
        raise WorkflowError(f"{path.name} is a workflow for the editor: export it with {EXPORT} and give that file.")
    if not is_graph(graph):
        raise WorkflowError(f"{path.name} is not a workflow in API format: export one with {EXPORT}.")
    for number, node in graph.items():
        for name, source in links(node):
            if source not in graph:
                raise WorkflowError(
                    f"{path.name} is incomplete: input {name} of node {number} is connected to node {source}, which is not in "
                    f"the file. Export the workflow again with {EXPORT}."
                )
    return graph
