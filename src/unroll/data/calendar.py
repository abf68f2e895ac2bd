"""The regular grid that dates lie on: its step, the dates missing from it, the season it suggests."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from unroll.data.series import named_rows
from unroll.errors import DataError

DAY = 86_400_000_000  # microseconds
HEADER_ROWS = 1  # row numbers in messages count as a text editor does: the header is row 1


@dataclass(frozen=True)
class Grid:
    """The dates that a regular series would have.

    Args:
        positions: (N,) where in the grid each row of the series stands.
        step: in words, such as "daily".
        season: rows in one season (7 for days, 24 for hours, 12 for months), where there is a usual one.
        make_index: makes all dates of the grid, from the first to the last of the series.
    """

    positions: npt.NDArray[np.int64]
    step: str
    season: int | None
    make_index: Callable[[], pd.DatetimeIndex]

    @property
    def rows(self) -> int:
        """How many dates the grid has."""
        return int(self.positions[-1]) + 1


def check_order(dates: pd.DatetimeIndex, column: str) -> None:
    """Raise DataError at the first date that is earlier than, or the same as, the one before it."""
    steps = np.diff(dates.asi8)
    if (steps > 0).all():
        return
    at = int(np.argmax(steps <= 0))
    row = at + 2 + HEADER_ROWS
    if steps[at] == 0:
        raise DataError(
            f"column {column}: {show(dates[at])} stands twice, in rows {row - 1} and {row}: keep one row a date"
        )
    raise DataError(
        f"column {column}: dates are not sorted, row {row} ({show(dates[at + 1])}) is earlier than row {row - 1} "
        f"({show(dates[at])}): sort the file by {column}"
    )


def find_grid(dates: pd.DatetimeIndex, column: str) -> Grid:
    """The regular grid under increasing dates: a fixed step, working days, or whole months.

    Raises:
        DataError: where the dates lie on no such grid, or on one that is mostly holes.
    """
    stamps = dates.asi8
    if len(stamps) < 3:
        return Grid(np.arange(len(stamps)), "irregular", None, lambda: dates)
    steps = np.diff(stamps)
    if (steps == steps[0]).all():
        return Grid(np.arange(len(stamps)), *_describe(int(steps[0])), lambda: dates)
    usual = _most_common(steps)
    grid = _business_days(dates, usual) or _fixed_step(dates, usual) or _months(dates)
    if grid is None:
        odd = dates.day != _most_common(np.asarray(dates.day)) if usual >= 28 * DAY else np.append(0, steps % usual) != 0
        at = int(np.argmax(odd))
        raise DataError(
            f"column {column}: dates are irregular, row {at + 1 + HEADER_ROWS} ({show(dates[at])}) does not follow "
            f"the usual step of {_describe(usual)[0]}: resample the file to a regular step"
        )
    if grid.rows > 2 * len(dates):
        raise DataError(
            f"column {column}: {len(dates)} dates from {show(dates[0])} to {show(dates[-1])} leave more than half "
            f"of the {grid.step} grid empty: a mistyped date, or a file to resample"
        )
    return grid


def gaps(dates: pd.DatetimeIndex, grid: Grid) -> str:
    """The grid's missing dates in words, or nothing: `2 missing after row 10 (2018-03-23)`."""
    jumps = np.flatnonzero(np.diff(grid.positions) > 1)
    labels = (
        f"{grid.positions[at + 1] - grid.positions[at] - 1} missing after row {at + 1 + HEADER_ROWS} "
        f"({show(dates[at])})"
        for at in jumps
    )
    return named_rows(labels, len(jumps))


def show(date: pd.Timestamp) -> str:
    """A date without an empty time of day."""
    return str(date).removesuffix(" 00:00:00")


def _describe(step: int) -> tuple[str, int | None]:
    """A fixed step in words and the season it suggests."""
    if step == DAY:
        return "daily", 7
    if step == 7 * DAY:
        return "weekly", 52
    if step < DAY and DAY % step == 0:
        return f"{pd.Timedelta(step, 'us')}".removeprefix("0 days "), DAY // step
    return str(pd.Timedelta(step, "us")), None


def _most_common(values: npt.NDArray[np.integer]) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[np.argmax(counts)])


def _fixed_step(dates: pd.DatetimeIndex, step: int) -> Grid | None:
    since = dates.asi8 - dates.asi8[0]
    if (since % step).any():
        return None
    positions = since // step

    def make_index() -> pd.DatetimeIndex:
        stamps = dates.asi8[0] + step * np.arange(positions[-1] + 1)
        return pd.DatetimeIndex(stamps.astype("datetime64[us]"), name=dates.name)

    return Grid(positions, *_describe(step), make_index)


def _business_days(dates: pd.DatetimeIndex, step: int) -> Grid | None:
    """Working days: daily dates of which none falls on a weekend, over more than one week."""
    long_enough = (dates[-1] - dates[0]).days >= 10
    if step != DAY or not long_enough or (dates.dayofweek >= 5).any() or (dates != dates.normalize()).any():
        return None
    index = pd.DatetimeIndex(pd.bdate_range(dates[0], dates[-1], name=dates.name).as_unit("us"), freq=None)
    return Grid(index.get_indexer(dates).astype(np.int64), "business-day", 5, lambda: index)


def _months(dates: pd.DatetimeIndex) -> Grid | None:
    """Whole months (also quarters and years): the same day of each month, or each month's last day."""
    same_day = bool((dates.day == dates.day[0]).all())
    if not (same_day or dates.is_month_end.all()) or len(set(dates.time)) > 1:
        return None
    months = np.asarray(dates.year * 12 + dates.month, dtype=np.int64)
    step = _most_common(np.diff(months))
    since = months - months[0]
    if step == 0 or (since % step).any():
        return None
    positions = since // step

    def make_index() -> pd.DatetimeIndex:
        offset = pd.DateOffset(months=step) if same_day else pd.offsets.MonthEnd(step)
        index = pd.date_range(dates[0], periods=int(positions[-1]) + 1, freq=offset, name=dates.name)
        return pd.DatetimeIndex(index.as_unit("us"), freq=None)

    words = {1: "monthly", 3: "quarterly", 12: "yearly"}.get(step, f"{step}-month")
    season = 12 // step if step < 12 and 12 % step == 0 else None
    return Grid(positions, words, season, make_index)
