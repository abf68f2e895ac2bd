"""The negative binomial distribution, for counts."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from unroll.models.heads.distribution import LEAST_SPREAD, DistributionHead, positive

SHARE = 0.1  # of the scale of the counts, within which means that would be negative are bent upwards
POINTS = 1024  # of the grid on which the probabilities are added up
REACH = 5.0  # of the grid on each side of the mean, in a unit that is two standard deviations
CHUNK = 2048  # distributions at once, which bounds memory


class TargetMaps(Protocol):
    """The pointwise transform of the target, on tensors."""

    def target_to_units(self, scaled: Tensor) -> Tensor:
        """From scaled units to the series' own."""

    def target_to_scaled(self, units: Tensor) -> Tensor:
        """And back."""


class AsItIs:
    """No transform."""

    def target_to_units(self, scaled: Tensor) -> Tensor:
        """The same."""
        return scaled

    def target_to_scaled(self, units: Tensor) -> Tensor:
        """The same."""
        return units


class NegativeBinomialHead(DistributionHead):
    """Mean and dispersion of counts, by maximum likelihood: the variance is mean + dispersion * mean squared.

    The location is brought into the series' units, where a soft bend makes it a mean above 0. The point is this mean.

    Args:
        input_size, horizon, sizes: see DistributionHead.

    Source:
        Salinas et al. (2020), DeepAR: Probabilistic forecasting with autoregressive recurrent networks, section 3.1.
    """

    counts = True

    def __init__(self, input_size: int, horizon: int, *, sizes: Sequence[int] = ()) -> None:
        super().__init__(input_size, horizon, made=2, outputs=2, sizes=sizes)
        self.use(AsItIs())

    def use(self, maps: TargetMaps) -> None:
        """Take the transform of the series."""
        self.maps = maps
        points = torch.tensor([-0.5, 0.5, -1000.0], dtype=torch.float64, device="cpu")
        low, high, least = maps.target_to_units(points).tolist()
        # Where a mean near 0 is bent upwards: small beside the scale of the counts, and beside 1 for logarithms.
        self.bend = SHARE * max(min(high - low, -least), LEAST_SPREAD)

    def mean(self, params: Tensor) -> Tensor:
        """(B, H, 2) to the mean in the series' units (B, H)."""
        units = self.maps.target_to_units(params[..., 0])
        return torch.nn.functional.softplus(units / self.bend) * self.bend + 1e-9

    def place(self, raw: Tensor, location: Tensor, factor: Tensor | None) -> Tensor:
        """(B, H, 2) location and dispersion, which is a ratio: no factor changes it."""
        return torch.stack([location, positive(raw[..., 1]) + LEAST_SPREAD], dim=-1)

    def loss(self, params: Tensor, target: Tensor) -> Tensor:
        """The negative logarithm of the probability."""
        counts = self.maps.target_to_units(target).round().clamp_min(0)
        found = -_log_probability(_wide(counts), _wide(self.mean(params)), 1 / _wide(params[..., 1]))
        return found.to(params)

    def point(self, params: Tensor) -> Tensor:
        """(B, H) the mean, in scaled units."""
        return self.maps.target_to_scaled(self.mean(params))

    def quantiles(self, params: Tensor, levels: Tensor) -> Tensor:
        """(B, H, Q): whole numbers in the series' units."""
        mean, size = (_wide(part).flatten().cpu() for part in (self.mean(params), 1 / params[..., 1]))
        wanted = levels.to(mean)
        parts = zip(mean.split(CHUNK), size.split(CHUNK), strict=True)
        counts = torch.cat([count_quantiles(*part, wanted) for part in parts])
        scaled = self.maps.target_to_scaled(counts)  # in float64, so that none is rounded to another count
        return scaled.reshape(*params.shape[:-1], -1).to(params)

    def sample(self, params: Tensor) -> Tensor:
        """(B, H): Poisson counts of means that are drawn from a gamma distribution."""
        mean, size = self.mean(params), 1 / params[..., 1]
        rate = torch.distributions.Gamma(size, size / mean, validate_args=False).sample()
        return self.maps.target_to_scaled(torch.poisson(rate))


def count_quantiles(mean: Tensor, size: Tensor, levels: Tensor) -> Tensor:
    """The least counts that are not exceeded with some probabilities.

    Exact for means of up to some tens. For larger ones the probabilities between the points of a grid are those of a
    straight line, which is right to a hundredth of the standard deviation.

    Args:
        mean: (n,) above 0.
        size: (n,) 1 / dispersion.
        levels: (Q,) between 0 and 1.

    Returns:
        (n, Q).

    Source:
        Anscombe (1948), The transformation of Poisson, binomial and negative-binomial data, for the grid: with it the
        points are some standard deviations apart, wherever they are.
    """
    root = size.sqrt().unsqueeze(-1)
    middle = root * (mean.unsqueeze(-1).sqrt() / root).asinh()
    low = (middle - REACH).clamp_min(0)
    deviation = (mean + mean.square() / size).sqrt()
    most = (mean + 20 * deviation + 20).unsqueeze(-1)
    high = root * (most.sqrt() / root).asinh()
    places = torch.linspace(0, 1, POINTS, dtype=mean.dtype, device=mean.device)
    begin = ((low / root).sinh() * root).square().floor()
    grid = torch.maximum(
        (((low + (high - low) * places) / root).sinh() * root).square().round(),
        begin + torch.arange(POINTS, device=mean.device),  # where counts are few, every one of them
    )  # (n, POINTS)
    chance = _log_probability(grid, mean.unsqueeze(-1), size.unsqueeze(-1)).exp()
    width = grid.diff(dim=-1)
    # The sum over the counts after one point up to the next: Euler and Maclaurin; exact where there is but one.
    between = width / 2 * (chance[:, 1:] + chance[:, :-1]) + (chance[:, 1:] - chance[:, :-1]) / 2
    below = torch.cat([chance[:, :1], between.clamp_min(0)], dim=-1).cumsum(-1)  # P(count <= grid)
    below = below / below[:, -1:]
    place = torch.searchsorted(below, levels.expand(len(mean), -1).contiguous()).clamp_max(POINTS - 1)  # (n, Q)
    before = (place - 1).clamp_min(0)
    start, end = below.gather(-1, before), below.gather(-1, place)
    share = ((levels - start) / (end - start).clamp_min(1e-300)).clamp(0, 1)
    left, right = grid.gather(-1, before), grid.gather(-1, place)
    return torch.minimum((left + share * (right - left)).ceil(), right)


def _log_probability(counts: Tensor, mean: Tensor, size: Tensor) -> Tensor:
    chosen = torch.lgamma(counts + size) - torch.lgamma(size) - torch.lgamma(counts + 1)
    return chosen - size * (mean / size).log1p() - counts * (size / mean).log1p()


def _wide(values: Tensor) -> Tensor:
    """In float64, where the device has it: the terms are large beside their sum."""
    return values if values.device.type == "mps" else values.double()
