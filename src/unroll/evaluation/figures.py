"""Figures of a run, fit for an appendix."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from unroll.data.files import shown
from unroll.data.module import WindowDataModule
from unroll.data.series import FloatArray, Series
from unroll.evaluation.evaluate import Evaluation
from unroll.evaluation.free_run import FreeRun
from unroll.evaluation.lines import band, called, joined, joined_band, shade, thin, tiles_of
from unroll.evaluation.report import show
from unroll.evaluation.style import BLACK, BLUE, COLOURS, GREY, ORANGE, drawing, legend, plain_text

MOST_TARGETS = 300  # of the forecast figure; more could not be told apart


def draw_series(datamodule: WindowDataModule, *, subtitle: str) -> Figure:
    """The series with its segments, and where the forecast starts.

    Args:
        datamodule: after setup.
        subtitle: the config's essentials.
    """
    series, segments = datamodule.series, datamodule.segments
    with drawing(f"{plain_text(series.title)}: the series and its segments", subtitle, 2.8) as (figure, axes):
        axes.plot(*thin(series.index, known_target(datamodule)), color=BLACK, linewidth=0.8)
        for name, segment in segments._asdict().items():
            if len(segment):
                end = min(segment.stop, len(series.index) - 1)  # the last segment ends with the last row
                axes.axvspan(
                    _x(series.index[segment.start]), _x(series.index[end]), color=COLOURS[name], alpha=0.10, lw=0
                )
                middle = _x(series.index[(segment.start + end) // 2])
                side = "center" if len(segment) > 0.05 * len(series.index) else "right"  # inside the axes
                middle = middle if side == "center" else _x(series.index[end])
                place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": side, "va": "top"}
                axes.text(middle, 0.99, f"{name}\n{len(segment)}", fontsize=7.5, color=COLOURS[name], **place)
        if len(segments.test):
            _mark_start(axes, series.index[segments.test.start])
        axes.margins(x=0.01)
        axes.set_ylim(top=axes.get_ylim()[1] + 0.12 * np.ptp(axes.get_ylim()))  # room for the names
        return _finish(figure, axes, series)


def draw_forecast(datamodule: WindowDataModule, evaluation: Evaluation, *, label: str, subtitle: str) -> Figure:
    """The segment's truth with what came before it, the model's forecast and the best baseline's.

    With H > 1, forecasts from every H-th row are joined, so that each row is forecast once.

    Args:
        datamodule: after setup.
        evaluation: of the segment to draw.
        label: what to call the model.
        subtitle: the config's essentials.
    """
    series, horizon, origins = datamodule.series, datamodule.horizon, evaluation.origins
    tiles = tiles_of(origins, horizon)
    most = max(1, MOST_TARGETS // horizon)
    shown = np.array(tiles[-most:])
    rows = origins[shown][:, None] + np.arange(horizon)
    title = f"{plain_text(series.title)}: {evaluation.segment} forecast, {ahead(horizon)}"
    if len(tiles) > most:
        title += f", last {rows.size} of {len(tiles) * horizon} targets"
    with drawing(title, subtitle, 3.0) as (figure, axes):
        best = evaluation.best_baseline
        begin = getattr(datamodule.segments, evaluation.segment).start
        whole = len(tiles) <= most and begin > 0
        first = max(0, rows[0, 0] - max(20, rows.size // 4)) if whole else rows[0, 0]  # what came before
        span = slice(first, rows[-1, -1] + 1)
        axes.plot(
            series.index[span], known_target(datamodule)[span], color=BLACK, marker=".", markersize=3, label="truth"
        )
        ends = evaluation.intervals.get(evaluation.main, {}).get(80.0)
        if ends:
            pair = np.stack([end[shown] for end in ends])
            shade(axes, *joined_band(series.index, rows, pair), level=80)
        if evaluation.members:
            members = evaluation.members["best"].forecasts
            drawn, alpha = joined_band(series.index, rows, members[:, shown]), 0.6 if ends else 0.25
            band(axes, *drawn, replicas=len(members), alpha=alpha)
        for name, made, colour in (
            (best, evaluation.baselines[best], ORANGE),
            (called(label, evaluation.members), evaluation.models[evaluation.main], BLUE),
        ):
            x, y = joined(series.index, rows, made[shown])
            style = {"linestyle": "--", "linewidth": 0.9} if colour == ORANGE else {}
            style |= {"marker": ".", "markersize": 2}  # a forecast between two gaps is no line
            if rows.size <= 20:  # a line of so few points hides them
                style["marker"] = "x" if colour == ORANGE else "o"
                style["markersize"] = 4
            score = evaluation.scores[evaluation.main if colour == BLUE else best]["rmse"]
            axes.plot(x, y, color=colour, label=f"{name}, RMSE {show(score)}", **style)  # type: ignore[arg-type]
        if whole:
            _mark_start(axes, series.index[begin])
        axes.margins(x=0.01)
        return _finish(figure, axes, series)


def draw_overlay(
    datamodule: WindowDataModule, evaluations: Sequence[Evaluation], *, label: str, subtitle: str
) -> Figure:
    """The whole series, and the model's forecasts of several segments over it.

    Args:
        datamodule: after setup.
        evaluations: of the training segment and of others.
        label: what to call the model.
        subtitle: the config's essentials.
    """
    series, horizon = datamodule.series, datamodule.horizon
    segments = " and ".join(found.segment for found in evaluations)
    title = f"{plain_text(series.title)}: {segments} forecasts, {ahead(horizon)}"
    with drawing(title, subtitle, 3.0) as (figure, axes):
        axes.plot(*thin(series.index, known_target(datamodule)), color=BLACK, linewidth=0.8, label="series")
        for found in evaluations:
            tiles = np.array(tiles_of(found.origins, horizon))
            rows = found.origins[tiles][:, None] + np.arange(horizon)
            colour = COLOURS[found.segment]
            if found.members:
                members = found.members["best"].forecasts
                drawn = joined_band(series.index, rows, members[:, tiles])
                band(axes, *drawn, replicas=len(members), colour=colour, about=f", {found.segment}")
            x, y = joined(series.index, rows, found.models[found.main][tiles])
            score, name = show(found.scores[found.main]["rmse"] or 0.0), called(label, found.members)
            axes.plot(*thin(x, y), color=colour, label=f"{name}, {found.segment}, RMSE {score}")
            begin = getattr(datamodule.segments, found.segment).start
            if begin:
                _mark_start(axes, series.index[begin])
        axes.margins(x=0.01)
        return _finish(figure, axes, series, columns=2 if evaluations[0].members else 3)


def draw_free_run(series: Series, run: FreeRun, *, label: str, subtitle: str) -> Figure:
    """The history, the truth after it where it is known, the model's free run and the best baseline's.

    Args:
        series: for its name and unit.
        run: to draw.
        label: what to call the model.
        subtitle: the config's essentials.
    """
    course = run.course
    before, after = course.index[: course.window_size + 1], course.index[course.window_size :]
    many = f"{course.steps} steps" if course.steps > 1 else "1 step"
    title = f"{plain_text(series.title)}: free run of {many}, each reading the forecasts before it"
    marker = "." if course.steps <= 20 else ""  # a line of so few points hides them
    with drawing(title, subtitle, 3.0) as (figure, axes):
        axes.plot(before, course.rows[: len(before), 0], color=GREY, label="history")
        axes.plot(after, course.truth, color=BLACK, marker=marker, label="truth")
        errors = {name: run.scores[name]["rmse"] for name in run.baselines}
        known = {name: error for name, error in errors.items() if error is not None}
        best = min(known or {"persistence": 0.0}, key=lambda name: known.get(name, 0.0))
        for level, (low, high) in sorted(run.bands.items(), reverse=True):
            shade(axes, after, low, high, level=level, about=f", {run.paths} paths")
        if run.members:
            members = run.members["best"]
            lowest, highest = members.min(axis=0), members.max(axis=0)
            band(axes, after, lowest, highest, replicas=len(members), alpha=0.6 if run.bands else 0.25)
        for name, made, colour in (
            (best, run.baselines[best], ORANGE),
            (called(label, run.members), run.models[run.main], BLUE),
        ):
            score = run.scores[run.main if colour == BLUE else best]["rmse"]
            words = f"{name}, RMSE {show(score)}" if score is not None else name
            style = "--" if colour == ORANGE else "-"
            axes.plot(after, made, color=colour, linestyle=style, marker=marker, label=words)
        _mark_start(axes, after[0])
        axes.margins(x=0.01)
        return _finish(figure, axes, series, columns=2 if run.bands and run.members else 3)


def draw_losses(
    history: Sequence[dict[str, Any]],
    best_epoch: int,
    *,
    loss: str,
    title: str,
    subtitle: str,
    replicas: Sequence[Sequence[dict[str, Any]]] = (),
) -> Figure:
    """Training and validation loss by epoch, on a log scale where all are positive; of each replica too, as thin lines.

    Args:
        history: one row an epoch with `epoch`, `train_loss` and, where there is a validation part, `val_loss`.
        best_epoch: marked; its weights are the ones evaluated.
        loss: its name.
        title: what was trained.
        subtitle: the config's essentials.
        replicas: the history of each, where there are several; `history` is their mean then.
    """
    several = len(replicas) > 1
    with drawing(f"{plain_text(title)}: loss by epoch", subtitle, 2.8) as (figure, axes):
        marker = "." if len(history) < 20 else ""
        for part, colour, name in (("train", BLUE, "train"), ("val", ORANGE, "validation")):
            key = f"{part}_loss"
            for number, rows in enumerate([*(replicas if several else ()), history]):
                known = [row for row in rows if row[key] is not None]  # not every epoch need be validated
                one = number < len(replicas) and several
                style: dict[str, Any] = {"label": f"{name}, mean of {len(replicas)} seeds" if several else name}
                style |= {"linewidth": 1.8} if several else {"marker": marker}
                if one:
                    style = {"linewidth": 0.5, "alpha": min(0.5, 3 / len(replicas))}
                if known:
                    axes.plot([row["epoch"] for row in known], [row[key] for row in known], color=colour, **style)
        name = "best" if any(row["val_loss"] is not None for row in history) else "last"
        kind = f"median {name}" if several else name
        axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"{kind} epoch, {best_epoch}")
        low, high = axes.get_ylim()
        values = [row[key] for rows in (history, *replicas) for row in rows for key in ("train_loss", "val_loss")]
        signed = any(value is not None and value <= 0 for value in values)  # as log-likelihoods are
        flat = signed or (low > 0 and high < 1.2 * low)  # a log scale would have no number there
        axes.set_yscale("linear" if flat else "log")
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{loss} loss, scaled units")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if flat:
            return legend(figure, axes)
        low, high = axes.get_ylim()
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        if high / low < 100:  # less than two decades need numbers between
            digits = "2357" if high / low < 10 else "25"
            axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in digits else "")
        else:
            axes.yaxis.set_minor_formatter(NullFormatter())
        return legend(figure, axes)


def draw_runs(runs: Sequence[tuple[str, WindowDataModule, Evaluation]]) -> Figure:
    """The forecasts of several runs over the truth of each; runs of one series share a panel.

    Args:
        runs: name, data module and evaluation of each.
    """
    panels: dict[bytes, list[tuple[str, WindowDataModule, Evaluation]]] = {}
    for entry in runs:
        panels.setdefault(entry[1].series.target.tobytes(), []).append(entry)
    subtitle = f"{len(runs)} runs"
    with drawing("Forecasts of several runs", subtitle, 0.6 + 2.6 * len(panels), panels=len(panels)) as (figure, axes):
        for place, entries in zip(figure.axes, panels.values(), strict=True):
            series = entries[0][1].series
            rows = np.unique(np.concatenate([found.origins for _, _, found in entries]))[-MOST_TARGETS:]
            truth = known_target(entries[0][1])[rows]
            place.plot(
                series.index[rows],
                truth,
                color=BLACK,
                marker=".",
                markersize=3,
                label=f"truth, {plain_text(series.title)}",
            )
            for name, module, found in entries:
                tiles = np.array(tiles_of(found.origins, module.horizon))
                tiles = tiles[found.origins[tiles] >= rows[0]]
                targets = found.origins[tiles][:, None] + np.arange(module.horizon)
                x, y = joined(series.index, targets, found.models[found.main][tiles])
                score = show(found.scores[found.main]["rmse"] or 0.0)
                place.plot(x, y, linewidth=0.9, label=f"{called(plain_text(name), found.members)}, RMSE {score}")
            label_axes(place, series)
        del axes
        return legend(figure, *figure.axes, columns=1)


def draw_future(
    datamodule: WindowDataModule, table: pd.DataFrame, levels: Sequence[float], *, label: str, subtitle: str
) -> Figure:
    """The end of the series and the forecast after it, with its intervals.

    Args:
        datamodule: after setup.
        table: from LoadedRun.forecast.
        levels: of the intervals, in percent.
        label: what to call the model.
        subtitle: the config's essentials.
    """
    series, steps = datamodule.series, len(table)
    begin = max(0, len(series.values) - max(20, 3 * steps, 2 * datamodule.window_size))
    many = f"{steps} steps" if steps > 1 else "1 step"
    with drawing(f"{plain_text(series.title)}: forecast of {many} past the end", subtitle, 3.0) as (figure, axes):
        axes.plot(*thin(series.index[begin:], known_target(datamodule)[begin:]), color=BLACK, label="series")
        marker = "." if steps <= 60 else ""
        for level in sorted(levels, reverse=True):
            shade(axes, table.index, table[f"low_{level:g}"], table[f"high_{level:g}"], level=level)
        if "lowest" in table and levels:  # two shades on each other would say nothing
            words = "lowest and highest of its seeds"
            for name in ("lowest", "highest"):  # a label that begins with _ is not in the legend
                style: dict[str, Any] = {"linestyle": ":", "linewidth": 0.8}
                axes.plot(table.index, table[name], color=BLUE, label=words if name == "lowest" else "_", **style)
        elif "lowest" in table:
            words = "its seeds, lowest to highest"
            axes.fill_between(
                table.index, table["lowest"], table["highest"], color=BLUE, alpha=0.25, linewidth=0, label=words
            )
        axes.plot(table.index, table["forecast"], color=BLUE, marker=marker, label=label)
        axes.margins(x=0.01)
        return _finish(figure, axes, series)


def ahead(horizon: int) -> str:
    """A horizon in words."""
    return "1 step ahead" if horizon == 1 else f"{horizon} steps ahead"


def _mark_start(axes: Axes, start: Any) -> None:
    axes.axvline(_x(start), color=GREY, linestyle=":", label=f"forecast start, {_text(start)}")


def _x(label: Any) -> Any:
    """A place on the x axis, in what matplotlib takes."""
    return label.to_pydatetime() if isinstance(label, pd.Timestamp) else label


def _text(label: Any) -> str:
    return f"{label:g}" if isinstance(label, float) else str(label).removesuffix(" 00:00:00")


def known_target(datamodule: WindowDataModule) -> FloatArray:
    """(N,) the target, NaN where a value was missing: what was filled in is no truth to draw."""
    target = datamodule.series.target
    return np.where(datamodule.filled, np.nan, target) if datamodule.filled.any() else target


def _finish(figure: Figure, axes: Axes, series: Series, *, columns: int = 3) -> Figure:
    """Labelled axes, and the legend below."""
    label_axes(axes, series)
    return legend(figure, axes, columns=columns)


def label_axes(axes: Axes, series: Series) -> None:
    """Labels with units, plain numbers on the axis, dates as dates."""
    low, high = axes.get_ylim()
    largest = max(abs(low), abs(high))
    exponent = 3 * int(np.floor(np.log10(largest) / 3)) if largest > 0 else 0
    unit, name = plain_text(series.unit), plain_text(shown(series.columns[0]))
    if high - low < 1e-3 * largest:  # small changes on a large level: matplotlib writes the level apart
        axes.yaxis.get_offset_text().set_x(-0.08)
    elif exponent >= 6 or exponent <= -6:  # large and small numbers go into the label, in steps of a thousand
        unit = f"$10^{{{exponent}}}$ {unit}".strip()
        axes.yaxis.set_major_formatter(lambda value, _: f"{value / 10.0**exponent:g}")
    elif exponent == 3:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set_ylabel(f"{name} [{unit}]" if unit else name)
    axes.set_xlabel(plain_text(shown(str(series.index.name or "row"))))
    if isinstance(series.index, pd.DatetimeIndex):
        locator = AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
