"""The gradients that this pack gives ComfyUI's own kernels, against finite differences."""

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

import pytest
import torch
from torch import Tensor

# The kernels know single precision at most.
pytestmark = pytest.mark.filterwarnings("ignore:Input .* requires gradient and is not a double precision")
gradcheck = partial(torch.autograd.gradcheck, eps=1e-2, atol=1e-2, rtol=1e-2)
pytest.importorskip("comfy_kitchen", reason="this ComfyUI has no kernels of its own")

PAIR, NORMED = ("apply_rope", "apply_rope_split_half"), ("rms_rope1", "rms_rope_split_half1")
NORMED_PAIR = ("rms_rope", "rms_rope_split_half")


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def kernels(pack: Callable[[str], ModuleType]) -> Iterator[ModuleType]:
    module = pack("nodes.hook.kernels")
    module.make_differentiable()
    with torch.inference_mode(False), torch.enable_grad():
        yield module


@pytest.mark.parametrize(
    "name", ["apply_rope", "apply_rope1", "apply_rope_split_half", "apply_rope_split_half1", *NORMED, *NORMED_PAIR]
)
def test_the_gradient_is_that_of_the_kernel(name: str, kernels: ModuleType) -> None:
    assert name in kernels.NAMES
    if not hasattr(torch.ops.comfy_kitchen, name):
        pytest.skip("this version lacks the kernel")
    kernel = getattr(torch.ops.comfy_kitchen, name)
    first, second = (drawn(1, 2, 3, 4, seed=seed).requires_grad_() for seed in (1, 2))
    rotation, scales = drawn(1, 1, 3, 2, 2, 2, seed=3), (drawn(4, seed=4), drawn(4, seed=5))
    if name in NORMED:
        assert gradcheck(lambda x: kernel(x, rotation, scales[0], 1e-6), (first,))
    elif name in NORMED_PAIR:
        assert gradcheck(lambda q, k: kernel(q, k, rotation, *scales, 1e-6), (first, second))
    elif name in PAIR:
        assert gradcheck(lambda q, k: kernel(q, k, rotation), (first, second))
    else:
        assert gradcheck(lambda x: kernel(x, rotation), (first,))


def test_a_part_that_needs_no_gradient_gets_none(kernels: ModuleType) -> None:
    rotation, fixed = drawn(1, 1, 3, 2, 2, 2, seed=3), drawn(1, 2, 3, 4, seed=1)
    moved = drawn(1, 2, 3, 4, seed=2).requires_grad_()
    assert gradcheck(lambda k: torch.ops.comfy_kitchen.apply_rope(fixed, k, rotation), (moved,))
