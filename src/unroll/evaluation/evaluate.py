"""Evaluate a forecaster on a segment, beside the baselines on the same targets."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unroll.data.module import WindowDataModule
from unroll.data.series import FloatArray
from unroll.data.windows import WindowLoader
from unroll.errors import RunError
from unroll.evaluation.baselines import LinearAutoregression, baselines
from unroll.evaluation.metrics import Scores, best_by, naive_error, scores, skill
from unroll.models.forecaster import LOSSES, Forecaster


@dataclass(frozen=True)
class Reference:
    """What a forecast is measured by, fitted on the training segment alone.

    Args:
        regression: the linear autoregression.
        scale: of MASE.
        season: rows in one season; None: none.
    """

    regression: LinearAutoregression
    scale: float
    season: int | None


@dataclass(frozen=True)
class Evaluation:
    """Forecasts of one segment and their scores, in the series' units. n windows, H steps.

    Args:
        segment: train | validation | test.
        origins: (n,) first target rows.
        truth: (n, H).
        models: (n, H) by name: best, and last where it is another epoch.
        baselines: (n, H) by name.
        scores: by name of a model or baseline.
        by_step: RMSE and MAE of each step ahead, by name.
        best_baseline: the one with the lowest RMSE.
        skill: of each model, over the best baseline, by RMSE; None where that baseline is exact.
        loss: of each model, as in training: in scaled units.
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


@torch.inference_mode()
def forecast(forecaster: Forecaster, loader: WindowLoader) -> Tensor:
    """(n, H) in scaled units, on the CPU."""
    forecaster.eval()
    windows, weight = loader.windows, next(forecaster.parameters())
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
    weights: Mapping[str, Mapping[str, Tensor]],
    reference: Reference,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Forecast a segment with each set of weights and with all baselines, and score them on the same targets.

    Args:
        forecaster: the weights it has are replaced.
        datamodule: after setup.
        segment: train | validation | test; not empty.
        weights: state dicts by name (best, last); equal ones may be the same object.
        reference: of the training segment (`fit_reference`).
        device: where to forecast.

    Raises:
        RunError: where a forecast is not a finite number.
    """
    forecaster.to(device)
    models: dict[str, FloatArray] = {}
    losses: dict[str, float] = {}
    loader = datamodule.loader(segment, device)
    rows = datamodule.origins(segment)[:, None] + np.arange(datamodule.horizon)
    target = datamodule.values[rows, 0]
    for name, state in weights.items():
        forecaster.load_state_dict(state)
        made = forecast(forecaster, loader).to(target.dtype)
        losses[name] = float(LOSSES[forecaster.loss_name](made.double(), target.double()))
        scaled = made.numpy().astype(np.float64)
        if not np.isfinite(scaled).all():
            raise RunError(
                f"the weights of the {name} epoch forecast numbers that are not finite: lower optimizer.lr, set "
                "trainer.gradient_clip_val=1, or use data.transform=standard"
            )
        models[name] = datamodule.transform.invert_target(scaled)
    origins, truth, series = datamodule.origins(segment), datamodule.targets(segment), datamodule.series
    others = baselines(series.values, reference.regression, origins, reference.season)
    table = {name: scores(truth, made, reference.scale) for name, made in (models | others).items()}
    best = best_by("rmse", {name: table[name] for name in others})
    spread = float(truth.std())
    gains = {name: skill(table[name]["rmse"], table[best]["rmse"], spread) for name in models}
    steps = {name: _by_step(truth, made) for name, made in (models | others).items()}
    return Evaluation(segment, origins, truth, models, others, table, steps, best, gains, losses)


def fit_reference(datamodule: WindowDataModule) -> Reference:
    """What the scores of all segments are measured by, from the training segment."""
    series, shape, rows = datamodule.series, datamodule.shape, datamodule.segments.train
    season = datamodule.seasonal_period
    regression = LinearAutoregression(series.values, datamodule.origins("train"), shape.window_size, shape.horizon)
    return Reference(regression, naive_error(series.target[rows.start : rows.stop], season or 1), season)


def _by_step(truth: FloatArray, made: FloatArray) -> dict[str, list[float]]:
    error = made - truth
    return {
        "rmse": np.sqrt(np.square(error).mean(axis=0)).tolist(),
        "mae": np.abs(error).mean(axis=0).tolist(),
    }


def predictions(evaluation: Evaluation, datamodule: WindowDataModule) -> pd.DataFrame:
    """One row a window and step: when, how far ahead, the segment, the truth, and every forecast of it."""
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
    columns |= {f"forecast_{name}_epoch": made.ravel() for name, made in evaluation.models.items()}
    return pd.DataFrame(columns | {name: made.ravel() for name, made in evaluation.baselines.items()})
