"""Values that come through links: numbers of other libraries, and choices from other packs' selectors."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from real_models import Loaded, Sampling


@pytest.fixture
def unet(loaded_models: dict[str, Loaded]) -> Loaded:
    return loaded_models["sd15"]


def numbers(kind: Callable[[Any], Any]) -> dict[str, Any]:
    values = {"seed": 3, "steps": 5, "cfg": 3.0, "denoise": 1.0, "samples": 3, "percentile": 90.0, "window_start": 0.25}
    return {name: kind(value) for name, value in values.items()}


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.array, torch.tensor, int, float], ids=lambda kind: kind.__name__)
def test_numbers_of_other_libraries(
    kind: Callable[[Any], Any], unet: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    given = numbers(kind)
    if kind is int:
        given["window_start"] = 0.25
    latent, found, _ = sampling.node(unet, **given)
    plain, expected, _ = sampling.node(unet, **numbers(lambda value: value))
    assert torch.equal(latent["samples"], plain["samples"])
    assert json.dumps(dict(found.settings)) == json.dumps(dict(expected.settings))
    pack("uncertainty.storage.tensor_files").save_map(tmp_path / "map.safetensors", found)
    assert pack("uncertainty.storage.picture_entry").entry(found, 0) == pack("uncertainty.storage.picture_entry").entry(
        expected, 0
    )
    fingerprints = pack("uncertainty.storage.fingerprints")
    assert fingerprints.fingerprint(found) == fingerprints.fingerprint(expected)


def test_numbers_are_checked_before_sampling(unet: Loaded, sampling: Sampling) -> None:
    for name, value in (("steps", 2.5), ("seed", "7"), ("cfg", None), ("window_end", torch.zeros(2)), ("samples", np.nan)):
        with pytest.raises(ValueError, match=f"{name} must be a"):
            sampling.node(unet, **{name: value})


@pytest.mark.parametrize("seed", [-1, -(2**40), 2**64 - 1])
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_every_seed_that_ksampler_takes(
    strength: float, seed: int, unet: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    latent, found, _ = sampling.node(unet, seed=seed, strength=strength)
    if strength == 0:
        assert torch.equal(latent["samples"], sampling.plain(unet, seed=seed))
    else:
        guide = pack("nodes.sampling.guidance_patch").UncertaintyGuidance.execute
        measuring = {"samples": 3, "strength": strength, "percentile": 90.0, "window_start": 0.3, "window_end": 0.7}
        assert torch.equal(latent["samples"], sampling.plain(unet, seed=seed, model=guide(unet.model, **measuring).args[0]))
    assert found.settings["seed"] == seed % 2**64
    (record, *_) = pack("uncertainty.storage.records").records_of(found)
    assert record.seed == seed % 2**64


def test_options_of_guiders_are_plain(unet: Loaded, pack: Callable[[str], ModuleType]) -> None:
    from comfy_extras.nodes_custom_sampler import CFGGuider

    describe = pack("nodes.hook.described_sampling")._plain
    (guider,) = CFGGuider.execute(unet.model, unet.positive, unet.negative, np.float32(3)).args
    guider.scales = torch.ones(2)
    assert describe(vars(guider)) == {"cfg": 3.0} and type(describe(vars(guider))["cfg"]) is float


@pytest.fixture
def selector(comfy_pack: ModuleType) -> Iterator[Callable[[Any], None]]:
    """Registers a node of another pack whose only output has a given type."""
    import nodes

    def register(returned: Any) -> None:
        class Selector:
            RETURN_TYPES = (returned,)
            FUNCTION = "select"

            @classmethod
            def INPUT_TYPES(cls) -> dict:
                return {"required": {}}

        nodes.NODE_CLASS_MAPPINGS["OtherSelector"] = Selector

    yield register
    nodes.NODE_CLASS_MAPPINGS.pop("OtherSelector", None)


def complaints(node: type, linked: str) -> list[str]:
    """What ComfyUI says about a node of which one input is linked to the selector."""
    import execution

    import nodes

    nodes.NODE_CLASS_MAPPINGS["UnderTest"] = node
    prompt = {
        "1": {"class_type": "OtherSelector", "inputs": {}},
        "2": {"class_type": "UnderTest", "inputs": {linked: ["1", 0]}},
    }
    try:
        _, errors, _ = asyncio.run(execution.validate_inputs("prompt", prompt, "2", {}))
    finally:
        nodes.NODE_CLASS_MAPPINGS.pop("UnderTest")
    said = [f"{error['message']}: {error['details']}" for error in errors if error["type"] != "required_input_missing"]
    return [each for each in said if "mismatch" in each]


class Wildcard(str):
    """The type that other packs use for outputs that fit anywhere."""

    def __ne__(self, other: object) -> bool:
        """Fits."""
        return False


@pytest.fixture
def pack_nodes(pack: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> list[type]:
    monkeypatch.setattr(pack("nodes"), "add_routes", lambda: None)  # there is no server
    return asyncio.run(pack("nodes").UncertaintyExtension().get_node_list())


def test_every_choice_takes_the_selectors_of_other_packs(selector: Callable[[Any], None], pack_nodes: list[type]) -> None:
    from comfy_api.latest import io

    tried = 0
    for node in pack_nodes:
        for field in node.define_schema().inputs:
            if isinstance(field, io.Combo.Input):
                tried += 1
                for returned in (["euler", "other"], "COMBO", "STRING", "*", Wildcard("*")):
                    selector(returned)
                    assert complaints(node, field.id) == [], (node, field.id, returned)
                for returned in ("LATENT", "MODEL"):
                    selector(returned)
                    assert complaints(node, field.id), (node, field.id, returned)
    assert tried > 20


def test_other_links_are_checked_as_before(selector: Callable[[Any], None], pack_nodes: list[type]) -> None:
    from comfy_api.latest import io

    selector("CLIP")
    for node in pack_nodes:
        for field in node.define_schema().inputs:
            if not isinstance(field, io.Combo.Input | io.AnyType.Input):  # scores of other packs have any type
                said = complaints(node, field.id)
                expected = f"{field.id}, received_type(CLIP) mismatch input_type({field.get_io_type()})"
                assert said and "Return type mismatch between linked nodes" in said[0] and expected in said[0], (node, field.id)


def test_linked_choices_are_checked_when_they_come(unet: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType]) -> None:
    calls = []

    def count(apply: Callable, args: dict) -> torch.Tensor:
        calls.append(1)
        return apply(args["input"], args["timestep"], **args["c"])

    model = unet.model.clone()
    model.set_model_unet_function_wrapper(count)
    for name in ("sampler_name", "scheduler"):
        with pytest.raises(ValueError, match=f"{name} must be one of .*, got 'from another pack'"):
            sampling.node(unet, model=model, **{name: "from another pack"})
    assert not calls
    _, found, _ = sampling.node(unet)
    execute = pack("nodes.looking.map_to_mask").UncertaintyToMask.execute
    with pytest.raises(ValueError, match=r"quantity must be one of .*, got \['denoised_variance'\]"):
        execute(found, ["denoised_variance"], 90.0, 0, 0, "")
    load = pack("nodes.sampling.demo_model").UncertaintyDemoModel.execute
    with pytest.raises(ValueError, match="checkpoint must be one of demo model.*, got 'missing'"):
        load(checkpoint="missing")
