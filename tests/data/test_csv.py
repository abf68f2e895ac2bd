"""Any CSV file, as people write them: what is read, and what is refused in one line that names the place."""

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unroll.data import tables
from unroll.data.csv import CSVData
from unroll.errors import ConfigError, DataError, UnrollError

DAYS = [f"2018-03-{day:02d}" for day in range(1, 32)]


def write(folder: Path, text: str | bytes, name: str = "sales.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def rows(dates: list[str], values: list[object] | None = None, header: str = "date,value") -> str:
    """A CSV text with one row a date; values 0, 1, 4, 9, ... by default."""
    shown = values if values is not None else [row**2 for row in range(len(dates))]
    return "\n".join([header, *(f"{date},{value}" for date, value in zip(dates, shown, strict=True))]) + "\n"


def load(path: Path, **options: object) -> CSVData:
    data = CSVData(path=str(path), **{"window_size": 3, **options})  # type: ignore[arg-type]
    data.setup()
    return data


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(UnrollError) as caught:
        load(path, **options)
    message = str(caught.value)
    assert isinstance(caught.value, DataError | ConfigError)
    assert message.isprintable()
    assert len(message) < 1000
    return message


def refusal_of(folder: Path, text: str | bytes, **options: object) -> str:
    return refusal(write(folder, text), **{"date": "date", "target": "value", **options})


# what is read


def test_dates_values_and_batches(tmp_path: Path) -> None:
    data = load(write(tmp_path, rows(DAYS)), date="date", transform="none", horizon=2)
    assert data.series.columns == ("value",)
    assert data.series.title == "sales"
    assert data.series.season == 7
    assert data.series.label(2) == "2018-03-03"
    np.testing.assert_array_equal(data.series.target, np.arange(31.0) ** 2)
    batch = next(iter(data.loader("train")))
    assert batch.past.shape[1:] == (3, 1)
    np.testing.assert_array_equal(batch.past[0, :, 0], [0, 1, 4])
    np.testing.assert_array_equal(batch.target[0], [9, 16])
    assert batch.future.shape == (len(batch.past), 2, 0)


@pytest.mark.parametrize(
    ("text", "encoding", "options"),
    [
        ("date,value\n{rows}", "utf-8-sig", {}),
        ("date;value\n{rows}", "utf-8", {"separator": ";", "decimal": ","}),
        ("date\tvalue\n{rows}", "utf-8", {"separator": "\t"}),
        ("date\tvalue\n{rows}", "utf-8", {"separator": r"\t"}),
        ("date|value\n{rows}", "utf-8", {"separator": "|"}),
        ('"date","value"\n{rows}', "utf-8", {}),
        ("date,value\n{rows}", "utf-16", {"encoding": "utf-16"}),
        ("date,value\n{rows}\n\n\n", "utf-8", {}),
    ],
    ids=["byte order mark", "semicolons", "tabs", "tabs by name", "bars", "quotes", "utf-16", "blank end"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_ways_to_write_the_same_file(
    tmp_path: Path, text: str, encoding: str, options: dict[str, object], end: str
) -> None:
    separator = str(options.get("separator", ",")).replace(r"\t", "\t")
    values = [str(row / 4).replace(".", str(options.get("decimal", "."))) for row in range(31)]
    lines = "\n".join(f"{day}{separator}{value}" for day, value in zip(DAYS, values, strict=True))
    path = write(tmp_path, text.format(rows=lines).replace("\n", end), encoding=encoding)
    series = load(path, date="date", target="value", **options).series
    np.testing.assert_array_equal(series.target, np.arange(31) / 4)
    assert series.index.equals(pd.date_range("2018-03-01", periods=31, unit="us", name="date"))


def test_latin_1(tmp_path: Path) -> None:
    path = write(tmp_path, rows(DAYS, header="date,größe"), encoding="latin-1")
    assert "sales.csv is no text in utf-8-sig" in refusal(path, date="date", target="größe")
    assert load(path, date="date", target="größe", encoding="latin-1").series.columns == ("größe",)
    assert "no text in klingon" in refusal(path, encoding="klingon")


def test_compressed(tmp_path: Path) -> None:
    packed = gzip.compress(rows(DAYS).encode())
    assert len(load(write(tmp_path, packed, "a.csv.gz"), date="date").series.values) == 31
    message = refusal(write(tmp_path, packed[:-20], "b.csv.gz"), date="date")
    assert message.startswith("b.csv.gz cannot be read as CSV")
    assert "cannot be read as CSV" in refusal(write(tmp_path, rows(DAYS), "c.csv.gz"))


@pytest.mark.parametrize(
    ("date_format", "first", "second", "third"),
    [
        ("%d/%m/%Y", "01/02/2018", "02/02/2018", "03/02/2018"),
        ("%d.%m.%y %H:%M", "28.02.20 06:30", "29.02.20 06:30", "01.03.20 06:30"),
        ("%Y-%j", "2018-365", "2019-001", "2019-002"),
        ("%G-W%V-%u", "2020-W53-5", "2020-W53-6", "2020-W53-7"),
        (None, "1968-02-28", "1968-02-29", "1968-03-01"),
        (None, "1600-02-28", "1600-02-29", "1600-03-01"),
        (None, "2262-12-31T12:00", "2263-01-01T12:00", "2263-01-02T12:00"),
        (None, "20180314", "2018-03-15 00:00:00", "2018-03-16T00:00"),
        (None, "2018-03-14T23:30Z", "2018-03-16T00:30+01:00", "2018-03-16T20:00:00-03:30"),
    ],
)
def test_dates(tmp_path: Path, date_format: str | None, first: str, second: str, third: str) -> None:
    path = write(tmp_path, rows([first, second, third], [1, 2, 4]))
    data = load(path, date="date", date_format=date_format, window_size=1, validation=0, test=1)
    assert data.series.season == 7


def test_rows_without_dates_are_steps(tmp_path: Path) -> None:
    path = write(tmp_path, "value\n" + "\n".join(str(row**2) for row in range(40)) + "\n\n\n")
    series = load(path).series  # a file of one column needs no target
    assert (len(series.values), series.season, series.label(7)) == (40, None, "7")
    assert "column value has no value in row 3:" in refusal(write(tmp_path, "value\n1\n\n3\n4\n"))


def test_covariates_and_units(tmp_path: Path) -> None:
    lines = [f"{day},{row},{row % 7},x,{row % 2 == 0}" for row, day in enumerate(DAYS)]
    path = write(tmp_path, "\n".join(["date,value,weekday,note,open", *lines]))
    data = load(path, date="date", target="value", covariates=["open", "weekday"], unit="EUR", transform="none")
    assert data.series.columns == ("value", "open", "weekday")
    assert data.series.unit == "EUR"
    assert data.series.values.flags.c_contiguous  # or the scaler would depend on the layout, in the last bit
    assert (data.shape.features, data.shape.future_features) == (3, 0)
    batch = next(iter(data.loader("test")))
    assert batch.past[0, -1].tolist() == [25, 0, 4]
    assert batch.target[0].tolist() == [26]


@pytest.mark.parametrize("scale", [1e12, 1e-12, 1e-100, 1e100])
def test_large_and_small_numbers_keep_their_digits(tmp_path: Path, scale: float) -> None:
    values = scale * np.random.default_rng(0).uniform(1, 2, size=50)
    data = load(write(tmp_path, "value\n" + "\n".join(map(repr, values.tolist()))))
    np.testing.assert_array_equal(data.series.target, values)
    assert data.values.isfinite().all()


def test_integers_beyond_64_bits_are_numbers(tmp_path: Path) -> None:
    text = "value\n-1\n18446744073709551615\n99999999999999999999999\n5\n6\n7\n8\n"
    series = load(write(tmp_path, text), window_size=1).series
    assert series.target[:3].tolist() == [-1, 18446744073709551615.0, 1e23]
    for sign in ("", "-", "+"):
        text = f"value\n1,5\n{sign}{'1' * 400}\n\n{'5' * 20}\n8\n"
        message = refusal(write(tmp_path, text), window_size=1, separator=";", decimal=",")
        assert "column value is infinite in row 3: mend the file" in message
    assert "'x' is no number" in refusal(write(tmp_path, f"value\n{'1' * 400}\n8\nx\n"), window_size=1)


def test_thousands_of_columns(tmp_path: Path) -> None:
    names = [f"column{number}" for number in range(3000)]
    lines = [",".join(str((row + 1) * number) for number in range(3000)) for row in range(30)]
    path = write(tmp_path, "\n".join([",".join(names), *lines]))
    series = load(path, target="column7", covariates=["column2999", "column5"]).series
    assert series.values[2].tolist() == [21, 3 * 2999, 15]
    message = refusal(path, target="colum5")
    assert "(did you mean column5?); it has: column0, column1," in message
    assert message.endswith("and 2980 more")
    long = [f"{number}{'x' * 60}" for number in range(30)]
    message = refusal(write(tmp_path, ",".join(long) + "\n1\n"), target="y")
    assert len(message) < 400
    assert message.endswith(f"5{'x' * 39}... and 24 more")


def test_odd_names_in_messages(tmp_path: Path) -> None:
    for name in ("\x1b[31mred", "\x85", "x" * 500, "new\nline"):
        text = f'date,"{name}"\n' + rows(DAYS, ["abc"] * 31).partition("\n")[2]
        message = refusal(write(tmp_path, text), date="date")
        assert "row 2: 'abc' is no number" in message
        assert len(message) < 150
    text = rows(DAYS, header=f"date,{'x' * 500}y")
    assert len(refusal(write(tmp_path, text), date="date", target="x" * 500)) < 300
    path = write(tmp_path, '"a,b"\n' + "\n".join(map(str, range(40))))
    assert load(path).series.columns == ("a,b",)  # a comma in quotes is no other separator


@pytest.mark.parametrize("chunk", [1, 7, 10, 31, 1000])
def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    text = rows(DAYS, header="date,value")
    whole = load(write(tmp_path, text), date="date").series
    monkeypatch.setattr(tables, "CHUNK_ROWS", chunk)
    chunked = load(write(tmp_path, text + "\n,\n\n"), date="date").series
    np.testing.assert_array_equal(whole.values, chunked.values)
    assert whole.index.equals(chunked.index)
    lines = text.splitlines()
    blank = "\n".join([*lines[:11], "", *lines[11:]])  # an empty line that ends a chunk of ten
    assert "column date, row 12: there is no date" in refusal_of(tmp_path, blank)
    assert "'x' is no number" in refusal_of(tmp_path, text.replace("2018-03-25,576", "2018-03-25,x"))
    assert "row 26:" in refusal_of(tmp_path, text.replace("2018-03-25,576", "2018-03-25,x"))
    assert "row 26:" in refusal_of(tmp_path, text.replace("2018-03-25", "2018-03-32"))
    assert "row 26 has more fields" in refusal_of(tmp_path, text.replace("-25,576", "-25,576,1"))
    assert "in row 26 (2018-03-25):" in refusal_of(tmp_path, text.replace("-25,576", "-25,inf"))


def test_more_rows_than_one_chunk(tmp_path: Path) -> None:
    count = tables.CHUNK_ROWS + 10
    minutes = pd.date_range("2018-03-14", periods=count, freq="min")
    table = pd.DataFrame({"date": minutes.astype(str), "value": np.arange(count) % 977})
    table.to_csv(tmp_path / "long.csv", index=False)
    series = load(tmp_path / "long.csv", date="date").series
    np.testing.assert_array_equal(series.target, np.arange(count) % 977)
    assert (series.season, series.index[-1]) == (1440, minutes[-1])
    table.loc[count - 4, "value"] = np.nan
    table.to_csv(tmp_path / "long.csv", index=False)
    assert f"has no value in row {count - 2} (" in refusal(tmp_path / "long.csv", date="date")


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(-1e15, 1e15), min_size=12, max_size=30, unique=True),
    notes=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    separator=st.sampled_from(",;\t|"),
    decimal=st.sampled_from(".,"),
    chunk=st.integers(1, 40),
)
def test_reads_what_the_csv_module_writes(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[float],
    notes: str,
    separator: str,
    decimal: str,
    chunk: int,
) -> None:
    """Any text in a column beside (quotes, line ends, separators) leaves the numbers alone."""
    if separator == decimal:
        separator = ";"
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator)
    writer.writerow(["note", "value", 'a "name"'])
    writer.writerows([notes, repr(value).replace(".", decimal), f"{notes}{row}"] for row, value in enumerate(values))
    path = write(tmp_path_factory.mktemp("written"), text.getvalue())
    options = {"separator": separator, "decimal": decimal, "test": 2, "validation": 0, "window_size": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "CHUNK_ROWS", chunk)
        try:
            data = load(path, target="value", **options)
        except DataError as error:
            assert "is constant" in str(error)  # noqa: PT017 (values may differ by rounding only)
            return
    assert data.series.target.tolist() == values


@settings(max_examples=150, deadline=None)
@given(
    garbage=st.one_of(
        st.binary(max_size=300),
        st.text('date,value\n\r";|\t\0-:.+eE0123456789naif é', max_size=200).map(str.encode),
        st.tuples(st.integers(0, 500), st.binary(max_size=4)).map(
            lambda cut: rows(DAYS).encode()[: cut[0]] + cut[1] + rows(DAYS).encode()[cut[0] + 3 :]
        ),
    ),
    date=st.sampled_from(["date", None]),
    missing=st.sampled_from(["error", "interpolate", "ffill", "zero"]),
)
def test_garbage_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes, date: str | None, missing: str
) -> None:
    path = write(tmp_path_factory.mktemp("garbage"), garbage)
    try:
        data = load(path, date=date, target="value", missing=missing, window_size=1)
    except UnrollError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert np.isfinite(data.series.values).all()
        assert data.series.index.is_unique
        assert data.series.index.is_monotonic_increasing


# what is refused, and how


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"", "sales.csv is empty: it needs a header row and data rows"),
        (b"\n\n", "row 1 is empty: the first row must name the columns"),
        (b"\ndate,value\n2018-01-01,1\n", "row 1 is empty"),
        (b"date,value\n", "sales.csv has a header and no rows"),
        (b"date,value", "sales.csv has a header and no rows"),
        (b"date,value\n\n\n,\n", "sales.csv has a header and no rows"),
        (b"date,sold\n2018-01-01,1\n", "sales.csv has no column value; it has: date, sold"),
        (b"date,valu\n2018-01-01,1\n", "no column value (did you mean valu?); it has: date, valu"),
        (b"date, value\n2018-01-01,1\n", "it has: date, ' value'"),
        (b"day,value\n2018-01-01,1\n", "sales.csv has no column date (did you mean day?); it has: day, value"),
        (b"date;value\n2018-01-01;1\n", "separated by another mark: set data.separator"),
        (b"date,value,value\n2018-01-01,1,2\n", "has 2 columns named value: rename one"),
        (b'date,"val\nue"\n2018-01-01,1\n', r"it has: date, 'val\nue'"),
        (b"date,value\n2018-01-01,1\n2018-01-02,1.2.3\n", "column value, row 3: '1.2.3' is no number"),
        (b"date,value\n2018-01-01,1\n2018-01-02,True\n", "column value, row 3: 'True' is no number"),
        (b"date,value\n2018-01-01,12 EUR\n", "column value, row 2: '12 EUR' is no number"),
        (b'date,value\n2018-01-01,"1,5"\n', "row 2: '1,5' is no number (the decimal mark is .); with data=csv,"),
        (b"date,value\n2018-01-01,1\n2018-01-02,1\0\n", r"row 3: '1\x00' is no number"),
        (b"date,value\n2018-01-01,1\n02.01.2018,1\n", "column date, row 3: '02.01.2018' does not parse as a date"),
        (b"date,value\n2018-02-29,1\n", "column date, row 2: '2018-02-29' does not parse as a date in ISO 8601"),
        (b"date,value\nnow,1\n", "row 2: 'now' does not parse as a date"),
        (b"date,value\n2018-01-01,1\ntoday,1\n", "row 3: 'today' does not parse as a date"),
        (b"date,value\n2016-12-31 23:59:60,1\n", "a leap second has no place on a regular grid: remove the row"),
        (b"date,value\n2018-W01-1,1\n", "row 2: '2018-W01-1' does not parse as a date in ISO 8601"),
        (b"date,value\n0000-01-01,1\n", "row 2: '0000-01-01' does not parse as a date"),
        (b"date,value\n2018-01-01,1\n,2\n", "column date, row 3: there is no date"),
        (b"date,value\n2018-01-01,1\n\n2018-01-02,1\n", "column date, row 3: there is no date"),
        (b"date,value\n2018-01-01,1,5\n2018-01-02,2,5\n", "row 2 has more fields than the header (2)"),
        (b"date,value\n2018-01-01,1\n2018-01-02,2,5\n", "row 3 has more fields than the header (2)"),
        (b"date,value\n2018-01-01,1\n2018-01-02\n", "column value has no value in row 3 (2018-01-02)"),
        (b'date,value\n2018-01-01,1\n2018-01-02,"2\n2018-01-03,3\n', "the quote opened in row 3 is not closed"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe", "sales.csv is no text in utf-8-sig"),
        (b"PK\x03\x04\x14\0\0\0\x08\0", "sales.csv has no column date"),
    ],
)
def test_refused_files(tmp_path: Path, text: bytes, wanted: str) -> None:
    assert wanted in refusal_of(tmp_path, text)


def test_trailing_separators_are_no_fields(tmp_path: Path) -> None:
    text = rows(DAYS).replace("\n", ",\n").replace("value,", "value")
    data = load(write(tmp_path, text), date="date")
    assert data.series.target[3] == 9


def test_missing_file_and_directory(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.csv").endswith(f"this file does not exist (looked from {Path.cwd()})")
    assert "cannot be read as CSV" in refusal(tmp_path)
    with pytest.raises(ConfigError, match=r"data\.path is not set"):
        CSVData(path=None, window_size=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"separator": "||"}, "separator must be one ASCII mark"),
        ({"separator": "§"}, "separator must be one ASCII mark"),
        ({"separator": '"'}, "separator must be one ASCII mark"),
        ({"separator": "1"}, "separator must be one ASCII mark"),
        ({"separator": ""}, "separator must be a mark"),
        ({"decimal": ";"}, "decimal must be . or ,"),
        ({"decimal": ","}, "separator and data.decimal are both ,"),
        ({"missing": "drop"}, "missing must be one of error"),
        ({"date_format": "%Q"}, "data.date_format=%Q: 'Q' is a bad directive"),
        ({"date_format": "%Y%Y"}, "data.date_format=%Y%Y: redefinition of group name"),
        ({"date_format": "%H:%M"}, "data.date_format=%H:%M has no year"),
        ({"date_format": "mixed"}, "data.date_format=mixed has no year"),
        ({"timezone": "Europe/Berln"}, "timezone must be the IANA name of a time zone, such as Europe/Berlin"),
        ({"timezone": "../etc/passwd"}, "timezone must be the IANA name of a time zone"),
        ({"covariates": ["value"]}, "column value has two parts to play"),
        ({"target": "date"}, "column date has two parts to play"),
        ({"target": None, "covariates": ["value"]}, "has no column to forecast"),
    ],
)
def test_refused_options(tmp_path: Path, options: dict[str, object], wanted: str) -> None:
    assert wanted in refusal_of(tmp_path, rows(DAYS), **options)


def test_which_column_is_the_target(tmp_path: Path) -> None:
    path = write(tmp_path, "date,a,b\n2018-01-01,1,2\n")
    assert "sales.csv has several columns: date, a, b: set data.target" in refusal(path, date="date")
    path = write(tmp_path, "date;value\n2018-01-01;1\n")
    assert "has one column, date;value; the file looks separated by another mark" in refusal(path)


def test_decimal_commas(tmp_path: Path) -> None:
    """A point is no decimal mark beside commas: 1.234 in such a file is a thousand."""
    german = {"separator": ";", "decimal": ","}
    text = rows(DAYS, [f"1.{row:03d}" for row in range(31)]).replace(",", ";")
    assert "row 2: '1.000' is no number (the decimal mark is ,)" in refusal_of(tmp_path, text, **german)
    text = rows(DAYS).replace(",", ";").replace(";16\n", ";1,6\n").replace(";25\n", ";x\n")
    assert "column value, row 7: 'x' is no number" in refusal_of(tmp_path, text, **german)


def test_empty_and_infinite_fields_name_their_rows(tmp_path: Path) -> None:
    text = rows(DAYS, [*range(20), "", "NaN", "NA", "null", *range(7)])
    message = refusal_of(tmp_path, text)
    assert "column value has no value in row 22 (2018-03-21), row 23 (2018-03-22), row 24 (2018-03-23)" in message
    assert "data.missing=interpolate" in message
    text = rows(DAYS, ["" if row > 2 else row for row in range(31)])
    assert "row 9 (2018-03-08) and 23 more: mend" in refusal_of(tmp_path, text)
    for number in ("inf", "-Infinity", "1e400"):
        for missing in ("error", "zero"):
            message = refusal_of(tmp_path, rows(DAYS, [*range(30), number]), missing=missing)
            assert "column value is infinite in row 32 (2018-03-31): mend the file" in message


def test_constant_series(tmp_path: Path) -> None:
    assert "column value is constant (5 in all 31 rows)" in refusal_of(tmp_path, rows(DAYS, [5] * 31))
    text = rows(DAYS, [5] * 25 + [6] * 6)
    assert "is constant (5) in the 21 rows of the training segment" in refusal_of(tmp_path, text)
    assert "column value has no values" in refusal_of(tmp_path, rows(DAYS, [""] * 31), missing="ffill")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"window_size": 20, "horizon": 2}, "the train segment needs at least window_size + horizon = 20 + 2"),
        ({"horizon": 6}, "train 21, validation 5, test 5; the validation segment needs at least horizon = 6"),
        ({"horizon": 6, "validation": 6}, "train 20, validation 6, test 5; the test segment needs at least"),
        ({"validation": 20, "test": 11}, "leave none to train on"),
    ],
)
def test_too_short_in_a_segment(tmp_path: Path, options: dict[str, object], wanted: str) -> None:
    assert wanted in refusal_of(tmp_path, rows(DAYS), **options)
