"""The clock under the dates of a file: the wall clock of a place, which is changed in spring and autumn, or UTC."""

import functools
import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd

from unroll.data.calendar import DAY, most_common, show
from unroll.errors import DataError

Offsets = npt.NDArray[np.int64]
"""(n,) microseconds that the wall clock is ahead of UTC."""


def parse_dates(
    column: pd.Series, name: str, first_row: int, date_format: str | None
) -> tuple[pd.DatetimeIndex, Offsets | None]:
    """Dates as they are written, and how far each is ahead of UTC.

    Args:
        column: (n,) text.
        name: of the column in its file, for messages.
        first_row: the number of the first row in the file, for messages.
        date_format: strptime format; None: ISO 8601.

    Returns:
        the wall clock, NaT for what is no date; and the offsets, None where the dates say none.

    Raises:
        DataError: where only some dates say an offset.
        ValueError: where the format is none.
    """
    form = date_format or "ISO8601"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # of pandas 2, where pandas 3 raises
            parsed = pd.to_datetime(column, format=form, errors="coerce")
    except (ValueError, FutureWarning):  # several offsets, or a wrong format
        utc = _index(pd.to_datetime(column, format=form, utc=True, errors="coerce"))
        offsets = _each_offset(column, np.asarray(utc.notna()), name, first_row, form)
        return _index(utc + pd.to_timedelta(offsets, unit="us")), offsets
    if parsed.dt.tz is None:
        return _index(parsed), None
    wall = _index(parsed.dt.tz_localize(None))
    return wall, wall.asi8 - _index(parsed.dt.tz_convert("UTC")).asi8


def on_one_clock(
    wall: pd.DatetimeIndex,
    offsets: Offsets | None,
    timezone: str | None,
    column: str,
    *,
    days: bool = False,
    in_utc: bool | None = None,
) -> tuple[pd.DatetimeIndex, bool]:
    """Dates on the clock by which they are regular.

    A daily series keeps the wall clock: in UTC, a day is 23 or 25 hours long where the clocks change. An hourly one is
    in UTC: on the wall clock, an hour is missing in spring and one stands twice in autumn. Told apart by the times of
    day that occur, which are fewest on the clock that was meant; so are the steps from row to row.

    Args:
        wall: (n,) the dates as they are written.
        offsets: see `parse_dates`.
        timezone: name of the place whose wall clock it is; dates with an offset are brought to its clock.
        column: for messages.
        days: the wall clock in any case, as for what is summed to days.
        in_utc: whether UTC or the wall clock is asked for, where these dates are as regular by both, as between two
            changes; None: the wall clock for one time of day, else UTC.

    Returns:
        the dates, and whether they are UTC.

    Raises:
        DataError: names a row whose date was not there in this time zone, or there twice.
    """
    if offsets is None and (timezone is None or days or (_times_of_day(wall) == 1 and not in_utc)):
        return wall, False
    if offsets is None:
        assert timezone is not None
        utc = _to_utc(wall, timezone, column)
    else:
        utc = _index(wall - pd.to_timedelta(offsets, unit="us"))
        wall = _index(utc.tz_localize("UTC").tz_convert(timezone)) if timezone else wall
    if days:
        return wall, False
    steps, steps_in_utc = (np.unique(np.diff(dates.asi8)) for dates in (wall, utc))
    if len(steps) > len(steps_in_utc) or (steps <= 0).any():
        return utc, True
    times, times_in_utc = _times_of_day(wall), _times_of_day(utc)
    if times == times_in_utc:
        by_wall = (times == 1 and not wall.equals(utc)) if in_utc is None else not in_utc
    else:
        by_wall = times < times_in_utc
    return (wall, False) if by_wall else (utc, True)


def _each_offset(
    column: pd.Series, known: npt.NDArray[np.bool_], name: str, first_row: int, form: str
) -> npt.NDArray[np.int64]:
    """(n,) in microseconds; 0 for what is no date. Dates that end alike have one offset, and it is read once."""
    rows = np.flatnonzero(known)
    texts = column.iloc[rows]
    ends = texts.str[-6:] if form == "ISO8601" or form.endswith("%z") else texts
    codes, _ = pd.factorize(ends)
    firsts = np.unique(codes, return_index=True)[1]
    found = [pd.to_datetime(texts.iloc[first], format=form).utcoffset() for first in firsts]
    without = np.array([offset is None for offset in found])[codes]
    if without.any():
        odd = int(rows[np.argmax(without != without[0])])
        has, other = ("no", "one") if without[np.searchsorted(rows, odd)] else ("an", "none")
        raise DataError(
            f"column {name}, row {odd + first_row}: {column.iloc[odd][:40]!r} has {has} offset from UTC, and row "
            f"{rows[0] + first_row} has {other}: it must stand behind all dates or behind none"
        )
    offsets = np.zeros(len(column), dtype=np.int64)
    offsets[rows] = np.array([offset // pd.Timedelta(1, "us") for offset in found if offset is not None])[codes]
    return offsets


def _to_utc(wall: pd.DatetimeIndex, timezone: str, column: str) -> pd.DatetimeIndex:
    """Local times in UTC. The hour that is there twice in autumn is told apart by the order and rhythm of its rows."""
    in_zone = functools.partial(wall.tz_localize, timezone, nonexistent="NaT")
    try:
        readings = [in_zone(ambiguous=np.full(len(wall), first)) for first in (True, False)]
    except (NotImplementedError, OverflowError) as error:  # near the year 9999
        raise DataError(
            f"column {column}: in UTC, its dates go beyond the year 9999: set data.timezone=null"
        ) from error
    lost = np.flatnonzero(readings[0].isna())
    if len(lost):
        raise DataError(
            f"{_place(wall, int(lost[0]), column)} was never there in data.timezone={timezone}, whose clocks went "
            "forward then: mend or remove the row, or set data.timezone=null where the dates are no local times"
        )
    stamps = np.sort([_index(reading.tz_convert("UTC")).asi8 for reading in readings], axis=0)  # earlier, later
    utc = stamps[0].copy()
    twice = np.flatnonzero(stamps[0] != stamps[1])
    steps = np.diff(wall.asi8)
    usual = most_common(steps[steps > 0]) if len(twice) and (steps > 0).any() else None
    for hour in np.split(twice, np.flatnonzero(np.diff(twice) > 1) + 1) if len(twice) else []:
        begin = _second_pass(wall, hour, stamps, usual)
        if begin is None:
            back = np.flatnonzero(np.diff(wall.asi8[hour]) <= 0)
            place = _place(wall, int(hour[back[1] + 1] if len(back) else hour[0]), column)
            often = "more than twice" if len(back) else "once"
            raise DataError(
                f"{place} was there twice in data.timezone={timezone}, whose clocks went back then, and the file goes "
                f"through this hour {often}: give both passes in order, or remove its rows and set data.missing, or "
                "set data.timezone=null where the dates are no local times"
            )
        utc[hour[begin:]] = stamps[1][hour[begin:]]
    return pd.DatetimeIndex(utc.astype("datetime64[us]"))


def _second_pass(
    wall: pd.DatetimeIndex, hour: npt.NDArray[np.intp], stamps: npt.NDArray[np.int64], usual: int | None
) -> int | None:
    """Where the second pass begins among the rows of an hour that is there twice; None where nothing tells.

    Args:
        wall: (n,) local times.
        hour: (m,) its rows, one behind the other.
        stamps: (2, n) microseconds in UTC, read as of the first pass and of the second.
        usual: step from row to row; None where there is none.
    """
    back = np.flatnonzero(np.diff(wall.asi8[hour]) <= 0)
    if len(back):
        return int(back[0]) + 1 if len(back) == 1 else None
    if len(hour) <= 2 and usual:  # a row a pass at most, as of steps longer than the hour
        rows = np.arange(max(0, hour[0] - 1), min(len(wall), hour[-1] + 2))
        readings = [np.where(rows < hour[0] + begin, *stamps[:, rows]) for begin in range(len(hour) + 1)]
        regular = [begin for begin, dates in enumerate(readings) if not (np.diff(dates) % usual).any()]
        if len(regular) == 1:
            return regular[0]
        if not regular and not (np.diff(wall.asi8[rows]) % usual).any():
            return len(hour)  # regular by the wall clock alone: no pass is better in UTC
    at_end, at_start = hour[-1] == len(wall) - 1, hour[0] == 0
    if at_end == at_start:
        return None
    return 0 if at_start else len(hour)


def _place(wall: pd.DatetimeIndex, at: int, column: str) -> str:
    return f"column {column}, row {at + 2}: {show(wall[at])}"


def _times_of_day(dates: pd.DatetimeIndex) -> int:
    """How many different ones there are."""
    return len(np.unique(dates.asi8 % DAY))


def _index(dates: pd.Series | pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Without a zone, in microseconds."""
    return pd.DatetimeIndex(dates).tz_localize(None).as_unit("us")
