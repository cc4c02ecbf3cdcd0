"""Operations and bytes that are counted without computing are those of closed forms."""

import torch
from torch import Tensor, nn

from benchmarks.counting import counted

BATCH, HEADS, TOKENS, WIDTH = 2, 3, 50, 16


class Attention(nn.Module):
    """A projection, and attention to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The attended (BATCH, HEADS, TOKENS, WIDTH)."""
        seen = self.project(x)
        return nn.functional.scaled_dot_product_attention(seen, seen, seen)


def zeros(*, requires_grad: bool = False) -> Tensor:
    return torch.zeros(BATCH, HEADS, TOKENS, WIDTH, requires_grad=requires_grad)


LINEAR = 2 * BATCH * HEADS * TOKENS * WIDTH**2
PRODUCT = 2 * BATCH * HEADS * TOKENS**2 * WIDTH


def test_a_call() -> None:
    with torch.no_grad():
        weights, peak, operations = counted(Attention, lambda model: model(zeros()))
    assert weights == 4 * WIDTH**2
    assert operations == LINEAR + 2 * PRODUCT  # queries by keys, and weights by values
    assert peak >= 2 * 4 * BATCH * HEADS * TOKENS * WIDTH


def test_a_gradient() -> None:
    """The backward pass of attention has five products: it makes the weights again."""

    def run(model: Attention) -> None:
        x = zeros(requires_grad=True)
        torch.autograd.grad(model.requires_grad_(False)(x.clone()).sum(), x)

    _, _, operations = counted(Attention, run)
    assert operations == 2 * LINEAR + 7 * PRODUCT
