"""The figures: ratios of the works, and windows a second along the curves."""

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from fits.measure import Measured
from fits.report import AXES, BOUNDS, Curves, windows_per_second
from fits.summary import Spread, rows, verdict
from fits.works import CONTENDERS, CURVE_STEPS, MIDDLE
from unroll.evaluation.style import BLACK, BLUE, GREEN, GREY, ORANGE, STYLE

COLOURS = {"unroll": BLUE, "loop": ORANGE, "lightning": GREEN, "darts": "#CC79A7", "neuralforecast": "#56B4E9"}
ELSEWHERE = (
    f"{MIDDLE.cell}, and where a panel's axis\nsays nothing else: window {MIDDLE.window_size},\n"
    f"batch {MIDDLE.batch_size}, hidden size {MIDDLE.hidden_size},\none replica, {MIDDLE.batches} batches an epoch.\n"
    f"Fits of about {CURVE_STEPS} steps."
)
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
TITLES = {
    "speed": "Seeds a second: unroll's rate as a multiple of each other's",
    "seconds": "One seed: the seconds of each as a multiple of the plain loop's",
}


def draw_works(works: Sequence[Measured], subtitle: str) -> Figure:
    """The ratio of each contender, with its range and what is demanded: a panel for speed, a panel for seconds.

    Args:
        works: that were measured.
        subtitle: where and how often.
    """
    kinds = [kind for kind in TITLES if any(measured.work.compare == kind for measured in works)]
    counts = {
        kind: sum(len(lines(measured)) + 1 for measured in works if measured.work.compare == kind) for kind in kinds
    }
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(7.2, 1.0 + 0.19 * sum(counts.values()) + 0.6 * len(kinds)))
        panels = figure.subplots(len(kinds), squeeze=False, height_ratios=[counts[kind] + 1.5 for kind in kinds])
        figure.suptitle("Benchmark of whole fits on one thread of a CPU", x=0.01, ha="left", fontweight="bold")
        figure.supxlabel(subtitle, fontsize=7.5, color=GREY, x=0.01, ha="left")
        for kind, axes in zip(kinds, panels[:, 0], strict=True):
            _draw_ratios(axes, [measured for measured in works if measured.work.compare == kind])
            axes.set_title(TITLES[kind], loc="left")
        return figure


def lines(measured: Measured) -> list[tuple[str, tuple[float, ...], float | None]]:
    """Contender, ratios and demand, of those that have a ratio."""
    return [(row.contender, row.ratios, row.demand) for row in rows(measured.work, measured.fits) if row.ratios]


def _draw_ratios(axes: Axes, works: Sequence[Measured]) -> None:
    at, labels, least, greatest = 0, {}, 1.0, 1.0
    for measured in works:
        at_least = measured.work.compare == "speed"
        labels[at] = measured.work.name
        for name, ratios, demand in lines(measured):
            at += 1
            labels[at] = CONTENDERS[name].title
            ratio = Spread.of(ratios)
            axes.plot([ratio.low, ratio.high], [at, at], color=COLOURS[name], linewidth=2, solid_capstyle="round")
            axes.plot(ratio.median, at, "o", color=COLOURS[name], markersize=5)
            right = max(ratio.high, demand or 0)
            least, greatest = min(least, ratio.low), max(greatest, right)
            if demand:
                axes.plot(demand, at, marker=">" if at_least else "<", color=BLACK, markersize=6, fillstyle="none")
            shown = f"{ratio.median:.2f}"
            if demand:
                shown += f"   {BOUNDS[measured.work.compare]} {demand:g}: {verdict(ratios, demand, at_least=at_least)}"
            axes.text(1.01, at, shown, transform=axes.get_yaxis_transform(), va="center", fontsize=7.5, color=GREY)
        at += 1
    axes.axvline(1.0, color=GREY, linewidth=0.8, linestyle="--")
    axes.set_yticks(list(labels), list(labels.values()))
    for tick, label in zip(axes.get_yticklabels(), labels.values(), strict=True):
        if label in {measured.work.name for measured in works}:
            tick.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_ylim(at - 0.5, -0.7)
    axes.set_xscale("log")
    axes.set_xlim(least / 1.3, greatest * 1.3)
    axes.set_xticks([tick for tick in TICKS if least / 1.3 <= tick <= greatest * 1.3], minor=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def draw_curves(curves: Curves, subtitle: str) -> Figure:
    """Windows a second of unroll and of the plain loop, a panel an axis; bands reach from the least to the greatest.

    Args:
        curves: that were measured.
        subtitle: where and how often.
    """
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(7.2, 5.2))
        panels = list(figure.subplots(2, 3).flat)
        figure.suptitle("Windows a second in whole fits on one thread of a CPU", x=0.01, ha="left", fontweight="bold")
        figure.supxlabel(subtitle, fontsize=7.5, color=GREY, x=0.01, ha="left")
        for axes, (axis, places) in zip(panels, curves.items(), strict=False):
            for name in ("unroll", "loop"):
                rates = {
                    value: windows_per_second(measured)[name]
                    for value, measured in places.items()
                    if name in measured.fits
                }
                values = list(rates)
                axes.plot(
                    values,
                    [rate.median for rate in rates.values()],
                    "o-",
                    color=COLOURS[name],
                    markersize=3.5,
                    label=CONTENDERS[name].title,
                )
                axes.fill_between(
                    values,
                    [rate.low for rate in rates.values()],
                    [rate.high for rate in rates.values()],
                    color=COLOURS[name],
                    alpha=0.2,
                    linewidth=0,
                )
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_title(AXES[axis], loc="left")
            shown = list(places) if axis != "points" else list(places)[::2]
            axes.set_xticks(shown, [_short(value) for value in shown])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
            axes.yaxis.set_minor_locator(NullLocator())
        last = panels[len(curves)]
        last.axis("off")
        last.legend(*panels[0].get_legend_handles_labels(), loc="upper left")
        last.text(0.05, 0.6, ELSEWHERE, transform=last.transAxes, va="top", fontsize=7.5, color=GREY)
        return figure


def _short(value: float) -> str:
    """1,000,000 as 1M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
