"""95 % t intervals of a mean over seeds, and of the difference between two such means, as of rows of a leaderboard.

Seeds are few, three or five: too few for a bootstrap, whose intervals are then too narrow. The t interval takes the
seeds' scores as normally distributed. Quantiles are of this module: SciPy is no dependency.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
ROUNDING = 1e-9  # relative; scores that differ by less are the same


@dataclass(frozen=True)
class Interval:
    """A quantity over seeds.

    Args:
        mean: over the seeds.
        half_width: of the interval, which is mean - half_width to mean + half_width; None for one seed.
        lowest, highest: of the seeds.
        count: of the seeds.
    """

    mean: float
    half_width: float | None
    lowest: float
    highest: float
    count: int


def central_probability(t: float, degrees: int) -> float:
    """P(|T| < t) of Student's t distribution with whole degrees of freedom.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4: a finite series in the angle.
    """
    angle = math.atan2(t, math.sqrt(degrees))
    sine, squared = math.sin(angle), degrees / (degrees + t * t)  # squared cosine
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for power in range(2 + odd, degrees - 1, 2):
        term *= squared * (power - 1) / power
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


@functools.cache
def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """The t that |T| stays below with a probability: 12.71 for 1 degree of freedom, 1.96 for very many."""
    low, high = 0.0, 1.0
    while central_probability(high, degrees) < confidence:
        high *= 2
    while True:
        middle = (low + high) / 2
        if middle in (low, high):  # no number is left between them
            return middle
        if central_probability(middle, degrees) < confidence:
            low = middle
        else:
            high = middle


def interval(values: Sequence[float]) -> Interval:
    """The mean of some values and its 95 % t interval."""
    mean, deviation = _moments(values)
    count = len(values)
    half_width = None if deviation is None else t_quantile(count - 1) * deviation / math.sqrt(count)
    return Interval(mean, half_width, min(values), max(values), count)


def distinguishable(
    scores: Mapping[int, float], best: Mapping[int, float], *, largest_is_best: bool = False
) -> tuple[bool, str] | None:
    """Whether a row is worse than the best one: the 95 % interval of the difference leaves 0 out, on the worse side.

    Args:
        scores: of a row, by seed.
        best: of the row with the best mean, by seed.
        largest_is_best: as for R2; False: as for errors.

    Returns:
        The answer, and `paired` or `welch`. Pairs where the rows share at least two seeds, because one seed means the
        same order of batches, and the same noise where the data follow the seed; else Welch's interval, where each
        row has at least two seeds. None where neither can be had.
    """
    shared = sorted(scores.keys() & best.keys())
    if len(shared) >= 2:
        found = interval([scores[seed] - best[seed] for seed in shared])
        difference, half_width, how = found.mean, found.half_width, "paired"
    else:
        here, there = (_moments(list(row.values())) for row in (scores, best))
        if here[1] is None or there[1] is None:
            return None
        difference, half_width, how = here[0] - there[0], _welch(here[1], len(scores), there[1], len(best)), "welch"
    assert half_width is not None
    size = max(map(abs, (*scores.values(), *best.values())))
    worse = -difference if largest_is_best else difference
    return worse > half_width + ROUNDING * size, how


def _welch(one: float, one_count: int, other: float, other_count: int) -> float:
    """Half the width of Welch's interval of a difference of means; its degrees of freedom are rounded down."""
    error = math.hypot(one / math.sqrt(one_count), other / math.sqrt(other_count))
    if error == 0:
        return 0.0
    share = (one / error) ** 2 / one_count  # the Welch-Satterthwaite equation, by shares: no square leaves the floats
    degrees = 1 / (share**2 / (one_count - 1) + (1 - share) ** 2 / (other_count - 1))
    return t_quantile(math.floor(degrees + ROUNDING)) * error


def _moments(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation with n - 1 in the denominator; None for one value."""
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return mean, None
    if min(values) == max(values):  # exactly 0, whatever the mean was rounded to
        return values[0], 0.0
    return mean, math.hypot(*(value - mean for value in values)) / math.sqrt(count - 1)
