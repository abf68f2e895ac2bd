"""The rows after the end of a series: what is known of them before they come."""

import numpy as np
import pandas as pd

from unroll.data.files import shown
from unroll.data.known import Calendar
from unroll.data.series import FloatArray, Series
from unroll.errors import DataError


def check_all_known(series: Series, steps: int, horizon: int | None = None) -> None:
    """Raise DataError where a column beside the target is not known ahead.

    Args:
        series: after setup.
        steps: how many are asked for.
        horizon: of a run that could forecast so many without knowing it.
    """
    unknown = [shown(name) for name in series.columns[1:] if name not in series.known_ahead]
    if unknown:
        fewer = f"ask for at most {horizon} steps, or " if horizon else ""
        raise DataError(
            f"{steps} steps ahead: the columns {', '.join(unknown)} are not known there, and a forecaster forecasts "
            f"its target alone: {fewer}train without them, or declare in data.known_ahead what is known"
        )


def known_rows(series: Series, calendar: Calendar) -> int | None:
    """How many rows after the end all columns that are known ahead are known for; None: any number.

    Args:
        series: with the columns of the calendar.
        calendar: that made them.
    """
    if set(series.known_ahead) <= set(calendar.columns):
        return None
    return 0 if series.ahead is None else len(series.ahead)


def known_after_the_end(series: Series, calendar: Calendar, labels: pd.Index, horizon: int) -> FloatArray:
    """The columns that are known ahead: those of the calendar by its dates, declared ones as the data give them.

    Args:
        series: with the columns of the calendar, which are the last ones.
        calendar: that made them.
        labels: (n,) of the rows after the end.
        horizon: rows of a forecast, which reads what is known of all of them.

    Returns:
        (n, C) in the series' units.

    Raises:
        DataError: where the data give too few rows.
    """
    rows, given = len(labels), known_rows(series, calendar)
    parts = []
    if given is not None:
        declared = [shown(name) for name in series.known_ahead if name not in calendar.columns]
        if given < rows:
            many = f"{given} row{'' if given == 1 else 's'}"
            whole = f" (a forecast reads those of its {horizon} rows)" if horizon > 1 else ""
            enough = given // horizon * horizon
            fewer = f"ask for at most {enough} step{'' if enough == 1 else 's'}, or " if enough else ""
            raise DataError(
                f"{', '.join(declared)} must be known in {rows} row{'' if rows == 1 else 's'} after the end of series "
                f"{series.title}{whole}, and the data give {many if given else 'none'}: {fewer}append rows to the "
                "file, with the target empty and these columns filled"
            )
        assert series.ahead is not None
        parts.append(series.ahead[:rows])
    if calendar.columns:
        parts.append(calendar.values(pd.DatetimeIndex(labels)))
    return np.concatenate([np.empty((rows, 0)), *parts], axis=1)
