"""What was measured while a model was sampled, by the node that sampled it.

ComfyUI keeps the results of a node and uses them again while the node, and all nodes before it, stay as they were. A recording,
which is kept with the model it belongs to, follows the same rule:

- a node that is not executed again keeps what it recorded, also under another number in the workflow;
- a node that is executed again replaces what it recorded before;
- what nodes recorded that are not in the prompt, with other seeds or in other workflows, is kept up to ``map_memory``, as ComfyUI
  may use their results again, until others need its memory. What is dropped is named when it is asked for;
- the maps of a node that a switch leaves out are kept too, until a node before it changes;
- a collecting node receives what nodes before it recorded, and nothing else, whatever other prompts did with the same model.

A script that calls nodes itself has no such graph: what it samples is then collected in order, and the latest
maps are kept, up to ``map_memory``.

In main memory all of it, with what is being recorded, takes no more than ``map_memory`` allows. The rest is in files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.options import Options
from ...uncertainty.room import Room, in_all, in_memory
from .map_room import room_for
from .running_node import RunningNode

# Executions of nodes that are not in the prompt, with maps or only named.
MOST_ELSEWHERE = 1000
DROPPED = (
    "its maps were dropped to make room for others before its result was used again. Change its seed to sample again; more maps "
    "are kept with a larger map_memory in Uncertainty Options."
)


@dataclass(frozen=True)
class Measured:
    """One sampling.

    Attributes:
        map: its map, or None.
        failure: why there is none.
        latent: the latent that the sampler was given, (B, C, *spatial), of several the one that the map is of or the first; None
            if its maps were dropped.
    """

    map: UncertaintyMap | None
    failure: str
    latent: Tensor | None

    @property
    def part(self) -> int:
        """Which of the latents that were sampled together it is of."""
        number: int = 0 if self.map is None else self.map.settings.get("part", 0)
        return number

    @property
    def tensors(self) -> list[Tensor]:
        """What takes memory or space on the disk."""
        parts = [] if self.map is None else self.map.parts
        maps = [tensor for part in parts for tensor in (*part.quantities.values(), *part.of_run.values(), part.mask)]
        return [tensor for tensor in [*maps, self.latent] if tensor is not None]


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

    def drop(self, index: int) -> None:
        """Drop the map of a sampling, or what is left of one that has none."""
        self.measured[index] = Measured(None, self.measured[index].failure or DROPPED, None)


class Recording:
    """The samplings of one model.

    Args:
        options: how its maps are kept.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self._nodes: list[SamplingNode] = []

    def room(self) -> Room:
        """Room for the sampling that the running node begins: what all maps may take, less what those take that are kept."""
        self._sampling_node()  # without the maps that it replaces
        self._drop_elsewhere()
        held = [tensor for known in self._nodes for measured in known.measured for tensor in measured.tensors]
        return room_for(self.options, in_memory(held), self._give_way)

    def add(self, measured: Measured) -> None:
        """Add a sampling of the running node."""
        self._sampling_node().measured.append(measured)

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
            lineage = {now.signatures[node] for node in now.lineage(now.node)}
            started = SamplingNode(now.prompt, now.node, now.title(now.node), own, lineage)
        self._nodes.append(started)
        for known in self._elsewhere()[:-MOST_ELSEWHERE]:
            self._nodes.remove(known)
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

    def _elsewhere(self) -> list[SamplingNode]:
        """Those of nodes that are not in the prompt, the oldest first; in a script, what it sampled."""
        now = RunningNode.now()
        if now is None:
            return [known for known in self._nodes if known.node is None]
        there = set(now.signatures.values())
        return [known for known in self._nodes if not known.signatures & there]

    def _drop_elsewhere(self) -> None:
        """Drop the oldest maps elsewhere, as far as they take more than ``map_memory`` in memory and in files."""
        left = self.options.map_memory << 20
        for node in reversed(self._elsewhere()):
            for index in reversed(range(len(node.measured))):
                left -= in_all(node.measured[index].tensors)
                if left < 0:
                    node.drop(index)

    def _give_way(self, missing: float) -> int:
        """Drop the oldest maps elsewhere that take so many bytes of memory, if there are as many; return how many were."""
        found = [(node, index, in_memory(each.tensors)) for node in self._elsewhere() for index, each in enumerate(node.measured)]
        if sum(taken for _, _, taken in found) < missing:
            return 0
        freed = 0
        for node, index, taken in found:
            if taken and freed < missing:
                node.drop(index)
                freed += taken
        return freed
