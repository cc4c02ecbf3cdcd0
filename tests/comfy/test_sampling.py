"""The sampler node in a real ComfyUI: measuring changes nothing, gradients are exact, and all state is restored."""

import math
import weakref
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from joint_graph import joint_gradient
from limited_model import AMPLE, free_memory, limited
from real_models import Loaded, Sampling, with_controlnet

SAMPLERS = ("euler", "euler_ancestral", "heun", "dpm_2", "dpmpp_2m", "dpmpp_2m_sde", "ddim", "uni_pc", "lcm", "euler_cfg_pp")


@pytest.fixture
def options(pack: Callable[[str], ModuleType]) -> type:
    """The class of a run's options."""
    return pack("uncertainty.options").Options


def difference(one: Any, other: Any) -> float:
    """Largest relative difference between two maps over all quantities. Other batch sizes round differently."""
    return max(float((one.quantities[n] - other.quantities[n]).norm() / other.quantities[n].norm()) for n in other.quantities)


def test_measuring_leaves_the_image_bit_identical(loaded: Loaded, sampling: Sampling) -> None:
    latent, found, scores = sampling.node(loaded)
    assert torch.equal(latent["samples"], sampling.plain(loaded))
    assert found.steps == (2, 3) and found.total_steps == 5
    assert found.values.shape == (2, *latent["samples"].shape)
    assert all(torch.isfinite(values).all() for values in found.quantities.values())
    assert scores == found.score("denoised_variance").value.tolist()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_measuring_leaves_every_sampler_alone(sampler: str, loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    loaded = loaded_models["sd15"]
    latent, found, _ = sampling.node(loaded, sampler_name=sampler)
    assert torch.equal(latent["samples"], sampling.plain(loaded, sampler_name=sampler))
    assert found.steps == (2, 3)


def test_hooks_that_keep_state_do_not_see_the_probes(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    loaded = loaded_models["sd15"]
    seen: list[int] = []

    def running_average(args: dict) -> torch.Tensor:
        seen.append(len(args["denoised"]))
        return args["denoised"] * (1 + 0.01 * len(seen))

    model = loaded.model.clone()
    model.set_model_sampler_post_cfg_function(running_average)
    latent, _, _ = sampling.node(loaded, model=model)
    calls = len(seen)
    seen.clear()
    assert torch.equal(latent["samples"], sampling.plain(loaded, model=model))
    assert calls == len(seen) == 5


@pytest.mark.parametrize("threshold", [0.2, 3.0])
@pytest.mark.parametrize("node", ["EasyCacheNode", "LazyCacheNode"])
def test_step_caches_do_not_see_the_probes(
    node: str, threshold: float, loaded_models: dict[str, Loaded], sampling: Sampling
) -> None:
    from comfy_extras import nodes_easycache

    loaded = loaded_models["sd15"]
    (model,) = getattr(nodes_easycache, node).execute(loaded.model, threshold, 0.15, 0.95, False).args
    run = {"model": model, "steps": 20}
    latent, found, _ = sampling.node(loaded, **run)
    assert torch.equal(latent["samples"], sampling.plain(loaded, **run))
    if node == "EasyCacheNode":  # LazyCache answers whole model calls, and steps that it skips are not recorded
        assert found.steps == tuple(range(6, 14))
        sampling.node(loaded, **run, strength=1.0)


def test_global_generator_is_where_ksampler_leaves_it(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    loaded = loaded_models["sd15"]
    torch.manual_seed(0)
    sampling.plain(loaded, sampler_name="euler_ancestral")
    after_ksampler = torch.get_rng_state()
    torch.manual_seed(0)
    sampling.node(loaded, sampler_name="euler_ancestral", strength=1.0)
    assert torch.equal(torch.get_rng_state(), after_ksampler)


def test_guidance_changes_the_image_and_repeats(loaded: Loaded, sampling: Sampling) -> None:
    guided, _, _ = sampling.node(loaded, strength=1.0)
    again, _, _ = sampling.node(loaded, strength=1.0)
    assert torch.isfinite(guided["samples"]).all()
    assert torch.equal(guided["samples"], again["samples"])
    assert not torch.equal(guided["samples"], sampling.plain(loaded))


@pytest.mark.parametrize("strength", [1.0, -1.0])
def test_descending_is_ascending_with_the_other_sign(
    strength: float, loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    loaded = loaded_models["sd15"]
    descend = pack("uncertainty.options").Options(direction="descend")
    down, _, _ = sampling.node(loaded, strength=strength, options=descend)
    up, _, _ = sampling.node(loaded, strength=-strength)
    assert torch.equal(down["samples"], up["samples"])


@pytest.mark.parametrize("ample", [True, False])
@pytest.mark.parametrize("quantity", ["score_variance", "denoised_variance"])
def test_gradient_equals_the_joint_graph(
    quantity: str,
    ample: bool,
    loaded: Loaded,
    sampling: Sampling,
    options: type,
    pack: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    differentiation = pack("nodes.hook.differentiation")
    exact, differences, reused = differentiation.exact_gradient, [], []

    def compare(score: Any, probes: Any, at_once: int, asked: str, kept: Any) -> torch.Tensor:
        found, joint = exact(score, probes, at_once, asked, kept), joint_gradient(score, probes, quantity)
        differences.append(((found - joint).norm() / joint.norm()).item())
        reused.append(kept is not None)
        return found

    monkeypatch.setattr(differentiation, "exact_gradient", compare)
    free_memory(monkeypatch, AMPLE)
    if not ample:
        monkeypatch.setattr(differentiation, "GRAPH_MEMORY", math.inf)
    sampling.node(loaded, strength=1.0, options=options(guided_quantity=quantity))
    assert len(differences) == 2
    assert max(differences) < 1e-4, differences
    # A network that writes over saved activations, such as Flux, is noticed once.
    assert reused[-1] == ample and (reused[0] or not ample or request.node.callspec.params["loaded"] == "flux")


def test_the_guided_quantity_chooses_the_elements(
    loaded_models: dict[str, Loaded],
    sampling: Sampling,
    options: type,
    pack: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guided_step = pack("nodes.hook.guided_step")
    update, chosen = guided_step.update, []

    def look(denoised: torch.Tensor, measured: Any, *rest: Any) -> Any:
        updated = update(denoised, measured, *rest)
        expected = guided_step.uncertain_elements(measured.quantities["denoised_variance"], 90.0)
        chosen.append(torch.equal(updated.chosen, expected))
        return updated

    monkeypatch.setattr(guided_step, "update", look)
    loaded = loaded_models["sd15"]
    latent, found, _ = sampling.node(loaded, strength=1.0, options=options(guided_quantity="denoised_variance"))
    assert chosen == [True, True]
    assert found.settings["guided_quantity"] == "denoised_variance"
    default, found, _ = sampling.node(loaded, strength=1.0)
    assert chosen[2:] == [False, False]
    assert found.settings["guided_quantity"] == "score_variance"
    assert not torch.equal(latent["samples"], default["samples"])


@pytest.mark.parametrize("estimator", ["filtered", "paper"])
def test_gradients_are_averaged_over_the_window(
    estimator: str,
    loaded_models: dict[str, Loaded],
    sampling: Sampling,
    options: type,
    pack: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guided_step, differentiation = pack("nodes.hook.guided_step"), pack("nodes.hook.differentiation")
    exact, update, taken, used = differentiation.exact_gradient, guided_step.update, [], []

    def take(*arguments: Any) -> torch.Tensor:
        taken.append(exact(*arguments))
        return taken[-1]

    def use(*arguments: Any) -> Any:
        updated = update(*arguments)
        used.append(updated.gradient)
        return updated

    monkeypatch.setattr(differentiation, "exact_gradient", take)
    monkeypatch.setattr(guided_step, "update", use)
    sampling.node(loaded_models["sd15"], strength=1.0, options=options(estimator=estimator))
    assert torch.equal(used[0], taken[0])
    torch.testing.assert_close(used[1], (taken[0] + taken[1]) / 2 if estimator == "filtered" else taken[1])


@pytest.mark.parametrize("kernel", ["sage", "flash"])
def test_attention_without_a_backward_pass(
    kernel: str, loaded_models: dict[str, Loaded], sampling: Sampling, options: type, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    import comfy.model_management

    monkeypatch.setattr(comfy.model_management, f"{kernel}_attention_enabled", lambda: True)
    _, found, _ = sampling.node(loaded_models["sd15"], strength=1.0)
    assert found.settings["gradient"] == "forward_only" and f"--use-{kernel}-attention" in caplog.text
    with pytest.raises(ValueError, match=f"gradient exact is not possible: .*--use-{kernel}-attention"):
        sampling.node(loaded_models["sd15"], strength=1.0, options=options(gradient="exact"))


def test_the_gradient_reads_streamed_weights_before_they_are_overwritten(
    loaded: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_patcher
    import comfy.ops

    differentiation = pack("nodes.hook.differentiation")
    exact, gradients = differentiation.exact_gradient, []

    def take(*arguments: Any) -> torch.Tensor:
        gradients.append(exact(*arguments))
        return gradients[-1]

    monkeypatch.setattr(differentiation, "exact_gradient", take)
    sampling.node(loaded, strength=1.0)
    cast, buffer = comfy.ops.cast_bias_weight, torch.empty(1 << 24, dtype=torch.uint8)

    def streamed(module: Any, *args: Any, **kwargs: Any) -> Any:
        """Every layer's weights at the same place, written past torch, as by the copy engine of a card."""
        begin, parts = 0, []
        for part in cast(module, *args, **kwargs):
            if isinstance(part, torch.Tensor):
                raw = part.detach().contiguous().view(-1).view(torch.uint8)
                part_there = buffer[begin : begin + raw.numel()].view(part.dtype).view(part.shape)
                buffer.numpy()[begin : begin + raw.numel()] = raw.numpy()
                begin += -(-raw.numel() // 64) * 64
                parts.append(part_there)
            else:
                parts.append(part)
        return tuple(parts)

    monkeypatch.setattr(comfy.ops, "cast_bias_weight", streamed)
    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "is_dynamic", lambda self: True, raising=False)
    for module in loaded.model.model.modules():
        if isinstance(module, comfy.ops.CastWeightBiasOp):
            monkeypatch.setattr(module, "comfy_cast_weights", True)
    _, found, _ = sampling.node(loaded, strength=1.0)
    assert found.settings["gradient"] == "exact"
    assert comfy.ops.cast_bias_weight is streamed
    before, after = gradients[:2], gradients[2:]
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4 * float(before[0].abs().max()))


@torch.library.custom_op("uncertainty_test::double", mutates_args=())
def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


@pytest.mark.parametrize(
    ("doubled", "message"),
    [
        (double, "no autograd formula was registered"),
        (lambda x: torch.add(x, x, out=torch.empty_like(x)), "don't support automatic differentiation"),
    ],
)
def test_an_operation_without_a_backward_pass(
    loaded_models: dict[str, Loaded],
    sampling: Sampling,
    caplog: Any,
    doubled: Callable[[torch.Tensor], torch.Tensor],
    message: str,
) -> None:
    model = loaded_models["sd15"].model.clone()
    model.set_model_attn1_output_patch(lambda x, options: doubled(x) / 2)
    latent, found, _ = sampling.node(loaded_models["sd15"], model=model, strength=1.0)
    assert torch.isfinite(latent["samples"]).all()
    assert found.settings["gradient"] == "forward_only" and message in caplog.text


class Stop(Exception):
    """Another pack's hook fails."""


# Three steps, three probes, a step, three probes, a step; where memory is short, three gradients after each three probes.
CALLS = {True: (5, 7, 9), False: (7, 10, 15)}


@pytest.fixture(scope="module")
def undisturbed() -> dict[tuple[int, bool], torch.Tensor]:
    """Images of guided runs without faults, by model and memory. Each is sampled once and compared with runs after faults."""
    return {}


@pytest.mark.parametrize(
    ("fault", "ample", "call"),
    [
        ("none", True, 0),
        *(("exception", ample, call) for ample in (True, False) for call in CALLS[ample]),
        *(("interrupt", ample, call) for ample in (True, False) for call in CALLS[ample]),
    ],
)
def test_parameters_are_the_same_objects_after(
    fault: str,
    ample: bool,
    call: int,
    loaded: Loaded,
    sampling: Sampling,
    options: type,
    undisturbed: dict[tuple[int, bool], torch.Tensor],
    pack: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import comfy.model_management

    def identities() -> dict[str, int]:
        model = loaded.model.model
        return {name: id(p) for name, p in (*model.named_parameters(), *model.named_buffers())}

    free_memory(monkeypatch, AMPLE)
    if not ample:
        monkeypatch.setattr(pack("nodes.hook.differentiation"), "GRAPH_MEMORY", math.inf)
    one_by_one = options(max_batch=1)
    before = identities()
    key = id(loaded.model), ample
    if key not in undisturbed:
        undisturbed[key] = sampling.node(loaded, strength=1.0, options=one_by_one)[0]["samples"]
    calls = 0

    def fail(apply: Callable, args: dict) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == call and fault == "exception":
            raise Stop
        if calls == call and fault == "interrupt":
            comfy.model_management.interrupt_current_processing(True)
        return apply(args["input"], args["timestep"], **args["c"])

    model = loaded.model.clone()
    model.set_model_unet_function_wrapper(fail)
    expected = {"exception": Stop, "interrupt": comfy.model_management.InterruptProcessingException}
    if fault == "none":
        sampling.node(loaded, model=model, strength=1.0, options=one_by_one)
    else:
        with pytest.raises(expected[fault]):
            sampling.node(loaded, model=model, strength=1.0, options=one_by_one)
        assert calls == call  # an interrupt takes effect before the next call
    assert identities() == before
    comfy.model_management.interrupt_current_processing(False)
    again, _, _ = sampling.node(loaded, strength=1.0, options=one_by_one)
    assert torch.equal(again["samples"], undisturbed[key])


def test_guidance_goes_through_a_controlnet(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    """Guidance works although ControlNets change the network's activations in place."""
    plain = loaded_models["sd15"]
    controlled = with_controlnet(plain)
    measured, _, _ = sampling.node(controlled)
    assert torch.equal(measured["samples"], sampling.plain(controlled))
    assert not torch.equal(measured["samples"], sampling.plain(plain))
    guided, _, _ = sampling.node(controlled, strength=1.0)
    assert torch.isfinite(guided["samples"]).all()
    assert not torch.equal(guided["samples"], measured["samples"])


def test_quantised_weights_are_guided_forward_only(
    loaded_models: dict[str, Loaded], sampling: Sampling, options: type, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    class Quantised(torch.Tensor):
        """A tensor subclass, as mixed-precision checkpoints contain."""

    loaded = loaded_models["demo-eps"]
    expected = sampling.node(loaded, strength=1.0, options=options(gradient="forward_only"))
    layer = loaded.model.model.diffusion_model.out[2]
    monkeypatch.setitem(layer._parameters, "weight", layer.weight.as_subclass(Quantised))
    with pytest.raises(ValueError, match="weights of this model are quantised .*Quantised.*Choose gradient auto or forward_only"):
        sampling.node(loaded, strength=1.0, options=options(gradient="exact"))
    latent, found, _ = sampling.node(loaded, strength=1.0)
    assert torch.equal(latent["samples"], expected[0]["samples"])
    assert found.settings["gradient"] == expected[1].settings["gradient"] == "forward_only"
    assert [r.message for r in caplog.records if "quantised" in r.message] == [
        "uncertainty guidance uses forward-only gradients, which are less accurate: the weights of this model are quantised "
        "(diffusion_model.out.2.weight is a Quantised)."
    ]


def test_weights_out_of_reach_are_guided_forward_only(
    loaded_models: dict[str, Loaded], sampling: Sampling, options: type, caplog: Any
) -> None:
    loaded = loaded_models["sd15"]
    scale = torch.ones(1)  # an inference tensor, as another pack's patch would contain
    model = loaded.model.clone()
    model.set_model_attn2_patch(lambda q, k, v, options: (q * scale, k, v))
    expected, _, _ = sampling.node(loaded, model=model, strength=1.0, options=options(gradient="forward_only"))
    latent, found, _ = sampling.node(loaded, model=model, strength=1.0)
    assert torch.equal(latent["samples"], expected["samples"])
    assert found.settings["gradient"] == "forward_only"
    assert len([record for record in caplog.records if "another node's patch" in record.message]) == 1
    with pytest.raises(ValueError, match="another node's patch .*Choose gradient auto or forward_only"):
        sampling.node(loaded, model=model, strength=1.0, options=options(gradient="exact"))


def test_out_of_memory_in_the_gradient_goes_on_with_less(
    loaded_models: dict[str, Loaded], sampling: Sampling, options: type, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_memory(monkeypatch, AMPLE)  # start with all probes in one backward pass
    loaded = loaded_models["demo-eps"]
    exact, _, _ = sampling.node(loaded, strength=1.0, options=options(gradient="exact"))
    forward_only, _, _ = sampling.node(loaded, strength=1.0, options=options(gradient="forward_only"))

    def run(fits: Callable[[int, bool], bool], **changed: Any) -> tuple[torch.Tensor, int]:
        with limited(loaded.model, fits) as failures:
            latent, _, _ = sampling.node(loaded, strength=1.0, **changed)
        return latent["samples"], len(failures)

    answers = iter([False] + 100 * [True])
    latent, failures = run(lambda _, backward: not backward or next(answers))  # only the first backward pass fails
    assert failures == 1
    torch.testing.assert_close(latent, exact["samples"], rtol=1e-4, atol=1e-4)
    assert "continues with one probe at a time" in caplog.text
    answers = iter([False, False] + 100 * [True])
    latent, failures = run(lambda _, backward: not backward or next(answers))
    assert failures == 2
    torch.testing.assert_close(latent, exact["samples"], rtol=1e-4, atol=1e-4)
    assert "continues with recomputation" in caplog.text
    latent, failures = run(lambda _, backward: not backward)
    assert failures == 3
    assert torch.equal(latent, forward_only["samples"])
    assert "the backward pass of 2 images does not fit into memory" in caplog.text
    with pytest.raises(ValueError, match="backward pass of 2 images does not fit .*Choose gradient auto or forward_only"):
        run(lambda _, backward: not backward, options=options(gradient="exact"))


def test_streamed_weights_out_of_memory_go_on_with_one_probe(
    loaded_models: dict[str, Loaded], sampling: Sampling, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    import comfy.model_patcher

    free_memory(monkeypatch, AMPLE)
    loaded = loaded_models["demo-eps"]
    exact, _, _ = sampling.node(loaded, strength=1.0)
    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "is_dynamic", lambda self: True, raising=False)
    with limited(loaded.model, lambda batch, backward: not backward or batch <= 4) as failures:  # two images, two prompts
        latent, found, _ = sampling.node(loaded, strength=1.0)
    assert failures and found.settings["gradient"] == "exact" and "continues with one probe at a time" in caplog.text
    torch.testing.assert_close(latent["samples"], exact["samples"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_graph_that_does_not_fit_is_freed(
    where: str,
    loaded_models: dict[str, Loaded],
    sampling: Sampling,
    options: type,
    pack: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What goes on with less memory does not find that of the failed attempt still taken."""
    differentiation = pack("nodes.hook.differentiation")
    measure, exact, graphs, left = differentiation.measure, differentiation.exact_gradient, [], []

    class Graph(differentiation.KeptGraph):
        def __init__(self) -> None:
            super().__init__()
            graphs.append(self)

        def products(self, weights: torch.Tensor) -> torch.Tensor:
            if where == "backward":
                raise torch.cuda.OutOfMemoryError
            return super().products(weights)

    def measured(*arguments: Any) -> Any:
        left.append(len(graphs[-1]._calls))
        return measure(*arguments)

    def gradient(*arguments: Any) -> Any:
        if arguments[-1] is None:
            left.append(len(graphs[-1]._calls))
        return exact(*arguments)

    free_memory(monkeypatch, AMPLE)
    for name, replacement in {"KeptGraph": Graph, "measure": measured, "exact_gradient": gradient}.items():
        monkeypatch.setattr(differentiation, name, replacement)
    loaded, answers = loaded_models["demo-eps"], iter([True, True, where == "backward"] + 100 * [True])
    with limited(loaded.model, lambda _, backward: not backward or next(answers)):
        _, found, _ = sampling.node(loaded, strength=1.0, options=options(max_batch=1))
    assert found.settings["gradient"] == "exact"
    assert len(graphs) == 1 and len(left) > 1 and not any(left)


def test_out_of_memory_in_measuring_goes_on_one_by_one(loaded_models: dict[str, Loaded], sampling: Sampling, caplog: Any) -> None:
    loaded = loaded_models["sd15"]
    _, expected, _ = sampling.node(loaded)
    with limited(loaded.model, lambda batch, _: batch <= 4) as failures:
        latent, found, _ = sampling.node(loaded)
    assert len(failures) == 2  # once per recorded step
    assert difference(found, expected) < 1e-4
    assert torch.equal(latent["samples"], sampling.plain(loaded))
    assert "continues with one at a time" in caplog.text


def test_recomputed_gradient_is_the_gradient(
    loaded: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    differentiation, recompute = pack("nodes.hook.differentiation"), pack("nodes.hook.recompute")
    exact, found = differentiation.exact_gradient, []

    def compare(score: Any, probes: Any, *_: Any) -> torch.Tensor:
        plain = exact(score, probes)
        with recompute.recomputed_blocks([loaded.model.model]):
            again = exact(score, probes)
        found.append(((again - plain).norm() / plain.norm()).item())
        return plain

    monkeypatch.setattr(differentiation, "exact_gradient", compare)
    sampling.node(loaded, strength=1.0)
    assert len(found) == 2 and max(found) < 1e-5, found
    assert not any("forward" in vars(module) for module in loaded.model.model.modules())


def test_gradient_memory(
    loaded: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five probes save at most a quarter of the joint graph's bytes for the backward pass, and less with recomputation."""
    differentiation, recompute = pack("nodes.hook.differentiation"), pack("nodes.hook.recompute")
    exact, found = differentiation.exact_gradient, []

    def count(score: Any, probes: Any, *_: Any) -> torch.Tensor:
        weights = {parameter.untyped_storage().data_ptr() for parameter in loaded.model.model.parameters()}
        memory = SavedBytes(score, weights)
        gradient = exact(memory.score, probes)
        memory_again = SavedBytes(score, weights)
        with recompute.recomputed_blocks([loaded.model.model]):
            exact(memory_again.score, probes)
        joint = SavedBytes(score, weights)
        with torch.enable_grad():
            start = probes.perturbed[0].clone().requires_grad_()
            graph = [joint.score(start + offset, probes.sigma) for offset in (probes.perturbed - probes.perturbed[0]).clone()]
        found.append((joint.peak / memory.peak, memory_again.peak / memory.peak))
        del graph
        return gradient

    monkeypatch.setattr(differentiation, "exact_gradient", count)
    sampling.node(loaded, samples=5, strength=1.0)
    assert len(found) == 2
    assert all(joint > 4 and again < 0.8 for joint, again in found), found


class SavedBytes:
    """Counts the bytes that autograd saves for backward passes of a score, by storage and without weights."""

    def __init__(self, score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], weights: set[int]) -> None:
        self._score = score
        self._weights = weights
        self._uses: dict[int, int] = {}
        self._held = 0
        self.peak = 0

    def score(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        # Hooks apply to what is computed inside them, so they must be the innermost context.
        with torch.autograd.graph.saved_tensors_hooks(self._save, lambda saved: saved.tensor):
            return self._score(x, sigma)

    def _save(self, tensor: torch.Tensor) -> "Saved":
        saved = Saved(tensor)
        storage = tensor.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        if key not in self._weights:
            self._uses[key] = self._uses.get(key, 0) + 1
            if self._uses[key] == 1:
                self._held += size
                self.peak = max(self.peak, self._held)
            weakref.finalize(saved, self._release, key, size)
        return saved

    def _release(self, key: int, size: int) -> None:
        self._uses[key] -= 1
        if self._uses[key] == 0:
            self._held -= size


class Saved:
    """Exists as long as autograd holds the tensor."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


@pytest.mark.parametrize(("prompts", "images"), [(2, 2), (2, 3), (3, 3)])
def test_every_image_is_probed_with_its_own_prompt(
    prompts: int, images: int, loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    loaded = loaded_models["sd15"]
    text = torch.cat([3 * torch.randn(1, 7, 16, generator=torch.Generator().manual_seed(i)) for i in range(prompts)])
    positive = [[text, {"pooled_output": torch.zeros(prompts, 16)}]]
    _, together, _ = sampling.node(loaded, batch=images, positive=positive)
    one_by_one = pack("uncertainty.options").Options(max_batch=1)
    _, alone, _ = sampling.node(loaded, batch=images, positive=positive, options=one_by_one)
    _, same, _ = sampling.node(loaded, batch=images, positive=[[text[:1], {"pooled_output": torch.zeros(1, 16)}]])
    assert difference(together, alone) < 1e-4
    assert difference(together, same) > 1e-3


def test_a_finished_image_survives_a_map_that_cannot_be_had(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    from comfy_execution.graph import ExecutionBlocker

    loaded = loaded_models["sd15"]
    latent, found, scores = sampling.node(loaded, denoise=0.0)
    assert torch.equal(latent["samples"], sampling.plain(loaded, denoise=0.0))
    assert isinstance(found, ExecutionBlocker)
    assert isinstance(scores[0], ExecutionBlocker)
    assert "no model call fell inside the window" in found.message


def test_map_does_not_depend_on_probe_batches(loaded: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType]) -> None:
    one_by_one = pack("uncertainty.options").Options(max_batch=1)
    _, together, _ = sampling.node(loaded)
    _, alone, _ = sampling.node(loaded, options=one_by_one)
    assert difference(alone, together) < 1e-4


@pytest.mark.parametrize("keep", ["sum", "on_disk"])
def test_maps_kept_otherwise_are_the_same(
    keep: str, loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    loaded, options = loaded_models["sd15"], pack("uncertainty.options").Options
    latent, expected, scores = sampling.node(loaded, strength=1.0)
    again, found, others = sampling.node(loaded, strength=1.0, options=options(keep_maps=keep))
    assert torch.equal(latent["samples"], again["samples"])
    assert others == pytest.approx(scores)
    if keep == "on_disk":
        assert difference(expected, found) == 0
    else:
        assert found.settings["summed_steps"] == [2, 3] and found.steps == (3,)
        for name, values in found.quantities.items():
            torch.testing.assert_close(values[0], expected.quantities[name].sum(0))


def test_maps_take_no_more_memory_than_they_may(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Nor do the latents that wait to be measured; the log says so."""
    loaded, options = loaded_models["sd15"], pack("uncertainty.options").Options
    room, sizes = pack("uncertainty.room").Room, []
    mapped = room.mapped
    monkeypatch.setattr(room, "mapped", lambda self, shape, dtype: (sizes.append(tuple(shape)), mapped(self, shape, dtype))[1])
    latent, expected, scores = sampling.node(loaded)
    assert not sizes
    with caplog.at_level("INFO"):
        again, found, others = sampling.node(loaded, options=options(map_memory=0))
    assert torch.equal(latent["samples"], again["samples"])
    assert others == scores and difference(expected, found) == 0
    waiting, maps = latent["samples"].shape, found.values.shape
    assert sizes == [waiting] * 4 + [maps] * len(found.quantities)  # two of each of two steps
    assert "map_memory (0 MB) is too little" in caplog.text
    assert "too little" not in caplog.text.partition("map_memory (0 MB) is too little")[2]


def test_an_image_sampled_alone_has_the_same_map(loaded: Loaded, sampling: Sampling) -> None:
    _, batch, _ = sampling.node(loaded, batch=3)
    alone = {"samples": loaded.latent(1)["samples"], "batch_index": [2]}
    _, single, _ = sampling.node(loaded, latent_image=alone)
    assert difference(single, batch.select([2])) < 1e-4


def test_percentile_hundred_guides_nothing(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    loaded = loaded_models["sd15"]
    latent, _, _ = sampling.node(loaded, strength=5.0, percentile=100.0)
    assert torch.equal(latent["samples"], sampling.plain(loaded))


def test_thresholds_replace_the_percentile(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    loaded = loaded_models["sd15"]
    thresholds = pack("uncertainty.thresholds").Thresholds
    nothing = thresholds({step: torch.tensor(1e9) for step in (2, 3)})
    latent, _, _ = sampling.node(loaded, strength=5.0, thresholds=nothing)
    assert torch.equal(latent["samples"], sampling.plain(loaded))
    with pytest.raises(ValueError, match=r"thresholds cover steps \[2\], not step 3"):
        sampling.node(loaded, thresholds=thresholds({2: torch.tensor(0.0)}))
    with pytest.raises(ValueError, match="samples: 5 when calibrated, 3 now"):
        sampling.node(loaded, thresholds=thresholds(nothing.tau, settings={"samples": 5}))


def test_inside_a_noise_mask_only(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    guided_step = pack("nodes.hook.guided_step")
    update, seen = guided_step.update, []

    def watch(*arguments: Any) -> Any:
        updated = update(*arguments)
        seen.append(updated.chosen)
        return updated

    monkeypatch.setattr(guided_step, "update", watch)
    loaded = loaded_models["sd15"]
    mask = torch.zeros(1, 64, 64)
    mask[:, :, :32] = 1
    latent = loaded.latent(2) | {"noise_mask": mask}
    guided, found, _ = sampling.node(loaded, latent_image=latent, strength=1.0)
    assert found.mask is not None and found.mask.shape == (2, 1, 8, 8)
    assert found.mask[..., :4].min() == 1 and found.mask[..., 4:].max() == 0
    assert all(values[..., 4:].abs().max() == 0 for values in found.quantities.values())
    inside = found.quantity("denoised_variance")[..., :4].flatten(2).mean(2).sum(0)
    torch.testing.assert_close(found.score().value, inside)
    assert len(seen) == 2
    # Elements above the 90th percentile of the 4·8·4 inside. Outside, ComfyUI restores the image and would hide a mistake.
    assert all(chosen[..., 4:].sum() == 0 and chosen.flatten(1).sum(1).tolist() == [13, 13] for chosen in seen)
    assert not torch.equal(guided["samples"], sampling.plain(loaded, latent_image=latent))


def test_an_image_with_an_empty_noise_mask_has_no_score(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    loaded = loaded_models["sd15"]
    mask = torch.zeros(2, 64, 64)
    mask[1, :32] = 1
    latent = loaded.latent(2) | {"noise_mask": mask}
    guided, _, scores = sampling.node(loaded, latent_image=latent, strength=1.0)
    assert torch.equal(guided["samples"][0], sampling.plain(loaded, latent_image=latent)[0])
    assert [math.isfinite(score) for score in scores] == [False, True]
    with pytest.raises(ValueError, match="the noise mask is empty"):
        sampling.node(loaded, latent_image=loaded.latent(1) | {"noise_mask": torch.zeros(1, 64, 64)})


def test_pure_noise_of_a_flow_model_is_refused_before_sampling(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    calls = []

    def count(apply: Callable, args: dict) -> torch.Tensor:
        calls.append(1)
        return apply(args["input"], args["timestep"], **args["c"])

    model = loaded_models["sd3"].model.clone()
    model.set_model_unet_function_wrapper(count)
    with pytest.raises(ValueError, match="Start the window after the first step"):
        sampling.node(loaded_models["sd3"], model=model, window_start=0.0)
    assert not calls


def test_equal_prompts_have_equal_digests(loaded: Loaded, sampling: Sampling) -> None:
    again, other = loaded, replace(loaded, positive=loaded.negative)
    first, same, different = (sampling.node(each)[1].settings["prompt"] for each in (loaded, again, other))
    assert first == same != different
    assert len(first) == 16


def test_settings_say_how_to_repeat_it(loaded: Loaded, sampling: Sampling) -> None:
    import json

    _, found, _ = sampling.node(loaded)
    settings = json.loads(json.dumps(dict(found.settings)))
    expected = {"samples": 3, "seed": 3, "steps": 5, "sampler": "euler", "window": [0.3, 0.7], "estimator": "filtered"}
    assert expected.items() <= settings.items()
    assert settings["model_family"] in ("EPS", "CONST")
