"""A cell over a window, for K replicas at once: an autograd.Function with a rule for torch.func.vmap.

All is kept time first and feature first, (W, K, rows, B). So what a step works on is one block of memory, a step
writes its h into the joint state of the next (see cell.py), the gradient of the weights is one product over many steps,
and no gradient is filled with zeros for the sake of one step. The features are a view (B, W, D) of that memory.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from unroll.models.layers.cell import Cell
from unroll.models.layers.gradient import scan_gradient

Tensors = Sequence[Tensor | None]


class Scan(Function):
    """(cell, replicated, keep, past, hidden, memory, *weights) to (features, hidden, memory, *what is kept).

    Shapes: past (B, W, F), hidden and memory (B, D) or None for zeros, weights as torch has them, features (B, W, D);
    where `replicated`, K stands before each. `memory` is an LSTM's second state. `keep` says whether a backward pass
    may come. Differentiable once, in all tensors.
    """

    @staticmethod
    def forward(cell: Cell, replicated: bool, keep: bool, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        """See the class."""
        past, hidden, memory, *weights = tensors if replicated else add_replica(tensors)
        assert past is not None
        replicas, batch, steps, features = past.shape
        given = [weight for weight in weights if weight is not None]  # all of them
        size = given[1].shape[-1]
        width = size + features + (len(given) > 2)
        weight = past.new_zeros(replicas, cell.gates * size, width)
        cell.pack(given, weight)
        joint = past.new_empty(steps + 1, replicas, width, batch)
        joint[0, :, :size] = 0 if hidden is None else hidden.mT
        joint[:-1, :, size : size + features] = past.permute(2, 0, 3, 1)
        joint[:, :, size + features :] = 1
        kept = cell.forward(weight, joint, None if memory is None else memory.mT, keep)
        found: Tensors = (
            joint[1:, :, :size].permute(1, 3, 0, 2),
            joint[-1, :, :size].mT.clone(),
            None if memory is None else kept[0][-1].mT * 0.5,
        )
        found = found if replicated else drop_replica(found)
        return (*found, weight, joint, *kept) if keep else (*found,)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        """Keep what the backward pass needs."""
        ctx.cell, ctx.replicated, _, past, *_ = inputs
        ctx.features = past.shape[-1]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[3:])
        ctx.save_for_backward(*output[3:])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of all that needs one."""
        need = ctx.needs_input_grad
        needs = need[3], need[4] or need[5], any(need[6:])
        arguments = ctx.cell, ctx.replicated, ctx.features, needs, *grads[:3], *ctx.saved_tensors
        transformed = torch.is_grad_enabled() or torch._C._are_functorch_transforms_active()
        made = ScanGradient.apply(*arguments) if transformed else ScanGradient.forward(*arguments)
        given = [grad if wanted else None for grad, wanted in zip(made, need[3:], strict=False)]
        return None, None, None, *given, *([None] * (len(need) - 3 - len(given)))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        """Hand over to K replicas. Where there are some already, there are more of them now."""
        cell, replicated, keep, *tensors = inputs
        count = info.batch_size
        moved = [_to_replicas(tensor, dim, count, replicated) for tensor, dim in zip(tensors, in_dims[3:], strict=True)]
        needed = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in moved if tensor is not None)
        found = Scan.apply(cell, True, keep or needed, *moved)
        states = [_from_replicas(state, count, replicated) for state in found[:3]]
        kept = [_split(value, 1 if place else 0, count) for place, value in enumerate(found[3:])] if keep else []
        dims = [None if state is None else 0 for state in states]
        return (*states, *kept), (*dims, *(1 if place else 0 for place in range(len(kept))))


def scan(cell: Cell, replicated: bool, keep: bool, *tensors: Tensor | None) -> tuple[Tensor, ...]:
    """Scan.apply, of which the look at the signature alone, needed under vmap, takes 40 us."""
    inputs = cell, replicated, keep, *tensors
    transformed = torch._C._are_functorch_transforms_active()
    found: tuple[Tensor, ...] = Scan.apply(*inputs) if transformed else super(Function, Scan).apply(*inputs)
    return found


class ScanGradient(Function):
    """The backward pass as a Function of its own, so that vmap can replicate it too: see scan_gradient.

    (cell, replicated, features, needs, three gradients, weight, joint, *kept) to gradients of what Scan was given.
    """

    @staticmethod
    def forward(cell: Cell, replicated: bool, features: int, needs: tuple[bool, ...], *tensors: Any) -> Tensors:
        """See the class."""
        grads = tensors[:3] if replicated else add_replica(tensors[:3])
        made = scan_gradient(cell, features, needs, grads, tensors[3], tensors[4], tensors[5:])
        return tuple(made if replicated else drop_replica(made))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept: there is no gradient of the gradient."""

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "the layers of unroll.models.layers have no second derivative: use torch.nn's of that name, whose "
            "state_dict is the same"
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        """Hand over to K replicas."""
        cell, replicated, features, needs, *tensors = inputs
        count, dims = info.batch_size, in_dims[4:]
        grads = [_to_replicas(tensors[place], dims[place], count, replicated) for place in range(3)]
        weight = _to_replicas(tensors[3], dims[3], count, True)
        kept = [_to_replicas(value, dim, count, True, 1) for value, dim in zip(tensors[4:], dims[4:], strict=True)]
        found = ScanGradient.apply(cell, True, features, needs, *grads, weight, *kept)
        made = [_from_replicas(grad, count, replicated) for grad in found]
        return tuple(made), tuple(None if grad is None else 0 for grad in made)


def add_replica(tensors: Tensors) -> list[Tensor | None]:
    """Each as one replica."""
    return [None if tensor is None else tensor.unsqueeze(0) for tensor in tensors]


def drop_replica(tensors: Tensors) -> list[Tensor | None]:
    """Each out of its only replica."""
    return [None if tensor is None else tensor.squeeze(0) for tensor in tensors]


def _to_replicas(tensor: Tensor | None, dim: int | None, count: int, replicated: bool, to: int = 0) -> Tensor | None:
    """vmap's dimension, or copies of what all share, as replicas in dimension `to`; joined with those there are."""
    if tensor is None:
        return None
    if dim is None:
        shape = list(tensor.shape)
        tensor = tensor.unsqueeze(to).expand(*shape[:to], count, *shape[to:])
    elif dim != to:
        tensor = tensor.movedim(dim, to)
    return tensor.flatten(to, to + 1) if replicated else tensor


def _from_replicas(tensor: Tensor | None, count: int, replicated: bool) -> Tensor | None:
    return _split(tensor, 0, count) if replicated and tensor is not None else tensor


def _split(tensor: Tensor, dim: int, count: int) -> Tensor:
    """(count * K) in a dimension to (count, K) in two."""
    return tensor.unflatten(dim, (count, -1))
