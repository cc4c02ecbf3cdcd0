"""The preview and the filter node with a real map of the demo model."""

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from real_models import Loaded, Sampling


@pytest.fixture(scope="module")
def sampled(loaded_models: dict[str, Loaded], sampling: Sampling) -> tuple[dict, Any]:
    with torch.inference_mode():
        latent, found, _ = sampling.node(loaded_models["demo-eps"], batch=4)
    return latent, found


@pytest.fixture
def filtered(pack: Callable[[str], ModuleType], sampled: tuple[dict, Any]) -> Callable[..., Any]:
    def run(**changed: Any) -> Any:
        latent, found = sampled
        images = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 32, 32, 3)
        inputs = {
            "uncertainty": found, "images": images, "latents": latent, "masks": images[..., 0], "mode": "keep_best",
            "keep": 2, "percentile": 50.0, "threshold": 0.0, "quantity": "denoised_variance", "reject": "highest",
            "window_start": 0.0, "window_end": 1.0, "when_none_pass": "block",
        } | changed  # fmt: skip
        return pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute(**inputs)

    return run


def blocked(value: Any) -> bool:
    from comfy_execution.graph import ExecutionBlocker

    return isinstance(value, ExecutionBlocker)


def test_kept_and_rejected_stay_aligned(filtered: Callable[..., Any], sampled: tuple[dict, Any]) -> None:
    latent, found = sampled
    images, latents, masks, kept_map, bad_images, bad_latents, bad_masks, scores, kept, report, bad_map = filtered().args
    best = sorted(sorted(range(4), key=lambda i: scores[i])[:2])
    assert kept == best
    rest = [i for i in range(4) if i not in best]
    assert images[:, 0, 0, 0].tolist() == masks[:, 0, 0].tolist() == best
    assert bad_images[:, 0, 0, 0].tolist() == bad_masks[:, 0, 0].tolist() == rest
    assert torch.equal(latents["samples"], latent["samples"][best]) and latents["batch_index"] == best
    assert torch.equal(bad_latents["samples"], latent["samples"][rest]) and bad_latents["batch_index"] == rest
    torch.testing.assert_close(kept_map.score().value, found.score().value[best])
    torch.testing.assert_close(bad_map.score().value, found.score().value[rest])
    assert "kept 2 of 4" in report


def test_verdicts_by_hand_hold_for_their_images_alone(
    filtered: Callable[..., Any], loaded_models: dict[str, Loaded], sampling: Sampling
) -> None:
    """Another seed does not inherit them, a part of the batch in another order does."""
    scores, digests = filtered().args[7], judged(filtered())["digests"]
    best, second, _, worst = sorted(range(4), key=lambda i: scores[i])
    by_index = json.dumps({"keep": [worst], "reject": [best]})
    by_digest = json.dumps({"keep": [digests[worst]], "reject": [digests[best]]})
    for by_hand in (by_index, by_digest):
        output = filtered(by_hand=by_hand)
        assert output.args[8] == sorted((second, worst))
        assert "kept 2 of 4, 2 by hand" in output.args[9]
        shown = judged(output)
        assert (shown["by_hand"], shown["digests"]) == ({"keep": [worst], "reject": [best], "stars": {}}, digests)

    found = filtered(mode="percentile", percentile=100).args[3].select([worst, best])
    part = filtered(uncertainty=found, images=None, latents=None, masks=None, keep=1, by_hand=by_digest)
    assert part.args[8] == [0]
    with torch.inference_mode():
        _, other, _ = sampling.node(loaded_models["demo-eps"], batch=4, seed=4)
    output = filtered(uncertainty=other, by_hand=by_digest)
    assert output.args[8] == filtered(uncertainty=other).args[8]
    assert output.args[9].count("not used: 2 verdicts by hand on images of other batches") == 1
    with pytest.raises(ValueError, match="by_hand: keep names image 4, but this batch has 4"):
        filtered(by_hand='{"keep": [4]}')


def test_stars_go_with_the_images(filtered: Callable[..., Any]) -> None:
    """The next filter knows them, and gives others in their place."""
    output = filtered(mode="percentile", percentile=100, by_hand='{"stars": {"2": [0, 3], "5": [1]}}')
    found = output.args[3]
    assert (found.stars, judged(output)["stars"]) == ((2, 5, 0, 2), [0, 0, 0, 0])
    assert judged(output)["by_hand"]["stars"] == {"0": 2, "1": 5, "3": 2}
    part = found.select([3, 1])
    output = filtered(uncertainty=part, images=None, latents=None, masks=None, mode="percentile", by_hand='{"stars": {"4": [0]}}')
    assert judged(output)["stars"] == [2, 5]
    kept, rejected = output.args[3], output.args[10]
    assert sorted((*kept.stars, *rejected.stars)) == [4, 5]
    kept = filtered(uncertainty=part, images=None, latents=None, masks=None, keep=2, by_hand='{"stars": {"0": [1]}}').args[3]
    assert kept.stars == (2, 0)


def test_in_mode_choose_nothing_goes_on_until_somebody_chose(filtered: Callable[..., Any]) -> None:
    offer = filtered(mode="choose")
    outputs = [value[0] if isinstance(value, list) else value for value in offer.args]
    assert len(outputs) == 11 and all(blocked(value) for value in outputs)
    assert all(each.message is None for each in outputs)  # silently
    shown = judged(offer)
    assert shown["waits"] and (offer.ui["waits"], offer.ui["kept"]) == ([True], [])
    assert "choose among 4" in offer.ui["text"][0]
    for chosen in ([3, 1], [shown["digests"][3], shown["digests"][1]]):
        answered = filtered(mode="choose", by_hand=json.dumps({"keep": chosen}))
        assert answered.args[8] == [1, 3]
        assert answered.args[0][:, 0, 0, 0].tolist() == [1, 3] and answered.args[4][:, 0, 0, 0].tolist() == [0, 2]
        assert (answered.ui["waits"], judged(answered)["waits"]) == ([False], False)
        assert answered.ui["batch_digests"] == offer.ui["batch_digests"]


def test_a_run_that_waits_runs_again_because_the_answer_continues_the_last(
    pack: Callable[[str], ModuleType], filtered: Callable[..., Any]
) -> None:
    """Nodes behind the filter may have changed since. An answered run stays in the cache."""
    fingerprint = pack("nodes.choosing.score_filter").UncertaintyScoreFilter.fingerprint_inputs
    waits, answer = '{"keep": ["an image of another seed"]}', '{"keep": [2]}'
    assert fingerprint(mode="choose", by_hand=waits) is None
    filtered(mode="choose", by_hand=waits)
    filtered(mode="choose", by_hand=answer)
    assert fingerprint(mode="choose", by_hand=waits) != fingerprint(mode="choose", by_hand=waits)
    assert fingerprint(mode="choose", by_hand=answer) is None
    assert fingerprint(mode="keep_best", by_hand=waits) is None


def judged(output: Any) -> dict[str, Any]:
    """What the filter's view gets."""
    (name,) = output.ui["uncertainty_view"]
    read: dict[str, Any] = json.loads(Path(folder_paths().get_temp_directory(), "uncertainty", name).read_text())
    return read


def test_an_empty_side_blocks_only_itself(filtered: Callable[..., Any]) -> None:
    outputs = filtered(mode="threshold", threshold=-1.0).args
    assert all(blocked(value) for value in outputs[:4]) and blocked(outputs[8][0])
    assert not any(blocked(value) for value in (*outputs[4:8], *outputs[9:]))
    assert len(outputs[4]) == 4
    everything = filtered(keep=4).args
    assert not any(blocked(value) for value in everything[:4])
    assert all(blocked(value) for value in (*everything[4:7], everything[10]))


def test_what_was_not_connected_is_blocked(filtered: Callable[..., Any]) -> None:
    outputs = filtered(images=None, masks=None).args
    assert [blocked(outputs[i]) for i in (0, 1, 2, 3)] == [True, False, True, False]


def test_batches_that_do_not_fit_are_named(filtered: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="images has 3 entries, but the map has 4"):
        filtered(images=torch.zeros(3, 8, 8, 3))
    with pytest.raises(ValueError, match="no recorded step is between window_start 0.0 and window_end 0.2"):
        filtered(window_end=0.2)


def test_steps_in_the_window_make_the_score(filtered: Callable[..., Any], sampled: tuple[dict, Any]) -> None:
    _, found = sampled
    scores = filtered(window_start=0.6).args[7]
    assert scores == found.score(steps=[3]).value.tolist()


def test_what_the_browser_gets_is_json(
    filtered: Callable[..., Any], loaded_models: dict[str, Loaded], sampling: Sampling
) -> None:
    _, found, _ = sampling.node(loaded_models["demo-eps"], batch=4, samples=2)  # two probes have no standard error
    shown = json.loads(json.dumps(filtered(uncertainty=found).ui, allow_nan=False))
    assert shown["standard_errors"] == [None] * 4
    assert len(shown["scores"]) == 4


LOOK = {"quantity": "denoised_variance", "step": -1, "colormap": "magma", "opacity": 0.5, "normalize": "image"}


def opened(file: dict[str, str]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and JSON of a file that is sent to the browser."""
    path = Path(folder_paths().get_temp_directory()) / file["subfolder"] / file["filename"]
    with safe_open(path, "pt") as content:
        return {name: content.get_tensor(name) for name in content.keys()}, json.loads(content.metadata()["about"])  # noqa: SIM118


def of_view(name: str) -> dict[str, str]:
    """The file that a view loads, as it asks for it."""
    return {"subfolder": "uncertainty", "filename": name}


def folder_paths() -> ModuleType:
    """ComfyUI's module, which can be imported after the pack is loaded."""
    return importlib.import_module("folder_paths")


def test_preview_draws(pack: Callable[[str], ModuleType], sampled: tuple[dict, Any]) -> None:
    _, found = sampled
    preview = pack("nodes.looking.map_preview").UncertaintyMapPreview
    heatmap, overlay = preview.execute(uncertainty=found, **LOOK).args
    assert heatmap.shape == (4, 256, 256, 3) and torch.equal(heatmap, overlay)
    images = torch.rand(4, 32, 32, 3)
    both = preview.execute(uncertainty=found, images=images, **LOOK)
    assert both.args[0].shape == both.args[1].shape == images.shape
    with pytest.raises(ValueError, match=r"steps must be among the recorded steps \[2, 3\], got \[0\]"):
        preview.execute(uncertainty=found, **(LOOK | {"step": 0}))
    with pytest.raises(ValueError, match="images has 2 entries, but the map has 4"):
        preview.execute(uncertainty=found, images=images[:2], **LOOK)


def test_the_browser_gets_every_map_and_what_belongs_to_it(pack: Callable[[str], ModuleType], sampled: tuple[dict, Any]) -> None:
    _, found = sampled
    images = torch.rand(4, 32, 32, 3)
    output = pack("nodes.looking.map_preview").UncertaintyMapPreview.execute(uncertainty=found, images=images, **LOOK)
    index, about = opened(of_view(output.ui["uncertainty_view"][0]))
    assert about["total_steps"] == 5 and about["frames"] == 1 and about["guided"] is False
    assert index["steps"].tolist() == [2, 3]
    for q, quantity in enumerate(about["quantities"]):
        score = found.score(quantity)
        torch.testing.assert_close(index["scores"][q].sum(0), score.value)
        torch.testing.assert_close(index["standard_errors"][q].square().sum(0).sqrt(), score.standard_error)
        for image in range(4):
            maps, _ = opened(about["maps"][image])
            expected = found.quantity(quantity)[:, image].mean(1)
            torch.testing.assert_close(maps[quantity][:, 0], expected)
            torch.testing.assert_close(index["spreads"][q, :, image], expected.flatten(1).std(1, correction=0))
            ordered = expected.sum(0).flatten().sort().values
            ends = ordered[[round(0.01 * 1023), round(0.99 * 1023)]]
            torch.testing.assert_close(index["ranges"][q, 2, image], ends)
    name = about["pictures"][3][0]
    picture = Image.open(Path(folder_paths().get_temp_directory()) / name["subfolder"] / name["filename"])
    assert [*output.ui] == ["uncertainty_view", "images"]
    listed = Image.open(Path(folder_paths().get_temp_directory()) / "uncertainty" / output.ui["images"][3]["filename"])
    small = Image.open(Path(folder_paths().get_temp_directory()) / "uncertainty" / about["thumbnails"][3]["filename"])
    assert len(about["thumbnails"]) == 4
    assert int((torch.from_numpy(np.array(small)) - images * 255).abs().mean((1, 2, 3)).argmin()) == 3  # JPEG blurs the noise
    overlay = output.args[1][3] * 255
    assert len(output.ui["images"]) == 4 and (torch.from_numpy(np.array(listed)) - overlay).abs().mean() < 8  # JPEG
    assert picture.mode == "RGB" and (torch.from_numpy(np.array(picture)) - images[3] * 255).abs().max() <= 1  # truncated


def test_the_spread_is_that_inside_the_mask(pack: Callable[[str], ModuleType], sampled: tuple[dict, Any]) -> None:
    mask = torch.zeros(4, 1, *sampled[1].values.shape[3:])
    mask[..., :20] = 1
    found = replace(sampled[1], mask=mask)
    shown = pack("nodes.looking.map_preview").UncertaintyMapPreview.execute(uncertainty=found, **LOOK).ui
    index, about = opened(of_view(shown["uncertainty_view"][0]))
    for q, quantity in enumerate(about["quantities"]):
        inside = found.quantity(quantity).mean(2)[..., :20].flatten(2)
        torch.testing.assert_close(index["spreads"][q], inside.std(2, correction=0))
        torch.testing.assert_close(index["scores"][q], inside.mean(2))


def test_two_previews_share_no_file(pack: Callable[[str], ModuleType], sampled: tuple[dict, Any]) -> None:
    preview = pack("nodes.looking.map_preview").UncertaintyMapPreview
    names = [preview.execute(uncertainty=sampled[1], **LOOK).ui["uncertainty_view"][0] for _ in range(2)]
    assert names[0] != names[1]
