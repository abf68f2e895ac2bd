"""A free run after training: many steps, each reading the forecasts before it, scored where the truth is known.

Of a head that makes distributions it is many paths, each reading its own draws: unroll.evaluation.paths.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from unroll.data.module import WindowDataModule
from unroll.data.series import LARGEST, FloatArray
from unroll.data.transforms import BEYOND, check_logarithms
from unroll.errors import ConfigError, RunError
from unroll.evaluation.baselines import LinearAutoregression
from unroll.evaluation.conformal import Ends
from unroll.evaluation.evaluate import forecast_column
from unroll.evaluation.made import Weights
from unroll.evaluation.metrics import Scores
from unroll.evaluation.paths import draw_paths, ends_of, middle, path_scores, paths_for
from unroll.evaluation.probabilistic import LEVELS
from unroll.evaluation.replicas import ENSEMBLE, mean_scores, spread, with_seeds
from unroll.models.forecaster import Forecaster
from unroll.models.heads.distribution import DistributionHead


@dataclass(frozen=True)
class Course:
    """What a free run reads and is compared with, in the series' units. W rows before, n steps, F columns.

    Args:
        rows: (W + n, F) history and truth; NaN where a target is not known.
        index: (W + n,) their labels.
        future_columns: the columns that are known ahead.
        segment: train | validation | test, where the first forecast lies.
    """

    rows: FloatArray
    index: pd.Index
    window_size: int
    future_columns: list[int]
    segment: str

    @property
    def steps(self) -> int:
        """How many rows are forecast."""
        return len(self.rows) - self.window_size

    @property
    def truth(self) -> FloatArray:
        """(n,) the target."""
        return self.rows[self.window_size :, 0]


@dataclass(frozen=True)
class FreeRun:
    """Forecasts of a course and their errors, in the series' units.

    Args:
        course: what was forecast.
        models, baselines: (n,) by name; with replicas, the ensemble of their best epochs is the one model.
        scores: rmse and mae of each; None where no truth is known.
        members: (K, n) the replicas, each reading its own forecasts, by name: best, last; empty for a run without.
        member_scores: K rows by name.
        bands: (n,) lower and upper ends of the central intervals of the main model's paths, by level in percent, not
            calibrated; empty where there are no paths.
        paths: how many.
        path_scores: what metrics.json says of them.
    """

    course: Course
    models: dict[str, FloatArray]
    baselines: dict[str, FloatArray]
    scores: dict[str, Scores]
    members: dict[str, FloatArray] = field(default_factory=dict)
    member_scores: dict[str, Sequence[Scores]] = field(default_factory=dict)
    bands: dict[float, Ends] = field(default_factory=dict)
    paths: int = 0
    path_scores: dict[str, Any] = field(default_factory=dict)

    @property
    def main(self) -> str:
        """The model that stands for the run: the best epoch, or the ensemble."""
        return next(iter(self.models))


def plan_free_run(datamodule: WindowDataModule, *, steps: int, start: Any = None, step: float | None = None) -> Course:
    """Find the rows of a free run. Everything that can be wrong with it is found here, before training.

    Args:
        datamodule: after setup.
        steps: n.
        start: label of the first row that is forecast; None: the first test row.
        step: from one t to the next, where the series is a formula; None: the series' own rows.

    Raises:
        ConfigError: where the rows are not there, or columns beside the target are not known ahead.
    """
    series, window, segments = datamodule.series, datamodule.window_size, datamodule.segments
    asked = f"free_run.start={'null' if start is None else start}"
    unknown = [name for name in series.columns[1:] if name not in series.known_ahead]
    if unknown:
        raise ConfigError(
            f"free_run.steps={steps}: column {unknown[0]} is not known ahead, and a forecaster forecasts its target "
            "alone: set free_run.steps=0, train without that column, or name it in data.known_ahead if it is known"
        )
    if step is not None:
        if isinstance(start, str):
            raise ConfigError(f"{asked}: with free_run.step it must be a number")
        t = start + step * np.arange(-window, steps)
        values = datamodule.formula(t)
        if not (np.diff(t) > 0).all():
            raise ConfigError(f"{asked}, free_run.step={step}: t does not grow from step to step: raise free_run.step")
        if not (np.abs(values) < LARGEST).all():
            raise ConfigError(f"{asked}: the series has numbers beyond {LARGEST:g} there: start earlier")
        check_logarithms(
            datamodule.transform, values[:window, None], f"{asked}: the series", lambda row: f"t = {t[row]:g}"
        )
        reached = int(np.searchsorted(series.index.to_numpy(), start, side="right")) - 1
        return Course(
            values[:, None],
            pd.Index(t, name=series.index.name),
            window,
            [],
            _segment(datamodule, reached),
        )
    first = segments.test.start if start is None else _row(series.index, start, asked)
    if first == len(series.index):
        raise ConfigError(f"{asked}: there is no test segment to start in: set free_run.start, or data.test")
    if first < window or first + steps > len(series.index):
        raise ConfigError(
            f"{asked}, free_run.steps={steps}: {first} rows are before the start and {len(series.index) - first} after "
            f"it; it needs data.window_size={window} before and {steps} after: change free_run.start or free_run.steps"
        )
    if datamodule.missing == "interpolate" and datamodule.filled[first - 1] and first in segments.train:
        raise ConfigError(
            f"{asked}: the row before it was filled by interpolation, that is from the value that is to be forecast: "
            "start after a row that has a value"
        )
    chosen = slice(first - window, first + steps)
    rows = series.values[chosen].copy()
    rows[window:, 0] = np.where(datamodule.filled[first : first + steps], np.nan, rows[window:, 0])
    future = list(datamodule.shape.future_columns)
    return Course(rows, series.index[chosen], window, future, _segment(datamodule, first))


def free_run(
    forecaster: Forecaster,
    datamodule: WindowDataModule,
    course: Course,
    weights: Weights,
    regression: LinearAutoregression,
    seed: int = 0,
) -> FreeRun:
    """Let each set of weights, and the baselines, run freely over a course.

    Args:
        forecaster: of one replica; the weights it has are replaced.
        datamodule: after setup.
        course: from `plan_free_run`.
        weights: of all replicas.
        regression: the linear autoregression of the training segment.
        seed: of the first replica's paths, where a distribution is sampled.

    Raises:
        RunError: where a forecast is not a finite number.
    """
    window, steps = course.window_size, course.steps
    scaled = torch.from_numpy(datamodule.transform.apply(course.rows)).float()[None]  # (1, W + n, F)
    history, ahead = scaled[:, :window], scaled[:, window:]
    known = ahead[:, :, 1:] if ahead.shape[2] > 1 else None
    future = ahead[:, :, course.future_columns] if course.future_columns else None
    runs: dict[str, FloatArray] = {}  # (K, n)
    head, transform = forecaster.network.head, datamodule.transform
    counts, together = False, np.empty((0, steps))  # (S, n) the paths of all replicas at their best epochs
    for name, states in weights.items():
        drawn: list[FloatArray] = []  # K times (S, n); one path where there is no distribution
        if isinstance(head, DistributionHead):
            counts, paths = head.counts, paths_for(1, steps)
            drawn = draw_paths(
                forecaster, states, transform, history, steps, paths=paths, seed=seed, known=known, future=future
            )
            drawn = [one[:, 0] for one in drawn]
            together = np.concatenate(drawn) if name == "best" else together
        else:
            for state in states:
                forecaster.load_state_dict(state)
                made = forecaster.free_run(history, steps, known=known, future=future)
                drawn.append(transform.invert_target(made.double().cpu().numpy()))
        finite_so_far = (np.abs(np.concatenate(drawn)) < BEYOND).all(axis=0)
        if not finite_so_far.all():
            raise RunError(
                f"the free run of the {name} epoch leaves the finite numbers at step {finite_so_far.argmin() + 1}: "
                "lower free_run.steps or optimizer.lr"
            )
        runs[name] = np.stack([middle(one, counts=counts) for one in drawn])
    several = len(runs["best"]) > 1
    models = {name: made[0] for name, made in runs.items()}
    if several:
        models = {ENSEMBLE: middle(together, counts=counts) if len(together) else runs["best"].mean(axis=0)}
    last = course.rows[window - 1, 0]
    others = {"persistence": np.full(steps, last), "linear autoregression": regression.free_run(course.rows)}
    return FreeRun(
        course=course,
        models=models,
        baselines=others,
        scores={name: _errors(course, made) for name, made in (models | others).items()},
        members=runs if several else {},
        member_scores={name: [_errors(course, one) for one in made] for name, made in runs.items()} if several else {},
        bands=ends_of(together, LEVELS) if len(together) else {},
        paths=len(together),
        path_scores=path_scores(together, course.truth) if len(together) else {},
    )


def free_run_values(run: FreeRun, seed: int) -> dict[str, Any]:
    """What metrics.json says of a free run, in the words of unroll.evaluation.report.as_values; seed of the run."""
    course, rows = run.course, run.member_scores
    replicated: dict[str, Any] = {
        "replicas": {name: with_seeds(found, seed) for name, found in rows.items()},
        "spread": {name: spread(found) for name, found in rows.items()},
    }
    return {
        "start": _plain(course.index[course.window_size]),
        "steps": course.steps,
        "segment": course.segment,
        "known": int((~np.isnan(course.truth)).sum()),
        "models": {name: mean_scores(found) for name, found in rows.items()}
        | {name: run.scores[name] for name in run.models},
        **(replicated if rows else {}),
        **run.path_scores,
        "baselines": {name: run.scores[name] for name in run.baselines},
    }


def free_run_table(run: FreeRun, seed: int) -> pd.DataFrame:
    """One row a step: its label, the truth, and every forecast of it; the replicas are named from the run's seed on."""
    course = run.course
    name = str(course.index.name or "row")
    columns = {
        f"{name} (index)" if name in ("step", "truth") else name: course.index[course.window_size :],
        "step": np.arange(1, course.steps + 1),
        "truth": course.truth,
    }
    columns |= {forecast_column(name): made for name, made in run.models.items()}
    for number, made in enumerate(run.members.get("best", ())):
        columns[forecast_column("best", seed + number)] = made
    columns |= dict(run.baselines)
    for level, (low, high) in run.bands.items():
        columns |= {f"low_{level:g}": low, f"high_{level:g}": high}
    return pd.DataFrame(columns)


def _errors(course: Course, made: FloatArray) -> Scores:
    known = ~np.isnan(course.truth)
    if not known.any():
        return {"rmse": None, "mae": None}
    with np.errstate(over="ignore"):
        error = (made - course.truth)[known]
        rmse, mae = float(np.sqrt(np.square(error).mean())), float(np.abs(error).mean())
    return {"rmse": rmse if np.isfinite(rmse) else None, "mae": mae if np.isfinite(mae) else None}


def _row(index: pd.Index, start: Any, asked: str) -> int:
    """The row of a label."""
    found = np.zeros(0, dtype=np.int64)
    if isinstance(index, pd.DatetimeIndex):
        try:
            if not str(start)[:1].isdigit():  # "now" and "nat" are dates to pandas
                raise ValueError
            found = np.flatnonzero(index == pd.Timestamp(str(start)))
        except ValueError as error:
            raise ConfigError(f"{asked} is no date: write it as {_plain(index[0])}") from error
    elif not isinstance(start, str):
        found = np.flatnonzero(np.abs(index.to_numpy() - start) < 1e-6 * abs(index[1] - index[0]))
    if not len(found):
        raise ConfigError(f"{asked}: no row is labelled so; the rows are {_plain(index[0])} to {_plain(index[-1])}")
    return int(found[0])


def _segment(datamodule: WindowDataModule, row: int) -> str:
    """The segment of a row; rows that are not in the series count to the nearest end."""
    row = min(max(row, 0), len(datamodule.series.index) - 1)
    return next(name for name, rows in datamodule.segments._asdict().items() if row in rows)


def _plain(label: Any) -> Any:
    """A label as JSON takes it."""
    if isinstance(label, pd.Timestamp):
        return str(label).removesuffix(" 00:00:00")
    return label.item() if isinstance(label, np.generic) else label
