"""Graphs in ComfyUI's API format: following their links, and what validation says of them. It also runs inside ComfyUI."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeGuard

Graph = dict[str, dict[str, Any]]
Link = list[Any]
"""``[node id, output index]``."""
Outputs = dict[str, dict[str, list[Any]]]
"""What the nodes of a graph reported when it ran, by node id."""
# A workflow of 100,000 nodes has two million.
MOST_VALUES = 10_000_000


class WorkflowError(ValueError):
    """A workflow that cannot be used; the message says why and what to do."""


def links(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Connected inputs of a node, each with the id of the node it is connected to."""
    for name, value in node["inputs"].items():
        if is_link(value):
            yield name, value[0]


def is_link(value: Any) -> TypeGuard[Link]:
    """Whether an input's value is a connection ``[node id, output index]``."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def changed(graph: Graph, number: str, **inputs: Any) -> Graph:
    """The graph with other inputs of one node. The rest is shared with ``graph``: neither may be modified."""
    node = graph[number]
    return graph | {number: {**node, "inputs": node["inputs"] | inputs}}


def upstream(graph: Graph, ends: Iterable[str]) -> set[str]:
    """Ids of some nodes and of all that they depend on."""
    return set(nearest(graph, ends))


def nearest(
    graph: Graph, starts: Iterable[str], follow: Callable[[str, str, Link], bool] = lambda number, name, link: True
) -> Iterator[str]:
    """Ids of some nodes and of all before them, nearest first, each once.

    Args:
        graph: all nodes.
        starts: ids of the nodes where the walk begins.
        follow: whether a connected input is followed, told by the id of its node, its name and the link.
    """
    waiting = deque(dict.fromkeys(starts))
    seen = set(waiting)
    while waiting:
        number = waiting.popleft()
        yield number
        for name, source in links(graph[number]):
            if source not in seen and follow(number, name, graph[number]["inputs"][name]):
                seen.add(source)
                waiting.append(source)


def refusals(node_errors: Mapping[str, Any]) -> list[str]:
    """What ComfyUI's validation says of each node, a line each."""
    return [
        f"{node['class_type']} (node {number}): {error['message']}: {error['details']}"
        for number, node in node_errors.items()
        for error in node["errors"]
    ]


def is_whole(value: Any) -> TypeGuard[Graph]:
    """Whether a value is a graph that has all nodes that its links name."""
    return is_graph(value) and all(source in value for node in value.values() for _, source in links(node))


def is_graph(value: Any) -> TypeGuard[Graph]:
    """Whether a value is a graph, some of whose links may lead to nodes that it lacks."""
    return isinstance(value, dict) and all(map(_is_node, value.values()))


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
