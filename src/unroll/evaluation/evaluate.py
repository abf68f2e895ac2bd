"""Evaluate a forecaster on a segment, beside the baselines on the same targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unroll.data.module import WindowDataModule
from unroll.data.series import FloatArray
from unroll.data.transforms import BEYOND
from unroll.data.windows import WindowLoader
from unroll.errors import RunError
from unroll.evaluation.baselines import LinearAutoregression, baselines
from unroll.evaluation.metrics import Scores, best_by, naive_error, scores, skill
from unroll.evaluation.replicas import ENSEMBLE, Members
from unroll.evaluation.same_inputs import SAME_INPUTS, SameInputs, fit_same_inputs
from unroll.models.forecaster import LOSSES, Forecaster

State = dict[str, Tensor]
"""The state dict of one forecaster."""

Weights = Mapping[str, Sequence[State]]
"""One state a replica by name: best, and last where it is another epoch for at least one. A run without replicas has
one state of each."""


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


@dataclass(frozen=True)
class Evaluation:
    """Forecasts of one segment and their scores, in the series' units. n windows, H steps.

    Args:
        segment: train | validation | test.
        origins: (n,) first target rows.
        truth: (n, H).
        models: (n, H) by name: best, and last where it is another epoch; with replicas, the ensemble of their best
            epochs alone.
        baselines: (n, H) by name.
        scores: by name of a model or baseline.
        by_step: RMSE and MAE of each step ahead, by name.
        best_baseline: the one with the lowest RMSE.
        skill: of each model, over the best baseline, by RMSE; None where that baseline is exact.
        loss: of each model, as in training: in scaled units.
        members: the replicas by name: best, and last where it is another epoch; empty for a run without.
    """

    segment: str
    origins: np.ndarray
    truth: FloatArray
    models: dict[str, FloatArray]
    baselines: dict[str, FloatArray]
    scores: dict[str, Scores]
    by_step: dict[str, dict[str, list[float]]]
    best_baseline: str
    skill: dict[str, float | None]
    loss: dict[str, float]
    members: dict[str, Members] = field(default_factory=dict)

    @property
    def main(self) -> str:
        """The model that stands for the run: the best epoch, or the ensemble."""
        return next(iter(self.models))


@torch.inference_mode()
def forecast(forecaster: Forecaster, loader: WindowLoader) -> Tensor:
    """(n, H) in scaled units, on the CPU."""
    forecaster.eval()
    windows, weight = loader.windows, forecaster.real_weight
    made = torch.empty(len(windows), windows.horizon, device=weight.device)  # a list of parts would cost more
    for number, batch in enumerate(loader):
        begin = number * loader.batch_size
        past, future = batch.past.to(weight.dtype), batch.future.to(weight.dtype)  # precision may be 64-true
        made[begin : begin + len(past)] = forecaster(past, future)
    return made.cpu()


def evaluate(
    forecaster: Forecaster,
    datamodule: WindowDataModule,
    segment: str,
    weights: Weights,
    reference: Reference,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Forecast a segment with each set of weights and with all baselines, and score them on the same targets.

    Args:
        forecaster: of one replica; the weights it has are replaced.
        datamodule: after setup.
        segment: train | validation | test; not empty.
        weights: of all replicas.
        reference: of the training segment (`fit_reference`).
        device: where to forecast.

    Raises:
        RunError: where a forecast is not a finite number.
    """
    forecaster.to(device)
    origins, truth, series = datamodule.origins(segment), datamodule.targets(segment), datamodule.series
    target = datamodule.values[origins[:, None] + np.arange(datamodule.horizon), 0]
    loader = datamodule.loader(segment, device)
    others = baselines(series.values, reference.regression, origins, reference.season)
    if reference.same_inputs:
        others[SAME_INPUTS] = reference.same_inputs.forecast(datamodule, origins)
    table = {name: scores(truth, made, reference.scale) for name, made in others.items()}
    best = best_by("rmse", table)

    def score(scaled: FloatArray, name: str) -> tuple[FloatArray, Scores, float]:
        """A forecast in the series' units, its scores with its skill, and its loss."""
        made = datamodule.transform.invert_target(scaled)
        if not (np.abs(made) < BEYOND).all():
            raise RunError(
                f"the weights of the {name} epoch forecast numbers beyond {BEYOND:g}: lower optimizer.lr, set "
                "trainer.gradient_clip_val=1, or take log1p out of data.transform if it is there"
            )
        found = scores(truth, made, reference.scale)
        loss = LOSSES[forecaster.loss_name](torch.from_numpy(scaled), target.double())
        return made, found | {"skill": skill(found["rmse"], table[best]["rmse"], truth)}, float(loss)

    models: dict[str, tuple[FloatArray, Scores, float]] = {}
    members: dict[str, Members] = {}
    for name, states in weights.items():
        scaled = [_finite(forecaster, loader, state, target.dtype, name) for state in states]  # K times (n, H)
        found = [score(made, name) for made in scaled]
        if len(states) == 1:
            models[name] = found[0]
            continue
        if name == "best":
            models[ENSEMBLE] = score(np.mean(scaled, axis=0), name)
        rows = [row | {"loss": loss} for _, row, loss in found]
        made = [made for made, _, _ in found]
        members[name] = Members(np.stack(made), rows, [_by_step(truth, one) for one in made])
    forecasts = {name: made for name, (made, _, _) in models.items()}
    gains = {name: row.pop("skill") for name, (_, row, _) in models.items()}
    return Evaluation(
        segment=segment,
        origins=origins,
        truth=truth,
        models=forecasts,
        baselines=others,
        scores={name: row for name, (_, row, _) in models.items()} | table,
        by_step={name: _by_step(truth, made) for name, made in (forecasts | others).items()},
        best_baseline=best,
        skill=gains,
        loss={name: loss for name, (_, _, loss) in models.items()},
        members=members,
    )


def _finite(forecaster: Forecaster, loader: WindowLoader, state: State, dtype: torch.dtype, name: str) -> FloatArray:
    """(n, H) in scaled units, rounded to the precision of the data.

    Raises:
        RunError: where a forecast is not a finite number.
    """
    forecaster.load_state_dict(state)
    made = forecast(forecaster, loader).to(dtype).numpy().astype(np.float64)
    if not np.isfinite(made).all():
        raise RunError(
            f"the weights of the {name} epoch forecast numbers that are not finite: lower optimizer.lr, set "
            "trainer.gradient_clip_val=1, or use data.transform=standard"
        )
    return made


def fit_reference(datamodule: WindowDataModule) -> Reference:
    """What the scores of all segments are measured by, from the training segment."""
    series, shape, rows = datamodule.series, datamodule.shape, datamodule.segments.train
    season = datamodule.seasonal_period
    origins = datamodule.origins("train")
    own = [column for column in range(shape.features) if column not in shape.future_columns]
    regression = LinearAutoregression(series.values, origins, shape.window_size, shape.horizon, own)
    scale = naive_error(series.target[rows.start : rows.stop], season or 1)
    return Reference(regression, scale, season, fit_same_inputs(datamodule, origins))


def _by_step(truth: FloatArray, made: FloatArray) -> dict[str, list[float]]:
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
    return pd.DataFrame(columns | {name: made.ravel() for name, made in evaluation.baselines.items()})


def forecast_column(name: str, seed: int | None = None) -> str:
    """What a CSV calls a forecast: forecast_ensemble, forecast_best_epoch, forecast_best_epoch_seed0."""
    return f"forecast_{name}{'' if name == ENSEMBLE else '_epoch'}{'' if seed is None else f'_seed{seed}'}"
