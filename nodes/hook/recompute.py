"""Save memory in a backward pass: keep only the inputs of each block of a network and recompute the rest."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The largest repeated parts of a network: the entries of its module lists, or of sequences in these lists."""
    inside: set[nn.Module] = set()
    for module in network.modules():
        if module in inside or not isinstance(module, nn.ModuleList):
            continue
        for entry in module:
            if isinstance(entry, nn.ModuleList):
                continue  # never called itself; its entries follow
            inside.update(entry.modules())
            # ComfyUI's UNet calls the entries of a sequence itself.
            yield from entry if isinstance(entry, nn.Sequential) else (entry,)


class _Recomputed(torch.autograd.Function):
    """``run(*tensors)``, which returns a tuple of tensors; only the inputs are saved for the backward pass.

    torch.utils.checkpoint cannot be used, because many blocks overwrite their inputs in place.
    """

    @staticmethod
    def forward(ctx: Any, run: Callable[..., tuple], *tensors: Tensor) -> tuple:
        ctx.run = run
        ctx.tensors = tuple(tensor.detach().clone() if tensor.requires_grad else tensor for tensor in tensors)
        ctx.needed = tuple(tensor.requires_grad for tensor in tensors)
        # Clones, here and in the second pass, because the block may overwrite its inputs.
        return run(*(tensor.clone() for tensor in tensors))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple:
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_(needed) for tensor, needed in zip(ctx.tensors, ctx.needed, strict=True)]
            outputs = ctx.run(*(leaf.clone() for leaf in leaves))
        used = [i for i, output in enumerate(outputs) if isinstance(output, Tensor) and output.requires_grad]
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        products = torch.autograd.grad([outputs[i] for i in used], wanted, [gradients[i] for i in used], allow_unused=True)
        remaining = iter(products)
        return None, *(next(remaining) if leaf.requires_grad else None for leaf in leaves)


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = tree_flatten((args, kwargs))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        tensors = [leaves[i] for i in places]
        if not any(tensor.requires_grad for tensor in tensors):
            return forward(*args, **kwargs)
        rest = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        shape: Any = None

        def run(*tensors: Tensor) -> tuple:
            nonlocal shape
            filled = list(rest)
            for i, tensor in zip(places, tensors, strict=True):
                filled[i] = tensor
            again_args, again_kwargs = tree_unflatten(filled, structure)
            outputs, shape = tree_flatten(forward(*again_args, **again_kwargs))
            return tuple(outputs)

        computed = _Recomputed.apply(run, *tensors)  # type: ignore[no-untyped-call]
        return tree_unflatten(list(computed), shape)

    return call


@contextmanager
def recomputed_blocks(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Within this context, every block of the networks saves only its inputs for the backward pass."""
    changed: list[nn.Module] = []
    try:
        for network in networks:
            for block in _blocks(network):
                if "forward" not in vars(block):
                    block.forward = _recomputed(block.forward)
                    changed.append(block)
        yield
    finally:
        for block in changed:
            del block.forward
