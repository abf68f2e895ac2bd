"""Whether a forecast is better than another on the same targets, or cannot be told from it.

Errors of neighbouring origins are alike: they share targets, and the weather of the series. So the interval comes of a
bootstrap that draws blocks of origins, the same for both forecasts, and the test is that of Diebold and Mariano.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unroll.data.series import FloatArray
from unroll.evaluation.intervals import CONFIDENCE, central_probability, t_quantile

RESAMPLES = 4000
LEAST_BLOCKS = 4  # of which a resample is made; fewer can hardly be drawn in different ways
CHUNK = 2**21  # numbers at once, which bounds memory
NORMAL = 1.959963984540054  # quantile of CONFIDENCE
ROUNDING = 1e-12  # relative; what varies by less does not vary

Measure = Literal["rmse", "mae"]


@dataclass(frozen=True)
class Difference:
    """Error of the model less error of the other forecast: below 0, the model is better.

    Args:
        value: over all targets.
        low, high: the 95 % interval; None where there are too few origins for one.
        block: origins drawn together.
        why: there is no interval; empty where there is one.
    """

    value: float
    low: float | None
    high: float | None
    block: int
    why: str = ""

    @property
    def verdict(self) -> str:
        """What may be said: better, worse, cannot be told from, the same as."""
        if self.low is None or self.high is None:
            return "cannot be told from"
        if self.low == self.high == 0:
            return "the same as"
        return "better than" if self.high < 0 else "worse than" if self.low > 0 else "cannot be told from"


@dataclass(frozen=True)
class DieboldMariano:
    """The test of equal expected loss.

    Args:
        statistic: below 0, the model is better; None where there is none.
        p_value: two-sided; None where there is no statistic.
        why: there is none; empty where there is one.
    """

    statistic: float | None
    p_value: float | None
    why: str = ""


def overlap(horizon: int, step: int) -> int:
    """How many origins in a row, each `step` rows after the one before, have targets in common with the first."""
    return math.ceil(horizon / step)


def block_length(count: int, horizon: int, step: int = 1) -> int:
    """Origins in a block: 1.5 times the cube root of their number, and at least as many as the horizon reaches over.

    The cube root is the order that keeps the error of a variance least (Künsch, 1989, The jackknife and the bootstrap
    for general stationary observations; Hall, Horowitz and Jing, 1995, On blocking rules for the bootstrap with
    dependent data). Errors H steps ahead are dependent over H - 1 origins even where the forecast is as good as can be.

    Args:
        count: n, origins.
        horizon: H, in rows.
        step: rows from one origin to the next.
    """
    return max(overlap(horizon, step), math.ceil(1.5 * count ** (1 / 3) - ROUNDING))


def difference(
    model: FloatArray, other: FloatArray, measure: Measure, *, step: int = 1, seed: int = 0, resamples: int = RESAMPLES
) -> Difference:
    """The difference of two errors, with the 95 % interval of a paired circular block bootstrap.

    The percentile interval is widened for the number of blocks, as a t interval is for the number of values. For two
    forecasts that are equally good it held 0 in 95 of 100 series (90 origins, 1 step; without the widening 92). In the
    worst case, 14 steps ahead in white noise, it held 0 in 91 of 100 (77 origins; without 77) and 86 (200 origins).

    Args:
        model, other: (n, H) forecast less truth of the same targets, n origins in the order of time.
        measure: rmse | mae, over all targets.
        step: rows from one origin to the next.
        seed: of the resamples.
        resamples: how many.

    Source:
        Politis and Romano (1992), A circular block-resampling procedure for stationary data: blocks that run over the
        end go on at the beginning, so that every origin is drawn as often as any other. Hesterberg (2015), What
        teachers should know about the bootstrap, section 5.3: the expanded percentile interval.
    """
    count, horizon = model.shape
    unit = max(float(np.abs(model).max()), float(np.abs(other).max()))  # of which no square leaves the floats
    if unit == 0:
        return Difference(0.0, 0.0, 0.0, block_length(count, horizon, step))
    losses = np.stack([_losses(errors / unit, measure) for errors in (model, other)])  # (2, n)
    total = _in_units(losses.mean(axis=1), measure)
    value, block = float(total[0] - total[1]) * unit, block_length(count, horizon, step)
    if np.array_equal(losses[0], losses[1]):
        return Difference(0.0, 0.0, 0.0, block)
    if count < LEAST_BLOCKS * block:
        why = f"{count} origins are fewer than {LEAST_BLOCKS} blocks of {block}"
        return Difference(value, None, None, block, why)
    means = _resampled_means(losses, block, np.random.default_rng(seed), resamples)  # (2, resamples)
    drawn = _in_units(means, measure)
    tail = (1 - CONFIDENCE) / 2
    ends = np.quantile(drawn[0] - drawn[1], [tail, 1 - tail]) * unit
    low, high = value + _widening(count // block) * (ends - value)
    return Difference(value, float(low), float(high), block)


def diebold_mariano(
    model: FloatArray, other: FloatArray, power: Literal[1, 2], *, horizon: int | None = None, step: int = 1
) -> DieboldMariano:
    """Test whether two forecasts have the same expected loss, with the correction for small samples.

    The loss of an origin is the mean of |error|^power over its steps. Its autocovariances enter up to the last lag at
    which targets overlap.

    Args:
        model, other: (n, H) forecast less truth of the same targets, n origins in the order of time.
        power: 2: squared errors; 1: absolute errors.
        horizon: the last of the steps, counted from 1, where these are not all of them; None: H.
        step: rows from one origin to the next.

    Source:
        Diebold and Mariano (1995), Comparing predictive accuracy; Harvey, Leybourne and Newbold (1997), Testing the
        equality of prediction mean squared errors, equations 5 to 9: the statistic is shrunk, and Student's t with
        n - 1 degrees of freedom is its distribution.
    """
    count, reach = len(model), overlap(horizon or model.shape[1], step)
    unit = max(float(np.abs(model).max()), float(np.abs(other).max())) or 1.0
    measure: Measure = "rmse" if power == 2 else "mae"
    gap = _losses(model / unit, measure) - _losses(other / unit, measure)
    if not gap.any():
        return DieboldMariano(None, None, "both forecasts have the same errors")
    correction = (count + 1 - 2 * reach + reach * (reach - 1) / count) / count
    if count < 2 or reach >= count or correction <= 0:
        return DieboldMariano(None, None, f"{count} origins are too few for {reach} of them that overlap")
    mean, centred = float(gap.mean()), gap - gap.mean()
    covariances = [float(centred[lag:] @ centred[: count - lag]) / count for lag in range(reach)]
    variance = (covariances[0] + 2 * math.fsum(covariances[1:])) / count
    if variance <= (ROUNDING * float(np.abs(gap).max())) ** 2:
        return DieboldMariano(None, None, "the estimate of the variance is not positive")
    statistic = mean / math.sqrt(variance) * math.sqrt(correction)
    return DieboldMariano(statistic, max(0.0, 1 - central_probability(abs(statistic), count - 1)))


def _widening(blocks: int) -> float:
    """Of a percentile interval: t over normal quantile, and n over n - 1 in the variance."""
    return t_quantile(blocks - 1) / NORMAL * math.sqrt(blocks / (blocks - 1))


def _losses(errors: FloatArray, measure: Measure) -> FloatArray:
    """(n,) the mean loss of each origin."""
    return np.asarray((np.square(errors) if measure == "rmse" else np.abs(errors)).mean(axis=1))


def _in_units(means: FloatArray, measure: Measure) -> FloatArray:
    return np.sqrt(means) if measure == "rmse" else means


def _resampled_means(losses: FloatArray, block: int, random: np.random.Generator, resamples: int) -> FloatArray:
    """(2, resamples) means of n origins, drawn in blocks that may begin anywhere; the last block is cut short."""
    count = losses.shape[1]
    whole, rest = divmod(count, block)
    sums = {length: _circular_sums(losses, length) for length in (block, rest)}
    drawn = np.empty((2, resamples))
    size = max(1, CHUNK // (whole + 1))
    for begin in range(0, resamples, size):
        starts = random.integers(0, count, (min(size, resamples - begin), whole + 1))
        total = sums[block][:, starts[:, :whole]].sum(axis=2) + sums[rest][:, starts[:, whole]]
        drawn[:, begin : begin + size] = total / count
    return drawn


def _circular_sums(losses: FloatArray, length: int) -> FloatArray:
    """(2, n) the sum of `length` origins from each on, going on at the beginning."""
    again = np.concatenate([losses, losses[:, :length]], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(again, length, axis=1)[:, : losses.shape[1]] if length else None
    return np.zeros_like(losses) if windows is None else windows.sum(axis=2)  # exact to rounding, unlike running sums
