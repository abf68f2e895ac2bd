"""Cinema sales: the simulation, a daily file, the screenings file; and the real files where they are at hand."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unroll.data.cinema import CinemaData, simulate
from unroll.errors import ConfigError, DataError, UnrollError

TICKETS_SHA256 = "b6ffdf7ff464f04f63f9c3658f34b03be5d797d130de3375f047852ca2233cca"
REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"
DAILY, SCREENINGS = REAL / "cinema_tickets_daily.csv", REAL / "cinema_screenings_sample.csv"


def need(path: Path) -> None:
    if not path.is_file():
        pytest.skip(f"the real file ../shared/data/{path.name} is not on this machine")


def load(path: Path | None = None, **options: object) -> CinemaData:
    data = CinemaData(path=path and str(path), **{"window_size": 7, **options})  # type: ignore[arg-type]
    data.setup()
    return data


def refusal(path: Path | None = None, **options: object) -> str:
    with pytest.raises(UnrollError) as caught:
        load(path, **options)
    assert isinstance(caught.value, DataError | ConfigError)
    assert str(caught.value).isprintable()
    return str(caught.value)


# the simulation


def test_simulation_is_the_same_on_every_machine() -> None:
    tickets = simulate()["tickets_sold"].to_numpy()
    assert hashlib.sha256(tickets.astype("<i8").tobytes()).hexdigest() == TICKETS_SHA256
    longer = simulate(400)["tickets_sold"].to_numpy()
    assert len(longer) == 400


def test_simulation_is_no_matter_of_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines differ in the last bit of exp and sin: no number may lie so near to a half that it would flip."""
    seen: list[np.ndarray] = []
    rounded = np.round
    monkeypatch.setattr(np, "round", lambda values: seen.append(values) or rounded(values))
    simulate()
    fractions = np.abs(seen[0] % 1 - 0.5)
    assert fractions.min() > 1e-7


def test_simulated_days() -> None:
    data = load()
    series = data.series
    assert series.index.equals(pd.date_range("2018-03-14", periods=222))
    assert series.title == "cinema (simulated)"
    assert (series.columns, series.season) == (("total_sales",), 7)
    assert (series.values == np.round(series.values)).all()
    assert (series.values > 0).all()
    tickets = load(target="tickets_sold").series
    assert (tickets.unit, tickets.title) == ("tickets", "cinema (simulated)")
    price = series.target / tickets.target
    tuesday = np.asarray(series.index.day_name() == "Tuesday")
    assert set(price[~tuesday]) == {150_000}
    assert set(price[tuesday]) == {75_000}
    by_day = pd.Series(tickets.target).groupby(np.asarray(series.index.day_name())).mean()
    assert set(by_day.nlargest(3).index) == {"Tuesday", "Thursday", "Friday"}


def test_simulation_refuses_what_only_files_have() -> None:
    assert "data.cinema_code chooses from a screenings file: give data.path" in refusal(cinema_code=304)
    assert "data.target=seats: the simulation has total_sales and tickets_sold" in refusal(target="seats")
    assert "days must be an integer from 14 to 36525" in refusal(days=13)
    assert "days must be an integer from 14 to 36525" in refusal(days=10**8)


# a daily file


def write_daily(folder: Path, column: str, days: int = 60, name: str = "daily.csv") -> Path:
    dates = pd.date_range("2018-03-14", periods=days, name="date")
    sales = (np.arange(days) * 37) % 101 * 10**6
    path = folder / name
    pd.DataFrame({column: sales}, index=dates).to_csv(path)
    return path


@pytest.mark.parametrize("column", ["total_sales", "tickets_sold", "sold"])
def test_daily_file(tmp_path: Path, column: str) -> None:
    series = load(write_daily(tmp_path, column)).series
    assert series.columns == (column,)
    assert series.unit == ("tickets" if column == "tickets_sold" else "")
    assert (series.title, series.season) == ("cinema", 7)
    np.testing.assert_array_equal(series.target, (np.arange(60) * 37) % 101 * 1e6)


def test_daily_file_refusals(tmp_path: Path) -> None:
    path = write_daily(tmp_path, "tickets_sold")
    assert "is a daily file without the columns film_code and cinema_code" in refusal(path, film_code=1492)
    assert "daily.csv has no column sales; it has: date, tickets_sold" in refusal(path, target="sales")
    assert "are both date: they must be two columns" in refusal(path, target="date")
    assert "has no column day" in refusal(path, date="day")
    assert "does not exist" in refusal(tmp_path / "none.csv")
    path.write_text("date,a,b\n2018-03-14,1,2\n")
    assert "which column are the sales? Set data.target" in refusal(path)
    path.write_text("date,sold\n2018-03-14,1\n2018-03-15,2\n2018-03-18,3\n2018-03-19,4\n")
    assert "2 missing after row 3 (2018-03-15): mend the file" in refusal(path)


# the screenings file


def screenings(days: int = 50, seed: int = 0) -> pd.DataFrame:
    """Rows of films, cinemas and days in no order; the columns of the public file."""
    random = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product(
        [[1492, 1490, 1554], [304, 352, 489, 71], pd.date_range("2018-05-05", periods=days)],
        names=["film_code", "cinema_code", "date"],
    )
    table = pd.DataFrame(index=index).reset_index()
    table["tickets_sold"] = random.integers(0, 400, len(table))
    table["total_sales"] = table["tickets_sold"] * random.choice([80_000, 150_000], len(table))
    table["occu_perc"] = random.uniform(0, 100, len(table)).round(2)
    names = ["film_code", "cinema_code", "total_sales", "tickets_sold", "occu_perc", "date"]
    return table.sample(frac=0.9, random_state=seed)[names]


def by_hand(table: pd.DataFrame, column: str) -> pd.Series:
    sums: dict[str, float] = {}
    for day, value in zip(table["date"].astype(str).str[:10], table[column], strict=True):
        sums[day] = sums.get(day, 0) + value
    return pd.Series(sums).sort_index()


@pytest.mark.parametrize("target", ["total_sales", "tickets_sold"])
@pytest.mark.parametrize(
    "codes",
    [{}, {"cinema_code": 304}, {"film_code": 1492}, {"film_code": "1490", "cinema_code": " 71 "}],
    ids=["all", "one cinema", "one film", "one film in one cinema"],
)
def test_screenings_are_summed_to_days(tmp_path: Path, target: str, codes: dict[str, int | str]) -> None:
    table = screenings()
    table.to_csv(tmp_path / "screenings.csv", index=False)
    series = load(tmp_path / "screenings.csv", target=target, missing="zero", **codes).series
    for name, code in codes.items():
        table = table[table[name] == int(code)]
    expected = by_hand(table, target)
    found = pd.Series(series.target, index=series.index.astype(str))
    np.testing.assert_array_equal(found[expected.index], expected)
    assert found.drop(expected.index).eq(0).all()
    assert found.sum() == table[target].sum()
    grouped = table.groupby("date")[target].sum()
    np.testing.assert_array_equal(series.target[series.target > 0], grouped[grouped > 0])
    assert series.season == 7
    if codes == {"cinema_code": 304}:
        assert series.title == "cinema cinema 304"


def test_screenings_with_a_time_of_day(tmp_path: Path) -> None:
    table = screenings()
    table["date"] += pd.to_timedelta(np.arange(len(table)) % 24, unit="h")
    table.to_csv(tmp_path / "screenings.csv", index=False)
    series = load(tmp_path / "screenings.csv").series
    np.testing.assert_array_equal(series.target, by_hand(table, "total_sales"))


def test_screenings_refusals(tmp_path: Path) -> None:
    path = tmp_path / "screenings.csv"
    table = screenings()
    table.to_csv(path, index=False)
    message = refusal(path, cinema_code=305)
    assert "no row has cinema_code = 305; there are 4, such as 304, 352, 489, 71" in message
    assert "no row has film_code = x" in refusal(path, film_code="x")
    assert "film_code names films or cinemas" in refusal(path, target="film_code", film_code=1492)
    assert "film_code must be a text or an integer" in refusal(path, film_code=1.5)
    assert "has no column seats" in refusal(path, target="seats")

    table.loc[table.index[[3, 8]], "total_sales"] = np.nan
    table.to_csv(path, index=False)
    message = refusal(path)
    assert "column total_sales has no value in row 5 (" in message
    assert "row 10 (" in message
    assert message.endswith("set data.missing=zero, to count nothing sold")
    assert load(path, missing="zero").series.target.sum() == table["total_sales"].sum()
    table.loc[table.index[5], "total_sales"] = np.inf
    table.to_csv(path, index=False)
    assert "column total_sales is infinite in row 7 (" in refusal(path, missing="zero")

    table = screenings()
    closed = table["date"].isin(pd.to_datetime(["2018-05-20", "2018-05-21"]))
    table[~closed].to_csv(path, index=False)
    message = refusal(path)
    assert "gaps in its daily dates: 2 missing after 2018-05-19: mend the file" in message
    assert "row" not in message  # rows of the sums are no rows of the file
    series = load(path, missing="zero").series
    assert series.target[15:17].tolist() == [0, 0]


# the real files


def test_real_daily_file() -> None:
    need(DAILY)
    message = refusal(DAILY)
    assert "1 missing after row 83 (2018-06-03), 1 missing after row 84 (2018-06-05), 2 missing after row" in message
    table = pd.read_csv(DAILY, parse_dates=["date"]).set_index("date")["tickets_sold"]
    for missing in ("interpolate", "ffill", "zero"):
        data = load(DAILY, missing=missing, window_size=14)
        assert data.series.columns == ("tickets_sold",)
        assert (len(data.series.values), data.series.season, data.series.kind) == (236, 7, "")
        found = pd.Series(data.series.target, index=data.series.index)
        np.testing.assert_array_equal(found[table.index], table)
        scored = found.index[np.concatenate([data.origins(name) for name in ("train", "validation", "test")])]
        assert scored.isin(table.index).all()


def test_real_screenings_file(tmp_path: Path) -> None:
    need(SCREENINGS)
    assert "48 dates from 2018-05-02 to 2018-08-12 leave more than half" in refusal(SCREENINGS)
    sparse = load(SCREENINGS, missing="zero", window_size=7).series  # a day without a row: nothing was sold
    assert len(sparse.values) == 103
    assert (sparse.target > 0).sum() == 48
    table = pd.read_csv(SCREENINGS)
    summer = table[table["date"] >= "2018-06-23"]  # the sample leaves May and June out
    summer.to_csv(tmp_path / "summer.csv", index=False)
    for target in ("total_sales", "tickets_sold"):
        series = load(tmp_path / "summer.csv", target=target, missing="zero").series
        grouped = summer.groupby("date")[target].sum()
        found = pd.Series(series.target, index=series.index.astype(str))
        assert found[grouped.index].tolist() == grouped.tolist()
        assert found.sum() == summer[target].sum()
    codes = ", ".join(sorted(table["cinema_code"].astype(str).unique())[:8])
    assert f"no row has cinema_code = 999999; there are {table['cinema_code'].nunique()}, such as {codes}" in refusal(
        SCREENINGS, cinema_code=999999
    )
