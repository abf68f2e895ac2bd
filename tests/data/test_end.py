"""data.end: a series as it was when its later rows had not happened yet."""

import numpy as np
import pandas as pd
import pytest

from unroll.data.csv import CSVData
from unroll.data.series import Series
from unroll.data.sine import SineData
from unroll.errors import ConfigError
from unroll.load import load_run
from unroll.runs.reuse import fingerprint


def hourly(path, rows: int = 100) -> None:
    index = pd.date_range("2024-01-01", periods=rows, freq="h", name="time")
    pd.DataFrame({"load": np.sin(np.arange(rows) / 3)}, index=index).to_csv(path)


def loaded(path, end) -> CSVData:
    data = CSVData(path=str(path), date="time", target="load", window_size=4, end=end)
    data.setup()
    return data


@pytest.mark.parametrize(
    ("end", "rows"),
    [
        (60, 60),
        (100, 100),
        (None, 100),
        ("2024-01-03", 72),  # the whole day
        ("2024-01-03 00:00", 49),
        ("2024-01-03T12:30", 61),
        ("2024-01-05", 100),  # the day on which the data end
        ("2024-01-03T02:00+02:00", 49),
    ],
)
def test_later_rows_are_left_away(end, rows, tmp_path):
    hourly(tmp_path / "load.csv")
    data = loaded(tmp_path / "load.csv", end)
    assert len(data.series.values) == len(data.series.index) == data.segments.test.stop == rows


def test_what_is_fitted_is_that_of_a_shorter_file(tmp_path):
    hourly(tmp_path / "long.csv")
    hourly(tmp_path / "short.csv", 70)
    long, short = loaded(tmp_path / "long.csv", 70), loaded(tmp_path / "short.csv", None)
    assert long.segments == short.segments
    np.testing.assert_array_equal(long.values, short.values)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (101, "data.end=101: series load has 100 rows: lower it, or give null for all"),
        ("2023-12-31", "data.end=2023-12-31: series load goes from 2024-01-01 to 2024-01-05 03:00:00: no row is left"),
        ("2024-02-01", "2024-01-05 03:00:00: give a date inside, or null for all"),
        ("2018", "data.end=2018 is no date in ISO 8601, such as 2024-01-31, and no count of rows"),
        ("2024-01-32", "is no date in ISO 8601"),
        ("now", "is no date in ISO 8601"),
        (0, "data.end must be an integer of at least 1"),
        (1.5, "data.end must be an integer of at least 1"),
    ],
)
def test_an_end_that_cannot_be_is_refused(end, said, tmp_path):
    hourly(tmp_path / "load.csv")
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path / "load.csv", end)
    assert said.removeprefix("data.") in str(caught.value)


def test_rows_without_dates_are_counted():
    data = SineData(points=100, period=10, step=1, window_size=4, end="2024-01-01")
    with pytest.raises(ConfigError, match=r"series sine \(synthetic\) has no dates: give a count of rows, up to 100"):
        data.setup()


def test_a_run_knows_nothing_of_later_rows_and_goes_on_with_newer_data(run_training, tmp_path):
    hourly(tmp_path / "load.csv")
    words = ["data=csv", f"data.path={tmp_path / 'load.csv'}", "data.date=time", "data.window_size=4"]
    run = run_training(*words, "data.end=2024-01-03", "trainer.max_epochs=1").run
    found = load_run(run.path)
    assert len(found.datamodule.series.values) == len(Series.load(run.series).values) == 72
    assert len(found.forecast(3)) == 3
    newer = load_run(run.path, tmp_path / "load.csv")
    assert len(newer.datamodule.series.values) == 100
    assert newer.datamodule.segments.train == found.datamodule.segments.train


def test_a_run_without_an_end_is_known_as_before_there_was_any():
    config = {"data": {"window_size": 4}}
    assert fingerprint({"data": {"window_size": 4, "end": None}}, None) == fingerprint(config, None)
    assert fingerprint({"data": {"window_size": 4, "end": 5}}, None) != fingerprint(config, None)
