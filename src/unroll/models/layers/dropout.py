"""Dropout whose masks each replica draws as its single run would."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

_generators: ContextVar[Sequence[torch.Generator] | None] = ContextVar("replica_generators", default=None)


@contextmanager
def replica_generators(generators: Sequence[torch.Generator]) -> Iterator[None]:
    """Within this context replica k draws its masks from generator k, and nothing from torch's own.

    Args:
        generators: one a replica. Seeded like torch.manual_seed, each draws what its single run draws.
    """
    token = _generators.set(generators)
    try:
        yield
    finally:
        _generators.reset(token)


def draw_mask(like: Tensor, probability: float) -> Tensor:
    """A mask of 0 and 1 / (1 - probability), in the shape of `like`: drawn as torch.nn.functional.dropout draws.

    Under vmap each replica has its own mask: from its own generator within `replica_generators`, else from torch's.

    Raises:
        ValueError: where there are more or fewer generators than replicas.
        RuntimeError: under vmap(randomness="error"), as torch's own, where there are no generators.
    """
    if _generators.get() is None and not torch._C._are_functorch_transforms_active():
        return _draw(like, like.shape, probability, None)  # the same, without what a Function costs
    like = like.detach()
    transformed = torch._C._are_functorch_transforms_active()
    mask: Tensor = _Mask.apply(like, probability) if transformed else _Mask.forward(like, probability)
    return mask


def draw_masks(like: Tensor, probability: float) -> Tensor:
    """Masks (K, ...) for K replicas in one tensor, without vmap: the same that `draw_mask` draws under vmap.

    Raises:
        ValueError: where there are more or fewer generators than replicas.
    """
    generators = _generators.get()
    if generators is None:
        return _draw(like, like.shape, probability, None)
    _check(generators, len(like))
    masks = torch.empty(like.shape, dtype=like.dtype, device=generators[0].device)
    for mask, generator in zip(masks.unbind(), generators, strict=True):
        mask.bernoulli_(1 - probability, generator=generator)
    return _scaled(masks, probability).to(like.device)


def drop_replicas(input: Tensor, probability: float) -> Tensor:
    """Dropout of (K, ...): what torch.func.vmap of `Dropout` gives, in training, without vmap."""
    return input * draw_masks(input, probability) if probability else input


class Dropout(nn.Dropout):
    """torch.nn.Dropout with the masks of `draw_mask`."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape."""
        if not self.training or self.p == 0 or not runs_eagerly():
            return super().forward(input)
        return input * draw_mask(input, self.p)


def runs_eagerly() -> bool:
    """Whether torch runs eagerly: nothing is exported, compiled or traced."""
    return not (torch.compiler.is_compiling() or torch.compiler.is_exporting() or torch.jit.is_tracing())  # type: ignore[attr-defined]


class _Mask(Function):
    @staticmethod
    def forward(like: Tensor, probability: float) -> Tensor:
        generators = _generators.get()
        _check(generators, 1)
        return _draw(like, like.shape, probability, generators[0] if generators is not None else None)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], like: Tensor, probability: float) -> tuple[Tensor, int | None]:
        dim = in_dims[0]
        assert dim is not None
        if info.randomness == "error" and _generators.get() is None:
            raise RuntimeError("dropout under vmap: say randomness='different', for a mask a replica, or 'same'")
        if info.randomness == "same":
            return _Mask.forward(like.select(dim, 0), probability), None
        return draw_masks(like.movedim(dim, 0), probability), 0


def _draw(like: Tensor, shape: Sequence[int], probability: float, generator: torch.Generator | None) -> Tensor:
    device = like.device if generator is None else generator.device
    mask = torch.empty(shape, dtype=like.dtype, device=device).bernoulli_(1 - probability, generator=generator)
    return _scaled(mask, probability).to(like.device)


def _scaled(mask: Tensor, probability: float) -> Tensor:
    return mask.div_(1 - probability) if probability < 1 else mask


def _check(generators: Sequence[torch.Generator] | None, replicas: int) -> None:
    if generators is not None and len(generators) != replicas:
        raise ValueError(f"{len(generators)} generators for {replicas} replicas")
