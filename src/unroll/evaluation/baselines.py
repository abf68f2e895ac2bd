"""Forecasts that need no training, and linear autoregression: what a model must beat to be worth its keep.

Each forecasts the same targets as the model, from rows before the origin only. n windows, H steps.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from unroll.data.series import FloatArray, is_constant

Rows = npt.NDArray[np.int64]
CHUNK = 2**21  # numbers at once, which bounds memory


def persistence(target: FloatArray, origins: Rows, horizon: int) -> FloatArray:
    """The last value, for every step.

    Args:
        target: (N,) the series.
        origins: (n,) first target rows.
        horizon: H.

    Returns:
        (n, H).
    """
    return np.repeat(target[origins - 1][:, None], horizon, axis=1)


def seasonal_naive(target: FloatArray, origins: Rows, horizon: int, season: int) -> FloatArray:
    """The value of the same phase in the last season that is known at the origin; see `persistence`.

    Source:
        Hyndman and Athanasopoulos, Forecasting: principles and practice (3rd ed.), section 5.2.
    """
    ahead = np.arange(horizon) % season
    return target[origins[:, None] - season + ahead]


def drift(target: FloatArray, origins: Rows, horizon: int) -> FloatArray:
    """The line through the first and the last known value, continued; see `persistence`.

    Source:
        Hyndman and Athanasopoulos, Forecasting: principles and practice (3rd ed.), section 5.2.
    """
    last = origins - 1
    slope = (target[last] - target[0]) / np.maximum(last, 1)
    return target[last][:, None] + slope[:, None] * np.arange(1, horizon + 1)


def least_squares(parts: Iterable[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """The weights that map inputs to targets with the least squared error; of many, those of least norm.

    The rows are reduced part by part to one triangular factor (QR), so memory does not grow with their number, and
    precision does not suffer as it would with normal equations.

    Args:
        parts: inputs (n, p) and targets (n, q), in any number of parts.

    Returns:
        (p, q).
    """
    factor: FloatArray | None = None
    inputs = 0
    for given, wanted in parts:
        inputs, rows = given.shape[1], np.hstack([given, wanted])
        factor = cast(FloatArray, np.linalg.qr(rows if factor is None else np.vstack([factor, rows]), mode="r"))
    assert factor is not None
    return cast(FloatArray, np.linalg.lstsq(factor[:, :inputs], factor[:, inputs:], rcond=None)[0])


class LinearAutoregression:
    """Least squares from all values of the window to all steps, fitted on the training windows: see `least_squares`.

    Args:
        values: (N, F) the series, in its own units.
        origins: (n,) first target rows of the training windows.
        window_size, horizon: W, H.
        columns: that are read, the target first; None: all.
    """

    def __init__(
        self, values: FloatArray, origins: Rows, window_size: int, horizon: int, columns: Sequence[int] | None = None
    ) -> None:
        self.window_size, self.horizon = window_size, horizon
        self.columns = list(range(values.shape[1])) if columns is None else list(columns)
        values = self._read(values)
        train = values[: origins[-1] + horizon]
        self.center = train.mean(axis=0)
        constant = np.array([is_constant(column) for column in train.T])  # to rounding, by which none may be divided
        self.spread = np.where(constant, 1.0, train.std(axis=0))  # conditions the system; it changes no forecast

        def parts() -> Iterator[tuple[FloatArray, FloatArray]]:
            for chunk in self._chunks(origins):
                targets = values[chunk[:, None] + np.arange(horizon), 0]
                yield self._inputs(values, chunk), (targets - self.center[0]) / self.spread[0]

        self.weights = least_squares(parts())

    def forecast(self, values: FloatArray, origins: Rows) -> FloatArray:
        """(n, H) in the series' units."""
        values = self._read(values)
        scaled = np.vstack([self._inputs(values, chunk) @ self.weights for chunk in self._chunks(origins)])
        return scaled * self.spread[0] + self.center[0]

    def free_run(self, rows: FloatArray) -> FloatArray:
        """Forecast many steps, each reading the forecasts before it; for horizon 1.

        Args:
            rows: (W + n, F) the history, then the rows to forecast, whose targets are not read.

        Returns:
            (n,) in the series' units.
        """
        rows, window = rows.copy(), self.window_size
        for row in range(window, len(rows)):
            rows[row, 0] = self.forecast(rows[row - window : row + 1], np.array([window]))[0, 0]
        return rows[window:, 0]

    def _read(self, values: FloatArray) -> FloatArray:
        return values if len(self.columns) == values.shape[1] else values[:, self.columns]

    def _chunks(self, origins: Rows) -> list[Rows]:
        inputs = self.window_size * len(self.center) + 1
        size = max(inputs, CHUNK // inputs)  # smaller ones would cost the factor of all before them each time
        return [origins[begin : begin + size] for begin in range(0, len(origins), size)]

    def _inputs(self, values: FloatArray, origins: Rows) -> FloatArray:
        """(n, W * F + 1) the scaled window and a constant."""
        windows = np.lib.stride_tricks.sliding_window_view(values, self.window_size, axis=0)  # (N - W + 1, F, W)
        chosen = windows[origins - self.window_size]
        scaled = (chosen - self.center[:, None]) / self.spread[:, None]
        return np.hstack([scaled.reshape(len(origins), -1), np.ones((len(origins), 1))])


def baselines(
    values: FloatArray, regression: LinearAutoregression, origins: Rows, season: int | None
) -> dict[str, FloatArray]:
    """All baselines on the same windows.

    Args:
        values: (N, F) the series in its own units; the target is column 0.
        regression: fitted on the training windows; it says H.
        origins: (n,) origins to forecast from.
        season: rows in one season; None or 1, or one longer than the history: no seasonal naive.

    Returns:
        (n, H) by name.
    """
    target, horizon = values[:, 0], regression.horizon
    found = {"persistence": persistence(target, origins, horizon)}
    if season and 1 < season <= origins[0]:
        found[f"seasonal naive ({season})"] = seasonal_naive(target, origins, horizon, season)
    found["drift"] = drift(target, origins, horizon)
    found["linear autoregression"] = regression.forecast(values, origins)
    return found
