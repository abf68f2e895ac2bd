"""Open a CSV file: its header, the columns it must have, and what to say where it cannot be read."""

import bz2
import csv
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, cast

from unroll.errors import ConfigError, DataError, nearest

LISTED_COLUMNS, LISTED_LETTERS = 20, 300  # of a file's columns in a message

# a file that is cut short, compressed badly, no text, or no CSV: each module raises its own
READ_ERRORS = (OSError, ValueError, LookupError, EOFError, csv.Error, zlib.error, lzma.LZMAError)


def check_dialect(separator: str, decimal: str) -> None:
    """Raise ConfigError for marks that cannot separate fields and decimals."""
    if len(separator) != 1 or not separator.isascii() or separator.isalnum() or separator in '"\r\n\0':
        raise ConfigError(
            f"data.separator={separator!r}: separator must be one ASCII mark, such as , or ; or '\\t' (a tab)"
        )
    if decimal not in (".", ","):
        raise ConfigError(f"data.decimal={decimal!r}: decimal must be . or ,")
    if separator == decimal:
        raise ConfigError(f"data.separator and data.decimal are both {decimal}: they must be two marks")


def read_header(path: Path, *, separator: str = ",", encoding: str = "utf-8-sig") -> list[str]:
    """The column names of a CSV file.

    Raises:
        DataError: for a file that is missing, empty, unreadable, or no text in this encoding.
    """
    try:
        with open_text(path, encoding) as file:
            return take_header(path, file, separator)
    except READ_ERRORS as error:
        raise unreadable(path, encoding, error) from error


def require_columns(path: Path, columns: Sequence[str], wanted: Sequence[str], separator: str = ",") -> None:
    """Raise DataError for a column that the file does not have, or has twice."""
    for column in wanted:
        if column not in columns:
            hint = separator_hint(columns, separator) or nearest(
                shown(column), map(shown, filter(str.isprintable, columns))
            )
            raise DataError(f"{path.name} has no column {shown(column)}{hint}; it has: {listed(columns)}")
        if columns.count(column) > 1:
            raise DataError(
                f"{path.name} has {columns.count(column)} columns named {shown(column)}: rename one; it has: "
                f"{listed(columns)}"
            )


def separator_hint(columns: Sequence[str], separator: str) -> str:
    """What to set where a header of one column holds another separator."""
    if len(columns) == 1 and any(mark in columns[0] for mark in ",;\t|" if mark != separator):
        return "; the file looks separated by another mark: set data.separator"
    return ""


def listed(columns: Sequence[str]) -> str:
    """The columns of a file on one line, the first ones of very many."""
    first = [shown(column) for column in columns[:LISTED_COLUMNS]]
    while len(", ".join(first)) > LISTED_LETTERS:
        first.pop()
    more = len(columns) - len(first)
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def shown(text: str) -> str:
    """A name or value from a file, in quotes where it would be hard to see, cut where it is long."""
    text = text if len(text) <= 40 else text[:40] + "..."
    return text if text.isprintable() and text.strip() == text != "" else repr(text)


class Renamed(io.TextIOBase):
    """The rest of a CSV file under other column names.

    The parser cuts a row with more fields than columns without a word, so that `1,5` would be read as 1. One
    more column than the file has catches these fields. Numbers as names also keep repeated names apart.
    """

    def __init__(self, rest: TextIO, columns: Sequence[str], separator: str) -> None:
        self.rest, self.header = rest, separator.join(columns) + "\n"

    def read(self, size: int | None = -1, /) -> str:
        """The next characters: at first the new header, whatever the size."""
        header, self.header = self.header, ""
        return header or self.rest.read(-1 if size is None else size)


def open_text(path: Path, encoding: str) -> TextIO:
    """A file as text with its own line ends, unpacked where its name says that it is compressed."""
    opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(path.suffix, open)
    return cast(TextIO, opener(path, "rt", encoding=encoding, newline=""))  # type: ignore[operator]


def take_header(path: Path, file: TextIO, separator: str) -> list[str]:
    """The names in a file's first row, which is read off; those without a name as Unnamed: 0, 1, ..."""
    names = next(csv.reader(file, delimiter=separator), None)
    if names is None:
        raise DataError(f"{path.name} is empty: it needs a header row and data rows")
    if not any(names):
        raise DataError(f"{path.name}: row 1 is empty: the first row must name the columns")
    return [name or f"Unnamed: {number}" for number, name in enumerate(names)]


def unreadable(path: Path, encoding: str, error: Exception) -> DataError:
    """One of READ_ERRORS in words of the file."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: this file does not exist (looked from {Path.cwd()})")
    if isinstance(error, UnicodeError | LookupError):
        return DataError(
            f"{path.name} is no text in {encoding}: with data=csv set data.encoding (such as latin-1): "
            f"{one_line(error)}"
        )
    quote = re.search(r"EOF inside string starting at row (\d+)", str(error))
    if quote:  # the parser counts from 0 and the header too
        return DataError(f"{path.name}: the quote opened in row {int(quote[1]) + 1} is not closed")
    return DataError(f"{path.name} cannot be read as CSV: {one_line(error)}")


def one_line(error: Exception) -> str:
    """What a library's error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
