"""A finished run, ready to use again, from its directory alone.

from unroll import load_run

run = load_run("outputs/RUN")
run.metrics["test"]["models"]["best"]["rmse"]
run.forecast(30)
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from unroll.building import build_forecaster, match_precision
from unroll.checkpoints import load_checkpoint, newest_checkpoint
from unroll.config import check_config, plain
from unroll.data.module import WindowDataModule
from unroll.data.series import Series
from unroll.data.tables import UTC
from unroll.errors import ConfigError, DataError, RunError
from unroll.evaluation.ahead import Intervals, forecast_ahead, intervals
from unroll.evaluation.evaluate import Reference, fit_reference
from unroll.evaluation.made import State, Weights
from unroll.evaluation.probabilistic import LEVELS
from unroll.evaluation.replicas import metrics_of_replica
from unroll.models.forecaster import Forecaster
from unroll.runs.directory import RunDirectory
from unroll.runs.replicas import check_replicas
from unroll.runs.reuse import read_result
from unroll.targets import build
from unroll.trainer import calm_libraries
from unroll.untrusted import check_kinds


@dataclass(frozen=True)
class LoadedRun:
    """A finished run.

    Args:
        run: its directory.
        config: resolved.
        metrics: what metrics.json says.
        forecaster: with the weights of the best epoch, of the first replica, on the CPU, in evaluation mode.
        trained: the series it was trained on, after setup.
        datamodule: the same, or another series with the run's own transform.
        weights: one state dict a replica, by name: best, and last where it is another epoch and still there.
        reference: the baselines, fitted on the series it was trained on.
        number: of the replica, where this is one of a run (`single`).
    """

    run: RunDirectory
    config: DictConfig
    metrics: dict[str, Any]
    forecaster: Forecaster
    trained: WindowDataModule
    datamodule: WindowDataModule
    weights: Weights
    reference: Reference
    number: int | None = None

    @property
    def replicas(self) -> int:
        """How many there are; 1 for a run without."""
        return len(self.weights["best"])

    @property
    def label(self) -> str:
        """What its forecast is called: the model, the ensemble or a replica."""
        model = str(self.metrics["model"])
        if self.replicas > 1:
            return f"{model}, ensemble of {self.replicas}"
        return model if self.number is None else f"{model}, seed {self.config.seed}"

    @property
    def levels(self) -> tuple[float, ...]:
        """Of the intervals that belong to each forecast, in percent: those of a distribution; else none."""
        return () if self.forecaster.network.points else LEVELS

    def single(self, replica: int) -> "LoadedRun":
        """One replica, as the run that its seed alone would have been.

        Args:
            replica: counted from 0; the seed is that of the run and this.

        Raises:
            ConfigError: where there is no such replica.
        """
        if self.replicas == 1:
            raise ConfigError(f"replica {replica}: {self.run.path} has no replicas: leave it out")
        if isinstance(replica, bool) or not isinstance(replica, int) or not 0 <= replica < self.replicas:
            first, last = self.config.seed, self.config.seed + self.replicas - 1
            raise ConfigError(
                f"replica {replica}: {self.run.path} has the replicas 0 to {self.replicas - 1}, seeds {first} to {last}"
            )
        weights = {name: [states[replica]] for name, states in self.weights.items()}
        metrics = metrics_of_replica(self.metrics, replica)
        if metrics["epochs"]["best"] == metrics["epochs"]["trained"]:
            weights.pop("last", None)
        config = _of_one(self.config, self.config.seed + replica)
        return replace(self, config=config, metrics=metrics, weights=weights, number=replica)

    def intervals(self, steps: int, levels: Sequence[float]) -> Intervals:
        """Prediction intervals of the best weights, calibrated on the validation segment of the series trained on.

        Where there are replicas: of the ensemble, and of the mixture where distributions are sampled.
        """
        return intervals(self.forecaster, self.weights["best"], self.trained, steps, levels, seed=self.config.seed)

    def forecast(
        self, steps: int, levels: Sequence[float] = (), found: Intervals | None = None, replica: int | None = None
    ) -> pd.DataFrame:
        """Forecast past the end of the series, in its units.

        With replicas, each reads its own forecasts, and their mean is the forecast. Beyond the horizon a distribution
        is sampled: each path reads its own draws; the forecast is the median of the paths, and of counts their mean.

        Args:
            steps: directly up to the horizon; beyond it, the forecasts before are read.
            levels: of prediction intervals, in percent; none: 80 and 95 of a distribution, and else none.
            found: from `intervals`, where it was asked before.
            replica: only this one, counted from 0; None: all.

        Returns:
            one row a step by its label (dates go on in their rhythm): step, forecast, with replicas lowest and highest
            of them, and low_80, high_80 and so on.

        Raises:
            DataError: where columns beside the target would have to be known, and see `intervals`.
        """
        if replica is not None:
            return self.single(replica).forecast(steps, levels, found)
        series = self.datamodule.series
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ConfigError(f"steps={steps}: give a whole number of at least 1")
        if len(series.values) < self.datamodule.window_size:
            raise DataError(
                f"series {series.title} has {len(series.values)} rows, and a forecast reads data.window_size = "
                f"{self.datamodule.window_size}"
            )
        end, states = np.array([len(series.values)]), self.weights["best"]
        levels = levels or self.levels
        found = found or (self.intervals(steps, levels) if levels else None)
        asked, seed = found.levels if found else (), self.config.seed
        ahead = forecast_ahead(self.forecaster, states, self.datamodule, end, steps, asked, seed=seed)
        each = ahead.members[:, 0]  # (K, steps)
        columns: dict[str, Any] = {"step": np.arange(1, steps + 1), "forecast": ahead.point[0]}
        if len(each) > 1:
            columns |= {"lowest": each.min(axis=0), "highest": each.max(axis=0)}
        counts = self.forecaster.network.counts
        for level, (low, high) in found.ends(ahead, self.datamodule, counts=counts).items() if found else ():
            columns |= {f"low_{level:g}": low[0], f"high_{level:g}": high[0]}
        return pd.DataFrame(columns, index=self.datamodule.future_index(steps))


def load_run(path: str | Path, data_path: str | Path | None = None, *, as_written: bool = True) -> LoadedRun:
    """Rebuild data, transform and network of a finished run. Nothing that its files say is executed.

    Args:
        path: the run directory, wherever it lies now.
        data_path: another file with the same columns; rows in the time of the training segment count as training.
        as_written: whether a file that was changed since the run wrote it is refused, also where it can be read.

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
    metrics = read_result(run, as_written=as_written)
    check_replicas(run.metrics, metrics, cfg.seed, cfg.get("replicas", 1))
    checkpoint = _best_checkpoint(run)
    torch.set_num_threads(cfg.threads)
    if checkpoint["unroll"].get("model") != plain(cfg.model):
        raise RunError(f"{run.config}: its model is not the one of {run.best_checkpoint.name}: was it changed by hand?")
    datamodule = _datamodule(cfg)
    datamodule.loaded = Series.load(run.series)
    datamodule.setup()
    _check_transform(run, checkpoint, datamodule)
    reference = fit_reference(datamodule)
    forecaster = build_forecaster(_of_one(cfg, cfg.seed), datamodule)
    weights = _weights(run, checkpoint, metrics, cfg.get("replicas", 1))
    match_precision(forecaster, weights["best"][0])
    for name, states in weights.items():
        try:
            for state in states:
                check_kinds(run.best_checkpoint.with_stem(name), state, forecaster.state_dict())
                forecaster.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise RunError(
                f"{run.path}: {name}.ckpt does not fit the network of config.yaml: was one replaced?"
            ) from error
    if as_written:
        last = [run.last_checkpoint] if "last" in weights else []
        run.check_as_written(run.best_checkpoint, *last, run.series)
    forecaster.load_state_dict(weights["best"][0])
    forecaster.eval()
    used = datamodule if data_path is None else _other_data(cfg, datamodule, str(data_path))
    return LoadedRun(run, cfg, metrics, forecaster, datamodule, used, weights, reference)


def _best_checkpoint(run: RunDirectory) -> dict[str, Any]:
    """What best.ckpt holds; where it cannot be read, say from which other one it can be made."""
    try:
        return load_checkpoint(run.best_checkpoint)
    except RunError as error:
        found = newest_checkpoint(run)[0]
        if not found:
            raise
        raise RunError(f"{error}: python train.py resume={run.path} writes it again from {found.name}") from error


def _of_one(cfg: DictConfig, seed: int) -> DictConfig:
    """The config of one replica."""
    changed: DictConfig = cfg.copy()
    changed.seed = seed
    if "replicas" in changed:
        changed.replicas = 1
    return changed


def _weights(run: RunDirectory, checkpoint: dict[str, Any], metrics: dict[str, Any], replicas: int) -> Weights:
    """Of the best epochs, and of the last ones where these are others for any replica and still there.

    Raises:
        RunError: where a checkpoint holds another number of replicas.
    """
    epochs = metrics["epochs"]
    others = any(row["best"] != row["trained"] for row in epochs.get("replicas", [epochs]))
    last = load_checkpoint(run.last_checkpoint) if others and run.last_checkpoint.exists() else None
    if replicas == 1:
        found = {"best": checkpoint["state_dict"]} | ({"last": last["state_dict"]} if last else {})
        return {name: [state] for name, state in found.items()}
    found = {"best": checkpoint["state_dict"]} | ({"last": last.get("last")} if last else {})
    return {name: _unstacked(run, name, state, replicas) for name, state in found.items()}


def _unstacked(run: RunDirectory, name: str, stacked: Any, replicas: int) -> list[State]:
    """K state dicts of one whose tensors are (K, ...)."""
    tensors = list(stacked.values()) if isinstance(stacked, dict) else [None]
    if not all(isinstance(value, Tensor) and value.shape[:1] == (replicas,) for value in tensors):
        raise RunError(f"{run.path}: {name}.ckpt does not hold the weights of {replicas} replicas: was one replaced?")
    return [{key: value[number] for key, value in stacked.items()} for number in range(replicas)]


def _datamodule(cfg: DictConfig, **changes: Any) -> WindowDataModule:
    return build(plain(cfg.data) | changes, WindowDataModule, "data", shuffle_seed=cfg.seed)


def _check_transform(run: RunDirectory, checkpoint: dict[str, Any], datamodule: WindowDataModule) -> None:
    """Weights, config and series must be of one run."""
    about, fitted = checkpoint["unroll"], datamodule.transform.description
    numbers = [[step.get("offset"), step.get("scale")] for step in fitted]
    try:
        # runs from before there were chains say the numbers of their one word, and less of the shape
        known, now = (
            (about["transform"], fitted) if "transform" in about else ([[about["offset"], about["scale"]]], numbers)
        )
        before = dict(about["shape"])
        same = before.pop("season", datamodule.shape.season) == datamodule.shape.season
        same = same and json.dumps(known) == json.dumps(now)
        shape = {name: value for name, value in asdict(datamodule.shape).items() if name in before}
        shape_fits = "window_size" in shape and json.dumps(shape) == json.dumps(before)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.best_checkpoint} says nothing of its transform: it is no checkpoint of a run") from error
    if not shape_fits:
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
    own, given = (str(module.series.index.name).endswith(UTC) for module in (trained, other))
    if own != given:
        clocks = {True: "UTC", False: "the wall clock"}
        raise DataError(
            f"{path}: its dates lie on a grid in {clocks[given]}, and those that the run was trained on in "
            f"{clocks[own]}: write them in the same way, or train a run on this file"
        )
    steps = [_usual_step(module.series.index) for module in (trained, other)]
    if len(other.series.index) > 1 and not np.isclose(steps[0], steps[1], rtol=0.2):
        raise DataError(f"{path}: its rows lie in another rhythm than those that the run was trained on")
    return other


def _usual_step(index: pd.Index) -> float:
    """From one row to the next, in microseconds or steps."""
    numbers = index.as_unit("us").asi8 if isinstance(index, pd.DatetimeIndex) else index.to_numpy()
    return float(np.median(np.diff(numbers[-500:]))) if len(index) > 1 else float("nan")
