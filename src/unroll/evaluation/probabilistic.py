"""Scores of distributions, in the series' units, and what the distributions of replicas come to together.

A distribution is its quantiles at the 199 levels of GRID, brought into the series' units by the transform, which keeps
their order. Its CRPS is twice the integral of the pinball loss over all levels (Gneiting and Raftery, 2007, Strictly
proper scoring rules, prediction, and estimation, section 4.2): the trapezoid rule over the 99 levels 0.01 to 0.99, and
0 at both ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unroll.data.series import FloatArray
from unroll.data.transforms import Transform
from unroll.evaluation.metrics import Scores
from unroll.evaluation.replicas import Steps
from unroll.models.heads.distribution import DistributionHead

GRID = np.arange(1, 200) / 200
LEVELS = (80.0, 95.0)  # of intervals, in percent
ENDS = (0.025, 0.1, 0.5, 0.9, 0.975)  # the ends of these, and the median; of them is the mean pinball loss
PLACES = [round(200 * level) - 1 for level in ENDS]  # in GRID
AT_ONCE = 2**21  # numbers, which bounds memory


@dataclass(frozen=True)
class Summary:
    """What is kept of the distributions of one model. n windows, H steps.

    Args:
        ends: (n, H, 5) the quantiles at ENDS, in the series' units.
        scores: crps and pinball in the series' units; of each interval as it is made, before any calibration, its
            coverage (a share) and its mean width: coverage_80, width_80, coverage_95, width_95.
        by_step: the same of each step ahead.
    """

    ends: FloatArray
    scores: Scores
    by_step: Steps


def crps(quantiles: FloatArray, truth: FloatArray) -> FloatArray:
    """(..., 199) quantiles at GRID and (...) the truth to the CRPS of each (...)."""
    hundredths = slice(1, None, 2)
    found: FloatArray = 2 * pinball(quantiles[..., hundredths], truth, GRID[hundredths]).sum(axis=-1) / 100
    return found


def pinball(quantiles: FloatArray, truth: FloatArray, levels: FloatArray) -> FloatArray:
    """(..., Q) quantiles and (...) the truth to the pinball loss of each level (..., Q)."""
    short = truth[..., None] - quantiles
    return np.asarray(np.maximum(levels * short, (levels - 1) * short))


def summarise(
    head: DistributionHead, transform: Transform, params: Sequence[Tensor], truth: FloatArray
) -> tuple[list[Summary], Summary, Summary]:
    """Score the distributions of K replicas, their ensemble and their mixture, some windows at a time.

    Args:
        head: that they are of.
        transform: of the series.
        params: K times (n, H, P), in scaled units.
        truth: (n, H) in the series' units.

    Returns:
        Of each replica; of the ensemble, whose quantiles are the means of theirs; and of the mixture, a distribution
        that is each of theirs with the same probability.
    """
    count, horizon = truth.shape
    size = max(1, AT_ONCE // (len(params) * horizon * len(GRID)))
    levels = torch.from_numpy(GRID)
    sums = [_Sums(count, horizon) for _ in range(len(params) + 2)]
    for begin in range(0, count, size):
        part = slice(begin, begin + size)
        made = np.stack(
            [transform.invert_target(head.quantiles(one[part], levels).double().numpy()) for one in params]
        )  # (K, n', H, 199)
        for found, quantiles in zip(sums, [*made, made.mean(axis=0), mixed(made)], strict=True):
            found.add(part, quantiles, truth[part])
    *members, ensemble, mixture = [found.summary() for found in sums]
    return members, ensemble, mixture


def mixed(made: FloatArray) -> FloatArray:
    """(K, ..., 199) quantiles of K distributions to those of their mixture (..., 199): of all of them together."""
    if len(made) == 1:
        return np.asarray(made[0])
    pool = np.moveaxis(made, 0, -2).reshape(*made.shape[1:-1], -1)
    return np.asarray(np.moveaxis(np.quantile(pool, GRID, axis=-1, method="weibull"), 0, -1))


class _Sums:
    """Scores that are added up by step."""

    def __init__(self, count: int, horizon: int) -> None:
        self.ends: FloatArray = np.empty((count, horizon, len(ENDS)))
        self.totals: dict[str, FloatArray] = {}

    def add(self, part: slice, quantiles: FloatArray, truth: FloatArray) -> None:
        ends = self.ends[part] = quantiles[..., PLACES]
        found = {"crps": crps(quantiles, truth), "pinball": pinball(ends, truth, np.array(ENDS)).mean(axis=-1)}
        for level in LEVELS:
            low, high = interval_of(ends, level)
            found |= {f"coverage_{level:g}": (low <= truth) & (truth <= high), f"width_{level:g}": high - low}
        for name, values in found.items():
            self.totals[name] = self.totals.get(name, np.zeros(truth.shape[1])) + values.sum(axis=0)

    def summary(self) -> Summary:
        by_step = {name: total / len(self.ends) for name, total in self.totals.items()}
        scores: Scores = {name: finite(float(values.mean())) for name, values in by_step.items()}
        return Summary(
            self.ends, scores, {name: [finite(one) for one in values.tolist()] for name, values in by_step.items()}
        )


def interval_of(ends: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """The ends of the interval of one of LEVELS, from quantiles (..., 5) at ENDS."""
    outer = LEVELS.index(level)  # 0: the inner one
    return ends[..., 1 - outer], ends[..., 3 + outer]


def finite(value: float) -> float | None:
    """None for what files cannot hold."""
    return value if np.isfinite(value) else None
