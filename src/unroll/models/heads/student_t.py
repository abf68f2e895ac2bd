"""Student's t distribution: as the normal one, but with tails that outliers do not surprise."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from unroll.models.heads.distribution import DistributionHead, spread

LEAST, MOST = math.log(0.05), math.log(98.0)  # of the logarithm of the degrees of freedom above 2
NODES, WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(64))
NEWTON = 60  # steps at most; 10 are enough but for the farthest tails


class StudentTHead(DistributionHead):
    """Location and scale of each window and step, and degrees of freedom of each step, by maximum likelihood.

    The degrees of freedom are between 2.05 and 100, so that there is a variance; beyond, it is as good as normal.

    Args:
        input_size, horizon, sizes: see DistributionHead.
    """

    def __init__(self, input_size: int, horizon: int, *, sizes: Sequence[int] = ()) -> None:
        super().__init__(input_size, horizon, made=2, outputs=3, sizes=sizes)
        self.tails = nn.Parameter(torch.zeros(horizon))  # 0: 4.2 degrees of freedom

    def place(self, raw: Tensor, location: Tensor, factor: Tensor | None) -> Tensor:
        """(B, H, 3) location, scale and degrees of freedom."""
        degrees = 2 + (LEAST + (MOST - LEAST) * self.tails.sigmoid()).exp().unsqueeze(-2)  # (1, H)
        return torch.stack([location, spread(raw[..., 1], factor), degrees.expand_as(location)], dim=-1)

    def loss(self, params: Tensor, target: Tensor) -> Tensor:
        """The negative logarithm of the density."""
        location, scale, degrees = params.unbind(-1)
        constant = torch.lgamma(degrees / 2) - torch.lgamma((degrees + 1) / 2) + 0.5 * (degrees * math.pi).log()
        squared = ((target - location) / scale).square()
        return constant + scale.log() + (degrees + 1) / 2 * (squared / degrees).log1p()

    def quantiles(self, params: Tensor, levels: Tensor) -> Tensor:
        """(B, H, Q)."""
        location, scale, degrees = params.split(1, dim=-1)
        several, place = degrees.double().cpu().unique(return_inverse=True)  # H of them, however many windows
        table = t_quantiles(several, levels.double().cpu())  # (U, Q)
        return location + scale * table[place.squeeze(-1)].to(params)

    def sample(self, params: Tensor) -> Tensor:
        """(B, H). Bailey (1994), Polar generation of random variates with the t-distribution."""
        location, scale, degrees = params.unbind(-1)
        radius = 1 - torch.rand_like(location)  # above 0
        angle = 2 * math.pi * torch.rand_like(location)
        return location + scale * (degrees * (radius.pow(-2 / degrees) - 1)).sqrt() * angle.cos()


def t_quantiles(degrees: Tensor, levels: Tensor) -> Tensor:
    """Quantiles of Student's t distribution, for any degrees of freedom above 2.

    Newton's method on the distribution function. With t = sqrt(degrees) tan(angle) that is the integral of
    cos(angle) ** (degrees - 1), which Gauss and Legendre's rule gives to rounding.

    Args:
        degrees: (U,) float64.
        levels: (Q,) float64, between 0 and 1.

    Returns:
        (U, Q).
    """
    power = degrees.unsqueeze(-1) - 1  # (U, 1)
    total = 0.5 * math.sqrt(math.pi) * (torch.lgamma((power + 1) / 2) - torch.lgamma((power + 2) / 2)).exp()
    wanted = (levels - 0.5).abs() * 2 * total  # the integral from 0 to the angle
    angle = wanted.clone()  # the integrand is at most 1, and falls: from below the root, each step ends below it
    for _ in range(NEWTON):
        nodes = angle.unsqueeze(-1) * (NODES + 1) / 2
        integral = (nodes.cos().pow(power.unsqueeze(-1)) * WEIGHTS).sum(-1) * angle / 2
        step = (wanted - integral) / angle.cos().pow(power)
        angle = (angle + step).clamp_max(math.pi / 2)
        if bool((step <= 1e-15 * angle).all()):
            break
    return torch.copysign(power.add(1).sqrt() * angle.tan(), levels - 0.5)
