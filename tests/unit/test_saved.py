"""Gradients through networks that write over what autograd saved."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from uncertainty.saved_tensors import written_over

Function = Callable[[Tensor], Tensor]


def gradient(function: Function, x: Tensor) -> Tensor:
    """Of the sum."""
    with torch.enable_grad(), written_over():
        leaf = x.clone().requires_grad_()
        (found,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return found


def expected(function: Function, x: Tensor) -> Tensor:
    """The same by central differences."""
    step = 1e-6
    ends = [[float(function((x + sign * step * unit).clone()).sum()) for sign in (1, -1)] for unit in torch.eye(len(x)).double()]
    return torch.tensor([(after - before) / (2 * step) for after, before in ends]).double()


def _whole(x: Tensor) -> Tensor:
    y = x.clone()
    z = y.square()
    y.add_(3)
    return z * y


def _part(x: Tensor) -> Tensor:
    """Written is a view that begins elsewhere than what was saved."""
    y = x.clone()
    z = y.exp() * y
    y[2:] *= 5
    return z + y


def _saved_part(x: Tensor) -> Tensor:
    """Saved is a view, written is all of it."""
    y = x.clone()
    z = y[2:].square()
    y.mul_(2)
    return torch.cat([z, y])


def _given(x: Tensor) -> Tensor:
    """Written through ``out``."""
    kept = torch.arange(1, 6).double()
    z = x * kept
    torch.add(kept, 1, out=kept)
    return z * kept


def _many(x: Tensor) -> Tensor:
    """Addresses come again and again."""
    total = x
    for number in range(40):
        y = total.clone()
        z = y.sin() * y
        y.mul_(0.5)
        y[number % 4 :].add_(number)
        total = (z + y.tanh()).clone()
        total += 0.1
    return total


def _lists(x: Tensor) -> Tensor:
    """Several tensors in one operation."""
    first, second = x.clone(), x.clone() * 2
    z = first.square() * second.square()
    torch._foreach_mul_([first, second], 3.0)
    return z + first + second


@pytest.mark.parametrize("function", [_whole, _part, _saved_part, _given, _many, _lists])
def test_the_gradient_is_that_of_what_was_there_before(function: Function) -> None:
    x = torch.tensor([0.3, -0.7, 1.1, 0.5, -0.2], dtype=torch.float64)
    for _ in range(5):
        torch.testing.assert_close(gradient(function, x), expected(function, x), rtol=1e-4, atol=1e-4)


def test_what_is_not_written_over_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(1000)
    copies: list[int] = []
    real = Tensor.clone
    monkeypatch.setattr(Tensor, "clone", lambda self, **how: copies.append(self.numel()) or real(self, **how))
    gradient(lambda leaf: leaf.square() * leaf.sin(), x)
    assert copies == [1000]  # the leaf
