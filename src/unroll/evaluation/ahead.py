"""Forecasts many steps ahead from any row, and how far they may be off: conformal intervals by step."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unroll.data.future import check_all_known
from unroll.data.module import EVALUATION_ROWS, WindowDataModule
from unroll.data.series import FloatArray
from unroll.data.transforms import BEYOND
from unroll.data.windows import origins
from unroll.errors import ConfigError, DataError, RunError
from unroll.evaluation.conformal import MOST_ORIGINS, Calibration, Ends, calibrate, moved, windows_needed
from unroll.evaluation.made import State
from unroll.evaluation.paths import LEAST_PATHS, draw_paths, ends_of, middle, paths_for, sides
from unroll.models.forecaster import Forecaster
from unroll.models.heads.distribution import DistributionHead

SAMPLED_ORIGINS = 100  # to calibrate paths from, each of which costs a forecast a step


@dataclass(frozen=True)
class Ahead:
    """Forecasts from n rows, K replicas.

    Args:
        members: (K, n, steps) the points of each replica, in the series' units.
        point: (n, steps) of all together: the mean of points; of sampled paths their median, and of counts their mean.
        ends: (n, steps) lower and upper ends of intervals by level in percent, in scaled units, before any calibration;
            both are the point where there is no distribution.
    """

    members: FloatArray
    point: FloatArray
    ends: dict[float, Ends]


@dataclass(frozen=True)
class Intervals:
    """Prediction intervals of n steps, calibrated on the validation segment where it is long enough.

    Args:
        levels: in percent.
        calibration: by how much ends are moved, in scaled units.
        coverage: the share of test targets inside, by level; None where there is no test window of n steps.
        test_windows: how many windows that is found on.
    """

    levels: tuple[float, ...]
    calibration: Calibration
    coverage: dict[float, float] | None
    test_windows: int

    def ends(self, ahead: Ahead, datamodule: WindowDataModule, *, counts: bool = False) -> dict[float, Ends]:
        """(n, steps) lower and upper ends of each level, in the series' units; see `moved`."""
        still = np.zeros(ahead.point.shape[1])
        moves = {level: self.calibration.moves.get(level, still) for level in self.levels}
        return {level: moved(ahead.ends[level], by, datamodule.transform, counts=counts) for level, by in moves.items()}

    def lines(self, steps: int) -> list[str]:
        """What they are made from and what they are worth, for people."""
        many = f"{steps} steps" if steps > 1 else "1 step"
        lines = []
        if self.calibration.moves:
            lines.append(f"intervals: from {self.calibration.windows:,} validation windows of {many}")
        for level, why in self.calibration.missing.items():
            lines.append(f"the {level:g} % interval is that of the distribution, not calibrated: {why}")
        if self.coverage is None:
            found = f"no test window of {many} to find their coverage on"
        else:
            shares = ", ".join(f"{level:g} %: {share:.1%}" for level, share in self.coverage.items())
            found = f"coverage found on {self.test_windows:,} test windows: {shares}"
        return [f"{lines[0]}; {found}", *lines[1:]]


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
    made = []
    for state in states:
        forecaster.load_state_dict(state)
        for past, later in _windows(datamodule, rows, steps):
            made.append(forecaster.free_run(past, steps, **_columns(datamodule, later, steps)).double().cpu().numpy())
    forecast = datamodule.transform.invert_target(np.concatenate(made).reshape(len(states), len(rows), steps))
    return _finite(forecast)


def forecast_ahead(
    forecaster: Forecaster,
    states: Sequence[State],
    datamodule: WindowDataModule,
    rows: np.ndarray,
    steps: int,
    levels: Sequence[float] = (),
    *,
    seed: int,
    paths: int | None = None,
) -> Ahead:
    """As `forecast_from`, with the ends of intervals. Beyond the horizon distributions are sampled: see `draw_paths`.

    Args:
        forecaster, states, datamodule, rows, steps: see `forecast_from`.
        levels: of the intervals, in percent.
        seed: of the first replica's paths.
        paths: of each row, of all replicas together; None: as many as memory allows, at most 1000.
    """
    transform, head = datamodule.transform, forecaster.network.head
    if not isinstance(head, DistributionHead):
        members = forecast_from(forecaster, states, datamodule, rows, steps)
        point = members.mean(axis=0)
        scaled = transform.apply_target(point)
        return Ahead(members, point, dict.fromkeys(levels, (scaled, scaled)))
    parts: list[tuple[FloatArray, FloatArray, FloatArray]] = []  # members, points, and the quantiles of all ends
    asked = torch.tensor(sides(levels), dtype=torch.float64)
    many = paths or paths_for(len(rows), steps)
    copies = 1 if steps <= datamodule.horizon else many
    for past, later in _windows(datamodule, rows, steps, copies):
        known = _columns(datamodule, later, steps)
        if steps <= datamodule.horizon:
            params = [_distribution(forecaster, state, past, known)[:, :steps] for state in states]
            each = transform.invert_target(np.stack([head.point(one).double().numpy() for one in params]))
            quantiles = transform.invert_target(
                np.stack([head.quantiles(one, asked).double().numpy() for one in params])
            )
            parts.append((each, each.mean(axis=0), quantiles.mean(axis=0)))
            continue
        drawn = draw_paths(forecaster, states, transform, past, steps, paths=many, seed=seed, part=len(parts), **known)
        together = np.concatenate(drawn)  # (S, n, steps)
        each = np.stack([middle(one, counts=head.counts) for one in drawn])
        ends = ends_of(together, levels)
        found = [end for level in levels for end in ends[level]]
        quantiles = np.stack(found, axis=-1) if found else np.empty((*each.shape[1:], 0))
        parts.append((each, middle(together, counts=head.counts), quantiles))
    members = _finite(np.concatenate([each for each, _, _ in parts], axis=1))
    point = np.concatenate([one for _, one, _ in parts])
    scaled = transform.apply_target(np.concatenate([quantiles for _, _, quantiles in parts]))
    pairs = {level: (scaled[..., 2 * place], scaled[..., 2 * place + 1]) for place, level in enumerate(levels)}
    return Ahead(members, point, pairs)


@torch.inference_mode()
def _distribution(forecaster: Forecaster, state: State, past: Tensor, known: dict[str, Tensor]) -> Tensor:
    """(n, H, P) on the CPU."""
    forecaster.load_state_dict(state)
    forecaster.eval()
    weight = forecaster.real_weight
    future = known.get("future", weight.new_zeros(len(past), forecaster.network.shape.horizon, 0))
    return forecaster.network.distribution(past.to(weight), future.to(weight)).cpu()


def _windows(
    datamodule: WindowDataModule, rows: np.ndarray, steps: int, copies: int = 1
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The windows before some rows (n, W, F), so many at once as memory allows; and what is known of the rows that are
    forecast (n, steps in whole horizons, F), where anything is.

    Args:
        datamodule: after setup.
        rows: see `forecast_from`.
        steps: see `forecast_from`.
        copies: of each window that are forecast.

    Raises:
        DataError: where columns beside the target would have to be known and are not.
    """
    shape = datamodule.shape
    if steps > shape.horizon:
        check_all_known(datamodule.series, steps, shape.horizon)
    direct = -(-steps // shape.horizon) * shape.horizon  # the columns that are known ahead are read in whole horizons
    values = _continued(datamodule, int(rows.max(initial=0)) + direct) if shape.future_features else datamodule.values
    read = copies * (shape.window_size + (direct if shape.future_features else 0))
    for part in np.array_split(rows, min(len(rows), max(1, math.ceil(len(rows) * read / EVALUATION_ROWS)))):
        past = values[torch.from_numpy(part[:, None] - shape.window_size + np.arange(shape.window_size))]
        later = values[torch.from_numpy(part[:, None] + np.arange(direct))] if shape.future_features else None
        yield past, later


def _columns(datamodule: WindowDataModule, later: Tensor | None, steps: int) -> dict[str, Any]:
    """What Forecaster.free_run wants to know of the rows that it forecasts."""
    if later is None:
        return {}
    return {"future": later[:, :, list(datamodule.shape.future_columns)], "known": later[:, :steps, 1:]}


def _finite(forecast: FloatArray) -> FloatArray:
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
    forecaster: Forecaster,
    states: Sequence[State],
    datamodule: WindowDataModule,
    steps: int,
    levels: Sequence[float],
    *,
    seed: int = 0,
) -> Intervals:
    """Intervals from the validation windows, step by step, and their coverage on the test segment.

    Where a head makes a distribution, its intervals are calibrated if the validation segment is long enough, and left
    as they are if not; else there are none without a validation segment. See unroll.evaluation.conformal.

    Args:
        forecaster: the weights it has are replaced.
        states: of one network, or of replicas: then the intervals are those of all together.
        datamodule: of the series that was trained on.
        steps: how many steps ahead.
        levels: in percent, between 0 and 100.
        seed: see `forecast_ahead`.

    Raises:
        DataError: where the run has no validation segment, or too few windows in it for a level.
    """
    levels = tuple(sorted({float(f"{level:g}") for level in levels}))  # as they are named
    wrong = [level for level in levels if not 0 < level < 100]
    if wrong:
        raise ConfigError(f"levels: {wrong[0]:g} is no percentage between 0 and 100, such as 80 or 95")
    points = forecaster.network.points
    if not len(datamodule.segments.validation) and points:
        raise DataError(
            "this run has no validation segment (data.validation=0), so nothing can be said of its errors: train one "
            "with data.validation, or ask for no --levels"
        )
    transform = datamodule.transform
    seen, truth = _segment(forecaster, states, datamodule, "validation", steps, levels, seed)
    calibration = calibrate(seen.ends if seen else {}, transform.apply_target(truth))
    if points and (calibration.missing or seen is None):
        level = min(calibration.missing, default=levels[0])
        raise DataError(
            f"--levels {level:g}: {steps} steps ahead there are {calibration.windows} validation windows, and this "
            f"level needs at least {windows_needed(level)}: ask for a lower level or fewer steps"
        )
    if seen is None:
        why = f"no validation window of {steps} step{'s' if steps > 1 else ''}"
        calibration = Calibration({}, 0, dict.fromkeys(levels, why))
    found = Intervals(levels, calibration, None, 0)
    tested, truth = _segment(forecaster, states, datamodule, "test", steps, levels, seed)
    if tested is None:
        return found
    ends = found.ends(tested, datamodule)
    coverage = {level: float(((low <= truth) & (truth <= high)).mean()) for level, (low, high) in ends.items()}
    return Intervals(levels, calibration, coverage, len(truth))


def _segment(
    forecaster: Forecaster,
    states: Sequence[State],
    datamodule: WindowDataModule,
    segment: str,
    steps: int,
    levels: Sequence[float],
    seed: int,
) -> tuple[Ahead | None, FloatArray]:
    """Forecasts of the windows of a segment that hold so many steps, None where there are none, and the truth."""
    rows = getattr(datamodule.segments, segment)
    starts = origins(rows, datamodule.window_size, steps, 1, datamodule.filled, history=datamodule.history)
    beyond = datamodule.known_beyond
    if datamodule.shape.future_features and beyond is not None:  # what is read in whole horizons must be known too
        direct = -(-steps // datamodule.horizon) * datamodule.horizon
        starts = starts[starts + direct <= len(datamodule.series.values) + beyond]
    sampled = steps > datamodule.horizon and not forecaster.network.points
    most = SAMPLED_ORIGINS if sampled else MOST_ORIGINS
    starts = starts[:: max(1, math.ceil(len(starts) / most))]
    if not len(starts):
        return None, np.empty((0, steps))
    truth = datamodule.series.target[starts[:, None] + np.arange(steps)]
    return forecast_ahead(forecaster, states, datamodule, starts, steps, levels, seed=seed, paths=LEAST_PATHS), truth
