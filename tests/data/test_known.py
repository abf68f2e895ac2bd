"""Features of the calendar, and columns that are known ahead: right, without a leak, and going on after the end."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_data_modules import Given, make, series_of

from conftest import load_config, options
from unroll.data.csv import CSVData
from unroll.data.known import Calendar, fitting_words
from unroll.data.series import Series
from unroll.errors import ConfigError, DataError
from unroll.evaluation.baselines import LinearAutoregression
from unroll.evaluation.evaluate import fit_reference
from unroll.rules import CALENDAR_WORDS, POINTWISE_WORDS, WINDOW_WORDS

NEEDS_HOLIDAYS = pytest.mark.skipif(find_spec("holidays") is None, reason="the package holidays is not installed")
DAYS = pd.date_range("2019-12-20", periods=900, name="day")


def test_one_hot_columns_are_those_of_the_date():
    calendar = Calendar(("weekday", "month", "hour", "week"))
    dates = pd.DatetimeIndex(["2021-01-03 05:30", "2020-12-31 23:00", "2024-02-29 00:00"])
    made = pd.DataFrame(calendar.values(dates), columns=calendar.columns)
    assert (made.sum(axis=1) == 4).all()
    names = [set(made.columns[row == 1].str.removeprefix("calendar:")) for row in made.to_numpy()]
    assert names[0] == {"weekday_7", "month_1", "hour_5", "week_53"}  # the Sunday after a year of 53 weeks
    assert names[1] == {"weekday_4", "month_12", "hour_23", "week_53"}
    assert names[2] == {"weekday_4", "month_2", "hour_0", "week_9"}
    assert list(calendar.recipes) == list(calendar.columns)
    assert calendar.recipes["calendar:weekday_7"].startswith(
        "1 where the weekday (ISO 8601: Monday 1 to Sunday 7) is 7"
    )


@pytest.mark.parametrize("word", [word for word in CALENDAR_WORDS if word != "holiday"])
def test_cyclic_columns_close_the_circle(word):
    hours = pd.date_range("2019-12-28", periods=24 * 400, freq="h")
    made = Calendar((word,), "cyclic").values(hours)
    np.testing.assert_allclose(np.square(made).sum(axis=1), 1)
    steps = np.hypot(*np.diff(made, axis=0).T)
    assert steps.max() <= 2 * np.pi / {"weekday": 7, "month": 12, "hour": 24, "week": 52, "day_of_year": 365}[word]
    assert not np.allclose(steps, 0)


@NEEDS_HOLIDAYS
def test_holidays_are_those_of_the_country():
    made = Calendar(("holiday",), country="DE").values(DAYS)[:, 0]
    assert set(DAYS[made == 1].strftime("%m-%d")) >= {"12-25", "12-26", "01-01", "05-01", "10-03"}
    assert made.sum() < 30
    bavaria = Calendar(("holiday",), country="DE-BY").values(DAYS)[:, 0]
    assert set(DAYS[bavaria > made].strftime("%m-%d")) >= {"01-06", "11-01"}
    with pytest.raises(ConfigError, match=r"data.holidays=XX is no country"):
        Calendar(("holiday",), country="XX").values(DAYS)
    with pytest.raises(DataError, match=r"knows those from 1990 to .*and the dates go from 1950"):
        Calendar(("holiday",), country="DE").values(pd.date_range("1950-01-01", periods=9))


def test_without_its_package_a_country_is_refused_in_a_line(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install -c constraints.txt -e '.\[holidays\]'"):
        Calendar(("holiday",), country="NL").values(DAYS)


@pytest.mark.parametrize(
    ("freq", "words"),
    [
        ("h", ("hour", "weekday")),
        ("15min", ("hour", "weekday")),
        ("D", ("weekday",)),
        ("B", ("weekday",)),
        ("W", ("day_of_year",)),
        ("MS", ("month",)),
        ("QE", ("month",)),
        ("YS", ()),
    ],
)
def test_auto_is_what_fits_the_step(freq, words):
    assert fitting_words(pd.date_range("2020-01-01", periods=20, freq=freq), holiday=False) == words
    data = Given(
        series_of(np.sin(np.arange(60)), index=pd.date_range("2020-01-01", periods=60, freq=freq)), window_size=3
    )
    data.calendar_words = "auto"
    data.setup()
    assert data.calendar.words == words


def test_auto_takes_none_where_there_are_no_dates():
    data = Given(series_of(np.sin(np.arange(60))), window_size=3, calendar="auto")
    data.setup()
    assert data.series.columns == ("c0",)


def local_hours(tmp_path: Path, timezone: str | None) -> CSVData:
    """Two weeks around a change of the clocks, in local times of Berlin, with their offsets."""
    utc = pd.date_range("2024-03-25", periods=24 * 14, freq="h", tz="UTC")
    local = utc.tz_convert("Europe/Berlin")
    path = tmp_path / "load.csv"
    pd.DataFrame({"time": local.map(pd.Timestamp.isoformat), "load": local.hour * 1.0}).to_csv(path, index=False)
    data = CSVData(path=str(path), date="time", target="load", timezone=timezone, calendar=["hour"], window_size=3)
    data.setup()
    return data


def test_hours_are_those_of_the_place_though_rows_are_in_utc(tmp_path):
    data = local_hours(tmp_path, "Europe/Berlin")
    assert data.series.index.name == "time (UTC)"
    assert np.array_equal(data.series.values[:, 1:].argmax(axis=1), data.series.target)  # the load is the local hour
    without = local_hours(tmp_path, None)
    assert np.array_equal(without.series.values[:, 1:].argmax(axis=1), without.series.index.hour)
    ahead = data.future_rows(30)
    assert ahead.argmax(axis=1)[:2].tolist() == [(int(data.series.target[-1]) + step) % 24 for step in (1, 2)]


def test_columns_of_the_calendar_stay_as_they_are_and_are_not_stored(tmp_path):
    given = series_of(3 + np.sin(np.arange(200)), index=DAYS[:200])
    data = Given(given, window_size=5, horizon=2, calendar=["weekday", "day_of_year"], transform=["log1p", "robust"])
    data.setup()
    assert data.shape.features == 10
    assert data.shape.future_columns == tuple(range(1, 10))
    np.testing.assert_array_equal(data.values[:, 1:], data.series.values[:, 1:].astype(np.float32))
    data.loaded.save(tmp_path / "series.npz")
    again = Series.load(tmp_path / "series.npz")
    assert again.columns == ("c0",)
    batch = next(iter(data.loader("test")))
    assert batch.future.shape[1:] == (2, 9)
    begin = data.segments.test.start
    assert batch.future[0, :, :7].argmax(-1).tolist() == DAYS[begin : begin + 2].day_of_week.tolist()


HOURS = pd.date_range("2024-01-01", periods=160, freq="h", name="time")


def hourly(values: np.ndarray, **about) -> Series:
    return Series(values, HOURS, ("c0", "past", "plan"), "given", known_ahead=("plan",), **about)


@pytest.mark.parametrize("word", [*POINTWISE_WORDS, *WINDOW_WORDS, "log1p,standard,window_standard"])
@pytest.mark.parametrize("calendar", [(), ("hour", "weekday", "holiday")])
def test_nothing_fitted_sees_the_targets_of_the_test_segment(word, calendar):
    """Change them, and all that was fitted stays bit by bit: also with a calendar and columns known ahead."""
    random = np.random.RandomState(0)
    values = np.column_stack([5 + random.standard_normal((160, 2)), np.arange(160) % 2])
    options = {"window_size": 30, "horizon": 2, "calendar": calendar, "calendar_encoding": "cyclic"}
    options |= {"transform": word.split(","), "holidays": "plan" if calendar else None, "seasonal_period": 24}
    honest = Given(hourly(values), **options)
    honest.setup()
    changed_values = values.copy()
    begin = honest.segments.test.start
    changed_values[begin:, 0] = np.abs(changed_values[begin:, 0] * -3 + 1e3)
    changed = Given(hourly(changed_values), **options)
    changed.setup()
    assert honest.transform.description == changed.transform.description
    assert honest.shape == changed.shape
    assert honest.calendar == changed.calendar
    assert torch.equal(honest.values[:begin], changed.values[:begin])
    assert torch.equal(honest.values[:, 1:], changed.values[:, 1:])
    for segment in ("train", "validation"):
        for one, other in zip(honest.loader(segment), changed.loader(segment), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    references = [fit_reference(module) for module in (honest, changed)]
    assert references[0].scale == references[1].scale
    assert np.array_equal(*(reference.regression.weights for reference in references))
    if references[0].same_inputs:
        pairs = zip(*(reference.same_inputs.weights for reference in references), strict=True)
        assert all(np.array_equal(*pair) for pair in pairs)
    assert isinstance(references[0].regression, LinearAutoregression)


def write(path: Path, rows: int, ahead: int, **about) -> Path:
    """Days with a price that decides what is sold on the same day, and `ahead` rows yet to come."""
    days = pd.date_range("2024-01-01", periods=rows + ahead, name="day")
    price = 1.0 + np.arange(rows + ahead) * 7 % 5
    sold = np.where(np.arange(rows + ahead) < rows, 50 - 8 * price + np.arange(rows + ahead) % 3, np.nan)
    frame = pd.DataFrame({"sold": sold, "price": price, "feast": (days.day == 1).astype(int)}, index=days)
    frame.assign(**about).to_csv(path)
    return path


def daily(path: Path, **changes) -> CSVData:
    words = {"date": "day", "target": "sold", "known_ahead": ["price"], "window_size": 4, "test": 10, "validation": 10}
    data = CSVData(path=str(path), **(words | changes))
    data.setup()
    return data


def test_rows_that_are_yet_to_come_are_kept_beside_the_series(tmp_path):
    data = daily(write(tmp_path / "sales.csv", 60, 5))
    assert data.series.values.shape == (60, 2)
    assert data.series.known_ahead == ("price",)
    assert data.future_index(2).tolist() == [pd.Timestamp("2024-03-01"), pd.Timestamp("2024-03-02")]
    np.testing.assert_allclose(data.future_rows(5)[:, 0], 1.0 + np.arange(60, 65) * 7 % 5)
    with pytest.raises(DataError, match=r"price must be known in 6 rows after the end of series sales.* give 5 rows"):
        data.future_rows(6)
    assert data.loaded is not None
    data.loaded.save(tmp_path / "series.npz")
    np.testing.assert_array_equal(Series.load(tmp_path / "series.npz").ahead, data.loaded.ahead)
    shorter = daily(tmp_path / "sales.csv", end=50)
    np.testing.assert_allclose(shorter.future_rows(15)[:, 0], 1.0 + np.arange(50, 65) * 7 % 5)
    with pytest.raises(DataError, match="the data give none: append rows"):
        daily(write(tmp_path / "none.csv", 60, 0)).future_rows(1)


def test_a_covariate_that_is_known_ahead_too_is_one_column(tmp_path):
    data = daily(write(tmp_path / "sales.csv", 60, 2), covariates=["feast", "price"])
    assert data.series.columns == ("sold", "feast", "price")
    assert data.shape.future_columns == (2,)
    with pytest.raises(DataError, match="columns feast are not known there"):
        data.future_rows(1)
    both = daily(tmp_path / "sales.csv", calendar=["weekday", "holiday"], holidays="feast")
    assert both.series.known_ahead[:2] == ("price", "feast")
    assert both.calendar.words == ("weekday",)
    assert both.future_rows(2)[:, 1].tolist() == [1, 0]  # the first of March
    with pytest.raises(DataError, match=r"column price of data.holidays holds other numbers than 0 and 1"):
        daily(tmp_path / "sales.csv", calendar=["holiday"], holidays="price")
    with pytest.raises(DataError, match="column sold has two parts to play"):
        daily(tmp_path / "sales.csv", known_ahead=["sold"])


@pytest.mark.parametrize("missing", ["error", "ffill", "zero", "interpolate"])
def test_holes_in_rows_that_are_yet_to_come_follow_data_missing(missing, tmp_path):
    path = write(tmp_path / "sales.csv", 60, 4)
    table = pd.read_csv(path)
    table.loc[62, "price"] = np.nan
    table.to_csv(path, index=False)
    if missing == "error":
        with pytest.raises(DataError, match=r"column price has no value in row 64 \(2024-03-03\)"):
            daily(path, missing=missing)
        return
    data = daily(path, missing=missing)
    assert len(data.series.values) == 60
    price = data.future_rows(4)[:, 0]
    assert price[2] == (0.0 if missing == "zero" else price[1])
    assert not data.filled.any()


def test_last_rows_without_anything_known_are_missing_as_ever(tmp_path):
    path = write(tmp_path / "sales.csv", 60, 2, price=1.0)
    with pytest.raises(DataError, match="column sold has no value in row 62"):
        daily(path, known_ahead=[])
    table = pd.read_csv(path)
    table.loc[60:, "price"] = np.nan
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"column sold has no value in row 62"):
        daily(path)
    assert len(daily(path, missing="ffill").series.values) == 62


def test_every_data_set_takes_the_keys(data_overrides):
    for name in options("data"):
        data = make(load_config(*data_overrides(name), "data.calendar=auto", "data.transform=[robust,window_centre]"))
        assert data.shape.window_transform == ("window_centre",)
        dated = isinstance(data.series.index, pd.DatetimeIndex)
        assert (data.shape.future_features > 0) == dated
