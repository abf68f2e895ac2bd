"""From finished runs to the report: forecast, score, print, write."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from rich.console import Console

from unroll.backtest.figures import draw_backtest
from unroll.backtest.folds import Fold, Plan
from unroll.backtest.forecasts import Forecasts, forecast_fold, together
from unroll.backtest.options import Options
from unroll.backtest.scores import labels, predictions_table, score, summary_table, verdicts
from unroll.backtest.tables import page, print_backtest
from unroll.cli import how_to_install
from unroll.config import plain
from unroll.data.module import WindowDataModule
from unroll.data.series import fill_missing
from unroll.errors import UnrollError
from unroll.evaluation.classical import available
from unroll.evaluation.conformal import Known
from unroll.evaluation.figures import ahead
from unroll.evaluation.metrics import naive_error
from unroll.evaluation.style import DPI
from unroll.progress import many
from unroll.results import essentials, model_name
from unroll.runs.files import replace_file, write_json, write_text
from unroll.targets import build

FILES = ("backtest.json", "backtest.csv", "predictions.csv", "backtest.md", "backtest.png")


@dataclass(frozen=True)
class About:
    """How the report came about.

    Args:
        command: the line that made it.
        options: what was asked for.
        failures: folds that ended without a run, in a line each.
    """

    command: str
    options: Options
    failures: Sequence[str]


def report(plan: Plan, runs: Mapping[Fold, Path], about: About, folder: Path, console: Console) -> list[str]:
    """Forecast with every run, score, print, write. Returns why folds could not be forecast, in a line each.

    Args:
        plan: all folds.
        runs: the complete ones.
        about: how they came about.
        folder: for the files.
        console: where to print.
    """
    parts: list[Forecasts] = []
    history: dict[tuple[str, float], Known] = {}
    broken: list[str] = []
    used: list[Fold] = []
    for fold in [fold for fold in plan.folds if fold in runs]:
        try:
            parts.append(forecast_fold(fold, runs[fold], history))
            used.append(fold)
        except UnrollError as error:
            broken.append(f"{fold.name}: {error}")
    if not parts:
        return broken
    found = together(parts)
    cfg = OmegaConf.create(used[0].config)
    scale, season = _scale(plan, used[0])
    horizon, replicas = found.truth.shape[1], cfg.get("replicas", 1)
    values = {
        "title": f"{plan.series.title}: backtest of {many(len(found.origins), 'origin')}, {ahead(horizon)}, "
        f"{many(len(used), 'training')}",
        "command": about.command,
        "about": _what(about.options, plan, found, season),
        "data": plan.series.title,
        "kind": plan.series.kind or "real",
        "unit": plan.series.unit,
        "model": model_name(cfg),
        "replicas": replicas,
        "horizon": horizon,
        "origins": len(found.origins),
        "rows": len(plan.series.values) - plan.first,
        "refit": about.options.refit,
        "step": about.options.step,
        "season": season,
        "mase_scale": scale,
        "folds": [_fold(fold, runs[fold], plan, folder) for fold in used],
        "failed": [*about.failures, *broken],
        "config": {key: value for key, value in plain(cfg).items() if key != "output_dir"},
        **score(found, scale, cfg.seed, about.options.step),
    }
    names = labels(values["model"], replicas)
    lines = [*verdicts(values, names[values["main"]]), *plan.notes, *found.notes]
    lines += [f"missing: {line}" for line in values["failed"]]
    if not available():
        lines.append(f"ETS and Theta are left away: they need {how_to_install('classical')}")
    values["notes"] = lines
    print_backtest(values, names, lines, console)
    write_json(folder / "backtest.json", values)
    summary, table = summary_table(values), predictions_table(found, plan.series.index, cfg.seed)
    replace_file(folder / "backtest.csv", lambda path: summary.to_csv(path, index=False))
    replace_file(folder / "predictions.csv", lambda path: table.to_csv(path, index=False))
    write_text(folder / "backtest.md", page(values, names, lines))
    figure = draw_backtest(plan.series, found, values, names, essentials(cfg))
    replace_file(folder / "backtest.png", functools.partial(figure.savefig, dpi=DPI))
    console.print(f"{folder}: {', '.join(FILES)}", soft_wrap=True, highlight=False)
    return broken


def _scale(plan: Plan, fold: Fold) -> tuple[float, int | None]:
    """The scale of MASE, the same for all folds: the seasonal naive error in the rows before the first origin."""
    datamodule = build(fold.config["data"], WindowDataModule, "data", shuffle_seed=0)
    filled, _ = fill_missing(plan.series, datamodule.missing, plan.first)
    suggested = plan.series.season
    season = datamodule.asked_period or (suggested if suggested and suggested < plan.first else None)
    return naive_error(filled.target[: plan.first].copy(), season or 1), season


def _what(options: Options, plan: Plan, found: Forecasts, season: int | None) -> str:
    """What was done, in a sentence or two."""
    index = plan.series.index
    first, last = plan.series.label(int(found.origins[0])), plan.series.label(int(found.origins[-1]))
    trained = f"trained again every {options.refit} rows" if options.refit else "trained once"
    every = "every row" if options.step == 1 else f"every {options.step} rows"
    scale = f"the naive error of season {season}" if season else "the naive error"
    return (
        f"Origins from {first} to {last}, {every}, of {len(index)} rows; the model was {trained}, each time on earlier "
        f"rows alone (the last part of these is its validation segment). All forecasts are of the same "
        f"{np.size(found.truth):,} targets. MASE: by {scale} in the {plan.first} rows before the first origin. "
        "Baselines with `train + validation` are fitted on all rows before a fold, others on its training segment; ETS "
        "is fitted on all rows before a fold and brought up to each origin, Theta is fitted at each origin."
    )


def _fold(fold: Fold, run: Path, plan: Plan, folder: Path) -> dict[str, Any]:
    label = plan.series.label
    return {
        "fold": fold.number,
        "first": label(int(fold.origins[0])),
        "last": label(int(fold.origins[-1])),
        "origins": len(fold.origins),
        "rows_before": int(fold.origins[0]),
        "run": str(run.relative_to(folder)),
    }
