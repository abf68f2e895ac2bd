"""The regular grid that dates lie on: its step, the dates missing from it, the season it suggests."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from unroll.data.series import named_rows
from unroll.errors import DataError

DAY = 86_400_000_000  # microseconds
MOST_SPARSE = 100  # grid dates a row; more are a mistake even where most dates may be missing
LAST_STAMP = 253_402_214_400_000_000  # 9999-12-31 in microseconds since 1970
RECENT = 500  # dates at the end that show their rhythm
FORWARD, BACK = (
    f"; where the clocks went {way} then, set data.timezone (such as Europe/Berlin)" for way in ("forward", "back")
)
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


def check_order(dates: pd.DatetimeIndex, column: str, *, local: bool = False) -> None:
    """Raise DataError at the first date that is earlier than, or the same as, the one before it.

    Args:
        dates: (N,).
        column: for messages.
        local: whether data.timezone may be what is missing.
    """
    steps = np.diff(dates.asi8)
    if (steps > 0).all():
        return
    at = int(np.argmax(steps <= 0))
    row = at + 2 + HEADER_ROWS
    within_days = local and abs(steps[at]) < DAY // 12 and len(np.unique(dates.asi8 % DAY)) > 1
    hint = BACK if within_days else ""
    if steps[at] == 0:
        raise DataError(
            f"column {column}: {show(dates[at])} stands twice, in rows {row - 1} and {row}: keep one row a date{hint}"
        )
    odd = [row for row in (at, at + 1) if (np.diff(np.delete(dates.asi8, row)) > 0).all()]
    if len(odd) == 1 and len(dates) > 3:
        raise DataError(
            f"column {column}: {place(dates, odd[0])} is out of order, all other dates are in order: mend this date, "
            f"or remove the row{hint}"
        )
    raise DataError(
        f"column {column}: dates are not sorted, {place(dates, at + 1)} is earlier than {place(dates, at)}: "
        f"sort the file by its dates{hint}"
    )


def find_grid(dates: pd.DatetimeIndex, column: str, *, summed: bool = False, sparse: bool = False) -> Grid:
    """The regular grid under increasing dates: a fixed step, working days, or whole months.

    Args:
        dates: (N,) increasing.
        column: for messages.
        summed: see `place`.
        sparse: most dates may be missing, as where a date without a row means that nothing was sold.

    Raises:
        DataError: where the dates lie on no such grid, or on one that is mostly holes.
    """
    stamps = dates.asi8
    if len(stamps) < 3:
        return Grid(np.arange(len(stamps)), "irregular", None, lambda: dates)
    steps = np.diff(stamps)
    if (steps == steps[0]).all():
        return Grid(np.arange(len(stamps)), *_describe(int(steps[0])), lambda: dates)
    usual = most_common(steps)
    common = _common_step(steps)
    grid = _business_days(dates, common) or _fixed_step(dates, common) or _months(dates)
    if grid is None:
        at = _first_irregular(dates, usual)
        raise DataError(
            f"column {column}: dates are irregular, {place(dates, at, summed=summed)} does not follow "
            f"the usual {_usual_step(dates, usual)} step: resample the file to a regular step"
        )
    if grid.rows > (MOST_SPARSE if sparse else 2) * len(dates):
        widest = place(dates, int(np.argmax(np.diff(grid.positions))), summed=summed)
        raise DataError(
            f"column {column}: {len(dates)} dates from {show(dates[0])} to {show(dates[-1])} leave more than "
            f"half of the {grid.step} grid empty, most of it after {widest}: a mistyped date, or a file to resample "
            "(or data.missing=zero)"
        )
    return grid


def gaps(dates: pd.DatetimeIndex, grid: Grid, *, summed: bool = False) -> str:
    """The grid's missing dates in words, or nothing: `2 missing after row 10 (2018-03-23)`."""
    jumps = np.flatnonzero(np.diff(grid.positions) > 1)
    missing = np.diff(grid.positions)[jumps] - 1
    labels = (
        f"{count} missing after {place(dates, int(at), summed=summed)}"
        for at, count in zip(jumps, missing, strict=True)
    )
    return named_rows(labels, len(jumps))


def is_hour_forward(dates: pd.DatetimeIndex, grid: Grid) -> bool:
    """Whether all that is missing is single hours, as in local times where the clocks went forward."""
    steps = np.diff(dates.asi8)
    return bool((steps[np.diff(grid.positions) > 1] == steps.min() + DAY // 24).all())


def place(dates: pd.DatetimeIndex, at: int, *, summed: bool = False) -> str:
    """A row by its number in the file and its date; by its date alone where rows of the file were summed."""
    return show(dates[at]) if summed else f"row {at + 1 + HEADER_ROWS} ({show(dates[at])})"


def show(date: pd.Timestamp) -> str:
    """A date without an empty time of day."""
    return str(date).removesuffix(" 00:00:00")


def _describe(step: int) -> tuple[str, int | None]:
    """A fixed step in words and the season it suggests."""
    words = {DAY // 24: "hourly", DAY: "daily", 7 * DAY: "weekly"}.get(step)
    season = {DAY: 7, 7 * DAY: 52}.get(step, DAY // step if DAY % step == 0 else None)
    return words or str(pd.Timedelta(step, "us")).removeprefix("0 days ").removesuffix(" 00:00:00"), season


def _describe_months(step: int) -> str:
    return {1: "monthly", 3: "quarterly", 12: "yearly"}.get(step, f"{step}-month")


def _usual_step(dates: pd.DatetimeIndex, usual: int) -> str:
    months = most_common(np.diff(_months_since_first(dates)))
    return _describe_months(months) if usual >= 28 * DAY and months else _describe(usual)[0]


def most_common(values: npt.NDArray[np.integer]) -> int:
    """The value that stands most often; the smallest of several."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[np.argmax(counts)])


def _common_step(steps: npt.NDArray[np.integer]) -> int:
    """The usual step; or the shortest, where many gaps have made a longer one the usual and it divides them all."""
    usual, shortest = most_common(steps), int(steps.min())
    divides = shortest > 0 and (steps % usual).any() and not (steps % shortest).any()
    return shortest if divides and (steps == shortest).mean() > 0.25 else usual


def _first_irregular(dates: pd.DatetimeIndex, usual: int) -> int:
    """The first row that is off the usual step, or off the usual day of the month where steps are months."""
    if usual < 28 * DAY:
        return int(np.argmax(np.append(0, np.diff(dates.asi8) % usual) != 0))
    ends = np.asarray(dates.is_month_end)
    days = np.asarray(dates.day)
    since = _months_since_first(dates)
    odd_days = ~ends if ends.mean() > 0.5 else days != most_common(days)
    odd_months = since % max(1, most_common(np.diff(since))) != 0
    odd_times = dates.asi8 % DAY != dates.asi8[0] % DAY
    return int(np.argmax(next((odd for odd in (odd_days, odd_months, odd_times) if odd.any()), odd_days)))


def _fixed_step(dates: pd.DatetimeIndex, step: int) -> Grid | None:
    since = dates.asi8 - dates.asi8[0]
    if (since % step).any():
        return None
    positions = since // step

    def make_index() -> pd.DatetimeIndex:
        return _index(dates.asi8[0] + step * np.arange(positions[-1] + 1), dates)

    return Grid(positions, *_describe(step), make_index)


def _business_days(dates: pd.DatetimeIndex, step: int) -> Grid | None:
    """Working days: daily dates of which none falls on a weekend, over more than one week."""
    since = dates.asi8 - dates.asi8[0]
    if step != DAY or since[-1] < 10 * DAY or (since % DAY).any() or (dates.day_of_week >= 5).any():
        return None
    days = np.arange(since[-1] // DAY + 1)
    days = days[(dates[0].day_of_week + days) % 7 < 5]

    def make_index() -> pd.DatetimeIndex:
        return _index(dates.asi8[0] + DAY * days, dates)

    return Grid(np.searchsorted(days, since // DAY), "business-day", 5, make_index)


def _months(dates: pd.DatetimeIndex) -> Grid | None:
    """Whole months (also quarters and years): the same day of each month, or each month's last day."""
    same_day = bool((dates.day == dates.day[0]).all())
    same_time = bool((dates.asi8 % DAY == dates.asi8[0] % DAY).all())
    if not (same_day or dates.is_month_end.all()) or not same_time:
        return None
    since = _months_since_first(dates)
    step = _common_step(np.diff(since))
    if step == 0 or (since % step).any():
        return None
    positions = since // step

    def make_index() -> pd.DatetimeIndex:
        months = dates.values[0].astype("datetime64[M]") + step * np.arange(positions[-1] + 1)
        last_days = (months + 1).astype("datetime64[D]") - 1
        asked_days = months.astype("datetime64[D]") + (dates.day[0] - 1)  # a 31st may be missing in a gap
        days = np.minimum(asked_days, last_days) if same_day else last_days
        return _index(days.astype("datetime64[us]").astype(np.int64) + dates.asi8[0] % DAY, dates)

    season = 12 // step if step < 12 and 12 % step == 0 else None
    return Grid(positions, _describe_months(step), season, make_index)


def _months_since_first(dates: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
    months: npt.NDArray[np.int64] = np.asarray(dates.year * 12 + dates.month, dtype=np.int64)
    since: npt.NDArray[np.int64] = months - months[0]
    return since


def _index(stamps: npt.NDArray[np.int64], dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Microseconds since 1970 as an index under the name of the dates."""
    return pd.DatetimeIndex(stamps.astype("datetime64[us]"), name=dates.name)


def continued(index: pd.Index, steps: int, like: pd.Index | None = None) -> pd.Index:
    """The labels after the end of a regular index.

    Args:
        index: dates on a grid (a fixed step, working days, whole months), or equally spaced numbers.
        steps: how many.
        like: a longer index of the same grid, to see its rhythm by; None: the index itself.

    Raises:
        DataError: where the dates would go beyond the year 9999.
    """
    ahead = np.arange(1, steps + 1)
    if not isinstance(index, pd.DatetimeIndex):
        return pd.Index(index[-1] + (index[-1] - index[-2]) * ahead, name=index.name)
    seen = index if like is None else pd.DatetimeIndex(like)
    recent = seen[-RECENT:].as_unit("us")
    stamps, found = index[-1:].as_unit("us").asi8, np.unique(np.diff(recent.asi8))
    if stamps[-1] + int(found.max()) * steps > LAST_STAMP:
        raise DataError(f"{steps} steps go beyond the year 9999: ask for fewer")
    if len(found) > 1 and set(found) <= {DAY, 3 * DAY} and (recent.day_of_week < 5).all():
        days = np.busday_offset(stamps[-1:].astype("datetime64[us]").astype("datetime64[D]"), ahead)
        return _index(days.astype("datetime64[us]").astype(np.int64) + stamps[-1] % DAY, index)
    if len(found) > 1:
        months, first = int(_months_since_first(recent)[-1] - _months_since_first(recent)[-2]), index[-1]
        ends = bool(recent.is_month_end.all())
        dates = [first + pd.DateOffset(months=months * int(number)) for number in ahead]
        return pd.DatetimeIndex([date + pd.offsets.MonthEnd(0) if ends else date for date in dates], name=index.name)
    return _index(stamps[-1] + found[0] * ahead, index)
