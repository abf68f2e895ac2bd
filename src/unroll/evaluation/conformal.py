"""Conformal calibration: intervals are widened, or narrowed, until they held what they say on the validation segment.

Sources:
    Papadopoulos et al. (2002), Inductive confidence machines for regression; Lei et al. (2018), Distribution-free
    predictive inference for regression, algorithm 2: intervals around points.
    Romano, Patterson and Candes (2019), Conformalized quantile regression, algorithm 1: those of a distribution, of
    which intervals around points are the case where both ends are the point.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unroll.data.series import FloatArray
from unroll.data.transforms import Transform
from unroll.evaluation.probabilistic import LEVELS, Summary, finite

RATE = 0.05  # at which the level of rolling intervals follows their misses
ROUNDING = 1e-9  # of a rank
MOST_ORIGINS = 2000  # to calibrate from; more, evenly thinned, say the same

Ends = tuple[FloatArray, FloatArray]
"""The lower and the upper ends of intervals, each (n, H)."""


@dataclass(frozen=True)
class Calibration:
    """How far the ends of a model's intervals are moved outwards, in scaled units, step by step.

    Args:
        moves: (H,) by level in percent.
        windows: how many validation windows they are from.
        missing: why there is none, by level.
    """

    moves: dict[float, FloatArray]
    windows: int
    missing: dict[float, str]


def calibrate(raw: Mapping[float, Ends], truth: FloatArray) -> Calibration:
    """Find the moves after which so many validation targets, and one more, would have been inside.

    Neighbouring windows overlap, so the guarantee for exchangeable data does not hold to the letter; the coverage found
    on the test segment says what it is worth.

    Args:
        raw: intervals of the validation windows by level, in scaled units; where both ends are the point forecast, they
            become half-widths.
        truth: (n, H) in scaled units.
    """
    count, moves, missing = len(truth), {}, {}
    for level, (low, high) in raw.items():
        rank = math.ceil((count + 1) * level / 100)
        if rank > count:
            missing[level] = f"{count} validation windows, and this level needs at least {windows_needed(level)}"
        else:
            moves[level] = np.partition(shortfall((low, high), truth), rank - 1, axis=0)[rank - 1]
    return Calibration(moves, count, missing)


def shortfall(ends: Ends, truth: FloatArray) -> FloatArray:
    """(n, H) how far the truth is outside of intervals; below 0, inside."""
    return np.asarray(np.maximum(ends[0] - truth, truth - ends[1]))


@dataclass(frozen=True)
class Known:
    """What is known of a model's intervals of one level, m origins in the order of time.

    Args:
        origins: (m,) first target rows.
        shortfalls: (m, H) of the intervals before calibration.
        debts: (m, H) the share that may be outside, less 1 where the calibrated interval missed; 0 without an interval.
    """

    origins: npt.NDArray[np.int64]
    shortfalls: FloatArray
    debts: FloatArray

    @classmethod
    def of_validation(cls, origins: npt.NDArray[np.int64], shortfalls: FloatArray) -> "Known":
        """Before any interval is given."""
        return cls(origins, shortfalls, np.zeros_like(shortfalls))

    def with_more(self, origins: npt.NDArray[np.int64], shortfalls: FloatArray, debts: FloatArray) -> "Known":
        """And later origins."""
        errors, owed = np.concatenate([self.shortfalls, shortfalls]), np.concatenate([self.debts, debts])
        return Known(np.concatenate([self.origins, origins]), errors, owed)


def rolling_moves(
    before: Known, origins: npt.NDArray[np.int64], shortfalls: FloatArray, level: float, count: int
) -> tuple[FloatArray, Known] | None:
    """Moves that follow the errors: at each origin from the latest windows whose targets are known there.

    And from a level that follows too: it rises after each interval that missed and falls after each that did not, so
    that in the long run as many miss as should, however the series changes.

    Args:
        before: what was known before these origins.
        origins: (n,) first target rows, increasing.
        shortfalls: (n, H) at these origins.
        level: in percent.
        count: how many windows: each new one takes the place of the oldest.

    Returns:
        (n, H), in which origin i knows the k-th step of an earlier origin only where that row is before origin i, and
        what is known after the last of them; None where the windows are too few for the level.

    Source:
        Gibbs and Candes (2021), Adaptive conformal inference under distribution shift, equation 2; the level is kept
        to what the windows can say.
    """
    if min(count, len(before.origins)) < windows_needed(level):
        return None
    every = before.with_more(origins, shortfalls, np.zeros_like(shortfalls))
    first, outside = len(before.origins), 1 - level / 100
    found = np.empty_like(shortfalls)
    for step in range(shortfalls.shape[1]):
        for number, known in enumerate(np.searchsorted(every.origins + step, origins)):  # whose step lies before
            share = outside + RATE * every.debts[:known, step].sum()
            latest = every.shortfalls[max(0, known - count) : known, step]
            rank = min(max(math.ceil((len(latest) + 1) * (1 - share) - ROUNDING), 1), len(latest))
            found[number, step] = np.partition(latest, rank - 1)[rank - 1]
            every.debts[first + number, step] = outside - (shortfalls[number, step] > found[number, step])
    return found, every


def windows_needed(level: float) -> int:
    """The least number of validation windows that an interval of this level, in percent, can come from."""
    return next(n for n in itertools.count(1) if math.ceil((n + 1) * level / 100) <= n)


def moved(ends: Ends, by: FloatArray, transform: Transform, *, counts: bool = False) -> Ends:
    """Intervals after calibration, in the series' units. Ends that would pass each other meet in the middle.

    Args:
        ends: in scaled units.
        by: (H,) from `Calibration.moves`, or (n, H).
        transform: of the series.
        counts: whether the target is never below 0.
    """
    low, high = ends[0] - by, ends[1] + by
    middle = (low + high) / 2
    with np.errstate(over="ignore"):
        least, most = (transform.invert_target(end) for end in (np.minimum(low, middle), np.maximum(high, middle)))
    return (np.maximum(least, 0), np.maximum(most, 0)) if counts else (least, most)


def interval_scores(
    calibration: Calibration, intervals: Mapping[float, Ends], summary: Summary | None, truth: FloatArray
) -> dict[str, dict[str, Any]]:
    """How many targets lie inside, and how wide intervals are; those of a distribution also before its calibration."""
    found: dict[str, dict[str, Any]] = {}
    for level in LEVELS:
        about: dict[str, Any] = {"validation_windows": calibration.windows}
        if level in intervals:
            low, high = intervals[level]
            inside, width = (low <= truth) & (truth <= high), high - low
            about |= {"coverage": float(inside.mean()), "width": finite(float(width.mean()))}
            if truth.shape[1] > 1:
                about["coverage_by_step"] = inside.mean(axis=0).tolist()
                about["width_by_step"] = [finite(float(value)) for value in width.mean(axis=0)]
        else:
            about["missing"] = calibration.missing[level]
        if summary:
            about |= {f"raw_{word}": summary.scores[f"{word}_{level:g}"] for word in ("coverage", "width")}
        found[f"{level:g}"] = about
    return found
