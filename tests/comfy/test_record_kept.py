"""What a recording keeps of nodes that are executed, and what a collecting node receives, prompt by prompt.

The graphs are ComfyUI's own, without its executor: ``tests/server/test_record_in_prompts.py`` runs them in a server.
"""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

from made_maps import made

Node = dict[str, Any]


@pytest.fixture
def hook(pack: Callable[[str], ModuleType]) -> ModuleType:
    """The module of recordings."""
    return pack("nodes.hook.recording")


@pytest.fixture(autouse=True)
def no_prompt_afterwards() -> Iterator[None]:
    """Other tests call nodes as scripts do."""
    yield
    from comfy_execution.graph import DynamicPrompt
    from comfy_execution.progress import reset_progress_state

    reset_progress_state("", DynamicPrompt({}))


class Prompt:
    """A prompt that is executed."""

    def __init__(self, number: str, hook: ModuleType, recording: Any, **seeds: int) -> None:
        """Samplers in a row, with these seeds by node, and a node that collects."""
        from comfy_execution.graph import DynamicPrompt

        graph: dict[str, Node] = {}
        before: Any = None
        for name, seed in seeds.items():
            graph[name] = {"class_type": "KSampler", "inputs": {"seed": seed, "latent_image": before}}
            before = [name, 0]
        graph["collect"] = {"class_type": "UncertaintyCollect", "inputs": {"after": before}}
        self.number, self.hook, self.recording, self.graph = number, hook, recording, DynamicPrompt(graph)

    def within(self, node: str) -> Any:
        """The context in which ComfyUI executes a node."""
        from comfy_execution.progress import reset_progress_state
        from comfy_execution.utils import CurrentNodeContext

        reset_progress_state(self.number, self.graph)
        return CurrentNodeContext(self.number, node, 0)

    def sample(self, *nodes: str) -> "Prompt":
        """Execute samplers, each of which records a map."""
        for node in nodes:
            with self.within(node):
                found = self.hook.Measured(made(1), "", torch.zeros(1, 4, 8, 8))
                self.recording.add(found)
        return self

    def collected(self) -> list[tuple[str, list[Any]]]:
        """Titles, and the maps or the reasons why there are none."""
        with self.within("collect"):
            found = self.recording.before_running_node()
        return [(node.title, [each.map or each.failure for each in node.measured]) for node in found]


@pytest.fixture
def prompt(hook: ModuleType) -> Callable[..., Prompt]:
    """Prompts over one recording, by number."""
    recording = hook.Recording()
    return lambda number, **seeds: Prompt(number, hook, recording, **seeds)


def test_results_of_an_earlier_prompt_bring_their_maps(prompt: Callable[..., Prompt]) -> None:
    """As in versions that keep results over other prompts: the first seed comes back, and only the second sampler runs."""
    first = prompt("1", a=1, b=1).sample("a", "b").collected()
    prompt("2", a=2, b=1).sample("a", "b")
    back = prompt("3", a=1, b=3).sample("b").collected()
    assert [title for title, _ in back] == ["KSampler (a)", "KSampler (b)"]
    assert back[0] == first[0]
    assert back[1][1] != first[1][1]


def test_a_file_that_changes_back_brings_its_map(prompt: Callable[..., Prompt]) -> None:
    def of_file(number: str, digest: str) -> Prompt:
        made_of = prompt(number, a=1, b=1)
        made_of.graph.get_node("a")["is_changed"] = [digest]  # where ComfyUI's executor notes it
        return made_of

    first = of_file("1", "one").sample("a", "b").collected()
    second = of_file("2", "other").sample("a", "b").collected()
    assert not {id(maps[0]) for _, maps in first} & {id(maps[0]) for _, maps in second}
    assert of_file("3", "one").collected() == first


def test_dropped_maps_are_named_and_those_in_the_prompt_stay(
    prompt: Callable[..., Prompt], hook: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "MOST_BYTES", 1)
    prompt("1", a=1, b=1).sample("a", "b")
    second = prompt("2", a=2, b=1).sample("a", "b").collected()
    assert [len(maps) for _, maps in second] == [1, 1]
    again = prompt("3", a=2, b=4).sample("b").collected()
    assert again[0] == second[0]
    back = prompt("4", a=1, b=3).sample("b").collected()
    assert back[0] == ("KSampler (a)", [hook.DROPPED])
    assert len(back[1][1]) == 1 and back[1][1] != [hook.DROPPED]
    sampled_again = prompt("5", a=1, b=3).sample("a").collected()
    assert sampled_again[0][1] != [hook.DROPPED]


def test_a_node_that_failed_on_its_way_is_replaced_as_a_whole(prompt: Callable[..., Prompt]) -> None:
    prompt("1", a=1).sample("a", "a", "a")
    ((_, maps),) = prompt("2", a=1).sample("a").collected()
    assert len(maps) == 1


def test_what_a_script_samples_is_kept_in_order_and_no_prompt_receives_it(
    prompt: Callable[..., Prompt], hook: ModuleType
) -> None:
    after = prompt("1", a=1)
    recording = after.recording
    recording.add(hook.Measured(None, "first", None))
    recording.add(hook.Measured(None, "second", None))
    (node,) = recording.before_running_node()
    assert [each.failure for each in node.measured] == ["first", "second"]
    assert after.collected() == []


def test_a_script_keeps_the_latest_maps_within_the_room(
    prompt: Callable[..., Prompt], hook: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = prompt("1", a=1).recording
    one = hook.Measured(made(1), "", None)
    monkeypatch.setattr(hook, "MOST_BYTES", 2 * one.size)
    for _ in range(4):
        recording.add(one)
    (node,) = recording.before_running_node()
    assert [each.failure for each in node.measured] == [hook.DROPPED, hook.DROPPED, "", ""]


def test_what_always_runs_never_brings_a_map_of_another_prompt(prompt: Callable[..., Prompt]) -> None:
    def prompted(number: str) -> Prompt:
        made_of = prompt(number, a=1, b=1)
        made_of.graph.get_node("a")["is_changed"] = [float("nan")]
        return made_of

    first = prompted("1").sample("a", "b")
    assert len(first.collected()) == 2
    assert prompted("2").collected() == []


def test_old_executions_are_forgotten(prompt: Callable[..., Prompt], hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "MOST_ELSEWHERE", 3)
    for seed in range(10):
        last = prompt(str(seed), a=seed).sample("a")
    assert len(last.recording._nodes) <= 3 + 1
    assert len(last.collected()) == 1


def test_circles_and_long_chains_are_no_obstacle(prompt: Callable[..., Prompt]) -> None:
    long = prompt("1", **{f"n{index}": index for index in range(3000)}).sample("n2999")
    long.graph.original_prompt["one"] = {"class_type": "Reroute", "inputs": {"value": ["other", 0]}}
    long.graph.original_prompt["other"] = {"class_type": "Reroute", "inputs": {"value": ["one", 0]}}
    assert [title for title, _ in long.collected()] == ["KSampler (n2999)"]
