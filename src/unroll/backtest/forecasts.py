"""The forecasts of all folds: of the model and of every baseline, on the same targets."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unroll.backtest.folds import Fold
from unroll.data.module import WindowDataModule
from unroll.data.series import FloatArray
from unroll.evaluation.classical import available, classical
from unroll.evaluation.evaluate import Evaluation, Weights, evaluate, fit_reference
from unroll.load import LoadedRun, load_run
from unroll.targets import build

SEGMENT = "backtest"
LEVELS = (80, 95)  # of intervals, in percent
REFITTED = "linear autoregression"  # baselines that need no validation: fitted on all rows before the fold too
ALL_ROWS = " (train + validation)"

Ends = tuple[FloatArray, FloatArray]
"""(n, H) lower and upper ends of intervals."""


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
        intervals: of the first model, by level in percent.
        notes: what is to be said of them.
    """

    origins: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int64]
    truth: FloatArray
    models: Mapping[str, FloatArray]
    members: FloatArray
    baselines: Mapping[str, FloatArray]
    intervals: Mapping[int, Ends]
    notes: Sequence[str] = field(default=())

    @property
    def main(self) -> str:
        """The model that stands for the run."""
        return next(iter(self.models))


def forecast_fold(fold: Fold, path: Path) -> Forecasts:
    """Forecast all origins of a fold with its run and with every baseline.

    Args:
        fold: with its config.
        path: of its complete run.

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
    ends = _intervals(loaded, weights, found)
    return Forecasts(fold.origins, numbers, found.truth, found.models, members, others, ends, notes)


def _refitted(fold: Fold, trained: WindowDataModule) -> dict[str, FloatArray]:
    """The baselines that are fitted, fitted on all rows before the fold: they stop at nothing and choose nothing."""
    data = fold.config["data"] | {"validation": 0}
    datamodule = build(data, WindowDataModule, "data", shuffle_seed=0)
    datamodule.loaded = trained.loaded
    datamodule.setup()
    datamodule.choose(SEGMENT, fold.origins)
    made = fit_reference(datamodule).forecasts(datamodule, SEGMENT)
    return {f"{name}{ALL_ROWS}": values for name, values in made.items() if name.startswith(REFITTED)}


def _intervals(loaded: LoadedRun, weights: Weights, found: Evaluation) -> dict[int, Ends]:
    """Split-conformal intervals of the first model, from the fold's own validation segment, step by step.

    Source:
        Lei et al. (2018), Distribution-free predictive inference for regression, algorithm 2.
    """
    if not len(loaded.datamodule.origins("validation")):
        return {}
    seen = evaluate(loaded.forecaster, loaded.datamodule, "validation", weights, loaded.reference)
    errors = np.sort(np.abs(seen.models[seen.main] - seen.truth), axis=0)
    made, ends = found.models[found.main], {}
    for level in LEVELS:
        rank = math.ceil((len(errors) + 1) * level / 100)
        if rank <= len(errors):
            half = errors[rank - 1]
            ends[level] = (made - half, made + half)
    return ends


def together(parts: Sequence[Forecasts]) -> Forecasts:
    """The forecasts of all folds, in the order of time; what is missing in one of them is left away, and that said."""
    first, notes = parts[0], _told_once(parts)

    def joined(tables: Sequence[Mapping[str, FloatArray]]) -> dict[str, FloatArray]:
        partly = sorted({name for table in tables for name in table if not all(name in other for other in tables)})
        notes.extend(f"{name} is left away: it is not there in all folds" for name in partly)
        shared = [name for name in tables[0] if name not in partly]
        return {name: np.concatenate([table[name] for table in tables]) for name in shared}

    levels = [level for level in LEVELS if all(level in part.intervals for part in parts)]
    ends = {
        level: tuple(np.concatenate([part.intervals[level][end] for part in parts]) for end in (0, 1))
        for level in levels
    }
    notes += [f"no {level} % intervals: too few validation windows" for level in LEVELS if level not in levels]
    return replace(
        first,
        origins=np.concatenate([part.origins for part in parts]),
        folds=np.concatenate([part.folds for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
        models=joined([part.models for part in parts]),
        members=np.concatenate([part.members for part in parts], axis=1),
        baselines=joined([part.baselines for part in parts]),
        intervals={level: (low, high) for level, (low, high) in ends.items()},
        notes=notes,
    )


def _told_once(parts: Sequence[Forecasts]) -> list[str]:
    """What is to be said of the folds, with their numbers."""
    said: dict[str, list[str]] = {}
    for part in parts:
        for line in part.notes:
            said.setdefault(line, []).append(str(part.folds[0]))
    return [f"{line} (fold {', '.join(numbers)})" for line, numbers in said.items()]
