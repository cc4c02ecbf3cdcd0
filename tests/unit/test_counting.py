"""Bytes and operations of small networks, counted without computing them, against what they must be."""

import torch
from torch import nn

from benchmarks.counting import counted

WIDE, ROWS = 1024, 512
LAYER = 4 * ROWS * WIDE  # bytes of one activation


def network(layers: int) -> nn.Module:
    return nn.Sequential(*(part for _ in range(layers) for part in (nn.Linear(WIDE, WIDE, bias=False), nn.Tanh())))


def forward(model: nn.Module) -> None:
    with torch.no_grad():
        model(torch.zeros(ROWS, WIDE))


def gradient(model: nn.Module) -> None:
    x = torch.zeros(ROWS, WIDE, requires_grad=True)
    made = model(x.clone())
    torch.autograd.grad(made, x, torch.ones_like(made))


def test_a_call_holds_what_it_reads_and_writes() -> None:
    """The input stays, and each layer needs its own input and output."""
    weights, peak, operations = counted(lambda: network(5), forward)
    assert weights == 5 * 4 * WIDE**2
    assert peak == 3 * LAYER
    assert operations == 5 * 2 * ROWS * WIDE**2


def test_a_graph_holds_every_layer() -> None:
    """The backward pass of tanh needs its output. With weights that need no gradient, no layer keeps its input."""
    more, fewer = (counted(lambda: network(layers).requires_grad_(False), gradient)[1] for layers in (9, 5))  # noqa: B023
    assert more - fewer == 4 * LAYER


def test_views_and_weights_take_nothing() -> None:
    def views(model: nn.Module) -> None:
        x = torch.zeros(ROWS, WIDE)
        x.view(2, -1)[0].add_(1)
        next(model.parameters()).detach().T[1:]

    assert counted(lambda: network(1), views)[1] == LAYER


def test_what_is_freed_is_not_counted() -> None:
    def one_by_one(model: nn.Module) -> None:
        for _ in range(10):
            torch.zeros(ROWS, WIDE)

    assert counted(lambda: network(1), one_by_one)[1] == LAYER
