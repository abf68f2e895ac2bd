"""Lines and bands of forecasts, as figures draw them: end to end, thinned, from the lowest to the highest replica."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from unroll.data.series import FloatArray
from unroll.evaluation.style import BLUE

MOST_POINTS = 4000  # of a line; more are thinned to each bin's extremes


def called(label: str, members: Mapping[str, Any]) -> str:
    """What the line of a run is called."""
    return f"{label}, ensemble" if members else label


def thin(index: pd.Index, values: FloatArray) -> tuple[Any, FloatArray]:
    """A long line by the lowest and highest point of each bin: it looks the same, and draws at once."""
    if len(values) <= MOST_POINTS:
        return index, values
    edges = np.linspace(0, len(values), MOST_POINTS // 2 + 1).astype(int)
    kept = []
    for begin, end in itertools.pairwise(edges):  # bin by bin: no second copy of a series of millions
        part = values[begin:end]
        missing = np.isnan(part)
        low, high = np.where(missing, np.inf, part).argmin(), np.where(missing, -np.inf, part).argmax()
        kept += sorted((begin + low, begin + high))
    return index[kept], values[kept]


def tiles_of(origins: npt.NDArray[np.int64], horizon: int) -> list[int]:
    """Numbers of the windows whose targets lie end to end, so that each row is forecast once."""
    if horizon == 1:
        return list(range(len(origins)))
    tiles = [0]
    for number, origin in enumerate(origins):
        if origin >= origins[tiles[-1]] + horizon:
            tiles.append(number)
    return tiles


def joined(index: pd.Index, rows: npt.NDArray[np.int64], made: FloatArray) -> tuple[Any, FloatArray]:
    """Forecasts end to end, with a break after each where H > 1, and where rows are left out."""
    jumps = np.diff(rows[:, 0])
    breaks = np.append(jumps > jumps.min(), False) if rows.shape[1] == 1 and len(jumps) else np.ones(len(rows), bool)
    places = np.hstack([rows, rows[:, -1:]])
    ends = np.where(breaks, np.nan, made[:, -1])[:, None]  # the last point again, or a break
    return index[places.ravel()], np.hstack([made, ends]).ravel()


def joined_band(
    index: pd.Index, rows: npt.NDArray[np.int64], members: FloatArray
) -> tuple[Any, FloatArray, FloatArray]:
    """The lowest and the highest of several forecasts end to end, thinned; see `joined`.

    Args:
        index: of the series.
        rows: (n, H) that are forecast.
        members: (K, n, H).

    Returns:
        places on the x axis, and the two ends there.
    """
    x, low = joined(index, rows, members.min(axis=0))
    _, high = joined(index, rows, members.max(axis=0))
    if len(low) <= MOST_POINTS:
        return x, low, high
    edges = np.linspace(0, len(low), MOST_POINTS // 2, endpoint=False).astype(int)
    return x[edges], np.fmin.reduceat(low, edges), np.fmax.reduceat(high, edges)


def band(
    axes: Axes,
    x: Any,
    low: FloatArray,
    high: FloatArray,
    *,
    replicas: int,
    colour: str = BLUE,
    about: str = "",
    alpha: float = 0.25,
) -> None:
    """Shade from the lowest to the highest replica.

    Args:
        axes: to draw on.
        x: places on the x axis.
        low, high: the two ends there.
        replicas: how many.
        colour: of the shade.
        about: more for the legend.
        alpha: of the shade; more where it lies on that of an interval.
    """
    words = f"{replicas} seeds{about}, lowest to highest"
    axes.fill_between(x, low, high, color=colour, alpha=alpha, linewidth=0, label=words)


def shade(axes: Axes, x: Any, low: Any, high: Any, *, level: float, about: str = "") -> None:
    """Shade an interval.

    Args:
        axes: to draw on.
        x: places on the x axis.
        low, high: its ends there.
        level: in percent; up to 80 the shade is darker.
        about: more for the legend.
    """
    alpha = 0.12 + 0.12 * (level <= 80)
    axes.fill_between(x, low, high, color=BLUE, alpha=alpha, linewidth=0, label=f"{level:g} % interval{about}")
