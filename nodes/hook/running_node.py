"""The node that ComfyUI executes, and what lies before it in the graph."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from comfy_execution.graph_utils import is_link
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context


@dataclass(frozen=True)
class RunningNode:
    """The node that is executed.

    Attributes:
        prompt: id of the prompt that is executed.
        node: id of the node.
        graph: ComfyUI's ``DynamicPrompt``: the nodes of the prompt, and those that nodes were expanded to while it runs, such as
            the rounds of a loop.
    """

    prompt: str
    node: str
    graph: Any

    @classmethod
    def now(cls) -> "RunningNode | None":
        """The present one; None if a script calls the node, or a thread of the node's own."""
        context, state = get_executing_context(), get_progress_state()
        if context is None or context.prompt_id != state.prompt_id:
            return None
        return cls(context.prompt_id, context.node_id, state.dynprompt)

    def title(self, node: str) -> str:
        """The title of a node, or else its class, and its number in the workflow."""
        shown = self.graph.get_display_node_id(node)
        found = self.graph.get_node(shown if self.graph.has_node(shown) else node)
        return f"{found.get('_meta', {}).get('title') or found['class_type']} ({shown})"

    @cached_property
    def signatures(self) -> dict[str, str]:
        """By the id of each node in the graph: a digest of its class and inputs, and of all nodes before it.

        It decides, as in ComfyUI, whether the results of a node can be used again.
        """
        digests: dict[str, str] = {}
        for node in self._sources_first(self.graph.all_node_ids()):
            found = self.graph.get_node(node) if self.graph.has_node(node) else {"class_type": None, "inputs": {}}
            inputs = {
                # In a circle, which ComfyUI tolerates where nothing needs it, a source has no digest yet.
                name: [digests.get(value[0]), value[1]] if is_link(value) else {"value": value}
                for name, value in found["inputs"].items()
            }
            # ComfyUI notes in the prompt what nodes say of files that they read, or a NaN of those that always run.
            changed = found.get("is_changed")
            always = self.prompt if _has_nan(changed) else None
            text = json.dumps([found["class_type"], inputs, changed, always], sort_keys=True, default=repr)
            digests[node] = hashlib.sha256(text.encode()).hexdigest()
        return digests

    def _sources_first(self, nodes: Iterable[str]) -> list[str]:
        """Some nodes and all that they depend on, each after those that it depends on itself."""
        seen: set[str] = set()
        order: list[str] = []
        waiting = [(node, False) for node in nodes]
        while waiting:
            node, is_ready = waiting.pop()
            if is_ready:
                order.append(node)
            elif node not in seen:
                seen.add(node)
                given = self.graph.get_node(node)["inputs"] if self.graph.has_node(node) else {}
                sources = [value[0] for value in given.values() if is_link(value)]
                waiting += [(node, True), *((source, False) for source in reversed(sources))]
        return order

    def lineage(self, node: str) -> Iterator[str]:
        """A node, the node that was expanded to it, and so on."""
        following: str | None = node
        while following is not None:
            yield following
            following = self.graph.get_parent_node_id(following)

    def before(self) -> dict[str, set[str]]:
        """All nodes that this one depends on, each after those that it depends on itself.

        With each come the signatures of itself and of what it was expanded to.
        """
        found: dict[str, set[str]] = {node: set() for node in self._sources_first([self.node]) if node != self.node}
        for node in self.graph.all_node_ids():
            for parent in self.lineage(node):
                if parent in found:
                    found[parent].add(self.signatures[node])
        return found


def _has_nan(value: Any) -> bool:
    """Whether a NaN is in it, which equals nothing."""
    if isinstance(value, list | tuple):
        return any(map(_has_nan, value))
    return isinstance(value, float) and math.isnan(value)
