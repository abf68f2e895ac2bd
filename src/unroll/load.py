"""A finished run, ready to use again, from its directory alone.

from unroll import load_run

run = load_run("outputs/RUN")
run.metrics["test"]["models"]["best"]["rmse"]
run.forecast(30)
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from unroll.config import check_config, plain
from unroll.data.calendar import continued
from unroll.data.module import WindowDataModule
from unroll.data.series import Series
from unroll.errors import ConfigError, DataError, RunError
from unroll.evaluation.ahead import Intervals, forecast_from, intervals
from unroll.evaluation.evaluate import Reference, fit_reference
from unroll.models.forecaster import Forecaster
from unroll.recorder import load_checkpoint
from unroll.runs.directory import RunDirectory
from unroll.runs.reuse import read_result
from unroll.targets import build
from unroll.train import build_forecaster
from unroll.trainer import calm_libraries


@dataclass(frozen=True)
class LoadedRun:
    """A finished run.

    Args:
        run: its directory.
        config: resolved.
        metrics: what metrics.json says.
        forecaster: with the weights of the best epoch, on the CPU, in evaluation mode.
        trained: the series it was trained on, after setup.
        datamodule: the same, or another series with the run's own transform.
        weights: state dicts by name: best, and last where it is another epoch and still there.
        reference: the baselines, fitted on the series it was trained on.
    """

    run: RunDirectory
    config: DictConfig
    metrics: dict[str, Any]
    forecaster: Forecaster
    trained: WindowDataModule
    datamodule: WindowDataModule
    weights: dict[str, dict[str, Tensor]]
    reference: Reference

    def intervals(self, steps: int, levels: Sequence[float]) -> Intervals:
        """Prediction intervals of the best weights, from the validation segment of the series trained on."""
        self.forecaster.load_state_dict(self.weights["best"])
        return intervals(self.forecaster, self.trained, steps, levels)

    def forecast(self, steps: int, levels: Sequence[float] = (), found: Intervals | None = None) -> pd.DataFrame:
        """Forecast past the end of the series, in its units.

        Args:
            steps: directly up to the horizon; beyond it, the forecasts before are read.
            levels: of prediction intervals, in percent.
            found: from `intervals`, where it was asked before.

        Returns:
            one row a step by its label (dates go on in their rhythm): step, forecast, and low_80, high_80 and so on.

        Raises:
            DataError: where columns beside the target would have to be known, and see `intervals`.
        """
        self.forecaster.load_state_dict(self.weights["best"])
        series = self.datamodule.series
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ConfigError(f"steps={steps}: give a whole number of at least 1")
        if len(series.values) < self.datamodule.window_size:
            raise DataError(
                f"series {series.title} has {len(series.values)} rows, and a forecast reads data.window_size = "
                f"{self.datamodule.window_size}"
            )
        made = forecast_from(self.forecaster, self.datamodule, np.array([len(series.values)]), steps)[0]
        columns: dict[str, Any] = {"step": np.arange(1, steps + 1), "forecast": made}
        found = found or (self.intervals(steps, levels) if levels else None)
        for level, half in found.half.items() if found else ():
            columns |= {f"low_{level:g}": made - half, f"high_{level:g}": made + half}
        return pd.DataFrame(columns, index=continued(series.index, steps, self.trained.series.index))


def load_run(path: str | Path, data_path: str | Path | None = None) -> LoadedRun:
    """Rebuild data, transform and network of a finished run. Nothing that its files say is executed.

    Args:
        path: the run directory, wherever it lies now.
        data_path: another file with the same columns; rows in the time of the training segment count as training.

    Raises:
        RunError: where the path is no finished run, or a file of it is missing, damaged or hostile.
        ConfigError: where its config asks for something that is not allowed, or does not exist here.
        DataError: where the other file does not fit.
    """
    calm_libraries()
    run = RunDirectory.open(Path(os.path.expanduser(path)))  # noqa: PTH111  # Path's own raises for an unknown ~user
    state = run.read_state()
    if state["status"] != "complete":
        why = f": {state['error']}" if state.get("error") else ""
        raise RunError(
            f"{run.path} is not complete ({state['status']}{why}); to go on: python train.py resume={run.path}"
        )
    cfg = OmegaConf.create(run.read_config())
    check_config(cfg, new=False)
    metrics = read_result(run)
    checkpoint = load_checkpoint(run.best_checkpoint)
    torch.set_num_threads(cfg.threads)
    if checkpoint["unroll"].get("model") != plain(cfg.model):
        raise RunError(f"{run.config}: its model is not the one of {run.best_checkpoint.name}: was it changed by hand?")
    datamodule = _datamodule(cfg)
    datamodule.loaded = Series.load(run.series)
    datamodule.setup()
    _check_transform(run, checkpoint, datamodule)
    reference = fit_reference(datamodule)
    forecaster = build_forecaster(cfg, datamodule)
    weights = {"best": checkpoint["state_dict"]}
    if metrics["epochs"]["best"] != metrics["epochs"]["trained"] and run.last_checkpoint.exists():
        weights["last"] = load_checkpoint(run.last_checkpoint)["state_dict"]
    _match_precision(forecaster, weights["best"])
    for name, state_dict in weights.items():
        try:
            forecaster.load_state_dict(state_dict)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise RunError(
                f"{run.path}: {name}.ckpt does not fit the network of config.yaml: was one replaced?"
            ) from error
    forecaster.load_state_dict(weights["best"])
    forecaster.eval()
    used = datamodule if data_path is None else _other_data(cfg, datamodule, str(data_path))
    return LoadedRun(run, cfg, metrics, forecaster, datamodule, used, weights, reference)


def _datamodule(cfg: DictConfig, **changes: Any) -> WindowDataModule:
    return build(plain(cfg.data) | changes, WindowDataModule, "data", shuffle_seed=cfg.seed)


def _match_precision(forecaster: Forecaster, weights: Any) -> None:
    """The network computes in the precision that it was trained in."""
    kinds = (
        {value.dtype for value in weights.values() if isinstance(value, Tensor)} if isinstance(weights, dict) else set()
    )
    if len(kinds) == 1:
        forecaster.to(kinds.pop())


def _check_transform(run: RunDirectory, checkpoint: dict[str, Any], datamodule: WindowDataModule) -> None:
    """Weights, config and series must be of one run."""
    about, transform = checkpoint["unroll"], datamodule.transform
    try:
        same = np.array_equal(about["offset"], transform.offset) and np.array_equal(about["scale"], transform.scale)
        shape = about["shape"] == asdict(datamodule.shape)
    except (KeyError, TypeError) as error:
        raise RunError(f"{run.best_checkpoint} says nothing of its transform: it is no checkpoint of a run") from error
    if not shape:
        raise RunError(
            f"{run.config}: its windows are not those that best.ckpt was trained on: was it changed by hand?"
        )
    if not same:
        raise RunError(f"{run.path}: series.npz is not the series that best.ckpt was trained on: was one replaced?")


def _other_data(cfg: DictConfig, trained: WindowDataModule, path: str) -> WindowDataModule:
    """The data module of another file, with the transform and the segments' times of the run's own."""
    if cfg.data.get("path") is None:
        raise DataError(
            f"--data-path {path}: this run was trained on made-up data ({trained.series.name}), not on a file"
        )
    found = Path(os.path.expanduser(path))  # noqa: PTH111
    if not found.is_file():
        raise DataError(f"{path}: this file {'is a directory' if found.is_dir() else 'does not exist'}")
    target = {"target": trained.series.columns[0]} if "target" in cfg.data else {}
    other = _datamodule(cfg, path=str(found), **target)
    other.fitted_before = trained.fitted
    other.setup()
    if other.series.columns != trained.series.columns:
        columns, wanted = (", ".join(series.columns) for series in (other.series, trained.series))
        raise DataError(f"{path} has the columns {columns}, and the run was trained on {wanted}")
    steps = [_usual_step(module.series.index) for module in (trained, other)]
    if len(other.series.index) > 1 and not np.isclose(steps[0], steps[1], rtol=0.2):
        raise DataError(f"{path}: its rows lie in another rhythm than those that the run was trained on")
    return other


def _usual_step(index: pd.Index) -> float:
    """From one row to the next, in microseconds or steps."""
    numbers = index.as_unit("us").asi8 if isinstance(index, pd.DatetimeIndex) else index.to_numpy()
    return float(np.median(np.diff(numbers[-500:]))) if len(index) > 1 else float("nan")
