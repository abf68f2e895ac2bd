"""Evaluate a forecaster on a segment, beside the baselines on the same targets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from unroll.data.module import WindowDataModule
from unroll.data.series import FloatArray
from unroll.data.transforms import BEYOND
from unroll.errors import RunError
from unroll.evaluation.baselines import LinearAutoregression, baselines
from unroll.evaluation.conformal import Calibration, Ends, interval_scores, moved
from unroll.evaluation.made import Made, Weights, calibrated, make
from unroll.evaluation.metrics import Scores, best_by, naive_error, scores, skill
from unroll.evaluation.replicas import ENSEMBLE, MIXTURE, Members, Steps
from unroll.evaluation.same_inputs import SAME_INPUTS, SameInputs, fit_same_inputs
from unroll.models.forecaster import Forecaster


@dataclass(frozen=True)
class Reference:
    """What a forecast is measured by, fitted on the training segment alone.

    Args:
        regression: the linear autoregression.
        scale: of MASE.
        season: rows in one season; None: none.
        same_inputs: the regression with the network's inputs, where these are more than the window in its units.
    """

    regression: LinearAutoregression
    scale: float
    season: int | None
    same_inputs: SameInputs | None = None

    def forecasts(self, datamodule: WindowDataModule, segment: str) -> dict[str, FloatArray]:
        """(n, H) of every baseline, by name, on the windows of a segment, in the series' units."""
        origins = datamodule.origins(segment)
        found = baselines(datamodule.series.values, self.regression, origins, self.season)
        if self.same_inputs:
            found[SAME_INPUTS] = self.same_inputs.forecast(datamodule, origins)
        return found


@dataclass(frozen=True)
class Evaluation:
    """Forecasts of one segment and their scores, in the series' units. n windows, H steps.

    Args:
        segment: train | validation | test.
        origins: (n,) first target rows.
        truth: (n, H).
        models: (n, H) by name: best, and last where it is another epoch; with replicas, the ensemble of their best
            epochs alone, and the mixture of these where they make distributions.
        baselines: (n, H) by name.
        scores: by name of a model or baseline; of distributions also those of unroll.evaluation.probabilistic.
        by_step: RMSE and MAE of each step ahead, by name.
        best_baseline: the one with the lowest RMSE.
        skill: of each model, over the best baseline, by RMSE; None where that baseline is exact.
        loss: of each model, as in training: in scaled units; None where an ensemble of distributions has none.
        members: the replicas by name: best, and last where it is another epoch; empty for a run without.
        intervals: by name of a model and level in percent, the lower and the upper ends (n, H), calibrated on the
            validation segment; without a level for which that is too short.
        interval_scores: what metrics.json says of them, by name of a model and level.
    """

    segment: str
    origins: np.ndarray
    truth: FloatArray
    models: dict[str, FloatArray]
    baselines: dict[str, FloatArray]
    scores: dict[str, Scores]
    by_step: dict[str, Steps]
    best_baseline: str
    skill: dict[str, float | None]
    loss: dict[str, float | None]
    members: dict[str, Members] = field(default_factory=dict)
    intervals: dict[str, dict[float, Ends]] = field(default_factory=dict)
    interval_scores: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    @property
    def main(self) -> str:
        """The model that stands for the run: the best epoch, or the ensemble."""
        return next(iter(self.models))


def evaluate(
    forecaster: Forecaster,
    datamodule: WindowDataModule,
    segment: str,
    weights: Weights,
    reference: Reference,
    device: torch.device | str = "cpu",
    trained: WindowDataModule | None = None,
) -> Evaluation:
    """Forecast a segment with each set of weights and with all baselines, and score them on the same targets.

    Args:
        forecaster: of one replica; the weights it has are replaced.
        datamodule: after setup.
        segment: train | validation | test; not empty.
        weights: of all replicas.
        reference: of the training segment (`fit_reference`).
        device: where to forecast.
        trained: whose validation segment intervals are calibrated on; None: the same data module.

    Raises:
        RunError: where a forecast is not a finite number.
    """
    forecaster.to(device)
    origins, truth = datamodule.origins(segment), datamodule.targets(segment)
    others = reference.forecasts(datamodule, segment)
    table = {name: scores(truth, made, reference.scale) for name, made in others.items()}
    best = best_by("rmse", table)

    def score(made: Made) -> tuple[Scores, Steps]:
        """The scores of a model with its skill, and those by step."""
        if not (np.abs(made.point) < BEYOND).all():
            raise RunError(
                f"the weights forecast numbers beyond {BEYOND:g}: lower optimizer.lr, set trainer.gradient_clip_val=1, "
                "or take log1p out of data.transform if it is there"
            )
        found = scores(truth, made.point, reference.scale)
        extra, steps = (made.summary.scores, made.summary.by_step) if made.summary else ({}, {})
        gain = skill(found["rmse"], table[best]["rmse"], truth)
        return found | {"skill": gain} | extra, _by_step(truth, made.point) | steps

    models, replicas = make(forecaster, datamodule, segment, weights, device)
    members: dict[str, Members] = {}
    for name, several in replicas.items():
        scored = [score(made) for made in several]
        rows = [row | {"loss": made.loss} for (row, _), made in zip(scored, several, strict=True)]
        members[name] = Members(np.stack([made.point for made in several]), rows, [steps for _, steps in scored])
    found = {name: score(made) for name, made in models.items()}
    gains = {name: row.pop("skill") for name, (row, _) in found.items()}
    calibrations = {} if segment == "validation" else calibrated(forecaster, trained or datamodule, weights, device)
    intervals = _intervals(forecaster, datamodule, models, calibrations)
    return Evaluation(
        segment=segment,
        origins=origins,
        truth=truth,
        models={name: made.point for name, made in models.items()},
        baselines=others,
        scores={name: row for name, (row, _) in found.items()} | table,
        by_step={name: steps for name, (_, steps) in found.items()}
        | {name: _by_step(truth, made) for name, made in others.items()},
        best_baseline=best,
        skill=gains,
        loss={name: made.loss for name, made in models.items()},
        members=members,
        intervals=intervals,
        interval_scores={
            name: interval_scores(calibration, intervals[name], models[name].summary, truth)
            for name, calibration in calibrations.items()
        },
    )


def _intervals(
    forecaster: Forecaster,
    datamodule: WindowDataModule,
    models: Mapping[str, Made],
    calibrations: Mapping[str, Calibration],
) -> dict[str, dict[float, Ends]]:
    """See Evaluation."""
    transform, counts = datamodule.transform, forecaster.network.counts
    found = {}
    for name, calibration in calibrations.items():
        raw = models[name].intervals(transform)
        found[name] = {
            level: moved(raw[level], by, transform, counts=counts) for level, by in calibration.moves.items()
        }
    return found


def fit_reference(datamodule: WindowDataModule) -> Reference:
    """What the scores of all segments are measured by, from the training segment."""
    series, shape, rows = datamodule.series, datamodule.shape, datamodule.segments.train
    season = datamodule.seasonal_period
    origins = datamodule.origins("train")
    own = [column for column in range(shape.features) if column not in shape.future_columns]
    regression = LinearAutoregression(series.values, origins, shape.window_size, shape.horizon, own)
    scale = naive_error(series.target[rows.start : rows.stop], season or 1)
    return Reference(regression, scale, season, fit_same_inputs(datamodule, origins))


def _by_step(truth: FloatArray, made: FloatArray) -> Steps:
    error = made - truth
    return {
        "rmse": np.sqrt(np.square(error).mean(axis=0)).tolist(),
        "mae": np.abs(error).mean(axis=0).tolist(),
    }


def predictions(evaluation: Evaluation, datamodule: WindowDataModule, seed: int) -> pd.DataFrame:
    """One row a window and step: when, how far ahead, the segment, the truth, and every forecast of it.

    Args:
        evaluation: of the segment.
        datamodule: after setup.
        seed: of the run; its replicas are named by theirs.
    """
    index, horizon = datamodule.series.index, datamodule.horizon
    rows = evaluation.origins[:, None] + np.arange(horizon)
    name = str(index.name or "row")
    columns = {
        f"{name} (index)" if name in ("origin", "step", "segment", "truth") else name: index[rows.ravel()],
        "origin": np.repeat(index[evaluation.origins - 1], horizon),
        "step": np.tile(np.arange(1, horizon + 1), len(rows)),
        "segment": evaluation.segment,
        "truth": evaluation.truth.ravel(),
    }
    columns |= {forecast_column(name): made.ravel() for name, made in evaluation.models.items()}
    if evaluation.members:
        members = evaluation.members["best"].forecasts
        columns |= {forecast_column("best", seed + number): made.ravel() for number, made in enumerate(members)}
    columns |= {name: made.ravel() for name, made in evaluation.baselines.items()}
    for level, (low, high) in evaluation.intervals.get(evaluation.main, {}).items():
        columns |= {f"low_{level:g}": low.ravel(), f"high_{level:g}": high.ravel()}
    return pd.DataFrame(columns)


def forecast_column(name: str, seed: int | None = None) -> str:
    """What a CSV calls a forecast: forecast_ensemble, forecast_mixture, forecast_best_epoch,
    forecast_best_epoch_seed0.
    """
    return f"forecast_{name}{'' if name in (ENSEMBLE, MIXTURE) else '_epoch'}{'' if seed is None else f'_seed{seed}'}"
