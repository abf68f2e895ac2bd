"""Read columns of a CSV file, in chunks, and say exactly which row cannot be read."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from unroll.data.calendar import HEADER_ROWS, check_order, find_grid, gaps, show
from unroll.data.series import named_rows
from unroll.errors import DataError, nearest

CHUNK_ROWS = 500_000  # bounds the memory of dates as text: about 60 bytes a row until they are parsed


def read_header(path: Path, *, separator: str = ",", encoding: str = "utf-8-sig") -> list[str]:
    """The column names of a CSV file.

    Raises:
        DataError: for a file that is missing, empty, unreadable, or no text in this encoding.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            header = pd.read_csv(path, sep=separator, encoding=encoding, nrows=0, engine="c")
    except (OSError, UnicodeError, LookupError, ValueError) as error:
        raise _unreadable(path, encoding, error) from error
    return [str(column) for column in header.columns]


def require_columns(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise DataError for a column that the file does not have."""
    for column in wanted:
        if column not in columns:
            hint = nearest(column, columns)
            if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|"):
                hint = "; the file looks separated by another mark: set data.separator"
            raise DataError(f"{path.name} has no column {column}{hint}; it has: {', '.join(columns)}")


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
) -> pd.DataFrame:
    """Read some columns of a CSV file.

    Args:
        path: the file; its first row names the columns.
        date: the column of dates, which becomes the index (UTC where the dates carry an offset).
        numbers: columns to read as float64; an empty field becomes NaN.
        texts: columns to read as text.
        separator, decimal, encoding: how the file is written.
        date_format: strptime format of the dates; ISO 8601 (2018-03-14, 2018-03-14 20:30) by default.

    Raises:
        DataError: names the file, the column and the row (the header is row 1).
    """
    columns = read_header(path, separator=separator, encoding=encoding)
    wanted = [*([date] if date else []), *numbers, *texts]
    require_columns(path, columns, wanted)
    parts: list[pd.DataFrame] = []
    first_row = 1 + HEADER_ROWS
    try:
        reader = pd.read_csv(
            path,
            sep=separator,
            decimal=decimal,
            encoding=encoding,
            usecols=wanted,
            dtype={column: str for column in [*([date] if date else []), *texts]},
            chunksize=CHUNK_ROWS,
            skip_blank_lines=False,  # an empty line is a missing row, not nothing
            float_precision="round_trip",
            low_memory=False,
        )
        with reader:
            for chunk in reader:
                part = pd.DataFrame({name: _numbers(chunk[name], path, first_row) for name in numbers})
                for name in texts:
                    part[name] = chunk[name]
                if date:
                    part.index = _dates(chunk[date], part, path, first_row, date_format)
                parts.append(part)
                first_row += len(chunk)
    except (OSError, UnicodeError, ValueError) as error:
        raise _unreadable(path, encoding, error) from error
    table = pd.concat(parts, ignore_index=date is None) if parts else pd.DataFrame(columns=wanted)
    parts.clear()
    if date:
        table = table[table.index.notna()]  # only empty lines at the end are left without a date
        table.index.name = date
    elif len(table):
        filled = table.notna().any(axis=1).to_numpy()
        table = table.iloc[: len(table) - int(np.argmax(filled[::-1]))] if filled.any() else table.iloc[:0]
    if table.empty:
        raise DataError(f"{path.name} has a header and no rows")
    return table


def on_grid(table: pd.DataFrame, path: Path, date: str | None, missing: str) -> tuple[pd.DataFrame, int | None]:
    """Put rows on the regular grid of their dates, with NaN in the gaps.

    Args:
        table: what `read_table` gave.
        path: for messages.
        date: the column of dates, or None where rows are steps.
        missing: error | interpolate | ffill | zero; with error, a gap or an empty field raises.

    Returns:
        the table without gaps, and the season that its step suggests.

    Raises:
        DataError: names the rows.
    """
    season = None
    if date:
        dates = pd.DatetimeIndex(table.index)
        check_order(dates, f"{date} of {path.name}")
        grid = find_grid(dates, f"{date} of {path.name}")
        season = grid.season
        if grid.rows != len(dates):
            if missing == "error":
                raise DataError(
                    f"column {date} of {path.name} has gaps in its {grid.step} dates: {gaps(dates, grid)}: mend the "
                    "file, or set data.missing=interpolate or data.missing=ffill"
                )
            _check_fields(table, path, missing)
            return table.reindex(grid.make_index()), season
    _check_fields(table, path, missing)
    return table, season


def _check_fields(table: pd.DataFrame, path: Path, missing: str) -> None:
    """Name the rows of infinite values, and of empty fields where these are an error."""
    for column in table.columns:
        values = table[column].to_numpy()
        rows = np.flatnonzero(np.isinf(values))
        if len(rows):
            raise DataError(f"{path.name}: column {column} is infinite in {_rows(table, rows)}: mend the file")
        rows = np.flatnonzero(np.isnan(values))
        if len(rows) and missing == "error":
            raise DataError(
                f"{path.name}: column {column} has no value in {_rows(table, rows)}: mend the file, or set "
                "data.missing=interpolate or data.missing=ffill"
            )


def _rows(table: pd.DataFrame, rows: np.ndarray) -> str:
    dated = isinstance(table.index, pd.DatetimeIndex)
    labels = (f"row {row + 1 + HEADER_ROWS}" + (f" ({show(table.index[row])})" if dated else "") for row in rows)
    return named_rows(labels, len(rows))


def _numbers(column: pd.Series, path: Path, first_row: int) -> np.ndarray:
    """A column as float64, or the first row that is no number."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64)
    parsed = pd.to_numeric(column, errors="coerce")
    bad = np.flatnonzero(parsed.isna().to_numpy() & column.notna().to_numpy())
    if len(bad):
        raise DataError(
            f"{path.name}: column {column.name}, row {bad[0] + first_row}: {str(column.iloc[bad[0]])[:40]!r} is no "
            "number (for decimal commas set data.decimal=',')"
        )
    return parsed.to_numpy(dtype=np.float64)


def _dates(
    column: pd.Series, numbers: pd.DataFrame, path: Path, first_row: int, date_format: str | None
) -> pd.DatetimeIndex:
    """A column as dates, NaT only in empty rows at the end of the file."""
    try:
        parsed = pd.to_datetime(column, format=date_format or "ISO8601", utc=True, errors="coerce")
    except ValueError as error:
        raise DataError(f"data.date_format={date_format}: {error}") from error
    index = pd.DatetimeIndex(parsed).tz_localize(None).as_unit("us")
    bad = np.flatnonzero(index.isna())
    empty = column.isna().to_numpy() & numbers.isna().all(axis=1).to_numpy()
    at_end = np.cumsum(~empty[::-1])[::-1] == 0
    for at in bad:
        if at_end[at]:
            continue
        value = column.iloc[at]
        row = at + first_row
        if not isinstance(value, str):
            raise DataError(f"{path.name}: column {column.name}, row {row}: there is no date")
        wanted = f"the format {date_format}" if date_format else "ISO 8601 (such as 2018-03-14)"
        raise DataError(
            f"{path.name}: column {column.name}, row {row}: {value[:40]!r} does not parse as a date in {wanted}: mend "
            "it, or set data.date_format (such as '%d/%m/%Y')"
        )
    return index


def _unreadable(path: Path, encoding: str, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: this file does not exist (looked from {Path.cwd()})")
    if isinstance(error, pd.errors.EmptyDataError):
        return DataError(f"{path.name} is empty: it needs a header row and data rows")
    if isinstance(error, UnicodeError | LookupError):
        return DataError(f"{path.name} is no text in {encoding}: set data.encoding (such as latin-1): {error}")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"{path.name} cannot be read as CSV: {reason}")
