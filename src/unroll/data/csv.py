"""Any CSV file: a target column, further columns as past covariates, dates or plain rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from unroll.config import check_arguments
from unroll.data.files import check_dialect, listed, read_header, separator_hint, shown
from unroll.data.module import WindowDataModule, Windowing
from unroll.data.series import Series
from unroll.data.tables import as_series, on_grid, read_table, with_holidays
from unroll.errors import ConfigError, DataError


class CSVData(WindowDataModule):
    r"""A series from a CSV file with a header.

    Args:
        path: the file.
        target: the column to forecast; None where the file has only one column besides the date.
        date: the column of dates; None: rows are equally spaced steps.
        date_format: strptime format of the dates; None: ISO 8601, as in 2018-03-14 or 2018-03-14 20:30.
        covariates: further columns that the model reads (past covariates).
        known_ahead: further columns that are known ahead, which need not be covariates too. Rows at the end whose
            target is empty and in which these are filled are the future: no rows of the series, and read by forecasts
            that go past its end.
        missing: what to do with gaps in the dates and empty fields: error (naming the rows), interpolate (in
            the training segment; after it the last value is carried forward) or ffill, or zero. A value that
            was filled in is read, and never a target.
        timezone: the IANA name of the place (such as Europe/Berlin) whose local times the dates are, so that an hour
            is missing in spring and one stands twice in autumn; dates with an offset are brought to its clock. None:
            dates are as they are written.
        separator, decimal, encoding: how the file is written; a tab may be written as \t.
        unit: of the target, for axes and tables.
        windowing: see WindowDataModule.
    """

    def __init__(
        self,
        *,
        path: str,
        target: str | None = None,
        date: str | None = None,
        date_format: str | None = None,
        covariates: Sequence[str] = (),
        known_ahead: Sequence[str] = (),
        missing: str = "error",
        timezone: str | None = None,
        separator: str = ",",
        decimal: str = ".",
        encoding: str = "utf-8-sig",
        unit: str | None = None,
        **windowing: Unpack[Windowing],
    ) -> None:
        super().__init__(**windowing)
        check_arguments(path=path, target=target, date=date, date_format=date_format, covariates=covariates)
        check_arguments(known_ahead=known_ahead)
        check_arguments(missing=missing, timezone=timezone, decimal=decimal, encoding=encoding)
        if path is None:
            raise ConfigError("data.path is not set: give data.path=FILE.csv")
        if separator in ("\t", r"\t"):  # a command line can hardly pass a tab itself
            separator = "\t"
        else:
            check_arguments(separator=separator)
        check_dialect(separator, decimal)
        self.path = Path(path).expanduser()
        self.target, self.date, self.date_format = target, date, date_format
        self.covariates, self.known_ahead = list(covariates), list(known_ahead)
        self.missing, self.timezone = missing, timezone
        self.separator, self.decimal, self.encoding, self.unit = separator, decimal, encoding, unit

    def load(self) -> Series:
        """Read the file.

        Raises:
            DataError: names the file, the column and the row.
        """
        columns = read_header(self.path, separator=self.separator, encoding=self.encoding)
        target = self.target or self._only_column(columns)
        lists = (self.covariates, self.known_ahead)
        repeated = [name for names in lists for name in names if name in (target, self.date) or names.count(name) > 1]
        if repeated or target == self.date:
            raise DataError(
                f"column {shown((repeated or [target])[0])} has two parts to play: target, date, covariate or known "
                "ahead"
            )
        known = with_holidays(self.known_ahead, self.holidays, columns, (target, self.date))
        names = list(dict.fromkeys([target, *self.covariates, *known]))
        table = read_table(
            self.path,
            date=self.date,
            numbers=names,
            separator=self.separator,
            decimal=self.decimal,
            encoding=self.encoding,
            date_format=self.date_format,
            timezone=self.timezone,
            index_name=self.fitted_before.index_name if self.fitted_before else None,
        )
        table, season = on_grid(table, self.path, self.date, self.missing, local=self.timezone is None, known=known)
        return as_series(table, known, self.path.stem, self.unit or "", season)

    def _only_column(self, columns: list[str]) -> str:
        others = (self.date, self.holidays, *self.covariates, *self.known_ahead)
        candidates = [column for column in columns if column not in others]
        hint = separator_hint(columns, self.separator)
        if hint:
            raise DataError(f"{self.path.name} has one column, {listed(columns)}{hint}")
        if not candidates:
            raise DataError(f"{self.path.name} has no column to forecast; it has: {listed(columns)}")
        if len(candidates) > 1:
            raise DataError(
                f"data.target is not set, and {self.path.name} has several columns: {listed(columns)}: "
                "set data.target to the one to forecast (and data.date to the dates)"
            )
        return candidates[0]
