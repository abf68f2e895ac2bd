"""Figures over seeds: what was published beside ours."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from unroll.evaluation.style import BLACK, BLUE, GREEN, GREY, ORANGE, drawing, legend
from unroll.reproduction.published import CINEMA_R2, TREND_EPOCHS, TREND_LOSSES
from unroll.reproduction.runs import Run
from unroll.reproduction.verdicts import Groups

COLOURS = {"rnn": ORANGE, "lstm": GREEN, "gru": BLUE}
FLOOR = 1e-4  # of an RMSE relative to persistence; what is below is exact for the eye


def comparison_figures(groups: Groups) -> dict[str, Figure]:
    """The figures that the experiments at hand allow, by file name."""
    figures: dict[str, Figure] = {}
    cinema = {model: groups[f"cinema_{model}"] for model in CINEMA_R2 if f"cinema_{model}" in groups}
    sine = {model: groups[f"sine_{model}"] for model in COLOURS if f"sine_{model}" in groups}
    if cinema:
        figures["cinema_r2"] = draw_cinema(cinema)
    if "trend_gru" in groups:
        figures["trend_loss"] = draw_trend(groups["trend_gru"])
    if sine:
        figures["sine_losses"] = draw_sine_losses(sine)
    if any(run.directory.free_run.exists() for runs in sine.values() for run in runs):
        figures["sine_free_runs"] = draw_sine_free_runs(sine)
    figures["relative_rmse"] = draw_relative(groups)
    return figures


def draw_trend(runs: Sequence[Run]) -> Figure:
    """Loss of the last batch by epoch: published, and the range of our seeds."""
    losses = _over_seeds([run.history["last_batch_loss"] for run in runs])
    with drawing("trend_gru: loss of the last batch", _seeds(runs), 3.0) as (figure, axes):
        _band(axes, losses, BLUE, "ours")
        axes.plot(TREND_EPOCHS, TREND_LOSSES, color=ORANGE, linestyle="", marker="D", label="published")
        axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("MSE")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        return legend(figure, axes)


def draw_cinema(groups: dict[str, Sequence[Run]]) -> Figure:
    """Test R2 of each model and seed, what was published, and the best of the simple baselines."""
    first = next(iter(groups.values()))
    title = f"{first[0].metrics['data']}: test R2 by model"
    other = ", other data" if first[0].metrics["kind"] == "simulated" else ""
    with drawing(title, "one dot a seed; a line is their mean", 3.2) as (figure, axes):
        for place, (model, runs) in enumerate(groups.items()):
            values = np.array([run.score("test", "r2") for run in runs], dtype=float)
            spots = place + np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else [place]
            label = {"label": "ours"} if place == 0 else {}
            axes.plot(spots, values, color=COLOURS[model], marker="o", linestyle="", alpha=0.8, **label)  # type: ignore[arg-type]
            axes.hlines(values.mean(), place - 0.22, place + 0.22, color=COLOURS[model], linewidth=2)
            published = {"label": f"published, one seed{other}"} if place == 0 else {}
            axes.plot([place + 0.3], [CINEMA_R2[model]], color=BLACK, marker="D", linestyle="", **published)  # type: ignore[arg-type]
        linear = first[0].baseline("linear autoregression", "r2")
        if linear is not None:
            axes.axhline(linear, color=GREY, linestyle="--", label="linear autoregression")
        axes.set_xticks(range(len(groups)), [model.upper() for model in groups])
        axes.set_xlim(-0.6, len(groups) - 0.4)
        axes.set_ylabel("R2 on the test segment")
        return legend(figure, axes)


def draw_sine_losses(groups: dict[str, Sequence[Run]]) -> Figure:
    """Training loss of the sine models in one figure."""
    with drawing("Sine: training loss by epoch", _seeds(*groups.values()), 3.0) as (figure, axes):
        for model, runs in groups.items():
            _band(axes, _over_seeds([run.history["train_loss"] for run in runs]), COLOURS[model], model.upper())
        axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("MSE")
        return legend(figure, axes)


def draw_sine_free_runs(groups: dict[str, Sequence[Run]]) -> Figure:
    """Free runs of the sine models in one figure."""
    with drawing("Sine: free runs, each step reading the forecasts before it", _seeds(*groups.values()), 3.2) as (
        figure,
        axes,
    ):
        truth: pd.Series | None = None
        for model, runs in groups.items():
            tables = [pd.read_csv(run.directory.free_run) for run in runs if run.directory.free_run.exists()]
            made = _over_seeds([table.set_index(table.columns[0])["forecast_best_epoch"] for table in tables])
            _band(axes, made, COLOURS[model], model.upper())
            truth = tables[0].set_index(tables[0].columns[0])["truth"]
        if truth is not None:
            axes.plot(truth.index, truth, color=BLACK, linestyle=":", linewidth=1.6, label="truth")
            axes.set_xlabel(str(truth.index.name))
        axes.set_ylabel("value")
        return legend(figure, axes)


def draw_relative(groups: Groups) -> Figure:
    """RMSE relative to persistence, of each run and of linear autoregression, on a log scale."""
    with drawing(
        "RMSE relative to persistence, on the same targets",
        "one dot a seed; left of the cross, the model wins",
        0.9 + 0.33 * len(groups),
    ) as (
        figure,
        axes,
    ):
        for place, runs in enumerate(groups.values()):
            values, linear = [], []
            for run in runs:
                ours, theirs = run.score(run.segment, "rmse"), run.baseline("linear autoregression", "rmse")
                base = run.baseline("persistence", "rmse")
                if ours is not None and theirs is not None and base:
                    values.append(max(ours / base, FLOOR))
                    linear.append(max(theirs / base, FLOOR))
            labels = {"label": "model"} if place == 0 else {}
            axes.plot(values, [place] * len(values), color=BLUE, marker="o", linestyle="", alpha=0.6, **labels)  # type: ignore[arg-type]
            labels = {"label": "linear autoregression (mean)"} if place == 0 else {}
            axes.plot([np.mean(linear)], [place], color=ORANGE, marker="x", markersize=8, linestyle="", **labels)  # type: ignore[arg-type]
        axes.axvline(1.0, color=GREY, linestyle=":", label="persistence")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value > FLOOR else f"≤ {FLOOR:g}")
        few = np.diff(np.log10(axes.get_xlim()))[0] < 2  # decades
        axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if few and f"{value:.0e}"[0] in "235" else "")
        axes.set_yticks(range(len(groups)), list(groups))
        axes.set_ylim(len(groups) - 0.5, -0.5)
        return legend(figure, axes)


def _seeds(*groups: Sequence[Run]) -> str:
    counts = sorted({len(runs) for runs in groups})
    many = " to ".join(map(str, [counts[0], *counts[1:][-1:]]))
    return f"{many} seed{'' if many == '1' else 's'}; a line is their mean, a band their range"


def _over_seeds(columns: Sequence[pd.Series]) -> pd.DataFrame:
    """Mean, minimum and maximum by epoch or step."""
    together = pd.concat(columns, axis=1)
    return pd.DataFrame({"mean": together.mean(axis=1), "low": together.min(axis=1), "high": together.max(axis=1)})


def _band(axes: Axes, found: pd.DataFrame, colour: str, label: str) -> None:
    axes.plot(found.index, found["mean"], color=colour, label=label)
    axes.fill_between(found.index, found["low"], found["high"], color=colour, alpha=0.2, linewidth=0)
