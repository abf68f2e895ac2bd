"""Forecasts many steps ahead from any row, and how far they may be off: split-conformal intervals by step."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unroll.data.future import check_all_known
from unroll.data.module import EVALUATION_ROWS, WindowDataModule
from unroll.data.series import FloatArray
from unroll.data.transforms import BEYOND
from unroll.data.windows import origins
from unroll.errors import ConfigError, DataError, RunError
from unroll.evaluation.evaluate import State
from unroll.models.forecaster import Forecaster

MOST_ORIGINS = 2000  # to calibrate from; more, evenly thinned, say the same


@dataclass(frozen=True)
class Intervals:
    """Half-widths of prediction intervals, in the series' units, n steps.

    Args:
        half: (n,) by level in percent.
        windows: how many validation windows they are calibrated on.
        coverage: the share of test targets inside, by level; None where there is no test window of n steps.
        test_windows: how many windows that is found on.
    """

    half: dict[float, FloatArray]
    windows: int
    coverage: dict[float, float] | None
    test_windows: int

    def lines(self, steps: int) -> list[str]:
        """What they are made from and what they are worth, for people."""
        many = f"{steps} steps" if steps > 1 else "1 step"
        made = f"intervals: from {self.windows:,} validation windows of {many}"
        if self.coverage is None:
            return [f"{made}; no test window of {many} to find their coverage on"]
        found = ", ".join(f"{level:g} %: {share:.1%}" for level, share in self.coverage.items())
        return [f"{made}; coverage found on {self.test_windows:,} test windows: {found}"]


def forecast_from(
    forecaster: Forecaster, states: Sequence[State], datamodule: WindowDataModule, rows: np.ndarray, steps: int
) -> FloatArray:
    """Forecast from several rows: directly up to the horizon, then reading the forecasts before.

    Args:
        forecaster: on any device; the weights it has are replaced.
        states: of K replicas; each reads its own forecasts.
        datamodule: after setup.
        rows: (n,) the first row of each forecast; the one after the last row of the series is allowed.
        steps: how many.

    Returns:
        (K, n, steps) in the series' units.

    Raises:
        DataError: where columns beside the target would have to be known and are not.
        RunError: where a forecast is not a finite number.
    """
    shape, transform = datamodule.shape, datamodule.transform
    if steps > shape.horizon:
        check_all_known(datamodule.series, steps, shape.horizon)
    direct = -(-steps // shape.horizon) * shape.horizon  # the columns that are known ahead are read in whole horizons
    values = _continued(datamodule, int(rows.max(initial=0)) + direct) if shape.future_features else datamodule.values
    read = shape.window_size + (direct if shape.future_features else 0)
    parts = np.array_split(rows, max(1, math.ceil(len(rows) * read / EVALUATION_ROWS)))
    made = []
    for state in states:
        forecaster.load_state_dict(state)
        for part in parts:
            past = values[torch.from_numpy(part[:, None] - shape.window_size + np.arange(shape.window_size))]
            known: dict[str, Tensor] = {}
            if shape.future_features:
                later = values[torch.from_numpy(part[:, None] + np.arange(direct))]  # (n, direct, F)
                known = {"future": later[:, :, list(shape.future_columns)], "known": later[:, :steps, 1:]}
            made.append(forecaster.free_run(past, steps, **known).double().cpu().numpy())
    forecast = transform.invert_target(np.concatenate(made).reshape(len(states), len(rows), steps))
    if not (np.abs(forecast) < BEYOND).all():
        raise RunError("the weights forecast numbers that are not finite: the run is damaged, or did not learn")
    return forecast


def _continued(datamodule: WindowDataModule, rows: int) -> Tensor:
    """(rows, F) scaled: the series, and behind it what is known of the rows after its end. What is not is NaN."""
    missing = rows - len(datamodule.values)
    if missing <= 0:
        return datamodule.values
    ahead = np.full((missing, datamodule.shape.features), np.nan)
    ahead[:, list(datamodule.shape.future_columns)] = datamodule.known_future(missing)
    return torch.cat([datamodule.values, torch.from_numpy(datamodule.transform.apply(ahead)).float()])


def intervals(
    forecaster: Forecaster, states: Sequence[State], datamodule: WindowDataModule, steps: int, levels: Sequence[float]
) -> Intervals:
    """Split-conformal intervals from the validation residuals, step by step, and their coverage on the test segment.

    Neighbouring windows overlap, so the guarantee for exchangeable data does not hold to the letter; the coverage found
    on the test segment says what it is worth.

    Args:
        forecaster: the weights it has are replaced.
        states: of one network, or of replicas: then the intervals are those of their mean.
        datamodule: of the series that was trained on.
        steps: how many steps ahead.
        levels: in percent, between 0 and 100.

    Source:
        Papadopoulos et al. (2002), Inductive confidence machines for regression; Lei et al. (2018),
        Distribution-free predictive inference for regression, algorithm 2.

    Raises:
        DataError: where the run has no validation segment, or too few windows in it for a level.
    """
    levels = sorted({float(f"{level:g}") for level in levels})  # as they are named
    wrong = [level for level in levels if not 0 < level < 100]
    if wrong:
        raise ConfigError(f"levels: {wrong[0]:g} is no percentage between 0 and 100, such as 80 or 95")
    if not len(datamodule.segments.validation):
        raise DataError(
            "this run has no validation segment (data.validation=0), so nothing can be said of its errors: train one "
            "with data.validation, or ask for no --levels"
        )
    errors = _absolute_errors(forecaster, states, datamodule, "validation", steps)
    count = len(errors)
    half: dict[float, FloatArray] = {}
    ordered = np.sort(errors, axis=0)
    for level in levels:
        rank = math.ceil((count + 1) * level / 100)
        if rank > count:
            enough = (n for n in itertools.count(count + 1) if math.ceil((n + 1) * level / 100) <= n)
            needed = next(enough)
            raise DataError(
                f"--levels {level:g}: {steps} steps ahead there are {count} validation windows, and this level needs "
                f"at least {needed}: ask for a lower level or fewer steps"
            )
        half[level] = ordered[rank - 1]
    found = _absolute_errors(forecaster, states, datamodule, "test", steps)
    coverage = {level: float((found <= width).mean()) for level, width in half.items()} if len(found) else None
    return Intervals(half, count, coverage, len(found))


def _absolute_errors(
    forecaster: Forecaster, states: Sequence[State], datamodule: WindowDataModule, segment: str, steps: int
) -> FloatArray:
    """(n, steps) of all windows of a segment that hold so many steps."""
    rows = getattr(datamodule.segments, segment)
    starts = origins(rows, datamodule.window_size, steps, 1, datamodule.filled, history=datamodule.history)
    beyond = datamodule.known_beyond
    if datamodule.shape.future_features and beyond is not None:  # what is read in whole horizons must be known too
        direct = -(-steps // datamodule.horizon) * datamodule.horizon
        starts = starts[starts + direct <= len(datamodule.series.values) + beyond]
    starts = starts[:: max(1, math.ceil(len(starts) / MOST_ORIGINS))]
    if not len(starts):
        return np.empty((0, steps))
    truth = datamodule.series.target[starts[:, None] + np.arange(steps)]
    made = forecast_from(forecaster, states, datamodule, starts, steps).mean(axis=0)
    return np.asarray(np.abs(made - truth))
