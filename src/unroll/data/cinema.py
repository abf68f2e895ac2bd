"""Daily cinema sales: from a file, or simulated where there is none.

The public Kaggle data set "Cinema Tickets" (142,524 rows, one a film, cinema and day) is what the tutorials
use. Its file is read as it is, and so is a file already summed to days.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import pandas as pd

from unroll.config import check_arguments
from unroll.data.files import listed, read_header, require_columns, shown
from unroll.data.module import WindowDataModule, Windowing
from unroll.data.series import Series
from unroll.data.tables import as_series, check_fields, on_grid, read_table, with_holidays
from unroll.errors import ConfigError, DataError

FIRST_DAY = "2018-03-14"
SIMULATION_SEED = 20180314
TICKET_PRICE = 150_000  # full price; prices in the public file's first 219 rows are 60,000 to 150,000
SALES_COLUMNS = ("total_sales", "tickets_sold")


class CinemaData(WindowDataModule):
    """Sales of a cinema chain by day.

    Args:
        path: a daily file (a date and a sales column) or the raw screenings file (film_code, cinema_code,
            total_sales, tickets_sold, ..., date), which is summed to days; None: a simulation (see
            `simulate`).
        target: the column of sales; None: total_sales, else tickets_sold, else the only other column.
        date: the column of dates.
        known_ahead: of a daily file, as in CSVData.
        cinema_code, film_code: of the screenings file, one cinema or film; None: all of them.
        missing: as in CSVData, for days without a row; `zero` suits a film or a cinema that was not on.
        days: how many days to simulate.
        windowing: see WindowDataModule.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        target: str | None = None,
        date: str = "date",
        known_ahead: Sequence[str] = (),
        cinema_code: int | str | None = None,
        film_code: int | str | None = None,
        missing: str = "error",
        days: int = 222,
        **windowing: Unpack[Windowing],
    ) -> None:
        super().__init__(**windowing)
        check_arguments(path=path, target=target, date=date, cinema_code=cinema_code, film_code=film_code)
        check_arguments(missing=missing, days=days, known_ahead=known_ahead)
        self.path = Path(path).expanduser() if path else None
        self.target, self.date, self.missing, self.days = target, date, missing, days
        self.known_ahead = list(known_ahead)
        self.codes = {"cinema_code": cinema_code, "film_code": film_code}

    def load(self) -> Series:
        """Read the file, or simulate.

        Raises:
            DataError: names the file, the column and the row.
        """
        if self.path is None:
            return self._simulated()
        columns = read_header(self.path)
        target = self.target or self._sales_column(columns)
        if target == self.date:
            raise DataError(f"data.target and data.date are both {target}: they must be two columns")
        twice = [name for name in self.known_ahead if name in (target, self.date) or self.known_ahead.count(name) > 1]
        if twice:
            raise DataError(f"column {shown(twice[0])} has two parts to play: target, date or known ahead")
        summed = {"film_code", "cinema_code"} <= set(columns)
        known: list[str] = []
        if summed and self.known_ahead:
            raise DataError(
                f"data.known_ahead={self.known_ahead[0]}: {self.path.name} is a screenings file, whose rows are "
                "summed to days: use a daily file"
            )
        if summed:
            table = self._sum_screenings(self.path, target)
        else:
            asked = [name for name, code in self.codes.items() if code is not None]
            if asked:
                raise DataError(
                    f"data.{asked[0]} is set, but {self.path.name} is a daily file without the columns "
                    f"film_code and cinema_code; it has: {listed(columns)}"
                )
            known = with_holidays(self.known_ahead, self.holidays, columns, (target, self.date))
            index_name = self.fitted_before.index_name if self.fitted_before else None
            table = read_table(self.path, date=self.date, numbers=[target, *known], index_name=index_name)
        table, season = on_grid(table, self.path, self.date, self.missing, summed=summed, known=known)
        chosen = "".join(
            f" {name.removesuffix('_code')} {code}" for name, code in self.codes.items() if code is not None
        )
        unit = "tickets" if target == "tickets_sold" else ""
        return as_series(table, known, f"cinema{chosen}", unit, season)

    def _simulated(self) -> Series:
        asked = [name for name, code in self.codes.items() if code is not None]
        if asked:
            raise ConfigError(f"data.{asked[0]} chooses from a screenings file: give data.path too")
        if self.known_ahead:
            raise ConfigError(f"data.known_ahead={self.known_ahead[0]} is a column of a file: give data.path too")
        target = self.target or SALES_COLUMNS[0]
        if target not in SALES_COLUMNS:
            raise ConfigError(f"data.target={target}: the simulation has {' and '.join(SALES_COLUMNS)}")
        table = simulate(self.days)
        unit = "tickets" if target == "tickets_sold" else ""
        values = table[[target]].to_numpy(dtype=np.float64)
        return Series(values, table.index, (target,), "cinema", unit, kind="simulated", season=7)

    def _sales_column(self, columns: list[str]) -> str:
        for name in SALES_COLUMNS:
            if name in columns:
                return name
        others = [column for column in columns if column not in (self.date, self.holidays, *self.known_ahead)]
        if self.path and (len(others) != 1 or self.date not in columns):
            raise DataError(
                f"{self.path.name}: which column are the sales? Set data.target (and data.date) to columns "
                f"among: {listed(columns)}"
            )
        return others[0]

    def _sum_screenings(self, path: Path, target: str) -> pd.DataFrame:
        """One row a film, cinema and day, to one row a day."""
        codes = {name: str(code).strip() for name, code in self.codes.items() if code is not None}
        played = next((name for name in (target, self.date) if name in self.codes), None)
        if played:
            raise DataError(f"{path.name}: {played} names films or cinemas, it is neither data.target nor data.date")
        require_columns(path, read_header(path), [target, self.date])
        table = read_table(path, date=self.date, numbers=[target], texts=list(codes), days=True)
        empty = "zero" if self.missing == "zero" else "error"
        check_fields(table[[target]], path, empty, "zero, to count nothing sold")
        for name, code in codes.items():
            in_row = table[name].str.strip()
            table = table[in_row == code]
            if table.empty:
                found = in_row.dropna().unique()
                some = ", ".join(shown(value) for value in sorted(found)[:8])
                raise DataError(
                    f"{path.name}: no row has {name} = {shown(code)}; there are {len(found)}, such as {some}"
                )
        days = pd.DatetimeIndex(table.index).normalize()  # a screening may be dated to the minute
        return table[[target]].groupby(days).sum()  # sorts by day


def simulate(days: int = 222) -> pd.DataFrame:
    """Simulated sales of a cinema chain, the same whole numbers on every machine.

    Tickets of a day = season * weekday * (audience of the films on) * noise, where
    - the weekend is Thursday and Friday, and Tuesday is half price: many tickets, less money each;
    - a film starts every six days on average, on a Wednesday, with a lognormal first audience that halves
      every nine days;
    - the season swings by a quarter over half a year;
    - the noise is lognormal with 12 %.

    Args:
        days: from 2018-03-14 on; 222 is the length the tutorials use.

    Returns:
        a table by date with the columns tickets_sold and total_sales, whole numbers.
    """
    random = np.random.RandomState(SIMULATION_SEED)  # its streams are frozen by NumPy's policy
    dates = pd.date_range(FIRST_DAY, periods=days, name="date")
    day = np.arange(days)
    weekdays = np.array([0.80, 1.55, 0.85, 1.45, 1.75, 1.05, 0.80])[dates.day_of_week]  # Monday first
    films = np.zeros(days)
    for wednesday in range(-56, days, 7):  # from eight weeks before, so that some films are on already
        for _ in range(random.poisson(7 / 6)):
            audience = 14_000 * np.exp(0.6 * random.standard_normal())
            age = day - wednesday
            films += np.where(age >= 0, audience * 0.5 ** (np.maximum(age, 0) / 9), 0.0)
    season = 1 + 0.25 * np.sin(2 * np.pi * day / 182)
    noise = np.exp(0.12 * random.standard_normal(days))
    tickets = np.round(season * weekdays * (8_000 + films) * noise)
    price = np.where(dates.day_of_week == 1, TICKET_PRICE // 2, TICKET_PRICE)
    return pd.DataFrame({"tickets_sold": tickets, "total_sales": tickets * price}, index=dates)
