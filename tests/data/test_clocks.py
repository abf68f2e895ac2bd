"""Clocks that change: grid, season, labels and forecasts' dates of local times and of dates with offsets."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import forge, load_config
from unroll import load_run
from unroll.config import plain
from unroll.data import tables
from unroll.data.calendar import continued
from unroll.data.cinema import CinemaData
from unroll.data.csv import CSVData
from unroll.errors import DataError
from unroll.runs.reuse import data_digest, fingerprint
from unroll.sweeps.entries import Entry, read_entries

BERLIN = "Europe/Berlin"
CHANGES = {"spring": "2018-03-24", "autumn": "2018-10-27"}  # the day before
HOURS = {name: pd.date_range(day, periods=50, freq="h", tz=BERLIN) for name, day in CHANGES.items()}


def write(folder: Path, dates: list[str], header: str = "date,value") -> Path:
    path = folder / "clocks.csv"
    path.write_text("\n".join([header, *(f"{date},{row**2 % 31}" for row, date in enumerate(dates))]) + "\n")
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


def local(dates: pd.DatetimeIndex) -> list[str]:
    return dates.strftime("%Y-%m-%d %H:%M").tolist()


def with_offsets(dates: pd.DatetimeIndex) -> list[str]:
    return [date.isoformat() for date in dates]


def in_utc(dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return dates.tz_convert("UTC").tz_localize(None).as_unit("us")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("freq", ["h", "30min", "15min"])
@pytest.mark.parametrize("written", ["offsets", "local", "offsets in another zone"])
def test_hours_are_a_grid_in_utc(tmp_path: Path, change: str, freq: str, written: str) -> None:
    dates = pd.date_range(CHANGES[change], periods=130, freq=freq, tz=BERLIN)
    texts = {"offsets": with_offsets(dates), "local": local(dates)}
    path = write(tmp_path, texts.get(written) or with_offsets(dates.tz_convert("America/New_York")))
    series = load(path, timezone=None if written == "offsets" else BERLIN).series
    assert list(series.index) == list(in_utc(dates))
    assert series.index.name == "date (UTC)"
    assert series.season == pd.Timedelta("1D") // pd.Timedelta(dates[1] - dates[0])
    after = pd.date_range(dates[-1], periods=4, freq=freq)[1:]
    assert list(continued(series.index, 3)) == list(in_utc(after))


@pytest.mark.parametrize(("freq", "season"), [("D", 7), ("B", 5), ("W-WED", 52), ("MS", 12), ("ME", 12), ("QS", 4)])
@pytest.mark.parametrize("written", ["offsets", "UTC", "local"])
def test_days_and_longer_steps_are_a_grid_on_the_wall_clock(
    tmp_path: Path, freq: str, season: int, written: str
) -> None:
    """In UTC the day of the change is 23 or 25 hours long, and midnight in summer lies on another day of the month."""
    days = pd.date_range("2018-01-31", periods=60, freq=freq, unit="us")
    dates = days.tz_localize(BERLIN)
    texts = {"offsets": with_offsets(dates), "UTC": with_offsets(dates.tz_convert("UTC")), "local": local(dates)}
    series = load(write(tmp_path, texts[written]), timezone=None if written == "offsets" else BERLIN).series
    assert list(series.index) == list(days)
    assert series.index.name == "date"
    assert series.season == season
    assert list(continued(series.index, 3)) == list(pd.date_range(days[-1], periods=4, freq=freq)[1:])


def test_a_gap_over_a_change_is_a_gap_of_days(tmp_path: Path) -> None:
    days = pd.date_range("2018-03-20", periods=12, tz=BERLIN)
    path = write(tmp_path, with_offsets(days.delete([5, 6])))
    assert "gaps in its daily dates: 2 missing after row 6 (2018-03-24): mend" in refusal(path)
    assert list(load(path, missing="ffill").series.index) == list(days.tz_localize(None))


def test_several_times_of_day_on_the_wall_clock(tmp_path: Path) -> None:
    """06:00 and 18:00 are twelve hours apart by the clock on the wall, also where they are 11 or 13 in truth."""
    days = pd.date_range("2018-03-20", periods=10)
    dates = (days + pd.Timedelta("6h")).append(days + pd.Timedelta("18h")).sort_values()
    series = load(write(tmp_path, with_offsets(dates.tz_localize(BERLIN)))).series
    assert list(series.index) == list(dates)
    assert series.season == 2


def test_local_times_without_a_zone_are_refused_with_the_way_out(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, local(HOURS["autumn"])))
    assert "2018-10-28 02:00:00 stands twice, in rows 28 and 29" in message
    assert message.endswith("where the clocks went back then, set data.timezone (such as Europe/Berlin)")
    message = refusal(write(tmp_path, local(HOURS["spring"])))
    assert "1 missing after row 27 (2018-03-25 01:00:00)" in message
    assert message.endswith("where the clocks went forward then, set data.timezone (such as Europe/Berlin)")
    quarters = pd.date_range("2018-10-28", periods=30, freq="15min", tz=BERLIN)
    assert "set data.timezone" in refusal(write(tmp_path, local(quarters)))
    assert "timezone" not in refusal(write(tmp_path, ["2018-01-01", "2018-01-02", "2018-01-02", "2018-01-03"]))
    assert "timezone" not in refusal(
        write(tmp_path, local(pd.date_range("2018-01-01", periods=9, freq="h").delete([4, 5])))
    )


@pytest.mark.parametrize(
    ("dates", "wanted"),
    [
        (
            pd.date_range("2018-03-25", periods=9, freq="h"),
            "row 4: 2018-03-25 02:00:00 was never there in data.timezone=Europe/Berlin",
        ),
        (
            HOURS["autumn"].delete([26]),
            "row 28: 2018-10-28 02:00:00 was there twice .* through this hour once.* or set data.timezone=null where",
        ),
        (HOURS["autumn"].insert(27, HOURS["autumn"][26]), "row 30: .* through this hour more than twice"),
        (pd.date_range("9999-12-31 20:00", periods=4, freq="h", unit="us"), "beyond the year 9999"),
        (pd.date_range("0001-01-01", periods=4, freq="h", unit="us"), "before the year 1"),
    ],
    ids=["never there", "once", "three times", "9999", "1"],
)
def test_local_times_that_cannot_be_told(tmp_path: Path, dates: pd.DatetimeIndex, wanted: str) -> None:
    zone = "America/New_York" if dates[0].year == 9999 else BERLIN
    with pytest.raises(DataError, match=wanted):
        load(write(tmp_path, local(dates)), timezone=zone)


def test_a_file_may_begin_or_end_in_the_hour_that_is_there_twice(tmp_path: Path) -> None:
    quarters = pd.date_range("2018-10-28", periods=30, freq="15min", tz=BERLIN)
    for part in (quarters[:11], quarters[14:], quarters[:14], quarters[11:]):
        assert list(load(write(tmp_path, local(part)), timezone=BERLIN).series.index) == list(in_utc(part))
    without = HOURS["autumn"].delete([26, 27])
    assert list(load(write(tmp_path, local(without)), timezone=BERLIN, missing="ffill").series.index) == list(
        in_utc(HOURS["autumn"])
    )


@settings(max_examples=15, deadline=None)
@given(
    zone=st.sampled_from([BERLIN, "Europe/Dublin", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Tehran"]),
    start=st.datetimes(pd.Timestamp("1990-01-01").to_pydatetime(), pd.Timestamp("2100-01-01").to_pydatetime()),
    step=st.sampled_from(["10min", "30min", "h"]),
    chunk=st.integers(3, 400),
)
def test_what_was_written_in_a_zone_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, zone: str, start: pd.Timestamp, step: str, chunk: int
) -> None:
    """A year and more around each change; half-hour changes and negative ones too."""
    begin = pd.Timestamp(start).floor("h").tz_localize("UTC")
    dates = pd.date_range(begin, periods=24 * 380 if step == "h" else 2000, freq=step).tz_convert(zone)
    path = write(tmp_path_factory.mktemp("zone"), local(dates))
    try:
        series = load(path, timezone=zone).series
    except DataError as error:  # a file that begins in the first pass, or ends in the second, cannot be told
        assert "through this hour once" in str(error)  # noqa: PT017
    else:
        if series.index[0] == in_utc(dates)[0]:
            assert list(series.index) == list(in_utc(dates))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "CHUNK_ROWS", chunk)
        found = load(write(tmp_path_factory.mktemp("offsets"), with_offsets(dates[:500]))).series
    assert list(found.index) == list(in_utc(dates[:500]))


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("dates", "wanted"),
    [
        (["2018-01-01", "2018-01-02T00:00+00:00", "2018-01-03", "2018-01-04"], "row 3"),
        (["2018-01-01T00:00+01:00", "2018-01-02T00:00Z", "2018-01-03T00:00", "2018-01-04T00:00Z"], "row 4"),
    ],
)
def test_offsets_on_some_dates_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, dates: list[str], wanted: str
) -> None:
    monkeypatch.setattr(tables, "CHUNK_ROWS", chunk)
    for zone in (None, BERLIN):
        message = refusal(write(tmp_path, [*dates]), timezone=zone)
        assert wanted in message
        assert "it must stand behind all dates or behind none" in message


def test_offsets_in_a_format_of_their_own(tmp_path: Path) -> None:
    for form in ("%d.%m.%Y %H:%M %z", "%z %d.%m.%Y %H:%M"):
        for change in CHANGES:
            path = write(tmp_path, HOURS[change].strftime(form).tolist())
            assert list(load(path, date_format=form).series.index) == list(in_utc(HOURS[change]))


@pytest.mark.parametrize(("begin", "periods"), [("2018-03-25", 24), ("2018-03-25", 25), ("2018-03-24 12:00", 24)])
def test_a_day_of_hours_over_a_change(tmp_path: Path, begin: str, periods: int) -> None:
    """So few rows that there are fewer times of day on the wall clock, which jumps over one."""
    hours = pd.date_range(begin, periods=periods, freq="h", tz=BERLIN)
    assert list(load(write(tmp_path, with_offsets(hours))).series.index) == list(in_utc(hours))
    assert list(load(write(tmp_path, local(hours)), timezone=BERLIN).series.index) == list(in_utc(hours))


@pytest.mark.parametrize("first", range(0, 8))
@pytest.mark.parametrize("year", [2018, 2019])
def test_steps_that_the_change_does_not_break_keep_the_wall_clock(tmp_path: Path, first: int, year: int) -> None:
    """02:00 is there twice in autumn, and it stands once among 02:00, 08:00, 14:00 and 20:00."""
    dates = pd.date_range(f"{year}-10-20", periods=60, freq="6h") + first * pd.Timedelta("30min")
    series = load(write(tmp_path, local(dates)), timezone=BERLIN).series
    assert list(series.index) == list(dates)
    assert (series.index.name, series.season) == ("date", 4)


@pytest.mark.parametrize("first", range(12))
@pytest.mark.parametrize("step", ["75min", "90min", "2h", "3h", "5h"])
def test_one_row_in_the_hour_that_is_there_twice(tmp_path: Path, first: int, step: str) -> None:
    """The rows around it tell which pass it is of, where steps are longer than the hour."""
    dates = pd.date_range("2018-10-26", periods=80, freq=step, tz=BERLIN) + first * pd.Timedelta("10min")
    assert list(load(write(tmp_path, local(dates)), timezone=BERLIN).series.index) == list(in_utc(dates))


@pytest.mark.parametrize("first", ["00:00", "00:10", "00:30", "00:50"])
@pytest.mark.parametrize("step", ["h", "40min"])
def test_a_change_of_half_an_hour(tmp_path: Path, first: str, step: str) -> None:
    """Hourly rows at 01:00, 01:30 and 02:30, or at 00:30, 01:30 and 02:00: 01:30 is of the second pass or the first."""
    zone = "Australia/Lord_Howe"
    dates = pd.date_range(f"2018-03-25 {first}", periods=24 * 380, freq=step, tz=zone)
    assert list(load(write(tmp_path, local(dates)), timezone=zone).series.index) == list(in_utc(dates))


def test_screenings_count_to_the_day_on_the_wall(tmp_path: Path) -> None:
    rows = [
        f"1,2,2018-03-{day:02d}T{time}+03:30,{day}" for day in range(10, 30) for time in ("00:30", f"1{day % 7}:15")
    ]
    path = tmp_path / "screenings.csv"
    path.write_text("\n".join(["film_code,cinema_code,date,total_sales", *rows]) + "\n")
    data = CinemaData(path=str(path), window_size=2)
    data.setup()
    assert list(data.series.index) == list(pd.date_range("2018-03-10", "2018-03-29"))
    np.testing.assert_array_equal(data.series.target, 2 * np.arange(10, 30))


def test_runs_with_and_without_a_zone(tmp_path: Path, run_training, command) -> None:
    """A config of before there was a zone is the same run; forecasts go on in the clock of the series."""
    path = write(tmp_path, local(HOURS["autumn"]))
    words = ["data=csv", f"data.path={path}", "data.date=date", "trainer.max_epochs=1", "data.window_size=4"]
    config = plain(load_config(*words))
    older = plain(load_config(*words))
    del older["data"]["timezone"]
    assert fingerprint(config, data_digest(config)) == fingerprint(older, data_digest(older))
    zoned = run_training(*words, f"data.timezone={BERLIN}")
    done = command(str(zoned.run.path), "--steps", "2", script="scripts/forecast.py", output_dir=False)
    assert [line.partition(",")[0] for line in done.stdout.splitlines()] == [
        "date (UTC)",
        "2018-10-29 00:00:00",
        "2018-10-29 01:00:00",
    ]
    days = pd.date_range("2018-03-01", periods=50, tz=BERLIN)
    path = write(tmp_path, with_offsets(days))
    plain_run = run_training(*words)
    state = plain_run.run.read_config()
    del state["data"]["timezone"]  # as a run of before
    plain_run.run.config.write_text(yaml.safe_dump(state))
    forge(plain_run.run.path)
    assert str(load_run(plain_run.run.path).forecast(1).index[0]) == "2018-04-20 00:00:00"
    (entry,) = [found for found in read_entries([plain_run.run.path]).entries if isinstance(found, Entry)]
    assert "data.timezone" not in entry.config
    longer = write(tmp_path, with_offsets(pd.date_range("2018-03-01", periods=60, tz=BERLIN)))
    assert str(load_run(plain_run.run.path, longer).forecast(1).index[0]) == "2018-04-30 00:00:00"
    in_utc_days = write(tmp_path, with_offsets(pd.date_range("2018-03-01", periods=60, tz="UTC").tz_convert(BERLIN)))
    with pytest.raises(DataError, match=r"on a grid in UTC, and those .* in the wall clock: write them in the same"):
        load_run(plain_run.run.path, in_utc_days)
