"""What was measured while a model was sampled, by the node that sampled it.

ComfyUI keeps the results of a node and uses them again while the node, and all nodes before it, stay as they were. A recording,
which is kept with the model it belongs to, follows the same rule:

- a node that is not executed again keeps what it recorded, also under another number in the workflow;
- a node that is executed again replaces what it recorded before;
- what a node recorded that is no longer in the prompt is forgotten when the next one records, as ComfyUI forgets its results. A
  ComfyUI that keeps results for longer (``--cache-lru``) may then need no new sampling although its maps are gone;
- a collecting node receives what nodes before it recorded, and nothing else, whatever other prompts did with the same model.

A script that calls nodes itself has no such graph: everything is then kept and collected, in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ...uncertainty.maps import UncertaintyMap
from .running_node import RunningNode


@dataclass(frozen=True)
class Measured:
    """One sampling.

    Attributes:
        map: its map, or None.
        failure: why there is none.
        latent: the latent that the sampler was given, (B, C, *spatial); None if it holds several.
    """

    map: UncertaintyMap | None
    failure: str
    latent: Tensor | None


@dataclass(eq=False)
class SamplingNode:
    """The samplings of one execution of a node.

    Attributes:
        prompt: id of the prompt that it was executed in; None in a script.
        node: id of the node; None in a script.
        title: its title and number.
        signature: its own.
        signatures: its own, and those of the nodes that were expanded to it.
        measured: its samplings, in order.
    """

    prompt: str | None = None
    node: str | None = None
    title: str = ""
    signature: str = ""
    signatures: set[str] = field(default_factory=set)
    measured: list[Measured] = field(default_factory=list)


class Recording:
    """The samplings of one model."""

    def __init__(self) -> None:
        self._nodes: list[SamplingNode] = []

    def sampling_node(self) -> SamplingNode:
        """That of the running node; what it recorded when it was executed before is forgotten."""
        now = RunningNode.now()
        key = (None, None) if now is None else (now.prompt, now.node)
        for known in self._nodes:
            if (known.prompt, known.node) == key:
                return known
        if now is None:
            started = SamplingNode()
        else:
            own = now.signatures[now.node]
            there = set(now.signatures.values())
            self._nodes = [known for known in self._nodes if known.signatures & there and known.signature != own]
            lineage = {now.signatures[node] for node in now.lineage(now.node)}
            started = SamplingNode(now.prompt, now.node, now.title(now.node), own, lineage)
        self._nodes.append(started)
        return started

    def before_running_node(self) -> Sequence[SamplingNode]:
        """Those of nodes before the running one, in the order of the graph; all in a script."""
        now = RunningNode.now()
        if now is None:
            return list(self._nodes)
        found: dict[SamplingNode, None] = {}
        for node, signatures in now.before().items():
            for known in self._nodes:
                if known.signatures & signatures:
                    # Some rounds of a loop may come from an earlier prompt, and a node may have another number since.
                    known.signatures.add(now.signatures[node])
                    if known.signature == now.signatures[node]:
                        known.title = now.title(node)
                    found[known] = None
        return list(found)
