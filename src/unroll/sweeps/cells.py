"""What a table of the leaderboard shows, for the terminal and for Markdown: headings, cells, notes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unroll.evaluation.intervals import Interval
from unroll.sweeps.keys import headings, shown
from unroll.sweeps.leaderboard import LARGEST_IS_BEST, METRICS, SAME, UNKNOWN, Leaderboard, Table, count_left_out
from unroll.tables import number, ratio

SIGNS = {SAME: "~", UNKNOWN: "?"}
ABSENT, MISSING = "\N{EN DASH}", "n/a"
SHORT = {"validation": "val"}
SMALLEST, LARGEST = 1e-2, 1e5  # errors beyond are shown in thousands, millions, ...
DECIMALS = 5  # at most


@dataclass(frozen=True)
class Field:
    """A column: its heading, and one cell a row. Words are to the left, numbers to the right."""

    heading: str
    cells: list[str]
    words: bool = False


@dataclass(frozen=True)
class Fields:
    """The columns of a table, by importance: all but the extras are needed to read it."""

    rank: Field
    keys: list[Field]
    scores: list[Field]
    extras: list[list[Field]]


def fields(table: Table) -> Fields:
    """The columns of a table."""
    _, write = numbers(table)
    rows, metric, name = table.rows, table.metric, METRICS[table.metric]
    segments = dict.fromkeys((table.sorted_by or "validation", "validation", table.reported))
    kept = [part for part in segments if part == table.reported or any(row.windows(part) for row in rows)]
    scores = [
        Field(f"{SHORT.get(part, part)} {name}", _with_intervals([row.over_seeds(part, metric) for row in rows], write))
        for part in kept
    ]
    reported = [row.over_seeds(table.reported, metric) for row in rows]
    ends = [(one.lowest, one.highest) if one else None for one in reported]
    if metric in LARGEST_IS_BEST:
        ends = [pair and (pair[1], pair[0]) for pair in ends]
    extremes = [
        Field(heading, [write(pair[at]) if pair else MISSING for pair in ends])
        for at, heading in enumerate(("best", "worst"))
    ]
    skill = [row.over_seeds(table.reported, "skill") for row in rows]
    return Fields(
        rank=Field("#", ranks(table)),
        keys=key_fields(table),
        scores=[*scores, Field("seeds", [str(len(row.replicas)) for row in rows])],
        extras=[
            *(
                [[Field("skill", [ratio(one.mean, "+") if one else MISSING for one in skill])]]
                if metric != "skill"
                else []
            ),
            *([extremes] if table.most_seeds > 1 else []),
            [Field("seconds", _seconds([row.seconds for row in rows]))],
            [Field("parameters", [f"{row.parameters:,}" for row in rows])],
        ],
    )


def _seconds(values: Sequence[float]) -> list[str]:
    """With the decimals that the quickest needs."""
    decimals = sum(min(values) < size for size in (100, 10, 1))
    return [f"{value:,.{decimals}f}" for value in values]


def ranks(table: Table) -> list[str]:
    """1, 2 ~, 3 ?"""
    marked = table.most_seeds > 1
    signs = [SIGNS.get(mark, " ") if marked else "" for mark in table.marks]
    return [f"{place} {sign}" if marked else str(place) for place, sign in enumerate(signs, 1)]


def key_fields(table: Table) -> list[Field]:
    """The columns of the keys that differ."""
    configs = [row.config for row in table.rows]
    names = headings(table.keys)
    found = []
    for key in table.keys:
        cells = shown(key, configs, ABSENT)
        is_number = all(isinstance(config.get(key), int | float) for config in configs if config.get(key) is not None)
        found.append(Field(names[key], cells, words=not is_number))
    return found


def numbers(table: Table) -> tuple[int, Callable[[float], str]]:
    """The power of ten that errors are shown in, and how to write one: all with the same decimals, to be compared."""
    if table.metric in ("r2", "skill"):
        return 0, lambda value: ratio(value, "+" if table.metric == "skill" else "")
    found = [row.over_seeds(part, table.metric) for row in table.rows for part in ("validation", table.reported)]
    sizes = [abs(one.mean) for one in found if one and one.mean]
    if not sizes:
        return 0, number
    scale = 0
    if not SMALLEST <= max(sizes) < LARGEST:
        scale = 3 * math.floor(math.log10(max(sizes)) / 3)
    decimals = max(0, 3 - math.floor(math.log10(min(sizes)) - scale))
    if decimals > DECIMALS + 2:  # one would be written as 0.00000
        return 0, number
    decimals = min(DECIMALS, decimals)
    return scale, lambda value: f"{value / 10.0**scale:.{decimals}f}"


def measured_in(table: Table) -> str:
    """RMSE in 1e9 tickets; empty where there is neither a scale nor a unit."""
    scale, _ = numbers(table)
    words = [
        *([f"1e{scale}"] if scale else []),
        *([table.unit] if table.unit and table.metric in ("rmse", "mae") else []),
    ]
    return f"{METRICS[table.metric]} in {' '.join(words)}" if words else ""


def _with_intervals(found: Sequence[Interval | None], write: Callable[[float], str]) -> list[str]:
    """0.123 ± 0.004, the means one below the other."""
    halves = [f" ± {write(one.half_width).lstrip('+')}" if one and one.half_width is not None else "" for one in found]
    width = max(map(len, halves))
    return [(write(one.mean) if one else MISSING) + half.rjust(width) for one, half in zip(found, halves, strict=True)]


def title(board: Leaderboard, table: Table) -> str:
    """The series, the horizon, and what else tells the table from the others."""
    steps = f"{table.horizon} step{'s' * (table.horizon != 1)} ahead"
    twins = [other for other in board.tables if other.title == table.title and other is not table]
    about = {key: value for key, value in table.about.items() if key not in ("data.horizon", "data.path")}
    if any({**other.about, "data.path": ""} == {**table.about, "data.path": ""} for other in twins):
        about["data.path"] = str(table.about.get("data.path", ""))[:8]  # of its digest
    names = headings(list(about))
    names |= {"data.path": "SHA-256 of the file"} if "data.path" in names else {}
    values = [f"{names[key]}={shown(key, [about], ABSENT)[0]}" for key in about]
    parts = [f"{table.title}, {steps}", *([", ".join(values)] if values else []), measured_in(table)]
    return "; ".join(part for part in parts if part)


def warnings(board: Leaderboard, table: Table) -> list[str]:
    """What a reader must know before choosing by a table."""
    found: list[str] = []
    if len(table.rows) == 1:  # nothing is chosen
        return found
    if table.sorted_by is None:
        found.append(f"no row has a {METRICS[table.metric]}: the rows are in the order of their keys")
    elif table.sorted_by == "train":
        found.append("sorted by the train segment, all seen in training: it says what was learned, not what holds")
    elif table.leaks:
        scored = any(row.windows("validation") for row in table.rows)
        without = f"no validation {METRICS[table.metric]}" if scored else "no validation segment (data.validation=0)"
        reason = "" if board.sort == "test" else f"{without}: "
        found.append(
            f"{reason}sorted by the test segment. Choosing by it leaks it: the scores of what is chosen so are too "
            "good. Choose by validation, report the test"
        )
    for part in ("validation", table.reported):
        counts = sorted({row.windows(part) for row in table.rows})
        if len(counts) > 1:
            found.append(
                f"the rows are scored on {counts[0]} to {counts[-1]} {part} windows: their targets are not all the same"
            )
    return found


def notes(table: Table) -> list[str]:
    """What a table is sorted by, and the baselines beside it."""
    found = []
    name = METRICS[table.metric]
    if table.sorted_by and len(table.rows) > 1:
        report = "; report the test" if table.sorted_by == "validation" and table.reported == "test" else ""
        found.append(f"sorted by {table.sorted_by} {name}, the best first{report}")
    if table.reported == "train":
        found.append("no test segment: the train scores are of rows that were seen in training")
    _, write = numbers(table)
    scores, names = [], set()
    for part in dict.fromkeys(("validation", table.reported)):
        values = [row.baseline(part, table.metric) for row in table.rows]
        known = sorted({write(value) for value in values if value is not None}, key=float)
        if known:
            names |= {entry.baseline.get(part, "") for row in table.rows for entry in row.entries} - {""}
            scores.append(f"{part} {name} {' to '.join([known[0], *known[1:][-1:]])}")
    if scores:
        found.append(f"best baseline ({', '.join(sorted(names))}): {', '.join(scores)}")
    return found


def legend(board: Leaderboard) -> list[str]:
    """What the signs mean, once for all tables."""
    several = any(table.most_seeds > 1 for table in board.tables)
    marks = {mark for table in board.tables if table.most_seeds > 1 for mark in table.marks}
    metric = METRICS[board.metric]
    found = []
    if not several:
        if board.rows > 1:
            found.append("one seed a row: nothing tells chance from merit; add seeds to the sweep, such as seed=0,1,2")
    else:
        found.append("±: half the width of the 95 % t interval of the mean over seeds; none for one seed")
    if SAME in marks:
        welch = " (Welch's where fewer than 2 seeds are shared)" if any(table.welch for table in board.tables) else ""
        found.append(
            f"{SIGNS[SAME]}: not distinguishable from the best: the 95 % t interval of the difference, paired by "
            f"seed{welch}, holds 0"
        )
    if UNKNOWN in marks:
        found.append(f"{SIGNS[UNKNOWN]}: too few seeds to tell from the best")
    if any(len(table.rows) > 1 for table in board.tables):
        found.append(
            "the first of many rows looks better than it is, by its luck with the seeds"
            + ("; the intervals are not corrected for the number of rows" if several else "")
        )
    reported = " or ".join(sorted({table.reported for table in board.tables}))
    skill = "skill: 1 - RMSE / RMSE of the best baseline"
    found.append(f"{skill}, {reported}" if board.metric != "skill" else skill)
    if several:
        found[-1] += f"; best, worst: of the seeds, by {reported} {metric}"
    if any(row.replicated for table in board.tables for row in table.rows):
        found.append("seconds: for one seed; replicas are trained together, and share the seconds of their run")
    return found


def counts(board: Leaderboard) -> list[str]:
    """What is not in the tables, and what was taken for a seed."""
    found = []
    if board.left_out:
        many = len(board.left_out)
        verb = "run is" if many == 1 else "runs are"
        found.append(f"{many} {verb} not in the table: {count_left_out(board.left_out)}")
    if board.repeats:
        many = board.repeats
        found.append(f"{many} run{'s repeat' if many > 1 else ' repeats'} a config and seed: the newest counts")
    if board.of_seed:
        found.append(f"{', '.join(board.of_seed)}: the same as the seed in each run, so part of it")
    found += [f"{folder}: left out" for folder in board.unreadable]
    return found
