"""Random CSV files and the options to read them with: well-formed ones, whose series is known, and damaged ones.

A case is made from its number alone, so that one that was found can be run again.
"""

import datetime
import gzip
import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

NAMES = ["value", "größe", "a b", "день", "../up", "😀", 'a "b"', "x;y", "a,b", "a=b", "[x]", "{x}", "#1", "$a$", "$x"]
NAMES += ["null", "1", "truth", "step", "row", "origin", "segment", "~", "%d", "(a)", "a:b", "-", "x" * 300, "a\\b"]
NAMES += ["_hidden", "^", "$\\frac{", "index", "date (UTC)", "tab\tbed", "it's", "${a}", "${oc.env:HOME}", "new\nline"]
WORDS = ["", "abc", "NaN", "nan", "inf", "-inf", "Infinity", "None", "NA", "n/a", "NULL", "1e400", "-1e400", "1e-400"]
WORDS += ["12345678901234567890", "1" * 400, "0x1F", "1_000", "1,000.5", "1.000,5", "٣", "½", "--1", "1e", "+", "True"]
WORDS += [
    "-0",
    "1e308",
    "-1.7e308",
    "5e-324",
    "1.",
    ".5",
    " 1",
    "1 ",
    "'1'",
    "1\0",
    "€5",
    "1e5",
    "1E+05",
    "\u200b1",
    "١٢",
]
DATES = ["", "now", "today", "2018-02-30", "0000-00-00", "1514764800", "2018-W01-1", "31.12.2018", "12/31/2018", "NaT"]
DATES += ["2018-01-01T24:00", "2016-12-31T23:59:60", "1970-01-01", "2106-02-07", "-0044-03-15", "+12018-01-01", "1/2/3"]
DATES += ["2018-01-01T00:00Z", "2018-01-01T00:00+01:00", "9999-12-31", "0001-01-01", "2018", "2018-01", "20180101"]
FORMATS = ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d %b %Y", "%Y-%j", "%d.%m.%Y %H:%M", "%Y-%m-%dT%H:%M:%S", "%G-W%V-%u"]
WRONG_FORMATS = ["%Q", "%", "", "%H:%M", "%Y", "ISO8601", "mixed", "%Y-%m-%d%z", "%d/%m/%Y", "%s", "x", "%%", "%Y%Y"]
ENCODINGS = ["klingon", "utf-16", "utf-16-le", "utf-32", "latin-1", "ascii", "cp1252", "rot13", "zip", "hex", "base64"]
ENCODINGS += [
    "idna",
    "punycode",
    "unicode_escape",
    "utf-7",
    "undefined",
    "mbcs",
    "utf-8",
    "cp037",
    "shift_jis",
    "bz2",
    "\0",
]
ZONES = ["Europe/Berlin", "UTC", "America/New_York", "Mars/Base", "", "../x", "null", "Europe"]
FILES = [
    "series.csv",
    "a b.csv",
    "über.csv",
    "$x$.csv",
    "it's.csv",
    "x" * 200 + ".csv",
    ".csv",
    "-x.csv",
    "a.b",
    "[1].csv",
]
STEPS: dict[str, Callable[[datetime.datetime, int], datetime.datetime]] = {
    "days": lambda start, row: start + datetime.timedelta(days=row),
    "hours": lambda start, row: start + datetime.timedelta(hours=row),
    "minutes": lambda start, row: start + datetime.timedelta(minutes=15 * row),
    "weeks": lambda start, row: start + datetime.timedelta(weeks=row),
    "months": lambda start, row: start.replace(
        year=start.year + (start.month + row - 1) // 12, month=(start.month + row - 1) % 12 + 1, day=1
    ),
}


@dataclass
class Case:
    """A file and how to read it.

    Args:
        name: of the file.
        content: its bytes.
        options: of `data`, by key; None leaves one away.
        series: the values that must be read, NaN where a row or a field is missing; None where the file is damaged.
        words: more of the command line.
        about: what was done to it.
    """

    name: str
    content: bytes
    options: dict[str, object]
    series: list[float] | None
    words: list[str]
    about: list[str] = field(default_factory=list)

    def arguments(self, path: str) -> list[str]:
        """The words after train.py, but for output_dir."""
        chosen = {"path": path} | self.options
        data = [f"data.{key}={written(value)}" for key, value in chosen.items() if value is not None]
        return ["data=csv", "trainer=cpu", "trainer.max_epochs=1", "model.hidden_size=4", *data, *self.words]


@dataclass
class Table:
    """A file before it is written: rows of fields, as text."""

    header: list[str]
    rows: list[list[str]]
    separator: str
    encoding: str
    end: str


def written(value: object) -> str:
    """A value as it is typed in an override: texts quoted, as the README shows."""
    if isinstance(value, list):
        return f"[{','.join(written(part) for part in value)}]"
    if not isinstance(value, str):
        return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)
    return f"'{escaped}'".replace("${", r"\${").replace("\0", "")


def make(number: int) -> Case:
    """The case of a number."""
    dice = random.Random(number)
    case, table = _well_formed(dice)
    if dice.random() < 0.3:
        case.content = _packed(case, _encoded(table, dice, case))
        return case
    case.series = None
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        change = dice.choice(TABLE_CHANGES)
        case.about.append(change.__name__.strip("_"))
        change(dice, table, case)
    content = _encoded(table, dice, case)
    if dice.random() < 0.35:
        damage = dice.choice(BYTE_CHANGES)
        case.about.append(damage.__name__.strip("_"))
        content = damage(dice, content)
    case.content = _packed(case, content)
    if dice.random() < 0.3:
        case.content = case.content[: dice.randrange(len(case.content) + 1)]
        case.about.append("cut")
    return case


def _well_formed(dice: random.Random) -> tuple[Case, Table]:
    """A file whose series is known, and options that fit."""
    count, width = dice.randint(40, 120), dice.choice([1, 1, 2, 3, 6])
    if dice.random() < 0.03:
        width = dice.randint(1000, 2500)
    plain = [name for name in NAMES if "\n" not in name and "${" not in name and "\t" not in name]
    names = dice.sample(plain, width) if width <= 6 else [f"column {number}" for number in range(width)]
    separator, decimal = dice.choice(
        [(",", "."), (",", "."), (";", "."), (";", ","), ("\t", "."), ("|", ","), (" ", ".")]
    )
    alone = width == 1 and not set(names[0]) & set(",;|\t") and dice.random() < 0.5
    options: dict[str, object] = {"target": None if alone else names[0]}
    texts = [_column(dice, count) for _ in names[:3]]
    series: list[float] = [float(text) if text else math.nan for text in texts[0]]
    covariates = [name for name in names[1:3] if dice.random() < 0.3]
    options["covariates"] = covariates or None
    known = [name for name in names[1:3] if dice.random() < 0.25]
    options["known_ahead"] = known or None
    if known and not texts[0][-1]:  # a last row without a target, in which they are filled, would be one to come
        texts[0][-1], series[-1] = "1", 1.0
    missing = any("" in texts[names.index(name)] for name in [names[0], *covariates, *known])
    to_come = 3 if known and dice.random() < 0.6 else 0
    columns = [texts[min(number, 2)] for number in range(width)]
    columns = [
        [*column, *(["1.5" if name in known else ""] * to_come)] for name, column in zip(names, columns, strict=True)
    ]
    rows = [[text.replace(".", decimal) for text in row] for row in zip(*columns, strict=True)]
    header = list(names)
    if dice.random() < 0.65:
        rows, series, gap = _dated(dice, rows, series, options)
        header = [str(options["date"]), *header]
        missing = missing or gap
    elif "" in rows[-1] and not to_come:  # without dates, rows at the end that hold nothing are no rows
        rows[-1] = [cell or "1" for cell in rows[-1]]
        series[-1] = 1.0 if math.isnan(series[-1]) else series[-1]
    options["missing"] = (
        dice.choice(["interpolate", "ffill", "zero"]) if missing else dice.choice([None, "error", "zero"])
    )
    if missing and options["missing"] != "zero":
        rows[0] = [cell or "0" for cell in rows[0]]  # no value to carry forward is an error
        series[0] = 0.0 if math.isnan(series[0]) else series[0]
    order = list(range(len(header)))
    dice.shuffle(order)
    encoding = dice.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"])
    if encoding == "utf-16" or dice.random() < 0.1:
        options["encoding"] = "utf-16" if encoding == "utf-16" else "utf-8"
        encoding = str(options["encoding"])
    options |= {"separator": None if separator == "," else r"\t" if separator == "\t" else separator}
    options |= {"decimal": None if decimal == "." else ","}
    options |= {
        "window_size": dice.randint(2, 5),
        "horizon": dice.choice([None, 1, 2]),
        "seasonal_period": dice.choice([None, 3]),
    }
    options |= {
        "transform": dice.choice([None, "standard", "minmax", "robust", ["minmax", "difference"], ["window_standard"]]),
        "calendar": dice.choice([None, None, "auto", []]),
        "calendar_encoding": dice.choice([None, "one_hot", "cyclic"]),
        "unit": dice.choice([None, "EUR", "µg/m³", "$", "$a$"]),
    }
    table = Table(
        [header[number] for number in order],
        [[row[number] for number in order] for row in rows],
        separator,
        encoding,
        dice.choice(["\n", "\n", "\r\n", "\r"]),
    )
    name = dice.choice(FILES) if dice.random() < 0.3 else "series.csv"
    if dice.random() < 0.1:
        name += ".gz"
    words = dice.choice([[], [], [], ["free_run.steps=3"], ["evaluate_train=true"]])
    if words == ["free_run.steps=3"] and (covariates or options["horizon"] == 2):
        words = []
    return Case(name, b"", options, series, words), table


def _column(dice: random.Random, count: int) -> list[str]:
    """Numbers as text, sometimes with empty fields."""
    kind = dice.choice(["wave", "wave", "counts", "scale", "level", "digits", "spike"])
    scale = 10.0 ** dice.choice([-12, 0, 0, 12]) if kind == "scale" else 1.0
    made = [math.sin(row / 3) + dice.gauss(0, 0.3) for row in range(count)]
    texts = [repr(value * scale) for value in made]
    if kind == "counts":
        texts = [str(dice.randint(-3, 30)) for _ in made]
    if kind == "level":
        texts = [f"{1e9 + value:.4f}" for value in made]
    if kind == "digits":
        texts = [f"{value:.17f}{dice.randrange(1000):03d}" for value in made]
    if kind == "spike":
        texts[dice.randrange(count)] = "1e6"
    if dice.random() < 0.15:
        for _ in range(dice.randint(1, 4)):
            texts[dice.randrange(1, count)] = ""
    return texts


def _dated(
    dice: random.Random, rows: list[list[str]], series: list[float], options: dict[str, object]
) -> tuple[list[list[str]], list[float], bool]:
    """The rows with a first column of dates, perhaps without some of them; and whether there are gaps."""
    step = dice.choice(list(STEPS))
    daily = step in ("days", "weeks", "months")
    form = dice.choice([None, *(FORMATS if daily else [part for part in FORMATS if "%H" in part])])
    start = datetime.datetime(dice.choice([1890, 1969, 1999, 2018, 2023]), dice.randint(1, 12), dice.randint(1, 28))
    dates = [STEPS[step](start, row) for row in range(len(rows))]
    zone = dice.choice(["", "", "", "Z", "+00:00", "-03:30"]) if form is None else ""
    texts = [(date.strftime(form) if form else date.isoformat(sep=dice.choice("T ")) + zone) for date in dates]
    if form is None and daily and not zone and dice.random() < 0.7:
        texts = [text[:10] for text in texts]
    options |= {"date": dice.choice(["date", "Datum", "a date", "ö"]), "date_format": form}
    gone = set()
    if dice.random() < 0.2:
        gone = {dice.randrange(2, len(series) - 2) for _ in range(3)}
    kept = [[text, *row] for number, (text, row) in enumerate(zip(texts, rows, strict=True)) if number not in gone]
    return kept, [math.nan if row in gone else value for row, value in enumerate(series)], bool(gone)


def _encoded(table: Table, dice: random.Random, case: Case) -> bytes:
    """The file as bytes. Fields are quoted where they must be, and now and then where they need not."""
    lone = len(table.header) == 1

    def quoted(cell: str) -> str:
        must = any(mark in cell for mark in (table.separator, '"', "\n", "\r")) or (lone and not cell)
        return '"' + cell.replace('"', '""') + '"' if must or dice.random() < 0.02 else cell

    lines = [table.separator.join(map(quoted, row)) for row in [table.header, *table.rows]]
    last = dice.choice([table.end, table.end, "", table.end * 3])
    return (table.end.join(lines) + last).encode(table.encoding, errors="replace")


def _packed(case: Case, content: bytes) -> bytes:
    return gzip.compress(content, mtime=0) if case.name.endswith(".gz") else content


def _any_row(dice: random.Random, table: Table) -> list[str]:
    if not table.rows:
        table.rows.append(["0"] * len(table.header))
    return dice.choice(table.rows)


def _odd_field(dice: random.Random, table: Table, case: Case) -> None:
    row = _any_row(dice, table)
    for _ in range(dice.choice([1, 1, 3])):
        row[dice.randrange(len(row))] = dice.choice(WORDS)


def _odd_column(dice: random.Random, table: Table, case: Case) -> None:
    word, place = dice.choice(WORDS), dice.randrange(len(table.header))
    for row in table.rows:
        row[place : place + 1] = [word if dice.random() < 0.8 else "3"]


def _many_odd_fields(dice: random.Random, table: Table, case: Case) -> None:
    table.rows = [[dice.choice(WORDS) if dice.random() < 0.3 else cell for cell in row] for row in table.rows]


def _odd_date(dice: random.Random, table: Table, case: Case) -> None:
    if case.options.get("date") in table.header:
        place = table.header.index(str(case.options["date"]))
        _any_row(dice, table)[place : place + 1] = [dice.choice(DATES)]


def _other_rows(dice: random.Random, table: Table, case: Case) -> None:
    count = len(table.rows)
    kind = dice.choice(["shuffled", "twice", "dropped", "reversed", "few", "none", "swapped", "pass again"])
    if kind == "shuffled":
        dice.shuffle(table.rows)
    elif kind == "twice" and count:
        place = dice.randrange(count)
        table.rows.insert(place, list(table.rows[place]))
    elif kind == "dropped":
        table.rows = [row for row in table.rows if dice.random() < dice.choice([0.3, 0.9])]
    elif kind == "reversed":
        table.rows.reverse()
    elif kind == "few":
        table.rows = table.rows[: dice.randint(1, 12)]
    elif kind == "none":
        table.rows = []
    elif kind == "swapped" and count > 5:
        table.rows[3], table.rows[4] = table.rows[4], table.rows[3]
    elif kind == "pass again":
        table.rows[count // 2 : count // 2] = [list(row) for row in table.rows[count // 2 - 3 : count // 2]]


def _ragged(dice: random.Random, table: Table, case: Case) -> None:
    row = _any_row(dice, table)
    if dice.random() < 0.5:
        row += [dice.choice(WORDS)] * dice.choice([1, 1, 5, 100])
    else:
        del row[dice.randrange(len(row)) :]


def _blank_lines(dice: random.Random, table: Table, case: Case) -> None:
    place = dice.choice([0, len(table.rows) // 2, len(table.rows)])
    table.rows[place:place] = [[""] * dice.choice([1, len(table.header)])] * dice.randint(1, 3)
    if dice.random() < 0.2:
        table.header = [""]


def _open_quote(dice: random.Random, table: Table, case: Case) -> None:
    row = _any_row(dice, table)
    row[dice.randrange(max(1, len(row))) :] = [dice.choice(['"', 'a"b', '"1"2', '""', '"\n'])]
    table.end = dice.choice(["\n", "\r", "\r\n"])


def _other_header(dice: random.Random, table: Table, case: Case) -> None:
    place = dice.randrange(len(table.header))
    kind = dice.choice(["odd", "twice", "empty", "numbers", "none", "surplus"])
    if kind == "odd":
        table.header[place] = dice.choice([*NAMES, "\ufeff", "\x1b[31mred", "\u202e", "a\0b", "Unnamed: 0", " value "])
        case.options["target"] = table.header[place]
    elif kind == "twice":
        table.header.append(table.header[place])
        for row in table.rows:
            row.append("7")
    elif kind == "empty":
        table.header[place] = ""
    elif kind == "numbers":
        table.header = list(map(str, range(len(table.header))))
    elif kind == "none" and table.rows:
        table.header = table.rows.pop(0)
    else:
        table.header += ["x"] * 3


def _constant(dice: random.Random, table: Table, case: Case) -> None:
    word, begin = dice.choice(["0", "1e12", "0.1", "-3"]), dice.choice([0, len(table.rows) // 2, len(table.rows) - 10])
    place = dice.randrange(len(table.header))
    for row in table.rows[max(0, begin) :]:
        row[place : place + 1] = [word]


def _other_option(dice: random.Random, table: Table, case: Case) -> None:
    choices: dict[str, list[object]] = {
        "separator": [",", ";", "\t", r"\t", "|", "", ",,", '"', "'", "\n", "a", "§", " ", "\\", ".", "0"],
        "decimal": [".", ",", ";", "", "\u066b"],
        "encoding": [*ENCODINGS],
        "date": [*table.header[:3], "nowhere", "", None],
        "date_format": [*FORMATS, *WRONG_FORMATS, None],
        "missing": ["error", "interpolate", "ffill", "zero", "drop", ""],
        "covariates": [table.header[:4], table.header[:1] * 2, ["nowhere"], [""], [], table.header[-1:], "x", [1, 2]],
        "target": [*table.header[:3], *NAMES, "nowhere", "", None, 3],
        "window_size": [1, 2, 7, 40, 1000, 10**9, 10**20, 0, -1, 2.5, True, "three"],
        "horizon": [1, 2, 7, 40, 1000, 10**12, 0],
        "stride": [1, 2, 100, 10**12],
        "batch_size": [1, 10**9, None, 10**20],
        "validation": [0, 1, 5, 0.5, 0.99, 1.0, 1e-9, 10**6, -1],
        "test": [0, 1, 5, 0.5, 0.99, 1e-9, 10**6],
        "transform": ["none", "standard", "log", "log1p", ["log1p", "robust"], ["difference", "minmax"], [], [1]],
        "calendar": ["auto", ["hour", "week"], ["holiday"], ["weekday", "day_of_year"], "weekday", ["day"], ["", 3]],
        "holidays": ["DE", "XX", "", *table.header[:2]],
        "known_ahead": [table.header[:4], table.header[-1:], table.header[:1] * 2, ["nowhere"], "x", [1]],
        "order": ["window_then_split", "split_then_window", "random"],
        "history": [True, False, "maybe"],
        "seasonal_period": [1, 2, 7, 50, 10**9, 0],
        "timezone": [*ZONES],
        "unit": ["$", "$x$", "\\frac", "$\\frac$", "%", "x" * 500, "😀", "a\nb", "", "{", "^", "_", "°C"],
        "shuffle": [True, False],
    }
    key = dice.choice(list(choices))
    case.options[key] = dice.choice(choices[key])
    case.about[-1] += f" {key}"
    if dice.random() < 0.1:
        case.words.append(
            dice.choice(["replicas=2", "free_run.steps=1000", "free_run.steps=5", "data.horizon=1", "model=rnn"])
        )


def _other_words(dice: random.Random, table: Table, case: Case) -> None:
    """Another mark, line end or encoding in the file than the options say."""
    kind = dice.choice(["separator", "end", "encoding", "file"])
    if kind == "separator":
        table.separator = dice.choice(",;\t| :")
    elif kind == "end":
        table.end = dice.choice(["\n\r", "\r\r\n", "\u2028", "\x85", "\n\n", "\0\n", ""])
    elif kind == "encoding":
        table.encoding = dice.choice(["latin-1", "utf-16", "utf-16-le", "utf-32", "cp1252", "ascii", "utf-8-sig"])
    else:
        case.name = dice.choice([*FILES, "series.csv.gz", "series.xz", "series.bz2", "series.zip", "line\nbreak.csv"])


TABLE_CHANGES = [
    *(_odd_field, _odd_column, _many_odd_fields, _odd_date, _odd_date, _other_rows, _other_rows, _ragged, _blank_lines),
    *(_open_quote, _other_header, _other_header, _constant, _other_option, _other_option, _other_option, _other_words),
]


def _random_bytes(dice: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice([1, 3, 30])):
        if changed:
            changed[dice.randrange(len(changed))] = dice.choice([0, 10, 13, 34, 44, 255, dice.randrange(256)])
    return bytes(changed)


def _inserted_bytes(dice: random.Random, content: bytes) -> bytes:
    place = dice.choice([0, len(content) // 2, len(content)])
    piece = dice.choice(
        [b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b'"', b"\r", b"\n\n\n", b"\x1a", dice.randbytes(20), b"\0" * 1000]
    )
    return content[:place] + piece + content[place:]


def _garbage(dice: random.Random, content: bytes) -> bytes:
    return dice.choice(
        [b"", dice.randbytes(dice.randint(1, 3000)), b"\n" * 50, b",,,\n" * 20, b"PK\x03\x04" + content[:50]]
    )


BYTE_CHANGES = [_random_bytes, _random_bytes, _inserted_bytes, _inserted_bytes, _garbage]
