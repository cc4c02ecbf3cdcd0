"""Latents of several shapes in one tensor: each part is measured and guided as if it were alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from made_maps import made
from uncertainty import ESTIMATORS, PROBED, UncertaintyMap, estimate, rectified_flow
from uncertainty.calibration import KEPT, Calibration
from uncertainty.gradients import GUIDED_QUANTITIES, exact_gradient
from uncertainty.guidance import random_direction, random_elements, uncertain_elements
from uncertainty.parts import Parts, plain
from uncertainty.probes import packed_noise, probe_noise
from uncertainty.settings import in_words
from uncertainty.storage import fingerprints, tensor_files
from uncertainty.thresholds import Thresholds

VIDEO, SOUND = (3, 2, 6, 6), (4, 5, 8)
BOTH = Parts((VIDEO, SOUND))
IMAGES = 2
SIGMA = torch.tensor([0.4, 0.7])


def drawn(seed: int = 0) -> list[Tensor]:
    """Latents of both parts."""
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(IMAGES, *shape, generator=rng) for shape in BOTH.shapes]


def video_score(z: Tensor, sigma: Tensor) -> Tensor:
    """A network of neighbours in space and time, in sums and products, which do not depend on where an element lies in memory."""
    return z - z * z * z / 6 + 0.3 * z.roll(1, -1) * z.roll(1, 2) + sigma.reshape(-1, 1, 1, 1, 1)


def sound_score(z: Tensor, sigma: Tensor) -> Tensor:
    """Another one."""
    return z * z * sigma.reshape(-1, 1, 1, 1) - 0.2 * z.roll(1, 1)


def packed_score(z: Tensor, sigma: Tensor) -> Tensor:
    """Both, without interaction."""
    video, sound = BOTH.split(z)
    return BOTH.join([video_score(video, sigma), sound_score(sound, sigma)])


def masks() -> list[Tensor]:
    """The first frame of the video and the end of the sound are known."""
    video, sound = (torch.ones(IMAGES, 1, *shape[1:]) for shape in BOTH.shapes)
    video[:, :, 0] = 0
    sound[:, :, :, 5:] = 0
    return [video, sound]


def packed_mask() -> Tensor:
    """The same, packed with one entry for each element, as ComfyUI does."""
    return BOTH.join([mask.expand(-1, *shape) for mask, shape in zip(masks(), BOTH.shapes, strict=True)])


def test_parts_come_back_as_they_were() -> None:
    video, sound = drawn()
    packed = BOTH.join([video, sound])
    assert len(BOTH) == 2 and packed.shape == (IMAGES, 1, video[0].numel() + sound[0].numel())
    assert torch.equal(packed[0, 0], torch.cat([video[0].flatten(), sound[0].flatten()]))
    for found, expected in zip(BOTH.split(packed.expand(3, *packed.shape)), (video, sound), strict=True):
        assert torch.equal(found, expected.expand(3, *expected.shape))


def test_a_plain_latent_is_its_only_part() -> None:
    video, _ = drawn()
    alone = plain(VIDEO)
    assert len(alone) == 1 and alone.split(video)[0] is video and alone.join([video]) is video
    assert alone.masks(None) == [None]
    assert alone.masks(video[:, :1])[0].shape == (IMAGES, 1, *VIDEO[1:])  # type: ignore[union-attr]


def test_masks_are_those_of_the_first_channel() -> None:
    for found, expected in zip(BOTH.masks(packed_mask()), masks(), strict=True):
        assert found is not None and torch.equal(found, expected)
    assert BOTH.masks(None) == [None, None]


def test_latents_of_other_shapes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"parts of 3×2×6×6 and 4×5×8 must be packed into shape \(..., 1, 376\), got \(2, 1, 9\)"
    ):
        BOTH.split(torch.zeros(2, 1, 9))


@pytest.mark.parametrize("orthogonally", [False, True])
def test_the_first_part_gets_the_probes_of_a_plain_latent(orthogonally: bool) -> None:
    noise = packed_noise(BOTH, 5, 7, 3, 0, [0, 4], orthogonally=orthogonally)
    video, sound = BOTH.split(noise)
    assert torch.equal(video, probe_noise(VIDEO, 5, 7, 3, 0, [0, 4], orthogonally=orthogonally))
    assert not torch.equal(sound, probe_noise(SOUND, 5, 7, 3, 0, [0, 4], orthogonally=orthogonally))
    assert torch.equal(noise[:, 1:], packed_noise(BOTH, 5, 7, 3, 0, [4], orthogonally=orthogonally))
    assert not torch.equal(sound[:, 0], sound[:, 1])
    if orthogonally:  # within each part
        columns = sound[:, 0].flatten(2)  # (M, 4 channels, places)
        products = torch.einsum("mcp,mdp->pcd", columns, columns)
        torch.testing.assert_close(products, 5 * torch.eye(4).expand_as(products))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_parts_that_do_not_interact_have_the_maps_of_separate_latents(estimator: str, masked: bool) -> None:
    latents, declared = drawn(), ESTIMATORS[estimator]
    noise = packed_noise(BOTH, 5, 1, 0, 0, range(IMAGES), orthogonally=declared.orthogonal)
    mask = packed_mask() if masked else None
    settings = {"noising": rectified_flow, "orthogonal": declared.orthogonal, "estimator": estimator}
    found = estimate(packed_score, BOTH.join(latents), SIGMA, noise=noise, mask=mask, parts=BOTH, **settings)
    for part, score in enumerate((video_score, sound_score)):
        within = masks()[part] if masked else None
        alone = estimate(score, latents[part], SIGMA, noise=BOTH.split(noise)[part], mask=within, **settings)
        for name in PROBED:
            assert torch.equal(BOTH.split(found.quantities[name])[part], alone.quantities[name]), name
        errors = declared.standard_errors(found.probes.split(BOTH)[part], within)
        expected = declared.standard_errors(alone.probes, within)
        assert all(torch.equal(errors[name], expected[name]) for name in PROBED)


def test_gaussian_parts_have_their_closed_forms() -> None:
    """Of N(0, s²·I) with noise of level σ: ε = σ·x/(s² + σ²), and so U = σ⁴/(s² + σ²)² in each part."""
    spreads = (0.5, 2.0)

    def score(z: Tensor, sigma: Tensor) -> Tensor:
        level = sigma.reshape(-1, *[1] * (z.ndim - 1))
        factors = [level / (spread**2 + level**2) for spread in spreads]
        return BOTH.join([part * f.reshape(-1, *[1] * (part.ndim - 1)) for part, f in zip(BOTH.split(z), factors, strict=True)])

    found = estimate(score, BOTH.join(drawn()), SIGMA, samples=5, parts=BOTH)
    for part, spread in zip(BOTH.split(found.quantities["score_variance"]), spreads, strict=True):
        for image, sigma in zip(part, SIGMA, strict=True):
            torch.testing.assert_close(image, (sigma**4 / (spread**2 + sigma**2) ** 2).expand_as(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("quantity", GUIDED_QUANTITIES)
def test_parts_that_do_not_interact_have_the_gradients_of_separate_latents(quantity: str) -> None:
    latents = drawn()
    noise = packed_noise(BOTH, 4, 1, 0, 0, range(IMAGES), orthogonally=True)
    found = estimate(packed_score, BOTH.join(latents), SIGMA, noise=noise, orthogonal=True, parts=BOTH)
    gradients = BOTH.split(exact_gradient(packed_score, found.probes, quantity=quantity))
    for part, score in enumerate((video_score, sound_score)):
        alone = estimate(score, latents[part], SIGMA, noise=BOTH.split(noise)[part], orthogonal=True)
        torch.testing.assert_close(gradients[part], exact_gradient(score, alone.probes, quantity=quantity))


@pytest.mark.parametrize("scope", ["image", "channel"])
def test_each_part_has_its_own_percentile(scope: str) -> None:
    """Sound a thousand times as uncertain as the video does not take all the guidance."""
    video, sound = drawn()
    packed = BOTH.join([video, 1000 * sound])

    def choose(uncertainty: Tensor, mask: Tensor | None) -> Tensor:
        return uncertain_elements(uncertainty, 75, mask, scope=scope)

    for mask, within in ((None, [None, None]), (packed_mask(), masks())):
        found = BOTH.split(BOTH.each(choose, packed, mask=mask))
        for chosen, part, inside in zip(found, (video, sound), within, strict=True):
            assert torch.equal(chosen, choose(part, inside))
            assert chosen.any()


def test_control_arms_act_by_part() -> None:
    rng = torch.Generator().manual_seed(3)
    gradient, noise = (BOTH.join(drawn(seed)) for seed in (4, 5))
    chosen = torch.rand(gradient.shape, generator=rng) > 0.8
    directed = BOTH.each(random_direction, gradient, chosen, noise)
    for new, old, where in zip(*map(BOTH.split, (directed, gradient, chosen)), strict=True):
        torch.testing.assert_close((new * where).flatten(1).norm(dim=1), (old * where).flatten(1).norm(dim=1))
    elsewhere = BOTH.each(random_elements, chosen, noise, mask=None)
    for new, old in zip(*map(BOTH.split, (elsewhere, chosen)), strict=True):
        assert torch.equal(new.flatten(1).sum(1), old.flatten(1).sum(1))


def both(images: int = 3) -> UncertaintyMap:
    """Maps of two parts of the same shape."""
    first, second = made(images, 1, part=0), made(images, 2, part=1)
    return replace(first, places=tuple(range(5, 5 + images)), stars=(1,) * images, other_parts=(second,))


def test_the_map_of_a_part_keeps_what_belongs_to_the_whole() -> None:
    whole = both()
    first, second = whole.part(0), whole.part(1)
    assert first.other_parts == second.other_parts == ()
    assert torch.equal(first.values, whole.values) and torch.equal(second.values, whole.other_parts[0].values)
    assert second.places == whole.places and second.stars == whole.stars
    assert [first.settings["part"], second.settings["part"]] == [0, 1]
    with pytest.raises(ValueError, match="part must be between 0 and 1, got 2: this map has 2 parts"):
        whole.part(2)
    with pytest.raises(ValueError, match="part must be 0, got 1: this is the map of part 0 alone. Connect the UNCERTAINTY"):
        first.part(1)
    assert second.part(1).settings["part"] == 1
    with pytest.raises(ValueError, match="part must be 1, got 0: this is the map of part 1 alone"):
        second.part(0)
    with pytest.raises(ValueError, match="got -1"):
        whole.part(-1)
    with pytest.raises(ValueError, match="part must be 0, got 1: this map is of one latent"):
        made(1).part(1)


def test_a_part_has_its_number_wherever_it_stands() -> None:
    first, second = made(2, 1, part=0), made(2, 2, part=1)
    turned = replace(second, other_parts=(first,))
    for number, expected in enumerate((first, second)):
        assert torch.equal(turned.part(number).values, expected.values)


def test_images_are_selected_in_all_parts() -> None:
    whole = both()
    chosen = whole.select([2, 0])
    assert torch.equal(chosen.part(1).values, whole.part(1).values[:, [2, 0]])
    assert chosen.part(1).places == (7, 5)


@pytest.mark.parametrize("other", [made(2), replace(made(3), steps=(2,)), both()], ids=["images", "steps", "parts"])
def test_parts_that_do_not_fit_are_refused(other: UncertaintyMap) -> None:
    with pytest.raises(ValueError, match="other_parts must have its 3 images, its steps"):
        replace(made(3), other_parts=(other,))


def test_references_never_mix_parts() -> None:
    whole = both()
    names = {fingerprints.fingerprint(map_) for map_ in (made(3), whole.part(0), whole.part(1))}
    assert len(names) == 3
    assert fingerprints.fingerprint(whole) == fingerprints.fingerprint(whole.part(0))
    assert "part 1" in in_words(whole.part(1).settings) and "part" not in in_words(made(3).settings)


def test_a_file_keeps_all_parts(tmp_path: Path) -> None:
    path = tmp_path / "map.safetensors"
    whole = replace(both(), mask=torch.ones(3, 1, 4, 4))
    tensor_files.save_map(path, whole)
    again = tensor_files.load_map(path)
    assert len(again.other_parts) == 1 and again.places == whole.places
    for part in (0, 1):
        found, expected = again.part(part), whole.part(part)
        assert dict(found.settings) == dict(expected.settings) and found.stars == expected.stars
        assert all(torch.equal(found.quantities[name], expected.quantities[name]) for name in PROBED)
        assert (found.mask is None) == (expected.mask is None)


def test_a_file_with_one_part_is_as_before(tmp_path: Path) -> None:
    path = tmp_path / "map.safetensors"
    tensor_files.save_map(path, made(2))
    assert "other_parts" not in tensor_files._header(path)
    assert tensor_files.load_map(path).other_parts == ()


@pytest.mark.parametrize("parts", ["x", [3], [{}] * 17, [{"quantities": ["drift"]}]], ids=lambda parts: str(parts)[:20])
def test_a_file_with_damaged_parts_says_so(tmp_path: Path, parts: object) -> None:
    path = tmp_path / "map.safetensors"
    tensor_files.save_map(path, both())
    header = tensor_files._header(path)
    save_file(load_file(path), path, {"uncertainty": json.dumps(header | {"other_parts": parts})})
    with pytest.raises(ValueError, match=r"map\.safetensors is damaged"):
        tensor_files.load_map(path)


def sampled(seed: int, images: int = 2, shapes: tuple[tuple[int, ...], ...] = BOTH.shapes) -> UncertaintyMap:
    """Maps of a video and its sound, whose shapes differ."""
    rng = torch.Generator().manual_seed(seed)
    parts = [
        UncertaintyMap(
            quantities={name: torch.rand(2, images, *shape, generator=rng) for name in PROBED},
            standard_errors={name: torch.zeros(2, images) for name in PROBED},
            steps=(7, 8),
            total_steps=10,
            sigmas=torch.tensor([0.4, 0.3]),
            settings={"model": "two", "part": part},
        )
        for part, shape in enumerate(shapes)
    ]
    return replace(parts[0], other_parts=tuple(parts[1:]))


def alone(found: UncertaintyMap, part: int) -> UncertaintyMap:
    """The map that a latent of its own with these values has."""
    return replace(found.part(part), settings={"model": "two"})


def calibrated(*maps: UncertaintyMap) -> Calibration:
    state = Calibration.like(maps[0])
    for found in maps:
        state = state.add(found)
    return state


def same_thresholds(one: Thresholds, other: Thresholds) -> bool:
    values = [{**each.tau, **each.scores} for each in (one, other)]
    return values[0].keys() == values[1].keys() and all(torch.equal(values[0][name], values[1][name]) for name in values[0])


def test_each_part_is_calibrated_as_if_it_were_alone(tmp_path: Path) -> None:
    """With more images than are kept, and through files that are stopped and resumed."""
    path = tmp_path / "calibration.safetensors"
    maps = [sampled(seed, images=200) for seed in range(KEPT // 200 + 2)]
    straight = calibrated(*maps)
    tensor_files.save_calibration(path, Calibration.like(maps[0]))
    for found in maps:
        tensor_files.save_calibration(path, tensor_files.load_calibration(path).add(found))
    resumed = tensor_files.load_calibration(path)
    assert straight.count == resumed.count == 200 * len(maps) > KEPT
    tensor_files.save_thresholds(tmp_path / "thresholds.safetensors", straight.thresholds(90))
    loaded = tensor_files.load_thresholds(tmp_path / "thresholds.safetensors")
    for number, shape in enumerate(BOTH.shapes):
        expected = calibrated(*(alone(found, number) for found in maps)).thresholds(90)
        assert expected.tau[7].shape == (1, *shape)
        for found in (straight.thresholds(90), resumed.thresholds(90), loaded):
            assert same_thresholds(found.part(number), expected)
            assert dict(found.part(number).settings) == {**expected.settings, "part": number}


def test_an_image_counts_once_with_all_its_parts() -> None:
    """The same video with another sound is a new image."""
    first, other = sampled(1), sampled(2)
    mixed = replace(first, other_parts=other.other_parts)
    state = calibrated(first, mixed)
    assert [part.count for part in state.parts] == [4, 4]
    assert torch.equal(state.values[:2], state.values[2:])
    assert [part.count for part in state.add(mixed).add(first).parts] == [4, 4]
    lines = state.report(95, 2).splitlines()
    assert lines[0] == "4 images, 2 of them new"
    assert [line.partition(":")[0] for line in lines[2:]] == [f"part {part}, {name}" for part in (0, 1) for name in PROBED]


def test_maps_of_other_latents_are_not_added() -> None:
    together = sampled(1)
    video, sound = together.part(0), together.part(1)
    for started, added, words in (
        (together, video, "latents: 'parts 0 and 1' in the calibration, 'part 0' now"),
        (video, together, "latents: 'part 0' in the calibration, 'parts 0 and 1' now"),
        (video, sound, "part: 0 in the calibration, 1 now"),
        (alone(together, 0), video, "latents: 'one latent alone' in the calibration, 'part 0' now"),
        (video, alone(together, 0), "latents: 'part 0' in the calibration, 'one latent alone' now"),
        (together, sampled(1, shapes=(VIDEO, (4, 6, 8))), r"latent shape: \[4, 5, 8\] in the calibration, \[4, 6, 8\] now"),
    ):
        with pytest.raises(ValueError, match=f"use another name.*{words}"):
            calibrated(started).add(added)
    broken = sampled(2)
    broken.other_parts[0].values[0, 1] = torch.nan
    with pytest.raises(ValueError, match="image 1 of the map has values that are not finite"):
        calibrated(together).add(broken)
    masked = replace(together, other_parts=(replace(sound, mask=torch.ones(2, 1, *SOUND[1:])),))
    with pytest.raises(ValueError, match="the map has a noise mask"):
        calibrated(together).add(masked)


def test_thresholds_are_packed_like_the_latents() -> None:
    found = calibrated(sampled(1), sampled(2)).thresholds(50)
    for number, tau in enumerate(BOTH.split(found.packed(8, BOTH, images=3))):
        assert torch.equal(tau, found.part(number).tau[8].expand(3, *BOTH.shapes[number]))
    video = calibrated(alone(sampled(1), 0)).thresholds(50)
    assert torch.equal(video.packed(8, plain(VIDEO), images=3), video.tau[8].expand(3, *VIDEO))


def test_thresholds_of_other_latents_are_refused() -> None:
    together = sampled(1)
    both_, video, own = (calibrated(found).thresholds(95) for found in (together, together.part(0), alone(together, 0)))
    for thresholds, parts, words in (
        (video, BOTH, "thresholds are of part 0, not of part 1: calibrate with maps of the same latents, as the sampler"),
        (own, BOTH, "thresholds are of one latent alone, not of part 0"),
        (both_, plain(VIDEO), "thresholds are of parts 0 and 1, not of one latent alone"),
        (video, plain(VIDEO), "thresholds are of part 0, not of one latent alone"),
        (both_, Parts((VIDEO, (4, 6, 8))), r"thresholds of part 1 were .* shape \[4, 5, 8\], but these have shape \[4, 6, 8\]"),
    ):
        with pytest.raises(ValueError, match=words):
            thresholds.packed(8, parts, images=1)


def test_other_parts_of_other_steps_or_images_are_refused() -> None:
    state = calibrated(sampled(1))
    with pytest.raises(ValueError, match="calibration's other_parts must have its 2 images, .* got 4 images"):
        replace(state, other_parts=calibrated(sampled(1), sampled(2)).other_parts)
    with pytest.raises(ValueError, match="thresholds' other_parts must have their steps .* and no parts of their own"):
        Thresholds({7: torch.zeros(1)}, other_parts=(Thresholds({8: torch.zeros(1)}),))


def test_files_of_one_part_are_as_before(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    state = calibrated(alone(sampled(1), 0))
    described = {"model": "two", "guided_quantity": "score_variance"}
    tensor_files.save_calibration(path, state)
    assert set(load_file(path)) == {"values", "recent", "sigmas", *(f"scores.{name}" for name in PROBED)}
    header = {"kind": "calibration", "version": 1, "count": 2, "steps": [7, 8], "settings": described}
    assert json.dumps(tensor_files._header(path)) == json.dumps(header)
    tensor_files.save_thresholds(path, state.thresholds(95))
    assert set(load_file(path)) == {"tau.7", "tau.8", *(f"scores.{name}" for name in PROBED)}
    assert json.dumps(tensor_files._header(path)) == json.dumps({"kind": "thresholds", "version": 1, "settings": described})


@pytest.mark.parametrize("parts", ["x", [3], [{}] * 17, [{"settings": {}}] * 2], ids=lambda parts: str(parts)[:20])
def test_calibrations_and_thresholds_with_damaged_parts_say_so(tmp_path: Path, parts: object) -> None:
    path = tmp_path / "x.safetensors"
    state = calibrated(sampled(1))
    tensor_files.save_calibration(path, state)
    for load in (tensor_files.load_calibration, tensor_files.load_thresholds):
        header = tensor_files._header(path)
        save_file(load_file(path), path, {"uncertainty": json.dumps(header | {"other_parts": parts})})
        with pytest.raises(ValueError, match=r"x\.safetensors is damaged"):
            load(path)
        tensor_files.save_thresholds(path, state.thresholds(95))
