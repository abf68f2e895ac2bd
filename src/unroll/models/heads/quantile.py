"""Quantiles, without a family of distributions."""

import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from unroll.config import check_arguments
from unroll.errors import ConfigError
from unroll.models.heads.distribution import DistributionHead, constants, positive

NORMAL = statistics.NormalDist()


class QuantileHead(DistributionHead):
    """The median, and the gaps from each level to the next one outwards, which are never negative: none cross.

    With gaps of 1 it is the standard normal distribution. Between its levels, and beyond the outermost ones, quantiles
    are linear in those of the normal distribution: its tails are as those of the normal distribution through the two
    outermost levels.

    Args:
        input_size, horizon, sizes: see DistributionHead.
        levels: between 0 and 1, increasing, with 0.5 and at least one on each side of it.

    Source:
        Koenker and Bassett (1978), Regression quantiles; Gasthaus et al. (2019), Probabilistic forecasting with spline
        quantile function RNNs, for gaps that are not negative.
    """

    loss_name = "pinball"

    def __init__(self, input_size: int, horizon: int, *, levels: Sequence[float], sizes: Sequence[int] = ()) -> None:
        check_arguments(levels=levels)
        levels = [float(level) for level in levels]
        if sorted(set(levels)) != levels or 0.5 not in levels[1:-1]:
            raise ConfigError(
                f"model.head.levels={levels}: they must increase, and hold 0.5 with at least one level on each side of "
                "it, such as [0.1,0.5,0.9]"
            )
        super().__init__(input_size, horizon, made=len(levels), outputs=len(levels), sizes=sizes)
        self.levels = levels
        self.scores = [NORMAL.inv_cdf(level) for level in levels]
        self.below = levels.index(0.5)

    def place(self, raw: Tensor, location: Tensor, factor: Tensor | None) -> Tensor:
        """(B, H, P): the median, the quantiles below it and those above it, each increasing."""
        steps = [after - before for before, after in zip(self.scores[:-1], self.scores[1:], strict=True)]
        gaps = positive(raw[..., 1:]) * constants(steps, raw)
        if factor is not None:
            gaps = gaps * factor.unsqueeze(-1)
        median = location.unsqueeze(-1)
        lower, upper = gaps[..., : self.below], gaps[..., self.below :]
        below = median - lower.flip(-1).cumsum(-1).flip(-1)
        return torch.cat([median, below, median + upper.cumsum(-1)], dim=-1)

    def loss(self, params: Tensor, target: Tensor) -> Tensor:
        """The mean pinball loss over the levels."""
        short = target.unsqueeze(-1) - self._ordered(params)
        levels = constants(self.levels, params)
        return torch.maximum(levels * short, (levels - 1) * short).mean(-1)

    def quantiles(self, params: Tensor, levels: Tensor) -> Tensor:
        """(B, H, Q)."""
        wanted = torch.special.ndtri(levels).to(params)  # (Q,)
        made = self._at(params, wanted.expand(*params.shape[:-1], -1))
        return made.cummax(-1).values  # a rounding must not let them cross

    def sample(self, params: Tensor) -> Tensor:
        """(B, H)."""
        return self._at(params, torch.randn_like(params[..., :1])).squeeze(-1)

    def _at(self, params: Tensor, wanted: Tensor) -> Tensor:
        """The quantiles (B, H, Q) at quantiles (B, H, Q) of the normal distribution."""
        ordered, scores = self._ordered(params), constants(self.scores, params)
        above = torch.searchsorted(scores, wanted.contiguous()).clamp(1, len(self.scores) - 1)
        start, end = ordered.gather(-1, above - 1), ordered.gather(-1, above)
        before = scores[above - 1]
        return start + (end - start) * (wanted - before) / (scores[above] - before)

    def _ordered(self, params: Tensor) -> Tensor:
        """(B, H, P) in the order of the levels."""
        median, below, above = params.split([1, self.below, len(self.levels) - 1 - self.below], dim=-1)
        return torch.cat([below, median, above], dim=-1)
