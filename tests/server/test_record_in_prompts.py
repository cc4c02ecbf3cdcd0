"""What Record and Collect Uncertainty give from prompt to prompt, while ComfyUI keeps results and uses them again."""

from collections.abc import Iterator
from typing import Any

import pytest

from bad_input import GROUND, SAMPLER
from dev.bootstrap import ROOT
from dev.client import Graph, PromptFailed, make, run
from dev.server import ComfyServer

PACK = ROOT / "tests" / "support" / "expanding_nodes"
MEASURE = {"samples": 2, "window_start": 0.5, "window_end": 1.0}
KSAMPLER = ("seed", "steps", "cfg", "sampler_name", "scheduler", "positive", "negative", "denoise")
# No two tests share a seed: ComfyUI keeps results.
FIRST, SECOND = 1000, 2000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A server with a node that is expanded, too."""
    folder = tmp_path_factory.mktemp("comfyui")
    (folder / "custom_nodes").mkdir()
    (folder / "custom_nodes" / "expanding").symlink_to(PACK)
    with ComfyServer(base=folder, log=folder / "server.log") as running:
        yield running


class Session:
    """Runs prompts one after the other, and tells which nodes sampled."""

    def __init__(self, server: ComfyServer) -> None:
        self.url = server.url
        self.sampled: list[str] = []

    def run(self, graph: Graph) -> tuple[list[str], list[float], str]:
        """Names, scores and report of the node "collect"."""
        graph = graph | {
            "names": make("PreviewAny", source=["collect", 2]),
            "scores": make("PreviewAny", source=["collect", 1]),
            "report": make("PreviewAny", source=["collect", 3]),
        }
        sampled: dict[str, None] = {}
        outputs = run(self.url, graph, lambda node, value, maximum: sampled.setdefault(node))
        self.sampled = list(sampled)
        texts = {name: outputs.get(name, {}).get("text", []) for name in ("names", "scores", "report")}
        return texts["names"], [float(score) for score in texts["scores"]], texts["report"][0]


@pytest.fixture
def session(server: ComfyServer) -> Session:
    """Prompts of one client."""
    return Session(server)


def sampler(seed: int, latent: Any, model: str = "record", **changed: Any) -> dict:
    """A KSampler with a recorded model."""
    inputs = {name: SAMPLER[name] for name in KSAMPLER} | {"model": [model, 0], "latent_image": latent, "seed": seed}
    return make("KSampler", **inputs | changed)


def twice(first: int, second: int, after: str = "second") -> Graph:
    """Two samplers in a row, with these seeds."""
    graph = {name: GROUND[name] for name in ("model", "positive", "negative")}
    graph["latent"] = make("EmptyLatentImage", width=128, height=128, batch_size=1)
    graph["record"] = make("UncertaintyRecord", model=["model", 0], **MEASURE)
    graph["first"] = sampler(first, ["latent", 0])
    graph["second"] = sampler(second, ["first", 0], denoise=0.5)
    graph["collect"] = make("UncertaintyCollect", recording=["record", 1], after=[after, 0])
    return graph


NAMES = ["KSampler (first), latent 16×16", "KSampler (second), latent 16×16"]


def test_each_sampler_has_its_map_with_the_score_of_its_twin(session: Session) -> None:
    graph = twice(FIRST, SECOND)
    names, scores, report = session.run(graph)
    assert names == NAMES
    assert report.split("\n") == [f"{name}: denoised_variance {score:.4g}" for name, score in zip(names, scores, strict=True)]
    twin = {name: value for name, value in graph["first"]["inputs"].items() if name != "model"}
    measured = SAMPLER | twin | MEASURE
    run_of_it = {name: graph[name] for name in ("model", "positive", "negative", "latent")} | {
        "twin": make("UncertaintyKSampler", **measured),
        "shown": make("PreviewAny", source=["twin", 2]),
    }
    (score,) = run(session.url, run_of_it)["shown"]["text"]
    assert float(score) == scores[0]


def test_a_sampler_that_runs_again_replaces_its_map_and_the_other_stays(session: Session) -> None:
    _, before, _ = session.run(twice(FIRST + 1, SECOND))
    names, after, _ = session.run(twice(FIRST + 1, SECOND + 1))
    assert session.sampled == ["second"]
    assert names == NAMES
    assert after[0] == before[0] and after[1] != before[1]
    _, again, _ = session.run(twice(FIRST + 1, SECOND))
    assert again == before


def test_nothing_is_sampled_again_for_another_way_of_collecting(session: Session) -> None:
    plain = twice(FIRST + 2, SECOND)
    without = {name: node for name, node in plain.items() if name != "collect"} | {
        "seen": make("PreviewAny", source=["second", 0])
    }
    run(session.url, without)
    names, scores, _ = session.run(plain)
    assert (session.sampled, names) == ([], NAMES)
    one, first, _ = session.run(twice(FIRST + 2, SECOND, after="first"))
    assert (session.sampled, one, first) == ([], NAMES[:1], scores[:1])


def test_a_removed_sampler_is_gone(session: Session) -> None:
    session.run(twice(FIRST + 3, SECOND))
    graph = twice(FIRST + 3, SECOND, after="first")
    del graph["second"]
    graph["other"] = sampler(SECOND + 3, ["first", 0])
    graph["collect"]["inputs"]["after"] = ["other", 0]
    names, _, _ = session.run(graph)
    assert session.sampled == ["other"]
    assert names == [NAMES[0], "KSampler (other), latent 16×16"]


def test_what_lies_beside_the_way_is_not_collected(session: Session) -> None:
    graph = twice(FIRST + 4, SECOND, after="first")
    names, _, _ = session.run(graph | {"seen": make("PreviewAny", source=["second", 0])})
    assert names == NAMES[:1]


def test_a_node_under_another_number_keeps_its_map(session: Session) -> None:
    _, before, _ = session.run(twice(FIRST + 5, SECOND))
    graph = twice(FIRST + 5, SECOND)
    graph["renamed"] = graph.pop("first") | {"_meta": {"title": "Draft"}}
    graph["second"]["inputs"]["latent_image"] = ["renamed", 0]
    graph["moved"] = make("LatentFlip", samples=["second", 0], flip_method="x-axis: vertically")
    graph["collect"]["inputs"]["after"] = ["moved", 0]  # otherwise ComfyUI keeps what was collected, too
    names, scores, _ = session.run(graph)
    assert (session.sampled, scores) == ([], before)
    assert names == ["Draft (renamed), latent 16×16", NAMES[1]]


def test_prompts_with_the_same_model_do_not_see_each_others_maps(session: Session) -> None:
    """Under the same numbers, and queued in turn."""
    one, other = twice(FIRST + 6, SECOND), twice(FIRST + 7, SECOND)
    expected = [session.run(graph)[1] for graph in (one, other)]
    assert expected[0][0] != expected[1][0]
    del other["second"]
    other["collect"]["inputs"]["after"] = ["first", 0]
    assert session.run(one)[1] == expected[0]
    assert session.run(other)[1] == expected[1][:1]
    assert session.run(one)[1] == expected[0]


def test_a_run_that_failed_on_its_way_leaves_nothing_behind(session: Session) -> None:
    session.run(twice(FIRST + 8, SECOND))
    graph = twice(FIRST + 8, SECOND + 8)
    graph["bad"] = make("EmptySD3LatentImage", width=128, height=128, batch_size=3)
    graph["mixed"] = make("LatentComposite", samples_to=["second", 0], samples_from=["bad", 0], x=0, y=0, feather=0)
    graph["third"] = sampler(1, ["mixed", 0])
    graph["collect"]["inputs"]["after"] = ["third", 0]
    with pytest.raises(PromptFailed):
        session.run(graph)
    names, scores, _ = session.run(twice(FIRST + 8, SECOND + 8))
    assert (session.sampled, names) == ([], NAMES)
    _, fresh, _ = session.run(twice(FIRST + 9, SECOND + 8))
    assert scores[0] != fresh[0]


def test_a_list_of_latents_is_a_list_of_samplings(session: Session) -> None:
    graph = twice(FIRST + 10, SECOND, after="first")
    graph["several"] = make("EmptyLatentImage", width=128, height=128, batch_size=3)
    graph["listed"] = make("RebatchLatents", latents=["several", 0], batch_size=2)
    graph["first"]["inputs"]["latent_image"] = ["listed", 0]
    names, scores, report = session.run(graph)
    assert names == [f"KSampler (first), {number} of 2, latent 16×16" for number in (1, 2)]
    assert len(scores) == 3
    assert f"{scores[0]:.4g}, {scores[1]:.4g}" in report


def test_two_recordings_are_of_their_own_samplers(session: Session) -> None:
    both = twice(FIRST + 11, SECOND)
    _, scores, _ = session.run(both)
    both["own"] = make("UncertaintyRecord", model=["model", 0], **MEASURE | {"samples": 3})
    both["second"]["inputs"]["model"] = ["own", 0]
    names, first, _ = session.run(both)
    assert (names, first) == (NAMES[:1], scores[:1])
    both["collect"]["inputs"]["recording"] = ["own", 1]
    names, second, _ = session.run(both)
    assert names == NAMES[1:] and second[0] != scores[1]


def test_what_a_node_was_expanded_to_is_collected(session: Session) -> None:
    """Also if none, or a part, of it is sampled again."""
    graph = twice(FIRST + 12, SECOND, after="rounds")
    del graph["second"]
    given = {"model": ["record", 0], "positive": ["positive", 0], "negative": ["negative", 0], "latent_image": ["first", 0]}
    graph["rounds"] = make("Rounds", **given, seed=5, rounds=3)
    names, scores, _ = session.run(graph)
    assert names == [NAMES[0], *["Rounds (rounds), latent 16×16"] * 3]
    graph["collect"]["inputs"]["after"] = ["first", 0]
    assert session.run(graph)[1] == scores[:1]
    graph["collect"]["inputs"]["after"] = ["rounds", 0]
    assert session.run(graph)[1] == scores
    assert session.sampled == []
    graph["rounds"]["inputs"]["rounds"] = 2
    assert session.run(graph)[1] == scores[:3]
    graph["rounds"]["inputs"]["rounds"] = 4
    *same, _ = more = session.run(graph)[1]
    assert same == scores
    graph["moved"] = make("LatentFlip", samples=["rounds", 0], flip_method="x-axis: vertically")
    graph["collect"]["inputs"]["after"] = ["moved", 0]
    assert session.run(graph)[1] == more
    assert session.sampled == []


def test_nothing_recorded_says_what_to_do(session: Session) -> None:
    graph = twice(FIRST + 13, SECOND, after="latent")
    with pytest.raises(PromptFailed, match="Connect the MODEL of Record Uncertainty to a sampler"):
        session.run(graph)
