"""What is known ahead: features of each row's date, made from the dates alone, and so also for rows yet to come."""

import functools
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from unroll.data.calendar import DAY
from unroll.data.files import shown
from unroll.data.series import FloatArray, Series
from unroll.data.tables import UTC
from unroll.data.transforms import in_words
from unroll.errors import ConfigError, DataError

PREFIX = "calendar:"  # of the columns' names, so that none is taken for a column of a file
SIZES = {"weekday": 7, "month": 12, "hour": 24, "week": 53}  # of the one-hot columns
FIRST = {"weekday": 1, "month": 1, "hour": 0, "week": 1}  # number of the first of them
MEANING = {
    "weekday": "weekday (ISO 8601: Monday 1 to Sunday 7)",
    "month": "month (1 to 12)",
    "hour": "hour (0 to 23)",
    "week": "week (ISO 8601: 1 to 53)",
}
TURN = {  # once around in which time, for sine and cosine
    "weekday": "(ISO 8601 weekday - 1) / 7",
    "month": "(month - 1) / 12",
    "hour": "(time of day in hours) / 24",
    "week": "(ISO 8601 week - 1) / (weeks of that year)",
    "day_of_year": "(day of the year - 1) / (days of that year)",
}


@dataclass(frozen=True)
class Calendar:
    """Columns made from dates.

    Args:
        words: of weekday, month, day_of_year, hour, week, holiday.
        encoding: one_hot | cyclic (sine and cosine); day_of_year is cyclic in any case, and a holiday is 0 or 1.
        country: whose holidays, such as DE, or DE-BY with a subdivision; None: none are asked for.
        timezone: of the place, where the dates are UTC: features are those of its clock. None: of the dates' own.
    """

    words: tuple[str, ...] = ()
    encoding: str = "one_hot"
    country: str | None = None
    timezone: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(name for word in self.words for name in self._names(word))

    @property
    def recipes(self) -> dict[str, str]:
        """How to make each column from a date, in words, for who has to without this package."""
        clock = f"the date and time in {self.timezone}" if self.timezone else "the date and time of the row"
        made: dict[str, str] = {}
        for word in self.words:
            names = self._names(word)
            if word == "holiday":
                made[names[0]] = f"1 on a public holiday of {self.country}, else 0"
            elif self._is_cyclic(word):
                made |= {name: f"{name[-3:]}(2 pi {TURN[word]}), of {clock}" for name in names}
            else:
                numbers = enumerate(names, start=FIRST[word])
                made |= {
                    name: f"1 where the {MEANING[word]} is {number}, else 0, of {clock}" for number, name in numbers
                }
        return made

    def values(self, dates: pd.DatetimeIndex) -> FloatArray:
        """(N, K) of N dates, each column in itself between -1 and 1.

        Raises:
            ConfigError: where holidays are asked for, and the package that knows them is missing, or the country.
            DataError: where the package knows no holidays in these years.
        """
        local = dates
        if self.timezone:
            local = dates.tz_localize("UTC").tz_convert(self.timezone).tz_localize(None)
        parts = [self._of_word(word, local) for word in self.words]
        return np.column_stack([np.empty((len(dates), 0)), *parts])

    def _is_cyclic(self, word: str) -> bool:
        return word == "day_of_year" or (self.encoding == "cyclic" and word != "holiday")

    def _names(self, word: str) -> list[str]:
        if word == "holiday":
            return [f"{PREFIX}holiday"]
        if self._is_cyclic(word):
            return [f"{PREFIX}{word}_sin", f"{PREFIX}{word}_cos"]
        return [f"{PREFIX}{word}_{number}" for number in range(FIRST[word], FIRST[word] + SIZES[word])]

    def _of_word(self, word: str, dates: pd.DatetimeIndex) -> FloatArray:
        """(N, k) of the local clock."""
        if word == "holiday":
            assert self.country is not None
            return _is_holiday(dates, self.country)[:, None]
        if self._is_cyclic(word):
            angle = 2 * np.pi * _turn(word, dates)
            return np.column_stack([np.sin(angle), np.cos(angle)])
        return np.asarray(_number(word, dates)[:, None] == np.arange(SIZES[word]), dtype=np.float64)


def fitting_words(index: pd.Index, *, holiday: bool) -> tuple[str, ...]:
    """The words that `auto` stands for: what changes from row to row, and comes again.

    Args:
        index: of the series; without dates there are none.
        holiday: whether days are to be told whether they are holidays.
    """
    if not isinstance(index, pd.DatetimeIndex) or len(index) < 2:
        return ()
    step = float(np.median(np.diff(index.as_unit("us").asi8)))
    days = ("weekday", "holiday") if holiday else ("weekday",)
    for limit, words in (
        (DAY, ("hour", *days)),
        (7 * DAY, days),
        (28 * DAY, ("day_of_year",)),
        (360 * DAY, ("month",)),
    ):
        if step < limit:
            return words
    return ()


def plan_calendar(
    series: Series, asked: str | Sequence[str], encoding: str, holidays: str | None, *, timezone: str | None
) -> Calendar:
    """The columns that a config asks for, of a series.

    Args:
        series: without missing values.
        asked: data.calendar.
        encoding: data.calendar_encoding.
        holidays: data.holidays; a column of the series, which is there already, or a country.
        timezone: data.timezone, which is used where the series' dates are UTC.

    Raises:
        ConfigError: where the series has no dates to make them from.
        DataError: where the column of holidays is not 0 or 1.
    """
    words = tuple(in_words(asked)) if asked != "auto" else fitting_words(series.index, holiday=holidays is not None)
    if holidays in series.columns:
        if not np.isin(series.values[:, series.columns.index(holidays)], (0, 1)).all():
            raise DataError(
                f"series {series.name}: column {shown(holidays)} of data.holidays holds other numbers than 0 and 1: "
                "mend it, or name it in data.known_ahead instead"
            )
        words = tuple(word for word in words if word != "holiday")
    if words and not isinstance(series.index, pd.DatetimeIndex):
        raise ConfigError(
            f"data.calendar=[{','.join(words)}]: series {series.title} has no dates: set data.date to a column of "
            "dates, or data.calendar=[] (calendar=auto takes none where there are no dates)"
        )
    return Calendar(words, encoding, holidays, timezone if str(series.index.name).endswith(UTC) else None)


def with_calendar(series: Series, calendar: Calendar) -> Series:
    """The series with the columns made from its dates behind its own; they are known ahead."""
    names = calendar.columns
    if not names:
        return series
    twice = [name for name in names if name in series.columns]
    if twice:
        raise DataError(
            f"series {series.name} has a column {shown(twice[0])}, as data.calendar names its own: rename that column"
        )
    values = np.concatenate([series.values, calendar.values(pd.DatetimeIndex(series.index))], axis=1)
    columns, known = (*series.columns, *names), (*series.known_ahead, *names)
    return replace(series, values=values, columns=columns, known_ahead=known)


def _number(word: str, dates: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
    """(N,) counted from 0."""
    if word == "week":
        return dates.isocalendar().week.to_numpy(dtype=np.int64) - 1
    found = {"weekday": dates.day_of_week, "month": dates.month - 1, "hour": dates.hour}[word]
    return np.asarray(found, dtype=np.int64)


def _turn(word: str, dates: pd.DatetimeIndex) -> FloatArray:
    """(N,) how far around each date is, from 0 up to 1."""
    if word == "day_of_year":
        return np.asarray((dates.day_of_year - 1) / np.where(dates.is_leap_year, 366, 365), dtype=np.float64)
    if word == "hour":  # with its minutes: a quarter of an hour is another time of day
        return np.asarray((dates.as_unit("us").asi8 % DAY) / DAY, dtype=np.float64)
    if word == "week":
        years = dates.isocalendar().year.to_numpy(dtype=np.int64)
        return _number(word, dates) / np.array([_weeks(int(year)) for year in years])
    return _number(word, dates) / SIZES[word]


@functools.cache
def _weeks(year: int) -> int:
    """52 or 53: the 28th of December lies in the last week of an ISO year."""
    return pd.Timestamp(year, 12, 28).isocalendar().week


def _is_holiday(dates: pd.DatetimeIndex, country: str) -> FloatArray:
    """(N,) 1 on public holidays."""
    days = dates.as_unit("us").asi8 // DAY  # since 1970
    years = range(int(dates.year.min()), int(dates.year.max()) + 1) if len(dates) else range(0)
    return np.isin(days, _holidays(country, years)).astype(np.float64)


@functools.lru_cache(maxsize=32)
def _holidays(country: str, years: range) -> npt.NDArray[np.int64]:
    """The public holidays of some years, in days since 1970."""
    if importlib.util.find_spec("holidays") is None:
        raise ConfigError(
            f"data.holidays={country}: the holidays of a country come from the package holidays, which is not "
            "installed: pip install -c constraints.txt -e '.[holidays]', or name a 0/1 column of the file"
        )
    import holidays

    name, _, part = country.partition("-")
    try:
        found = holidays.country_holidays(name, subdiv=part or None)
    except NotImplementedError as error:
        raise ConfigError(
            f"data.holidays={country} is no country that the package holidays knows (an ISO 3166 code such as DE, or "
            "DE-BY with a part of it), and no column of the data"
        ) from error
    if years and not found.start_year <= years[0] <= years[-1] <= found.end_year:
        raise DataError(
            f"data.holidays={country}: the package holidays knows those from {found.start_year} to {found.end_year}, "
            f"and the dates go from {years[0]} to {years[-1]}: name a 0/1 column of the file instead, or leave "
            "holidays out of data.calendar"
        )
    known = holidays.country_holidays(name, subdiv=part or None, years=years)
    return np.array(sorted(np.datetime64(day).astype(np.int64) for day in known), dtype=np.int64)
