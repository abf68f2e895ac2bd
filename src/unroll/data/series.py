"""A series: values over time with an index and named columns, and what to do where values are missing."""

import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from unroll.data.files import shown
from unroll.errors import ConfigError, DataError
from unroll.memory import check_room

FloatArray = npt.NDArray[np.float64]
LARGEST, SMALLEST = 1e140, 1e-140  # of what is squared in the scores
NAMED_ROWS = 5  # how many rows an error message names before it only counts


@dataclass(frozen=True)
class Series:
    """Values over time. Kept in float64, so that a large level does not eat the small changes on top of it.

    Args:
        values: (N, F); the first column is the target; NaN where a value is missing.
        index: (N,) timestamps or steps, increasing.
        columns: F names.
        name: for titles and directory names.
        unit: of the target, for axes and tables.
        kind: "synthetic" or "simulated" where the numbers are made up, and then said wherever they are shown.
        season: rows in one season, where the index tells (7 for days, 12 for months).
        known_ahead: columns whose future values are known (such as a price that is set in advance).
        ahead: (n, K) these columns, in their order, in the rows after the end, as far as they are known; None: no row.
    """

    values: FloatArray
    index: pd.Index
    columns: tuple[str, ...]
    name: str
    unit: str = ""
    kind: str = ""
    season: int | None = None
    known_ahead: tuple[str, ...] = ()
    ahead: FloatArray | None = None

    @property
    def title(self) -> str:
        """The name, and whether the numbers are made up."""
        return f"{self.name} ({self.kind})" if self.kind else self.name

    @property
    def target(self) -> FloatArray:
        """(N,) the first column."""
        return self.values[:, 0]

    def label(self, row: int) -> str:
        """A row's index as text, dates without an empty time of day."""
        stamp = self.index[row]
        return str(stamp).removesuffix(" 00:00:00")

    def check(self) -> None:
        """Raise DataError where the series cannot be forecast at all."""
        rows, columns = self.values.shape
        if (len(self.index), len(self.columns)) != (rows, columns):
            raise DataError(
                f"series {self.name}: {rows} x {columns} values, {len(self.index)} rows of index and "
                f"{len(self.columns)} column names do not fit together"
            )
        infinite = np.argwhere(np.isinf(self.values))
        if len(infinite):
            row, column = infinite[0]
            raise DataError(
                f"series {self.name}: column {shown(self.columns[column])} is infinite at {self.label(row)} "
                f"({len(infinite)} infinite values in all)"
            )
        if self.ahead is not None and np.isinf(self.ahead).any():
            column = self.known_ahead[np.argwhere(np.isinf(self.ahead))[0][1]]
            raise DataError(f"series {self.name}: column {shown(column)} is infinite after the end of the series")
        with np.errstate(over="ignore"):
            sizes = np.nanmax(self.values, axis=0, initial=-np.inf) - np.nanmin(self.values, axis=0, initial=np.inf)
        beyond = np.flatnonzero((sizes > LARGEST) | (np.nanmax(np.abs(self.values), axis=0, initial=0) > LARGEST))
        if len(beyond):
            raise DataError(
                f"series {self.name}: column {shown(self.columns[beyond[0]])} holds numbers beyond {LARGEST:g}, which "
                "cannot be squared: use another unit"
            )
        if np.isnan(self.target).all():
            raise DataError(f"series {self.name}: column {shown(self.columns[0])} has no values")
        if is_constant(self.target):
            raise DataError(
                f"series {self.name}: column {shown(self.columns[0])} is constant ({np.nanmin(self.target):g} in "
                f"all {rows} rows): there is nothing to forecast"
            )

    def save(self, path: Path) -> None:
        """Write the series as an .npz file, without pickle."""
        about = {name: getattr(self, name) for name in ("columns", "name", "unit", "kind", "season", "known_ahead")}
        dates = isinstance(self.index, pd.DatetimeIndex)
        index = pd.DatetimeIndex(self.index).as_unit("us").asi8 if dates else self.index.to_numpy()
        text = json.dumps(about | {"dates": dates, "index_name": self.index.name})
        with path.open("wb") as file:
            parts = {"values": self.values, "index": index, "about": np.array(text)}
            np.savez(file, **(parts if self.ahead is None else parts | {"ahead": self.ahead}))  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> "Series":
        """Read what `save` wrote.

        Raises:
            DataError: for a file that is missing, truncated or something else.
        """
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is no regular file")
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as parts:
                values, index, about = parts["values"], parts["index"], json.loads(str(parts["about"]))
                ahead = parts.get("ahead")
            is_dates, index_name = about.pop("dates"), about.pop("index_name")
            stamps = pd.Index(index.astype("datetime64[us]") if is_dates else index, name=index_name)
            columns, known_ahead = tuple(about.pop("columns")), tuple(about.pop("known_ahead"))
            series = cls(values, stamps, columns, known_ahead=known_ahead, ahead=ahead, **about)
            rows, width = values.shape
            if values.dtype != np.float64 or stamps.shape != (rows,) or len(columns) != width:
                raise ValueError("values, index and columns do not fit together")
            if ahead is not None and (ahead.dtype != np.float64 or ahead.shape[1:] != (len(known_ahead),)):
                raise ValueError("the rows after the end do not fit the columns that are known ahead")
            if not set(known_ahead) <= set(columns):
                raise ValueError("a column that is known ahead is not there")
            if not isinstance(series.season, int | None):
                raise ValueError("its season is no number")
            return series
        except Exception as error:  # zip, json and numpy each raise their own for a damaged file
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"{path}: not a readable series file ({reason})") from error


def check_made_up(key: str, rows: int) -> None:
    """Refuse a series to be made up that certainly does not fit into memory: its t, its noise and its sum do not.

    Args:
        key: says how many rows.
        rows: N.

    Raises:
        ConfigError: with the numbers.
    """
    check_room(3 * 8 * rows, f"{key}={rows:,}: a series so long needs", f"lower {key}")


def is_constant(values: FloatArray) -> bool:
    """Whether values differ by no more than rounding, or by less than can be squared."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))  # of Python, which do not warn at 1e308
    return bool(high - low <= 1e-12 * max(abs(low), abs(high)) or high - low < SMALLEST)


def named_rows(labels: Iterable[str], total: int) -> str:
    """The first few of many labels, and how many more there are."""
    more = total - NAMED_ROWS
    return ", ".join(itertools.islice(labels, NAMED_ROWS)) + (f" and {more} more" if more > 0 else "")


def until(series: Series, end: int | str) -> Series:
    """The series as it was when its later rows had not happened yet.

    Args:
        series: as it was loaded.
        end: how many rows are kept, or the date of the last one; a date without a time is the whole day. Dates are on
            the clock of the index; one with an offset is brought to UTC.

    Raises:
        ConfigError: where no row is left, and where the series has no row so late.
    """
    rows = len(series.values)
    if isinstance(end, int):
        if end > rows:
            raise ConfigError(f"data.end={end}: series {series.title} has {rows} rows: lower it, or give null for all")
        kept = end
    else:
        if not isinstance(series.index, pd.DatetimeIndex):
            raise ConfigError(f"data.end={end}: series {series.title} has no dates: give a count of rows, up to {rows}")
        last = _date(end)
        is_day = last == last.normalize() and len(end.strip()) <= len("2024-01-31")
        before = last + pd.Timedelta(days=1) if is_day else last
        kept = int(series.index.searchsorted(before, side="left" if is_day else "right"))
        span = f"series {series.title} goes from {series.label(0)} to {series.label(-1)}"
        if kept == 0:
            raise ConfigError(f"data.end={end}: {span}: no row is left")
        if kept == rows and last > series.index[-1]:
            raise ConfigError(f"data.end={end}: {span}: give a date inside, or null for all")
    known = [series.columns.index(name) for name in series.known_ahead]
    ahead = series.ahead
    if known and kept < rows:  # of a row that has not happened yet, these are known
        parts = [series.values[kept:, known], *([] if ahead is None else [ahead])]
        ahead = np.concatenate(parts)
    return replace(series, values=series.values[:kept].copy(), index=series.index[:kept], ahead=ahead)


def _date(text: str) -> pd.Timestamp:
    """A date of data.end."""
    try:
        if not re.match(r"\d{4}-\d\d-\d\d", text):  # "now" and "2018" are dates to pandas
            raise ValueError(text)
        stamp = pd.Timestamp(text)
        return stamp if stamp.tz is None else stamp.tz_convert(None)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"data.end={text} is no date in ISO 8601, such as 2024-01-31, and no count of rows"
        ) from error


def fill_missing(series: Series, missing: str, train_rows: int) -> tuple[Series, npt.NDArray[np.bool_]]:
    """Fill NaN by the config's choice, without looking ahead of the training segment.

    `interpolate` draws a straight line inside the training segment; after it, the last value is carried
    forward, as in `ffill`. A line through a missing test input would end in the target that is to be
    forecast. The rows after the end, of columns that are known ahead, go on in the same way.

    Args:
        series: with NaN where values are missing.
        missing: error | interpolate | ffill | zero.
        train_rows: rows of the training segment; nothing after them may reach a filled value in it.

    Returns:
        the series without NaN, and (N, F) which values were filled.

    Raises:
        DataError: names the rows, where missing=error or there is no value to carry forward.
    """
    holes = np.isnan(series.values)
    if series.ahead is not None and np.isnan(series.ahead).any():
        series = _fill_ahead(series, missing, train_rows)
    if not holes.any():
        return series, holes
    if missing == "error":
        labels = (f"{shown(series.columns[c])} at {series.label(r)}" for r, c in np.argwhere(holes))
        raise DataError(
            f"series {series.name} has no value for {named_rows(labels, int(holes.sum()))}: mend the data, "
            "or set data.missing=interpolate or data.missing=ffill"
        )
    if missing == "zero":
        values = np.where(holes, 0.0, series.values)
    else:
        frame = pd.DataFrame(series.values)
        if missing == "interpolate":
            head = frame.iloc[:train_rows].interpolate(limit_area="inside")
            frame = pd.concat([head, frame.iloc[train_rows:]])
        values = frame.ffill().to_numpy()
    unfilled = np.argwhere(np.isnan(values))
    if len(unfilled):
        column = unfilled[0][1]
        raise DataError(
            f"series {series.name}: column {shown(series.columns[column])} begins with "
            f"{np.isnan(values[:, column]).sum()} rows without a value, and there is none before them to "
            "carry forward: remove these rows"
        )
    return replace(series, values=np.ascontiguousarray(values)), holes


def _fill_ahead(series: Series, missing: str, train_rows: int) -> Series:
    """Without NaN in the rows after the end, as if they were rows of the series."""
    assert series.ahead is not None
    known = [series.columns.index(name) for name in series.known_ahead]
    both = np.concatenate([series.values[:, known], series.ahead])
    if missing == "error":
        row, column = np.argwhere(np.isnan(series.ahead))[0]
        raise DataError(
            f"series {series.name} has no value for {shown(series.known_ahead[column])} in row {row + 1} after its "
            "end, and other columns have: mend the data, or set data.missing=ffill"
        )
    names = tuple(series.known_ahead)
    whole = Series(both, pd.RangeIndex(len(both)), names, series.name)
    return replace(series, ahead=fill_missing(whole, missing, train_rows)[0].values[len(series.values) :])
