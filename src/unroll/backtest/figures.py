"""The figure of a backtest: all forecasts beside the truth, and the errors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from unroll.backtest.forecasts import Forecasts
from unroll.data.series import Series
from unroll.evaluation.figures import label_axes
from unroll.evaluation.lines import joined, thin, tiles_of
from unroll.evaluation.report import show
from unroll.evaluation.style import BLACK, BLUE, GREEN, GREY, ORANGE, drawing, legend, plain_text

MOST_FORECASTS = 12  # in the lower panel, the best ones
COLOURS = (ORANGE, GREEN, GREY, "#CC79A7", "#E69F00", "#56B4E9")  # of Okabe and Ito


def draw_backtest(
    series: Series, found: Forecasts, values: Mapping[str, Any], labels: Mapping[str, str], subtitle: str
) -> Figure:
    """Above, truth and forecasts over all origins (those that lie end to end, where H > 1); below, RMSE.

    Args:
        series: with NaN where values are missing.
        found: of all folds together.
        values: what backtest.json says.
        labels: what to call each model.
        subtitle: the config's essentials.
    """
    horizon = found.truth.shape[1]
    with drawing(plain_text(values["title"]), subtitle, 6.0, panels=2) as (figure, axes):
        _forecasts(axes, series, found, values, labels)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.25 * (high - low))  # for the legend, which must hide no forecast
        label_axes(axes, series)
        axes.set_xlabel("")
        axes.legend(fontsize=7.5, ncols=2, loc="upper center")
        lower = figure.axes[1]
        if horizon > 1:
            _by_step(lower, values, labels)
            return legend(figure, lower, columns=2)
        _dots(lower, values, labels)
        return figure


def _forecasts(
    axes: Axes, series: Series, found: Forecasts, values: Mapping[str, Any], labels: Mapping[str, str]
) -> None:
    """Truth, model with its intervals, best baseline; where each training begins."""
    horizon = found.truth.shape[1]
    tiles = np.array(tiles_of(found.origins, horizon))
    rows = found.origins[tiles][:, None] + np.arange(horizon)
    span = slice(int(rows[0, 0]), int(rows[-1, -1]) + 1)
    axes.plot(*thin(series.index[span], series.target[span]), color=BLACK, marker=".", markersize=2.5, label="truth")
    intervals = found.intervals.get(found.main, {})
    if intervals:
        level = min(intervals)  # wider ones hide the series
        x, low = joined(series.index, rows, intervals[level][0][tiles])
        _, high = joined(series.index, rows, intervals[level][1][tiles])
        axes.fill_between(x, low, high, color=BLUE, alpha=0.15, linewidth=0, label=f"{level:g} % interval")
    best = values["best_baseline"]
    for name, made, colour, style in (
        (best, found.baselines[best], ORANGE, "--"),
        (labels[found.main], found.models[found.main], BLUE, "-"),
    ):
        axes.plot(*joined(series.index, rows, made[tiles]), color=colour, linestyle=style, label=plain_text(name))
    begins = found.origins[np.flatnonzero(np.diff(found.folds, prepend=found.folds[0] - 1))]
    for begin in begins if len(begins) > 1 else ():
        axes.axvline(series.index[begin], color=GREY, linewidth=0.6, linestyle=":")
    axes.margins(x=0.01)


def _by_step(axes: Axes, values: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    """RMSE by step ahead, the model and the best baselines."""
    table = values["by_step"]
    steps = np.arange(1, values["horizon"] + 1)
    axes.plot(steps, table[values["main"]]["rmse"], color=BLUE, marker=".", label=labels[values["main"]], zorder=3)
    ranked = sorted(values["baselines"], key=lambda name: values["baselines"][name]["rmse"])[:MOST_FORECASTS]
    for number, name in enumerate(ranked):
        style = ("-", "--")[number // len(COLOURS)]
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(steps, table[name]["rmse"], color=colour, linestyle=style, label=name)
    axes.set_xlabel("step ahead")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("RMSE")
    axes.set_ylim(bottom=0)


def _dots(axes: Axes, values: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    """RMSE of every forecast, the best one first."""
    rows = [(labels.get(name, name), row["rmse"], BLUE) for name, row in values["models"].items()]
    rows += [(name, row["rmse"], GREY) for name, row in values["baselines"].items()]
    rows = sorted(rows, key=lambda row: row[1])[:MOST_FORECASTS]
    middle = (rows[0][1] + rows[-1][1]) / 2
    for place, (name, error, colour) in enumerate(rows):
        axes.plot([error], [place], color=colour, marker="o")
        side, gap = ("left", 6) if error <= middle else ("right", -6)  # names beside the axes would narrow both panels
        words = f"{plain_text(name)}  {show(error)}"
        axes.annotate(words, (error, place), (gap, -3), textcoords="offset points", fontsize=7.5, ha=side)
    axes.set_yticks([])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.set_xlabel("RMSE")
