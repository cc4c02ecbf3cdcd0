"""What a recording keeps of nodes that are executed, and what a collecting node receives, prompt by prompt.

The graphs are ComfyUI's own, without its executor: ``tests/server/test_record_in_prompts.py`` runs them in a server.
"""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

from real_models import MEASURING, Loaded, Sampling
from uncertainty.maps import UncertaintyMap
from uncertainty.room import in_memory

Node = dict[str, Any]

# Of a recording, in units of 2²⁰ bytes, and how many maps it holds.
MEMORY, HELD = 4, 8


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


def record(hook: ModuleType, recording: Any) -> Any:
    """Record a map of 2¹⁹ bytes of a sampling in its room, as the hook does; the room."""
    room = recording.room()
    values = room.zeros((1, 1, 2, 256, 256))
    found = UncertaintyMap({}, {}, (), 4, torch.empty(0), of_run={"drift": values[0]})
    recording.add(hook.Measured(found, "", torch.zeros(1)))
    return room


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
                record(self.hook, self.recording)
        return self

    def collected(self) -> list[tuple[str, list[Any]]]:
        """Titles, and the maps or the reasons why there are none."""
        with self.within("collect"):
            found = self.recording.before_running_node()
        return [(node.title, [each.map or each.failure for each in node.measured]) for node in found]


@pytest.fixture
def prompt(hook: ModuleType) -> Callable[..., Prompt]:
    """Prompts over one recording, by number."""
    recording = hook.Recording(hook.Options(map_memory=MEMORY))
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


def test_dropped_maps_are_named_and_those_in_the_prompt_stay(prompt: Callable[..., Prompt], hook: ModuleType) -> None:
    prompt("0").recording.options = hook.Options(map_memory=0)
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


def test_a_script_keeps_the_latest_maps_within_the_room(prompt: Callable[..., Prompt], hook: ModuleType) -> None:
    recording = prompt("1", a=1).recording
    recording.add(hook.Measured(None, "failed", torch.zeros(1)))
    rooms = [record(hook, recording) for _ in range(HELD + 2)]
    (node,) = recording.before_running_node()
    # The few bytes of each latent take the place of one map.
    assert [each.failure for each in node.measured] == ["failed", *[hook.DROPPED] * 3, *[""] * (HELD - 1)]
    assert not any(room.on_disk for room in rooms)


def held(recording: Any) -> int:
    """Bytes of main memory of all that is recorded."""
    return in_memory(tensor for node in recording._nodes for measured in node.measured for tensor in measured.tensors)


def test_the_bound_holds_for_all_samplings_of_a_prompt_and_none_is_dropped(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType], prompt: Callable[..., Prompt]
) -> None:
    """As of several tiles, whose maps are on the disk where memory has no room left for them."""
    loaded = loaded_models["sd15"]
    measuring = {name: MEASURING[name] for name in ("samples", "window_start", "window_end")}
    latent = {"samples": torch.randn(8, 4, 16, 16)}
    execute, options = pack("nodes.sampling.recording_patch").UncertaintyRecord.execute, pack("uncertainty.options").Options
    found = []
    for memory in (1, 2048):
        model, recording = execute(loaded.model, **measuring, options=options(map_memory=memory)).args
        running = prompt(f"of {memory}", a=1)
        with running.within("a"):
            for seed in range(4):
                sampling.plain(loaded, model=model, seed=seed, latent_image=latent)
        running.recording = recording
        found.append([uncertainty for _, maps in running.collected() for uncertainty in maps])
        assert held(recording) <= memory << 20
        assert (held(recording) > 1 << 20) == (memory > 1)
    for bounded, ample in zip(*found, strict=True):
        assert all(torch.equal(bounded.quantities[name], values) for name, values in ample.quantities.items())
        assert torch.equal(bounded.of_run["drift"], ample.of_run["drift"])


def test_maps_of_earlier_prompts_give_way_before_any_goes_to_the_disk(prompt: Callable[..., Prompt], hook: ModuleType) -> None:
    prompt("1", a=1).sample(*"a" * (HELD - 1))
    second = prompt("2", a=2)
    with second.within("a"):
        rooms = [record(hook, second.recording) for _ in range(HELD + 1)]
    assert [room.on_disk for room in rooms] == [0] * (HELD - 1) + [1 << 19] * 2
    assert held(second.recording) <= MEMORY << 20
    assert hook.DROPPED not in second.collected()[0][1]
    assert prompt("3", a=1, b=1).sample("b").collected()[0] == ("KSampler (a)", [hook.DROPPED] * (HELD - 1))


def test_maps_in_files_take_no_memory(prompt: Callable[..., Prompt], hook: ModuleType) -> None:
    """With on_disk, what earlier prompts recorded gives no memory back, and is kept up to the bound."""
    first = prompt("1", a=1)
    first.recording.options = hook.Options(map_memory=MEMORY, keep_maps="on_disk")
    kept = first.sample("a").collected()
    prompt("2", a=2).sample("a")
    assert prompt("3", a=1, b=1).sample("b").collected()[0] == kept[0]
    for number in range(HELD):
        prompt(f"more {number}", a=3 + number).sample("a")
    assert prompt("4", a=1, b=2).sample("b").collected()[0] == ("KSampler (a)", [hook.DROPPED])


def test_a_node_that_runs_again_gives_back_what_it_replaces(prompt: Callable[..., Prompt], hook: ModuleType) -> None:
    for number in range(3):
        again = prompt(str(number), a=1)
        with again.within("a"):
            rooms = [record(hook, again.recording) for _ in range(HELD - 1)]
        assert not any(room.on_disk for room in rooms)


def test_a_thread_of_a_nodes_own_drops_nothing_of_the_prompt(prompt: Callable[..., Prompt], hook: ModuleType) -> None:
    running = prompt("1", a=1).sample(*"a" * (HELD - 1))
    record(hook, running.recording)
    record(hook, running.recording)
    assert hook.DROPPED not in running.collected()[0][1]


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
