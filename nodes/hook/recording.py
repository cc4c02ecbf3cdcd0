"""What was measured while a model was sampled, by the node that sampled it.

ComfyUI keeps the results of a node and uses them again while the node, and all nodes before it, stay as they were. A recording,
which is kept with the model it belongs to, follows the same rule:

- a node that is not executed again keeps what it recorded, also under another number in the workflow;
- a node that is executed again replaces what it recorded before;
- what nodes recorded that are not in the prompt, with other seeds or in other workflows, is kept within ``MOST_BYTES``, as
  ComfyUI may use their results again. What is dropped is named when it is asked for;
- so is what a node recorded that is in the prompt but was left out by a switch, until a node before it changes;
- a collecting node receives what nodes before it recorded, and nothing else, whatever other prompts did with the same model.

A script that calls nodes itself has no such graph: everything is then kept and collected, in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ...uncertainty.maps import UncertaintyMap
from .running_node import RunningNode

# Of maps.
MOST_BYTES = 256 * 2**20
# Executions of nodes that are not in the prompt, with maps or only named.
MOST_ELSEWHERE = 1000
DROPPED = "its maps were dropped to save memory before its result was used again. Change its seed to sample again."


@dataclass(frozen=True)
class Measured:
    """One sampling.

    Attributes:
        map: its map, or None.
        failure: why there is none.
        latent: the latent that the sampler was given, (B, C, *spatial), or the first of several; None if its maps were dropped.
    """

    map: UncertaintyMap | None
    failure: str
    latent: Tensor | None

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        parts = [] if self.map is None else self.map.parts
        maps = [tensor for part in parts for tensor in (*part.quantities.values(), *part.of_run.values())]
        return sum(tensor.nbytes for tensor in [*maps, self.latent] if tensor is not None)


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

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return sum(measured.size for measured in self.measured)

    def make_room(self) -> None:
        """Drop the oldest maps beyond ``MOST_BYTES``."""
        taken = self.size
        for index, measured in enumerate(self.measured):
            if taken <= MOST_BYTES:
                return
            taken -= measured.size
            self.measured[index] = Measured(None, DROPPED, None)


class Recording:
    """The samplings of one model."""

    def __init__(self) -> None:
        self._nodes: list[SamplingNode] = []

    def add(self, measured: Measured) -> None:
        """Add a sampling of the running node."""
        node = self._sampling_node()
        node.measured.append(measured)
        if node.node is None:
            node.make_room()

    def _sampling_node(self) -> SamplingNode:
        """That of the running node, without what it recorded when it was executed before."""
        now = RunningNode.now()
        key = (None, None) if now is None else (now.prompt, now.node)
        for known in self._nodes:
            if (known.prompt, known.node) == key:
                return known
        if now is None:
            started = SamplingNode()
        else:
            own = now.signatures[now.node]
            self._nodes = [known for known in self._nodes if known.signature != own]
            self._make_room(set(now.signatures.values()))
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

    def _make_room(self, there: set[str]) -> None:
        """Drop maps of nodes that are not in the prompt, the oldest first."""
        taken = sum(known.size for known in self._nodes)
        elsewhere = [known for known in self._nodes if not known.signatures & there]
        for known in elsewhere:
            if taken > MOST_BYTES:
                taken -= known.size
                known.measured = [Measured(None, DROPPED, None)]
        for known in elsewhere[:-MOST_ELSEWHERE]:
            self._nodes.remove(known)
