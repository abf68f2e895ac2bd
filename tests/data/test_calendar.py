"""The grid under the dates of a file: what its step is, where it has gaps, and what is no grid at all."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unroll.data.csv import CSVData
from unroll.errors import DataError

FREQUENCIES = {  # pandas' name, the step in words, the season
    "daily": ("D", 7),
    "hourly": ("h", 24),
    "00:15:00": ("15min", 96),
    "weekly": ("W-WED", 52),
    "monthly": ("MS", 12),
    "month ends": ("ME", 12),
    "quarterly": ("QS", 4),
    "quarter ends": ("QE", 4),
    "yearly": ("YS", None),
    "year ends": ("YE", None),
    "business-day": ("B", 5),
    "2 days": ("2D", None),
}
STEPS = {"month ends": "monthly", "quarter ends": "quarterly", "year ends": "yearly"}


def write(folder: Path, dates: pd.DatetimeIndex) -> Path:
    """A file of these dates with the values 0, 1, 4, 9, ..."""
    path = folder / "dated.csv"
    pd.DataFrame({"date": dates.astype(str), "value": np.arange(len(dates)) ** 2}).to_csv(path, index=False)
    return path


def load(path: Path, **options: object) -> CSVData:
    options = {"window_size": 1, "validation": 0, "test": 1, "transform": "none", **options}
    data = CSVData(path=str(path), date="date", **options)  # type: ignore[arg-type]
    data.setup()
    return data


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        load(path, **options)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("name", FREQUENCIES)
@pytest.mark.parametrize("start", ["2016-01-01", "1650-06-30", "2255-03-05 16:30"])
def test_regular_dates(tmp_path: Path, name: str, start: str) -> None:
    frequency, season = FREQUENCIES[name]
    dates = pd.date_range(start, periods=40, freq=frequency, unit="us")
    series = load(write(tmp_path, dates)).series
    assert list(series.index) == list(dates)
    assert series.season == season


@pytest.mark.parametrize("name", FREQUENCIES)
def test_gaps_are_named(tmp_path: Path, name: str) -> None:
    frequency, _ = FREQUENCIES[name]
    dates = pd.date_range("2016-01-01", periods=40, freq=frequency, unit="us")
    path = write(tmp_path, dates.delete([10, 11, 20]))
    message = refusal(path)
    shown = [str(date).removesuffix(" 00:00:00") for date in dates[[9, 19]]]
    assert f"has gaps in its {STEPS.get(name, name)} dates: 2 missing after row 11 ({shown[0]}), " in message
    assert f"1 missing after row 19 ({shown[1]}): mend the file, or set data.missing=interpolate" in message


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(FREQUENCIES)),
    start=st.datetimes(pd.Timestamp("1600-01-01").to_pydatetime(), pd.Timestamp("2800-01-01").to_pydatetime()),
    count=st.integers(12, 60),
    drop=st.sets(st.integers(1, 100), max_size=4),
)
def test_filled_gaps_give_back_the_grid(
    tmp_path_factory: pytest.TempPathFactory, name: str, start: pd.Timestamp, count: int, drop: set[int]
) -> None:
    """Whatever rows are missing, zeros stand in their places and all others stay where they were."""
    dates = pd.date_range(start.replace(microsecond=0), periods=count, freq=FREQUENCIES[name][0], unit="us")
    missing = sorted({1 + number % (count - 2) for number in drop})
    path = write(tmp_path_factory.mktemp("gaps"), dates.delete(missing))
    data = load(path, missing="zero", test=2)
    assert list(data.series.index) == list(dates)
    expected = np.zeros(count)
    expected[[row for row in range(count) if row not in missing]] = np.arange(count - len(missing)) ** 2
    np.testing.assert_array_equal(data.series.target, expected)
    scored = np.concatenate([data.origins("train"), data.origins("test")])
    assert not set(scored) & set(missing)


def test_month_days_that_february_lacks(tmp_path: Path) -> None:
    """The 31st of every other month: a gap is filled by the month's last day, and no other row moves."""
    dates = pd.DatetimeIndex(["2018-01-31", "2018-03-31", "2018-05-31", "2018-07-31", "2018-11-30", "2019-01-31"])
    series = load(write(tmp_path, dates), missing="ffill").series
    assert [series.label(row) for row in range(7)][3:6] == ["2018-07-31", "2018-09-30", "2018-11-30"]
    assert series.target.tolist() == [0, 1, 4, 9, 9, 16, 25]


@pytest.mark.parametrize(
    ("dates", "wanted"),
    [
        (["2018-01-01", "2018-01-02", "2018-01-02", "2018-01-03"], "2018-01-02 stands twice, in rows 3 and 4"),
        (
            ["2018-01-01", "2018-01-02", "1970-01-01", "2018-01-04"],
            "row 4 (1970-01-01) is out of order, all other dates are in order: mend this date, or remove the row",
        ),
        (["2018-01-01", "2106-02-07", "2018-01-03", "2018-01-04"], "row 3 (2106-02-07) is out of order"),
        (["2018-01-01", "2018-01-03", "2018-01-02"], "not sorted, row 4 (2018-01-02) is earlier than row 3"),
        (["2018-01-03", "2018-01-02", "2018-01-01"], "not sorted, row 3 (2018-01-02) is earlier than row 2"),
        (
            ["2018-01-01", "2018-01-02", "2018-01-03", "2018-01-04 06:00", "2018-01-05"],
            "irregular, row 5 (2018-01-04 06:00:00) does not follow the usual daily step",
        ),
        (
            ["2018-01-01", "2018-02-01", "2018-03-01", "2018-04-02", "2018-05-01"],
            "irregular, row 5 (2018-04-02) does not follow the usual monthly step",
        ),
        (
            ["2018-01-31", "2018-02-28", "2018-03-31", "2018-04-29", "2018-05-31"],
            "irregular, row 5 (2018-04-29) does not follow",
        ),
        (
            ["2018-01-01", "2018-04-01", "2018-07-01", "2018-08-01", "2018-10-01", "2019-01-01"],
            "irregular, row 5 (2018-08-01) does not follow the usual quarterly step",
        ),
        (
            ["2018-01-01", "2018-02-01", "2018-03-01", "2018-04-01 05:00", "2018-05-01"],
            "irregular, row 5 (2018-04-01 05:00:00) does not follow",
        ),
        (
            ["2018-01-01", "2018-01-02", "2018-01-03", "2081-01-04"],
            "4 dates from 2018-01-01 to 2081-01-04 leave more than half of the daily grid empty, most of it after "
            "row 4 (2018-01-03): a mistyped date",
        ),
    ],
)
def test_dates_on_no_grid(tmp_path: Path, dates: list[str], wanted: str) -> None:
    path = tmp_path / "dated.csv"
    path.write_text("date,value\n" + "".join(f"{date},{row**2}\n" for row, date in enumerate(dates)))
    for missing in ("error", "zero", "interpolate"):
        assert wanted in refusal(path, missing=missing)


def test_weekends_are_gaps_only_where_one_was_open(tmp_path: Path) -> None:
    working = pd.bdate_range("2018-01-01", periods=30)
    assert load(write(tmp_path, working)).series.season == 5
    assert load(write(tmp_path, working + pd.Timedelta("16h"))).series.season == 5
    saturday = working.append(pd.DatetimeIndex(["2018-01-06"])).sort_values()
    assert "1 missing after row 7 (2018-01-06)" in refusal(write(tmp_path, saturday))
    assert load(write(tmp_path, saturday), missing="ffill").series.season == 7


def test_two_dates_are_too_few(tmp_path: Path) -> None:
    dates = pd.DatetimeIndex(["2018-01-01", "2018-01-05"])
    assert "series dated is too short: 2 rows are split into train 1" in refusal(write(tmp_path, dates))
