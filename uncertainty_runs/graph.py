"""Graphs in ComfyUI's API format: reading them from files, following their links, and what validation says of them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

Graph = dict[str, dict[str, Any]]
Link = list[Any]
"""``[node id, output index]``."""
EXPORT = "File → Export (API)"


class WorkflowError(ValueError):
    """A workflow that cannot be used; the message says why and what to do."""


def read_graph(path: Path) -> Graph:
    """Read a file that *File → Export (API)* saved.

    Raises:
        OSError: it cannot be read.
        WorkflowError: it is not a complete graph in API format.
    """
    try:
        graph = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WorkflowError(f"{path.name} is not JSON ({error}).") from error
    if isinstance(graph, dict) and "nodes" in graph:
        raise WorkflowError(f"{path.name} is a workflow for the editor: export it with {EXPORT} and give that file.")
    if not (isinstance(graph, dict) and all(_is_node(node) for node in graph.values())):
        raise WorkflowError(f"{path.name} is not a workflow in API format: export one with {EXPORT}.")
    for number, node in graph.items():
        for name, source in links(node):
            if source not in graph:
                raise WorkflowError(
                    f"{path.name} is incomplete: input {name} of node {number} is connected to node {source}, which is not in "
                    f"the file. Export the workflow again with {EXPORT}."
                )
    return graph


def links(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Connected inputs of a node, each with the id of the node it is connected to."""
    for name, value in node["inputs"].items():
        if is_link(value):
            yield name, value[0]


def is_link(value: Any) -> TypeGuard[Link]:
    """Whether an input's value is a connection ``[node id, output index]``."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def upstream(graph: Graph, ends: list[str]) -> set[str]:
    """Ids of some nodes and of all that they depend on."""
    needed: set[str] = set()
    waiting = list(ends)
    while waiting:
        number = waiting.pop()
        if number not in needed:
            needed.add(number)
            waiting += [source for _, source in links(graph[number])]
    return needed


def nearest_with(graph: Graph, start: str, name: str, not_through: tuple[str, ...] = ()) -> str | None:
    """Id of the nearest node, from ``start`` upstream, whose input ``name`` holds a value; None if there is none.

    Args:
        graph: all nodes.
        start: id of the node where the search begins.
        name: an input that must not be a link.
        not_through: inputs that are not followed.
    """
    waiting, seen = [start], set[str]()
    while waiting:
        number = waiting.pop(0)
        seen.add(number)
        inputs = graph[number]["inputs"]
        if name in inputs and not is_link(inputs[name]):
            return number
        waiting += [source for through, source in links(graph[number]) if through not in not_through and source not in seen]
    return None


def refusals(node_errors: Mapping[str, Any]) -> list[str]:
    """What ComfyUI's validation says of each node, a line each."""
    return [
        f"{node['class_type']} (node {number}): {error['message']}: {error['details']}"
        for number, node in node_errors.items()
        for error in node["errors"]
    ]


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
