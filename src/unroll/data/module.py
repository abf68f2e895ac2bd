"""The LightningDataModule under every data set: load, split by time, fit the transform, cut windows."""

from collections.abc import Sequence
from typing import TypedDict

import lightning as L
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from unroll.config import check_arguments, check_inputs, check_order
from unroll.data.calendar import RECENT, continued
from unroll.data.files import shown
from unroll.data.fitted import Fitted
from unroll.data.future import check_all_known, known_after_the_end, known_rows
from unroll.data.known import Calendar, plan_calendar, with_calendar
from unroll.data.series import FloatArray, Series, fill_missing, is_constant, until
from unroll.data.transforms import Transform, check_logarithms, fit_transform, scaled, window_words
from unroll.data.windows import Batch, Segments, WindowLoader, Windows, WindowShape, origins, split, split_windows
from unroll.errors import ConfigError, DataError

EVALUATION_ROWS = 32_768  # of all windows of a batch where nothing is learned: bounds memory, whatever W


class Windowing(TypedDict, total=False):
    """The arguments that every data set shares, explained in WindowDataModule."""

    window_size: int
    horizon: int
    stride: int
    batch_size: int | None
    shuffle: bool
    shuffle_seed: int
    order: str
    history: bool
    validation: int | float
    test: int | float
    transform: str | Sequence[str]
    calendar: str | Sequence[str]
    calendar_encoding: str
    holidays: str | None
    seasonal_period: int | None
    end: int | str | None


class WindowDataModule(L.LightningDataModule):
    """A series, its segments, and loaders of their windows. A data set subclasses it and defines `load`.

    Args:
        window_size: W, rows that the model reads.
        horizon: H, rows that it forecasts.
        stride: rows from one window to the next, in every segment.
        batch_size: B, windows in a training step; None: all of them in one.
        shuffle: draw a new order of the training windows each epoch.
        shuffle_seed: the seed of these orders.
        order: split_then_window | window_then_split: whether rows are split into segments and each segment's windows
            are cut then, or the windows of the whole series are split. The README says which source does what.
        history: whether the windows of validation and test may read rows from before their segment.
        validation, test: the size of the segments, as a fraction of the rows (0.15) or a count (32), or of the windows
            where these are split; may be 0.
        transform: a word or several, in order (unroll.data.transforms); fitted on the training segment.
        calendar: features of each row's date that become columns known ahead (unroll.data.known), or `auto`: what fits
            the step of the dates.
        calendar_encoding: one_hot | cyclic.
        holidays: for the feature holiday: a country such as DE, or a column of the data that is 0 or 1; None: none.
        seasonal_period: rows in one season, for the seasonal baseline and MASE; None: what the dates suggest.
        end: a count of rows or a date (ISO 8601), after which rows are left away before all else; None: none are.

    After `setup`, `series`, `segments`, `transform`, `values` and `shape` are there.
    """

    missing = "error"
    """What to do with missing values; data sets that read files make it an argument."""
    timezone: str | None = None
    """Of the place where dates that are UTC were taken; data sets that read files make it an argument."""

    def __init__(
        self,
        *,
        window_size: int,
        horizon: int = 1,
        stride: int = 1,
        batch_size: int | None = 32,
        shuffle: bool = True,
        shuffle_seed: int = 0,
        order: str = "split_then_window",
        history: bool = True,
        validation: int | float = 0.15,
        test: int | float = 0.15,
        transform: str | Sequence[str] = "standard",
        calendar: str | Sequence[str] = (),
        calendar_encoding: str = "one_hot",
        holidays: str | None = None,
        seasonal_period: int | None = None,
        end: int | str | None = None,
    ) -> None:
        super().__init__()
        check_arguments(window_size=window_size, horizon=horizon, stride=stride, batch_size=batch_size)
        check_arguments(shuffle=shuffle, validation=validation, test=test, transform=transform)
        check_arguments(seasonal_period=seasonal_period, order=order, history=history, end=end)
        check_arguments(calendar=calendar, calendar_encoding=calendar_encoding, holidays=holidays)
        check_order(order, history)
        check_inputs(transform, calendar, holidays)
        self.window_size, self.horizon, self.stride, self.batch_size = window_size, horizon, stride, batch_size
        self.shuffle, self.shuffle_seed = shuffle, shuffle_seed
        self.order, self.history = order, history
        self.validation, self.test = validation, test
        self.transform_kind, self.asked_period, self.end = transform, seasonal_period, end
        self.calendar_words, self.calendar_encoding, self.holidays = calendar, calendar_encoding, holidays
        self._copies: dict[torch.device, Tensor] = {}
        self.loaded: Series | None = None  # as the source gave it; set it to use a stored series
        self.fitted_before: Fitted | None = None  # set it to use what was fitted on other data
        self.replica_seeds: list[int] | None = None  # set it to get a batch a replica, each in the order of its seed

    def load(self) -> Series:
        """Make or read the series; values that are missing are NaN."""
        raise NotImplementedError(f"{type(self).__name__} must define load() -> Series")

    def setup(self, stage: str | None = None) -> None:
        """Load and validate, split by time, fill, fit the transform on the training segment, cut windows.

        Raises:
            DataError: where the series is too short, constant, or has values missing.
        """
        if hasattr(self, "series"):
            return
        if self.loaded is None:
            self.loaded = self.load()
            if self.end is not None and not self.fitted_before:  # other data go on from where the run's own end
                self.loaded = until(self.loaded, self.end)
        self.loaded.check()
        segments = (
            self.fitted_before.segments(self.loaded.index)
            if self.fitted_before
            else self._split(len(self.loaded.values))
        )
        series, filled = fill_missing(self.loaded, self.missing, segments.train.stop)
        self.filled: npt.NDArray[np.bool_] = filled[:, 0]  # rows whose target was made up: read, never scored
        self.calendar: Calendar = (
            self.fitted_before.calendar
            if self.fitted_before
            else plan_calendar(
                series, self.calendar_words, self.calendar_encoding, self.holidays, timezone=self.timezone
            )
        )
        series = with_calendar(series, self.calendar)
        train = series.values[segments.train.start : segments.train.stop]
        self._origins = {
            name: origins(
                segment,
                self.window_size,
                self.horizon,
                self.stride,
                self.filled,
                history=self.history or name == "train",
            )
            for name, segment in segments._asdict().items()
        }
        if self.missing == "interpolate":  # a line that ends in the first target would tell it to the model
            found = self._origins["train"]
            made_up: npt.NDArray[np.bool_] = np.asarray(filled.any(axis=1))
            self._origins["train"] = found[~made_up[found - 1]]
        if not self.fitted_before:
            self._check_fit(series, segments, train)
        self.segments: Segments = segments
        target = f"series {series.name}: column {shown(series.columns[0])}"
        made = [series.columns.index(name) for name in self.calendar.columns]
        self.transform: Transform = (
            self.fitted_before.transform
            if self.fitted_before
            else fit_transform(self.transform_kind, train, made, name=target, label=series.label)
        )
        check_logarithms(self.transform, series.values, target, series.label)
        self.values: Tensor = scaled(series, self.transform)  # (N, F) float32
        self._future_columns = [series.columns.index(column) for column in series.known_ahead]
        self.series: Series = series
        self.shape = self._make_shape()

    def _make_shape(self) -> WindowShape:
        """The shape, where the window is long enough for what is done inside of it.

        Raises:
            ConfigError: where it is not, or a season is needed and there is none.
        """
        words = window_words(self.transform_kind)
        season = self.fitted_before.season if self.fitted_before else self.seasonal_period
        if "seasonal_difference" in words and (season or 0) < 2:
            raise ConfigError(
                "data.transform: seasonal_difference needs a season, and the series suggests none (that is shorter "
                "than the training segment): set data.seasonal_period to its rows, or take seasonal_difference out"
            )
        shape = WindowShape(
            self.window_size,
            self.horizon,
            self.series.values.shape[1],
            len(self._future_columns),
            season,
            words,
            tuple(self._future_columns),
        )
        if shape.lost_rows >= self.window_size:
            raise ConfigError(
                f"data.window_size={self.window_size}: differencing ({', '.join(words)}) takes {shape.lost_rows} rows "
                f"of each window and leaves none: set data.window_size to at least {shape.lost_rows + 1}"
            )
        return shape

    def future_index(self, steps: int) -> pd.Index:
        """(steps,) the labels after the end."""
        like = self.fitted_before.rhythm if self.fitted_before else None
        return continued(self.series.index, steps, like)

    @property
    def known_beyond(self) -> int | None:
        """How many rows after the end all columns that are known ahead are known for; None: any number."""
        return known_rows(self.series, self.calendar)

    def known_future(self, steps: int) -> FloatArray:
        """(steps, C) the columns known ahead in the rows after the end, in the series' units.

        Raises:
            DataError: where the data give too few rows.
        """
        return known_after_the_end(self.series, self.calendar, self.future_index(steps), self.horizon)

    def future_rows(self, steps: int) -> FloatArray:
        """(steps, F - 1) all columns beside the target in the rows after the end, in the series' units.

        Raises:
            DataError: where one is not known ahead, or the data give too few rows.
        """
        check_all_known(self.series, steps)
        order = [self.series.known_ahead.index(name) for name in self.series.columns[1:]]
        return self.known_future(steps)[:, order]

    def _check_fit(self, series: Series, segments: Segments, train: FloatArray) -> None:
        """Whether there is enough to train on, and something to learn."""
        self._check_lengths(series, segments)
        if is_constant(train[:, 0]):
            raise DataError(
                f"series {series.name}: column {shown(series.columns[0])} is constant ({train[0, 0]:g}) in the "
                f"{len(train)} rows of the training segment: there is nothing to learn"
            )
        if self.asked_period and self.asked_period >= len(train):
            raise ConfigError(
                f"data.seasonal_period={self.asked_period} is not shorter than the {len(train)} rows of the training "
                "segment: lower it, or set it to null"
            )

    @property
    def fitted(self) -> Fitted:
        """What was taken from the training segment, for other data."""
        begins = [part.start if len(part) else None for part in (self.segments.validation, self.segments.test)]
        index = self.series.index
        validation, test = (None if begin is None else index[begin] for begin in begins)
        rhythm, season = index[-RECENT:], self.shape.season
        return Fitted(self.transform, self.calendar, season, rhythm, index[0], index[-1], validation, test, index.name)

    @property
    def seasonal_period(self) -> int | None:
        """Rows in one season: from the config, else what the series suggests and the training segment holds."""
        suggested = self.series.season
        return self.asked_period or (suggested if suggested and suggested < len(self.segments.train) else None)

    def origins(self, segment: str) -> npt.NDArray[np.int64]:
        """(n,) the first target row of each window of a segment: train, validation or test."""
        return self._origins[segment]

    def choose(self, name: str, rows: npt.NDArray[np.int64]) -> None:
        """Name windows by their first target rows, to be evaluated as those of a segment are."""
        self._origins[name] = rows

    def targets(self, segment: str) -> FloatArray:
        """(n, H) the true values of a segment's windows, in the series' units."""
        return self.series.target[self._origins[segment][:, None] + np.arange(self.horizon)]

    def loader(
        self, segment: str, device: torch.device | str = "cpu", *, train: bool = False, every: int = 1
    ) -> WindowLoader:
        """Batches of a segment's windows, or of each so-manieth, on a device: in training order and size, or in time
        order and large.
        """
        values = self._resident(torch.device(device))
        begins = torch.from_numpy(self._origins[segment][::every]).to(device)
        windows = Windows(values, begins, self.window_size, self.horizon, self._future_columns)
        if train:
            seeds = self.shuffle_seed if self.replica_seeds is None else self.replica_seeds
            return WindowLoader(windows, self.batch_size or len(windows), shuffle=self.shuffle, seeds=seeds)
        return WindowLoader(windows, max(1, EVALUATION_ROWS // self.window_size))

    def train_dataloader(self) -> WindowLoader:
        """Training batches, resident on the trainer's device."""
        return self.loader("train", self._device(), train=True)

    def val_dataloader(self) -> WindowLoader | list[WindowLoader]:
        """Validation batches, smaller for many replicas; no loader where the validation segment is empty."""
        if not len(self.segments.validation):
            return []
        loader = self.loader("validation", self._device())
        if self.replica_seeds:
            rows = min(EVALUATION_ROWS, 4 * EVALUATION_ROWS // len(self.replica_seeds))
            loader.batch_size = max(1, rows // self.window_size)
        return loader

    def test_dataloader(self) -> WindowLoader | list[WindowLoader]:
        """Test batches; no loader where the test segment is empty."""
        return self.loader("test", self._device()) if len(self.segments.test) else []

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Batches are gathered where they are used, so there is nothing to copy."""
        return batch

    def formula(self, t: FloatArray) -> FloatArray:
        """(n,) the target at any t, without noise, where the series is a formula; data sets define it that have one."""
        raise ConfigError(
            "free_run.step: this series is known at its own rows only: set free_run.step=null, or use data=sine or "
            "data=trend"
        )

    def _split(self, rows: int) -> Segments:
        """The segments, in rows."""
        if self.order == "split_then_window":
            return split(rows, self.validation, self.test)
        sizes = {"window_size": self.window_size, "horizon": self.horizon, "stride": self.stride}
        return split_windows(rows, self.validation, self.test, **sizes)

    def _resident(self, device: torch.device) -> Tensor:
        """The values on a device, copied there once."""
        if device not in self._copies:
            self._copies[device] = self.values.to(device)
        return self._copies[device]

    def _device(self) -> torch.device | str:
        return self.trainer.strategy.root_device if self.trainer else "cpu"

    def _check_lengths(self, series: Series, segments: Segments) -> None:
        """Every segment that is not empty must hold a window, and the test segment must not be so by rounding."""
        if self.test and not len(segments.test):
            raise DataError(
                f"series {series.title} is too short: data.test={self.test} of it is not one window: raise data.test, "
                "give it as a count, or lower data.stride"
            )
        sizes = {name: len(segment) for name, segment in segments._asdict().items()}
        for name, size in sizes.items():
            if (size == 0 and name != "train") or len(self._origins[name]):
                continue
            needs = f"at least horizon = {self.horizon}"
            if name == "train" or not self.history:
                needs = f"at least window_size + horizon = {self.window_size} + {self.horizon}"
            first = segments._asdict()[name].start
            if name != "train" and self.history and first < self.window_size:
                needs += f", and window_size = {self.window_size} rows before it"
            parts = ", ".join(f"{part} {rows}" for part, rows in sizes.items())
            raise DataError(
                f"series {series.title} is too short: {sum(sizes.values())} rows are split into {parts}; the {name} "
                f"segment needs {needs} rows (filled rows do not count): lower data.window_size or data.horizon, or "
                "change data.validation and data.test"
            )
