"""Scores of a forecast, in the series' own units."""

import math
from collections.abc import Mapping

import numpy as np

from unroll.data.series import FloatArray, is_constant

EXACT = 1e-6  # of the standard deviation: a baseline with so small an error is exact
ROUNDING = 8 * float(np.finfo(np.float64).eps)  # of the largest number: what is left of an error of 0

Scores = dict[str, float | None]
"""By metric name; None where a metric is undefined, so that files never hold NaN."""

METRICS = ("mae", "rmse", "r2", "mase")


def naive_error(train: FloatArray, season: int) -> float:
    """The scale of MASE: the mean absolute error, in the training segment, of repeating the last season.

    Args:
        train: (n,) the target in the training segment.
        season: rows; 1 where the series has none.

    Returns:
        0 where the last season is repeated to rounding: a ratio to what is left would mean nothing.

    Source:
        Hyndman and Koehler (2006), Another look at measures of forecast accuracy, section 3.
    """
    if len(train) <= season:
        season = 1
    steps = train[season:] - train[:-season]
    error = float(np.abs(steps, out=steps).mean())
    return error if error > max(1e-12 * float(train.std()), ROUNDING * float(np.abs(train).max())) else 0.0


def scores(truth: FloatArray, forecast: FloatArray, scale: float) -> Scores:
    """MAE, RMSE, R2 and MASE over all windows and steps together.

    Args:
        truth, forecast: (n, H) in the series' units.
        scale: from `naive_error`.

    Returns:
        mae and rmse in the series' units; r2 (None where the truth is constant) and mase (None where the
        scale is 0) as ratios.
    """
    error = forecast - truth
    mae, squared = float(np.abs(error).mean()), float(np.square(error).mean())
    spread = 0.0 if is_constant(truth) else float(truth.var())
    return {
        "mae": mae,
        "rmse": math.sqrt(squared),
        "r2": 1 - squared / spread if spread > 0 else None,
        "mase": mae / scale if scale > 0 else None,
    }


def best_by(metric: str, table: Mapping[str, Scores]) -> str:
    """The name with the lowest error."""
    return min(table, key=lambda name: table[name][metric] or 0.0)


def skill(error: float | None, reference: float | None, truth: FloatArray) -> float | None:
    """1 - error / reference: how much of the best baseline's error the model removes; negative where it adds.

    Args:
        error, reference: RMSE of the model and of the best baseline.
        truth: (n, H) in the series' units.

    Returns:
        None where the baseline is exact to rounding, and a ratio to it would mean nothing.
    """
    least = max(EXACT * float(truth.std()), ROUNDING * float(np.abs(truth).max()))
    if error is None or reference is None or reference <= least:
        return None
    return 1 - error / reference
