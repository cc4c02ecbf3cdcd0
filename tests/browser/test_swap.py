"""Swapping ComfyUI's samplers and Save Image for this pack's nodes, and back, from their context menu."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from dev.bootstrap import ROOT

if TYPE_CHECKING:
    from conftest import FrontEnd

EXAMPLES = ROOT / "example_workflows"
# What the front-end asks the extensions for; both of its context menus show it.
CHOOSE = """(node, label) => {
    const item = window.app.collectNodeMenuItems(node).find((each) => each?.content === label);
    if (!item) throw new Error(`${node.type} does not offer ${label}`);
    item.callback();
}"""
HERE, BACK = "Measure uncertainty here", "Do not measure uncertainty here"


def without_ids(graph: dict[str, Any]) -> list[dict[str, Any]]:
    """A graph in API format in which links name the type of the node they come from."""
    named = json.loads(json.dumps(graph))
    for node in named.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                node["inputs"][name] = [named[value[0]]["class_type"], value[1]]
    return sorted(named.values(), key=json.dumps)


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_each_of_two_stages_is_swapped(each_front_end: "FrontEnd") -> None:
    """KSampler (Advanced): all of its values, and the latents that go on to the next stage."""
    each_front_end.open(EXAMPLES / "best_of_16.json")
    stage = {"noise_seed": 9, "steps": 30, "cfg": 4.5, "start_at_step": 12, "end_at_step": 20, "add_noise": "disable"}
    stage |= {"return_with_leftover_noise": "enable", "sampler_name": "dpm_2", "scheduler": "karras"}
    first, second = (each_front_end.add("KSamplerAdvanced") for _ in range(2))
    for name, value in stage.items():
        first.set(name, value)
    first.on("(node, id) => node.connect(0, node.graph.getNodeById(id), 'latent_image')", int(second.id))
    first.on(CHOOSE, HERE)
    ours = each_front_end.node("UncertaintyKSamplerAdvanced")
    assert ours.values().items() >= stage.items()
    assert ours.on("(node) => node.outputs[0].links.length") == 1
    ours.on(CHOOSE, BACK)
    assert each_front_end.nodes("UncertaintyKSamplerAdvanced") == []
    again = next(node for node in each_front_end.nodes("KSamplerAdvanced") if node.values()["steps"] == 30)
    assert again.values().items() >= stage.items()
    assert again.on("(node) => node.outputs[0].links.length") == 1
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_a_sampler_alone_in_a_subgraph_keeps_its_links(each_front_end: "FrontEnd") -> None:
    """All of its links lead to the border of the subgraph, whose id is a number or a text."""
    each_front_end.open(EXAMPLES / "best_of_16.json")
    each_front_end.node("UncertaintyKSampler").on(CHOOSE, BACK)
    sampler = each_front_end.node("KSampler")
    before = each_front_end.exported()[sampler.id]["inputs"]
    sampler.on("(node) => node.graph.convertToSubgraph(new Set([node]))")
    each_front_end.page.evaluate(
        f"({CHOOSE})(window.app.graph.nodes.find(({{ subgraph }}) => subgraph).subgraph.nodes[0], '{HERE}')"
    )
    after = each_front_end.exported()
    (number,) = [key for key, node in after.items() if node["class_type"] == "UncertaintyKSampler"]
    assert ":" in number  # inside
    assert before.items() <= after[number]["inputs"].items()
    assert [number, 0] in [node["inputs"].get("samples") for node in after.values() if node["class_type"] == "VAEDecode"]
    assert each_front_end.complaints == []


@pytest.mark.parametrize("adds_noise", [True, False])
@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_a_sampler_with_parts_becomes_three_nodes(each_front_end: "FrontEnd", adds_noise: bool) -> None:
    """SamplerCustom, which ComfyUI's templates of LTX-Video and SDXL Turbo have, makes its noise and its guider itself."""
    graph = json.loads((ROOT / "dev" / "best_of_16.api.json").read_text())
    sampler = next(node for node in graph.values() if node["class_type"] == "UncertaintyKSampler")
    schedule = {name: sampler["inputs"][name] for name in ("model", "scheduler", "steps", "denoise")}
    guided = {name: sampler["inputs"][name] for name in ("model", "positive", "negative")}
    schedule_and_latent = {"sampler": ["97", 0], "sigmas": ["98", 0], "latent_image": sampler["inputs"]["latent_image"]}
    inputs = {"add_noise": adds_noise, "noise_seed": 9, "cfg": 4.5} | guided | schedule_and_latent
    graph |= {
        "97": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "dpm_2"}},
        "98": {"class_type": "BasicScheduler", "inputs": schedule},
        "99": {"class_type": "SamplerCustom", "inputs": inputs},
    }
    decoder = next(node for node in graph.values() if node["class_type"] == "VAEDecode")
    decoder["inputs"]["samples"] = ["99", 1]
    each_front_end.open_graph(graph, each_front_end.server.base / "parts.json")
    each_front_end.node("SamplerCustom").on(CHOOSE, HERE)
    assert each_front_end.nodes("SamplerCustom") == []
    found = each_front_end.exported()
    ours = each_front_end.node("UncertaintySamplerCustom").id
    inputs = found[ours]["inputs"]
    assert inputs.items() >= schedule_and_latent.items()
    noise, guider = found[inputs["noise"][0]], found[inputs["guider"][0]]
    seeded = {"class_type": "RandomNoise", "inputs": {"noise_seed": 9}}
    assert noise == (seeded if adds_noise else {"class_type": "DisableNoise", "inputs": {}})
    assert guider == {"class_type": "CFGGuider", "inputs": {"cfg": 4.5} | guided}
    assert next(node for node in found.values() if node["class_type"] == "VAEDecode")["inputs"]["samples"] == [ours, 1]
    assert each_front_end.complaints == []


@pytest.mark.parametrize(
    ("file", "ours", "plain"),
    [
        ("best_of_16", "UncertaintyKSampler", "KSampler"),
        ("custom_sampler_flux_style", "UncertaintySamplerCustom", "SamplerCustomAdvanced"),
    ],
)
@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_a_sampler_is_swapped_there_and_back(each_front_end: "FrontEnd", file: str, ours: str, plain: str) -> None:
    each_front_end.open(EXAMPLES / f"{file}.json")
    each_front_end.node(ours).set("strength", 0.0)
    before = each_front_end.exported()
    each_front_end.node(ours).on(CHOOSE, BACK)
    assert each_front_end.nodes(ours) == []
    swapped = each_front_end.exported()
    (number,) = [key for key, node in before.items() if node["class_type"] == ours]
    (new,) = [node for node in swapped.values() if node["class_type"] == plain]
    assert new["inputs"].items() <= before[number]["inputs"].items()
    each_front_end.node(plain).on(CHOOSE, HERE)
    again = each_front_end.exported()
    (measured,) = [node for node in again.values() if node["class_type"] == ours]
    assert new["inputs"].items() <= measured["inputs"].items()
    sampler = each_front_end.node(ours).id
    decoded = [node["inputs"]["samples"][0] for node in again.values() if node["class_type"] == "VAEDecode"]
    assert sampler in decoded
    each_front_end.command("Comfy.Undo")
    each_front_end.until(lambda: each_front_end.nodes(plain))
    assert each_front_end.nodes(ours) == []
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_saving_is_measured_where_it_is_sampled(each_front_end: "FrontEnd", request: pytest.FixtureRequest) -> None:
    """ComfyUI's own text-to-image graph needs one click, and nothing else of it changes."""
    graph = json.loads((ROOT / "dev" / "best_of_16.api.json").read_text())
    numbers = {node["class_type"]: number for number, node in graph.items()}
    sampler, decoder = numbers["UncertaintyKSampler"], numbers["VAEDecode"]
    own = ("samples", "strength", "percentile", "window_start", "window_end")
    inputs = {name: value for name, value in graph[sampler]["inputs"].items() if name not in own}
    stock = {number: node for number, node in graph.items() if "Image" in node["class_type"] or "CLIP" in node["class_type"]}
    stock = {number: node for number, node in stock.items() if node["class_type"] != "SaveImage"}
    stock |= {number: graph[number] for number in (decoder, numbers["UncertaintyDemoModel"])}
    stock[sampler] = {"class_type": "KSampler", "inputs": inputs}
    stock["99"] = {"class_type": "SaveImage", "inputs": {"images": [decoder, 0], "filename_prefix": "plain"}}
    each_front_end.open_graph(stock, each_front_end.server.base / "plain.json")
    before = each_front_end.exported()
    each_front_end.node("SaveImage").on(CHOOSE, HERE)
    found = {node["class_type"]: node["inputs"] for node in each_front_end.exported().values()}
    number = each_front_end.node("UncertaintyKSampler").id
    assert found["UncertaintySaveImage"]["uncertainty"] == [number, 1]
    assert found["UncertaintySaveImage"]["filename_prefix"] == "plain"
    assert found["VAEDecode"]["samples"] == [number, 0]
    assert found["UncertaintyKSampler"].items() >= before[sampler]["inputs"].items()
    each_front_end.photograph(f"swapped-{request.node.callspec.params['each_front_end']}")
    for kind in ("UncertaintySaveImage", "UncertaintyKSampler"):
        each_front_end.node(kind).on("(node) => { window.app.canvas.deselectAll(); window.app.canvas.select(node); }")
        each_front_end.command("uncertainty.swap")
    assert without_ids(each_front_end.exported()) == without_ids(before)
    assert each_front_end.complaints == []
