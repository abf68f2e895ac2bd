"""A normal distribution."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unroll.models.heads.distribution import DistributionHead, spread


class GaussianHead(DistributionHead):
    """Mean and standard deviation of each step, learned by maximum likelihood. The point is its median, the mean.

    Args:
        input_size, horizon, sizes: see DistributionHead.
    """

    def __init__(self, input_size: int, horizon: int, *, sizes: Sequence[int] = ()) -> None:
        super().__init__(input_size, horizon, made=2, outputs=2, sizes=sizes)

    def place(self, raw: Tensor, location: Tensor, factor: Tensor | None) -> Tensor:
        """(B, H, 2) location and standard deviation."""
        return torch.stack([location, spread(raw[..., 1], factor)], dim=-1)

    def loss(self, params: Tensor, target: Tensor) -> Tensor:
        """The negative logarithm of the density."""
        location, scale = params.unbind(-1)
        return 0.5 * ((target - location) / scale).square() + scale.log() + 0.5 * math.log(2 * math.pi)

    def quantiles(self, params: Tensor, levels: Tensor) -> Tensor:
        """(B, H, Q)."""
        location, scale = params.split(1, dim=-1)
        return location + scale * torch.special.ndtri(levels).to(params)

    def sample(self, params: Tensor) -> Tensor:
        """(B, H)."""
        location, scale = params.unbind(-1)
        return location + scale * torch.randn_like(location)
