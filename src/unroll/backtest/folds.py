"""Origins and folds: which rows are forecast from where, and by which training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from omegaconf import DictConfig

from unroll.backtest.options import Options
from unroll.config import plain
from unroll.data.module import WindowDataModule
from unroll.data.series import Series, until
from unroll.data.windows import origins
from unroll.errors import ConfigError, DataError
from unroll.targets import build


@dataclass(frozen=True, eq=False)  # a dictionary has no hash
class Fold:
    """One training, and the origins that it forecasts from.

    Args:
        number: from 1.
        config: of its run.
        overrides: as they would be typed, for the record.
        origins: (n,) first target rows; the training knows no row from the first of them on.
        label: of the first origin.
    """

    number: int
    config: dict[str, Any]
    overrides: tuple[str, ...]
    origins: npt.NDArray[np.int64]
    label: str

    @property
    def name(self) -> str:
        """For people."""
        return f"fold {self.number}, from {self.label}"

    @property
    def work(self) -> float:
        """In proportion to the rows that are trained on, and roughly in seconds."""
        return float(self.origins[0]) / 50


@dataclass(frozen=True)
class Plan:
    """All folds of a backtest.

    Args:
        series: with NaN where values are missing.
        first: the first row that may be forecast.
        folds: in the order of time.
        notes: what is to be said of them.
    """

    series: Series
    first: int
    folds: Sequence[Fold]
    notes: Sequence[str]


def plan_folds(cfg: DictConfig, options: Options, folder: Path) -> Plan:
    """Load the series, choose origins and folds, and see whether the first fold has enough to train on.

    Args:
        cfg: of all folds.
        options: checked.
        folder: for the runs.

    Raises:
        ConfigError, DataError: a mistake in the options or the data, in one line.
    """
    datamodule = build(plain(cfg.data), WindowDataModule, "data", shuffle_seed=cfg.seed)
    series = datamodule.load()
    series = series if datamodule.end is None else until(series, datamodule.end)
    series.check()
    count, horizon = len(series.values), datamodule.horizon
    rows, asked = _rows(cfg, options, count)
    if horizon > rows:
        raise ConfigError(
            f"data.horizon={horizon} is longer than the {rows} rows to forecast ({asked}): raise --rows, or lower "
            "data.horizon"
        )
    first = count - rows
    missing = np.isnan(series.target)
    starts = origins(range(first, count), 0, horizon, options.step, missing)
    if not len(starts):
        raise DataError(f"series {series.title}: none of the last {rows} rows begins {horizon} rows with a value")
    groups = (starts - first) // options.refit if options.refit else np.zeros_like(starts)
    folds = []
    for number, group in enumerate(np.unique(groups).tolist(), 1):
        chosen = starts[groups == group]
        changes = _changes(cfg, count, int(chosen[0]), int(chosen[-1]) + horizon)
        config = plain(cfg) | {"output_dir": str(folder)}
        config["data"] = config["data"] | changes
        words = tuple(f"data.{key}={str(value).lower()}" for key, value in changes.items())
        folds.append(Fold(number, config, (*options.overrides, *words), chosen, series.label(int(chosen[0]))))
    _check_history(folds[0], series, asked)
    return Plan(series, first, folds, _notes(cfg, rows, horizon, options.step, missing[first:], len(starts)))


def _rows(cfg: DictConfig, options: Options, count: int) -> tuple[int, str]:
    """How many rows are forecast, and who asked for it."""
    if options.rows is None:
        test = cfg.data.test
        rows = round(test * count) if isinstance(test, float) else int(test)
        asked = f"data.test={test}"
    else:
        rows, asked = options.rows, f"--rows {options.rows}"
    if not 0 < rows < count - cfg.data.window_size:
        raise ConfigError(
            f"{asked}: the series has {count} rows, and the first fold needs more than data.window_size = "
            f"{cfg.data.window_size} of them before the first origin: "
            + ("lower --rows" if rows > 0 else "give --rows N")
        )
    return rows, asked


def _changes(cfg: DictConfig, count: int, first: int, end: int) -> dict[str, Any]:
    """What a fold's data have of their own: they end with its last target, and its first origin begins the test.

    A validation segment that is a fraction is as large beside the training segment as the config makes it on the whole
    series, however few rows are left to test.

    Args:
        cfg: of all folds.
        count: rows of the series.
        first: the first target row.
        end: the row after the last one.
    """
    before, size = first, end - first
    if cfg.data.get("order") == "window_then_split":  # counted in windows, of which the first must not begin later
        begins = origins(range(end), cfg.data.window_size, cfg.data.horizon, cfg.data.stride)
        before = int(np.searchsorted(begins, first, side="right")) - 1
        size = len(begins) - before
    validation, test = cfg.data.validation, cfg.data.test
    if isinstance(validation, float):
        tested = test if isinstance(test, float) else min(test / count, 1 - validation)
        validation = round(before * min(1.0, validation / (1 - tested)))
    return {"end": end, "validation": validation, "test": size, "history": True}


def _check_history(fold: Fold, series: Series, asked: str) -> None:
    """The first fold has the fewest rows: what it can be trained on, the others can.

    Raises:
        DataError, ConfigError: why it cannot.
    """
    datamodule = build(fold.config["data"], WindowDataModule, "data", shuffle_seed=0)
    datamodule.loaded = until(series, fold.config["data"]["end"])
    try:
        datamodule.setup()
    except DataError as error:
        raise DataError(f"{asked} leaves {fold.origins[0]} rows before the first origin: {error}") from error


def _notes(
    cfg: DictConfig, rows: int, horizon: int, step: int, missing: npt.NDArray[np.bool_], count: int
) -> list[str]:
    """What is other than in a training of the same config."""
    notes = []
    every = len(range(0, rows - horizon + 1, step))
    if count < every:
        notes.append(f"{every - count} of {every} origins are left away: a target has no value ({missing.sum()} rows)")
    if cfg.data.get("history", True) is False:
        notes.append("data.history=true, other than the config says: a forecast reads what is known at its origin")
    if cfg.trainer.get("fast_dev_run"):
        notes.append("trainer.fast_dev_run=true: each model saw one batch, and its scores mean nothing")
    return notes
