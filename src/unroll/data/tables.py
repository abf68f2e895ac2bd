"""Read columns of a CSV file, in chunks, and say exactly which row cannot be read."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from unroll.data.calendar import FORWARD, HEADER_ROWS, check_order, find_grid, gaps, is_hour_forward, place
from unroll.data.clocks import Offsets, on_one_clock, parse_dates
from unroll.data.files import (
    READ_ERRORS,
    Renamed,
    one_line,
    open_text,
    require_columns,
    shown,
    take_header,
    unreadable,
)
from unroll.data.series import Series, named_rows
from unroll.errors import DataError

CHUNK_ROWS = 500_000  # bounds the memory of dates as text: about 60 bytes a row until they are parsed
CHUNK_FIELDS = 5_000_000  # the parser holds every field of a chunk, also of columns that are not wanted
SURPLUS = "surplus"  # the name of the column that catches fields beyond the header's last one
FIRST_DATE, LAST_DATE = pd.Timestamp("0001-01-01"), pd.Timestamp("9999-12-31 23:59:59.999999")
UTC = " (UTC)"  # stands behind the name of a column of dates that are UTC


def read_table(
    path: Path,
    *,
    date: str | None,
    numbers: Sequence[str],
    texts: Sequence[str] = (),
    separator: str = ",",
    decimal: str = ".",
    encoding: str = "utf-8-sig",
    date_format: str | None = None,
    timezone: str | None = None,
    days: bool = False,
    index_name: str | None = None,
) -> pd.DataFrame:
    """Read some columns of a CSV file.

    Args:
        path: the file; its first row names the columns.
        date: the column of dates, which becomes the index, by the clock on which it is regular (`on_one_clock`).
        numbers: columns to read as float64; an empty field becomes NaN.
        texts: columns to read as text.
        separator, decimal, encoding: how the file is written.
        date_format: strptime format of the dates; ISO 8601 (2018-03-14, 2018-03-14 20:30) by default.
        timezone, days: see `on_one_clock`.
        index_name: of the series that a run was trained on, whose clock this file then has too, where its dates are
            regular by it; None: the file alone decides.

    Raises:
        DataError: names the file, the column and the row (the header is row 1).
    """
    dates_and_texts = [*([date] if date else []), *texts]
    parts: list[pd.DataFrame] = []
    offsets: list[Offsets | None] = []  # of each part
    first_row = 1 + HEADER_ROWS
    try:
        with open_text(path, encoding) as file:
            columns = take_header(path, file, separator)
            require_columns(path, columns, [*dates_and_texts, *numbers], separator)
            numbered = {name: str(columns.index(name)) for name in [*dates_and_texts, *numbers]}
            with pd.read_csv(
                cast(TextIO, Renamed(file, [*map(str, range(len(columns))), SURPLUS], separator)),
                sep=separator,
                decimal=decimal,
                usecols=[*numbered.values(), SURPLUS],
                dtype={numbered[name]: str for name in dates_and_texts},
                chunksize=max(1, min(CHUNK_ROWS, CHUNK_FIELDS // len(columns))),
                skip_blank_lines=False,  # an empty line is a missing row, not nothing
                low_memory=False,
            ) as reader:
                for chunk in reader:
                    _check_width(chunk[SURPLUS], path, first_row, len(columns))
                    fields = {name: chunk[number] for name, number in numbered.items()}
                    part = pd.DataFrame(
                        {name: _numbers(fields[name], name, path, first_row, decimal) for name in numbers}
                        | {name: fields[name].to_numpy() for name in texts}
                    )
                    if date:
                        part.index, ahead = _dates(fields[date], date, part, path, first_row, date_format)
                        if parts and part.index.notna().any() and (ahead is None) != (offsets[0] is None):
                            has, other = ("no", "some") if ahead is None else ("an", "none")
                            raise DataError(
                                f"{path.name}: column {shown(date)}, row {first_row} has {has} offset from UTC, and "
                                f"the rows before have {other}: it must stand behind all dates or behind none"
                            )
                        offsets.append(ahead)
                    parts.append(part)
                    first_row += len(chunk)
    except READ_ERRORS as error:
        raise unreadable(path, encoding, error) from error
    table = pd.concat(parts, ignore_index=date is None) if parts else pd.DataFrame()
    parts.clear()
    filled = np.asarray(table.index.notna() if date else table.notna().any(axis=1), dtype=bool)
    if not filled.any():
        raise DataError(f"{path.name} has a header and no rows")
    last = len(filled) - int(np.argmax(filled[::-1]))  # empty lines at the end are no rows
    if date and not filled[:last].all():  # an empty line, and then rows again in the next chunk
        raise DataError(
            f"{path.name}: column {shown(date)}, row {np.argmin(filled) + 1 + HEADER_ROWS}: there is no date"
        )
    table = table.iloc[:last]
    if date:
        known = [ahead for ahead in offsets if ahead is not None]
        wall, column = pd.DatetimeIndex(table.index), f"{shown(date)} of {path.name}"
        ahead = np.concatenate(known)[:last] if known else None
        asked = None if index_name is None else index_name == f"{date}{UTC}"
        table.index, is_utc = on_one_clock(wall, ahead, timezone, column, days=days, in_utc=asked)
        table.index.name = f"{date}{UTC}" if is_utc else date
        if _beyond(pd.DatetimeIndex(table.index)).any():
            raise DataError(f"column {column}: in UTC, its dates begin before the year 1: set data.timezone=null")
    return table


def on_grid(
    table: pd.DataFrame,
    path: Path,
    date: str | None,
    missing: str,
    *,
    summed: bool = False,
    local: bool = False,
    known: Sequence[str] = (),
) -> tuple[pd.DataFrame, int | None]:
    """Put rows on the regular grid of their dates, with NaN in the gaps.

    Args:
        table: what `read_table` gave.
        path: for messages.
        date: the column of dates, or None where rows are steps.
        missing: error | interpolate | ffill | zero; with error, a gap or an empty field raises.
        summed: whether the table's rows are sums over rows of the file; messages then name dates alone.
        local: whether data.timezone may be what is missing, where the dates are those of a wall clock.
        known: columns that are known ahead: the other fields of rows after the end (`rows_of_series`) may be empty.

    Returns:
        the table without gaps, with the rows after the end, and the season that its step suggests.

    Raises:
        DataError: names the rows.
    """
    season = None
    if date:
        dates = pd.DatetimeIndex(table.index)
        local = local and not str(dates.name).endswith(UTC)
        check_order(dates, f"{shown(date)} of {path.name}", local=local)
        grid = find_grid(dates, f"{shown(date)} of {path.name}", summed=summed, sparse=missing == "zero")
        season = grid.season
        if grid.rows != len(dates):
            if missing == "error":
                raise DataError(
                    f"column {shown(date)} of {path.name} has gaps in its {grid.step} dates: "
                    f"{gaps(dates, grid, summed=summed)}: mend the file, or set data.missing=interpolate or "
                    f"data.missing=ffill{FORWARD if local and is_hour_forward(dates, grid) else ''}"
                )
            _check_all(table, path, missing, known)
            return table.reindex(grid.make_index()), season
    _check_all(table, path, missing, known)
    return table, season


def rows_of_series(table: pd.DataFrame, known: Sequence[str]) -> int:
    """How many rows the series has. Those behind, which have no target, are yet to come.

    They are where columns that are known ahead say something of them; else the last values are only missing.

    Args:
        table: the target is its first column.
        known: columns that are known ahead.
    """
    filled = table.iloc[:, 0].notna().to_numpy()
    rows = len(filled) - int(np.argmax(filled[::-1])) if filled.any() else len(filled)
    return rows if known and table[list(known)].iloc[rows:].notna().to_numpy().any() else len(filled)


def as_series(table: pd.DataFrame, known: Sequence[str], name: str, unit: str, season: int | None) -> Series:
    """A table on a grid, from `on_grid`, as a series and the rows after its end."""
    rows = rows_of_series(table, known)
    values = np.ascontiguousarray(
        table.iloc[:rows].to_numpy()
    )  # sums over a column depend on its layout, in the last bit
    ahead = np.ascontiguousarray(table[list(known)].iloc[rows:].to_numpy()) if rows < len(table) else None
    columns = tuple(map(str, table.columns))
    return Series(values, table.index[:rows], columns, name, unit, season=season, known_ahead=tuple(known), ahead=ahead)


def with_holidays(
    known: Sequence[str], holidays: str | None, columns: Sequence[str], taken: Sequence[str | None]
) -> list[str]:
    """The columns to read that are known ahead: also data.holidays, where that is one.

    Args:
        known: data.known_ahead.
        holidays: data.holidays, a column or a country.
        columns: of the file.
        taken: that are something else, the target and the dates.
    """
    also = holidays is not None and holidays in columns and holidays not in (*known, *taken)
    return [*known, *([holidays] if also and holidays else [])]


def _check_all(table: pd.DataFrame, path: Path, missing: str, known: Sequence[str]) -> None:
    rows = rows_of_series(table, known)
    check_fields(table.iloc[:rows], path, missing)
    if rows < len(table):
        check_fields(table[list(known)], path, missing)


def check_fields(
    table: pd.DataFrame, path: Path, missing: str, mend: str = "interpolate or data.missing=ffill"
) -> None:
    """Name the rows of infinite values, and of empty fields where these are an error.

    Args:
        table: its rows are those of the file.
        path: for messages.
        missing: error | interpolate | ffill | zero.
        mend: choices of `missing` that the message offers.
    """
    for column in table.columns:
        values = table[column].to_numpy()
        rows = np.flatnonzero(np.isinf(values))
        if len(rows):
            raise DataError(f"{path.name}: column {shown(column)} is infinite in {_rows(table, rows)}: mend the file")
        rows = np.flatnonzero(np.isnan(values))
        if len(rows) and missing == "error":
            raise DataError(
                f"{path.name}: column {shown(column)} has no value in {_rows(table, rows)}: mend the file, or set "
                f"data.missing={mend}"
            )


def _rows(table: pd.DataFrame, rows: npt.NDArray[np.intp]) -> str:
    dates = pd.DatetimeIndex(table.index) if isinstance(table.index, pd.DatetimeIndex) else None
    labels = (place(dates, row) if dates is not None else f"row {row + 1 + HEADER_ROWS}" for row in rows)
    return named_rows(labels, len(rows))


def _beyond(dates: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    """Which dates Python cannot show."""
    return np.asarray((dates < FIRST_DATE) | (dates > LAST_DATE))


def _check_width(surplus: pd.Series, path: Path, first_row: int, columns: int) -> None:
    """Name the first row that has more fields than the header."""
    longer = np.flatnonzero(surplus.notna().to_numpy())
    if len(longer):
        raise DataError(
            f"{path.name}: row {longer[0] + first_row} has more fields than the header ({columns}): put fields "
            "that hold the separator (such as decimal commas) in quotes"
        )


def _numbers(column: pd.Series, name: str, path: Path, first_row: int, decimal: str) -> npt.NDArray[np.float64]:
    """A column as float64, or the first row that is no number."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64)
    plain = column
    if decimal == ",":  # where it is the decimal mark, a point is none
        marks = str.maketrans({",": ".", ".": "?"})
        plain = column.map(lambda value: value.translate(marks) if isinstance(value, str) else value)
    try:
        parsed = pd.to_numeric(plain, errors="coerce")
    except OverflowError:  # a whole number beyond all floats, which coerce does not know
        endless = plain.astype("str").str.replace(r"^\s*([+-]?)\d{309,}\s*$", r"\1inf", regex=True)
        parsed = pd.to_numeric(endless.where(plain.notna()), errors="coerce")
    bad = np.flatnonzero(parsed.isna().to_numpy() & column.notna().to_numpy())
    if len(bad):
        value = str(column.iloc[bad[0]])
        hint = f" (the decimal mark is {decimal})" if "," in value or "." in value else ""
        hint += "; with data=csv, set data.decimal=','" if "," in value and decimal == "." else ""
        raise DataError(
            f"{path.name}: column {shown(name)}, row {bad[0] + first_row}: {value[:40]!r} is no number{hint}"
        )
    return parsed.to_numpy(dtype=np.float64)


def _dates(
    column: pd.Series, name: str, numbers: pd.DataFrame, path: Path, first_row: int, date_format: str | None
) -> tuple[pd.DatetimeIndex, Offsets | None]:
    """A column as dates, NaT only in empty rows at the end of the chunk; see `parse_dates`."""
    try:
        index, offsets = parse_dates(column, f"{shown(name)} of {path.name}", first_row, date_format)
    except (ValueError, re.error) as error:
        raise DataError(f"data.date_format={date_format}: {one_line(error)}") from error
    if date_format and not re.search("%[YyGcx]|ISO8601", date_format):
        raise DataError(f"data.date_format={date_format} has no year (such as %Y): dates without one are no time line")
    # pandas reads two words as the time of the clock, and years that Python cannot show
    wrong = column.isin(["now", "today"]).to_numpy() | _beyond(index)
    if offsets is not None:
        wrong |= _beyond(pd.DatetimeIndex(index - pd.to_timedelta(offsets, unit="us")))
    bad = np.flatnonzero(index.isna() | wrong)
    empty = column.isna().to_numpy() & numbers.isna().all(axis=1).to_numpy()
    rows = len(empty) - int(np.argmin(empty[::-1])) if not empty.all() else 0  # without empty ones at the end
    if len(bad) and bad[0] < rows:
        value, row = column.iloc[bad[0]], bad[0] + first_row
        if not isinstance(value, str):
            raise DataError(f"{path.name}: column {shown(name)}, row {row}: there is no date")
        form = f"the format {date_format}" if date_format else "ISO 8601 (such as 2018-03-14)"
        mend = "mend it, or with data=csv set data.date_format (such as '%d/%m/%Y')"
        if re.search(r":\d\d:60\b", value):
            mend = "a leap second has no place on a regular grid: remove the row"
        raise DataError(
            f"{path.name}: column {shown(name)}, row {row}: {value[:40]!r} does not parse as a date in {form}: {mend}"
        )
    return index, offsets
