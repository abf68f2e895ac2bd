"""The forecasts of all folds: of the model and of every baseline, on the same targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unroll.backtest.folds import Fold
from unroll.data.module import WindowDataModule
from unroll.data.series import FloatArray
from unroll.evaluation.classical import available, classical
from unroll.evaluation.conformal import Ends, Known
from unroll.evaluation.evaluate import evaluate, fit_reference
from unroll.evaluation.made import rolling_intervals
from unroll.evaluation.metrics import METRICS, Scores
from unroll.evaluation.probabilistic import LEVELS
from unroll.load import load_run
from unroll.targets import build

SEGMENT = "backtest"
REFITTED = "linear autoregression"  # baselines that need no validation: fitted on all rows before the fold too
ROLLING = ", rolling"  # intervals that are calibrated anew at each origin
ALL_ROWS = " (train + validation)"


@dataclass(frozen=True)
class Forecasts:
    """Of one fold, or of several together. n origins, H steps, in the series' units.

    Args:
        origins: (n,) first target rows.
        folds: (n,) number of each origin's fold.
        truth: (n, H).
        models: (n, H) by name; the first one stands for the run.
        members: (K, n, H) of the replicas; K = 0 for a run without.
        baselines: (n, H) by name.
        intervals: by name of a model and level in percent, calibrated on each fold's validation segment; with ROLLING
            in the name, at each origin on the latest windows that are known there, of this fold and those before it.
        extra: scores of distributions, by name of a model: means over all origins and steps.
        notes: what is to be said of them.
    """

    origins: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int64]
    truth: FloatArray
    models: Mapping[str, FloatArray]
    members: FloatArray
    baselines: Mapping[str, FloatArray]
    intervals: Mapping[str, Mapping[float, Ends]]
    extra: Mapping[str, Scores]
    notes: Sequence[str] = field(default=())

    @property
    def main(self) -> str:
        """The model that stands for the run."""
        return next(iter(self.models))


def forecast_fold(fold: Fold, path: Path, history: dict[tuple[str, float], Known]) -> Forecasts:
    """Forecast all origins of a fold with its run and with every baseline.

    Args:
        fold: with its config.
        path: of its complete run.
        history: of the rolling intervals in the folds before it (see `rolling_intervals`).

    Raises:
        RunError: where the run is damaged.
    """
    loaded = load_run(path)
    datamodule, weights = loaded.datamodule, {"best": loaded.weights["best"]}
    datamodule.choose(SEGMENT, fold.origins)
    found = evaluate(loaded.forecaster, datamodule, SEGMENT, weights, loaded.reference)
    others, notes = dict(found.baselines), list[str]()
    if len(datamodule.segments.validation):
        others |= _refitted(fold, datamodule)
    if available():
        season = datamodule.seasonal_period
        made, said = classical(datamodule.series.target, fold.origins, datamodule.horizon, season)
        others |= made
        notes += said
    members = found.members["best"].forecasts if found.members else np.empty((0, *found.truth.shape))
    numbers = np.full(len(fold.origins), fold.number)
    extra = {
        name: {key: found.scores[name][key] for key in found.scores[name].keys() - {*METRICS}} for name in found.models
    }
    about = found.interval_scores.get(found.main, {})
    notes += [f"no {level} % intervals: {row['missing']}" for level, row in about.items() if "missing" in row]
    rolling = rolling_intervals(loaded.forecaster, datamodule, SEGMENT, weights, history)
    ends = found.intervals | {f"{name}{ROLLING}": levels for name, levels in rolling.items()}
    return Forecasts(fold.origins, numbers, found.truth, found.models, members, others, ends, extra, notes)


def _refitted(fold: Fold, trained: WindowDataModule) -> dict[str, FloatArray]:
    """The baselines that are fitted, fitted on all rows before the fold: they stop at nothing and choose nothing."""
    data = fold.config["data"] | {"validation": 0}
    datamodule = build(data, WindowDataModule, "data", shuffle_seed=0)
    datamodule.loaded = trained.loaded
    datamodule.setup()
    datamodule.choose(SEGMENT, fold.origins)
    made = fit_reference(datamodule).forecasts(datamodule, SEGMENT)
    return {f"{name}{ALL_ROWS}": values for name, values in made.items() if name.startswith(REFITTED)}


def together(parts: Sequence[Forecasts]) -> Forecasts:
    """The forecasts of all folds, in the order of time; what is missing in one of them is left away, and that said."""
    first, notes = parts[0], _told_once(parts)

    def joined(tables: Sequence[Mapping[str, FloatArray]]) -> dict[str, FloatArray]:
        partly = sorted({name for table in tables for name in table if not all(name in other for other in tables)})
        notes.extend(f"{name} is left away: it is not there in all folds" for name in partly)
        shared = [name for name in tables[0] if name not in partly]
        return {name: np.concatenate([table[name] for table in tables]) for name in shared}

    ends: dict[str, dict[float, Ends]] = {}
    for name in first.intervals:
        tables = [part.intervals.get(name, {}) for part in parts]
        for level in [level for level in LEVELS if all(level in table for table in tables)]:
            low, high = (np.concatenate([table[level][end] for table in tables]) for end in (0, 1))
            ends.setdefault(name, {})[level] = (low, high)
    return replace(
        first,
        origins=np.concatenate([part.origins for part in parts]),
        folds=np.concatenate([part.folds for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
        models=joined([part.models for part in parts]),
        members=np.concatenate([part.members for part in parts], axis=1),
        baselines=joined([part.baselines for part in parts]),
        intervals=ends,
        extra={name: _mean(parts, name) for name in first.models},
        notes=notes,
    )


def _mean(parts: Sequence[Forecasts], name: str) -> Scores:
    """Of the extra scores of one model, which are means over each fold's origins; None where a fold has none."""
    found: Scores = {}
    for key in parts[0].extra[name]:
        values = [part.extra[name][key] for part in parts]
        known = [value for value in values if value is not None]
        weights = [len(part.origins) for part in parts]
        found[key] = float(np.average(known, weights=weights)) if len(known) == len(values) else None
    return found


def _told_once(parts: Sequence[Forecasts]) -> list[str]:
    """What is to be said of the folds, with their numbers."""
    said: dict[str, list[str]] = {}
    for part in parts:
        for line in part.notes:
            said.setdefault(line, []).append(str(part.folds[0]))
    return [f"{line} (fold {', '.join(numbers)})" for line, numbers in said.items()]
