"""The leaderboard of a sweep: runs that differ only by their seed are one row, with mean, interval and skill.

Rows are sorted by the validation segment, which is for choosing. What is chosen by the test segment looks better than
it is: nothing is left to report it on.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from unroll.errors import RunError
from unroll.evaluation.intervals import Interval, distinguishable, interval
from unroll.sweeps.entries import Entry, Found, LeftOut, Replica, Scores, identity, read_entries
from unroll.sweeps.keys import columns, seed_keys, target_values, value_order, varying

METRICS = {"rmse": "RMSE", "mae": "MAE", "mase": "MASE", "r2": "R2", "skill": "skill"}
LARGEST_IS_BEST = ("r2", "skill")
SORTS = ("validation", "test")
BEST, SAME, WORSE, UNKNOWN = "best", "not distinguishable from the best", "worse than the best", "too few seeds to tell"


@dataclass(frozen=True, eq=False)
class Row:
    """Runs of one config, which differ by their seed.

    Args:
        config: without the seed and what follows it.
        replicas: by seed, in order.
        entries: the runs that these are of.
    """

    config: Mapping[str, Any]
    replicas: Mapping[int, Replica]
    entries: Sequence[Entry]

    def scores(self, segment: str, metric: str) -> dict[int, float] | None:
        """By seed; None where one of them has none."""
        return self._by_seed({seed: replica.scores for seed, replica in self.replicas.items()}, segment, metric)

    def over_seeds(self, segment: str, metric: str) -> Interval | None:
        """A score, its 95 % t interval, best and worst; None where a seed has none."""
        found = self.scores(segment, metric)
        return interval(list(found.values())) if found else None

    def baseline(self, segment: str, metric: str) -> float | None:
        """The mean score of the best baselines, which may depend on the window and on noise that follows the seed."""
        parts = {seed: replica.baselines for seed, replica in self.replicas.items()}
        found = self._by_seed(parts, segment, metric)
        return interval(list(found.values())).mean if found else None

    def extreme_seeds(self, segment: str, metric: str) -> tuple[int, int] | None:
        """The best and the worst seed."""
        found = self.scores(segment, metric)
        if not found:
            return None
        order = sorted(found, key=lambda seed: found[seed], reverse=metric in LARGEST_IS_BEST)
        return order[0], order[-1]

    @property
    def seconds(self) -> float:
        """Of all epochs, for one seed: a run with replicas divides its seconds by them."""
        seeds = sum(len(entry.replicas) for entry in self.entries)
        return math.fsum(entry.seconds for entry in self.entries) / seeds

    @property
    def replicated(self) -> bool:
        """Whether a run of it trained several seeds together."""
        return any(len(entry.replicas) > 1 for entry in self.entries)

    @property
    def parameters(self) -> int:
        """Of the network."""
        return self.entries[0].parameters

    @property
    def segment(self) -> str:
        """The segment whose scores are reported: test, or train where there is no test segment."""
        return self.entries[0].segment

    def windows(self, segment: str) -> int:
        """How many targets its scores are of."""
        return self.entries[0].windows.get(segment, 0)

    @staticmethod
    def _by_seed(parts: Mapping[int, Scores], segment: str, metric: str) -> dict[int, float] | None:
        found = {seed: scores.get(segment, {}).get(metric) for seed, scores in parts.items()}
        known = {seed: value for seed, value in found.items() if value is not None}
        return known if len(known) == len(found) else None


@dataclass(frozen=True)
class Table:
    """Rows with the same targets, the best first.

    Args:
        title: of the series.
        unit: of RMSE and MAE.
        horizon: rows ahead.
        about: what else tells these targets from those of the other tables, by dotted key.
        keys: the keys that differ between the rows.
        rows: sorted.
        marks: one a row: BEST, SAME, WORSE or UNKNOWN.
        metric: what it is sorted by.
        sorted_by: the segment that it is sorted by; None where no row has a score.
        welch: whether a mark is by Welch's interval.
    """

    title: str
    unit: str
    horizon: int
    about: Mapping[str, Any]
    keys: Sequence[str]
    rows: Sequence[Row]
    marks: Sequence[str]
    metric: str
    sorted_by: str | None
    welch: bool

    @property
    def reported(self) -> str:
        """The segment whose scores are reported."""
        return self.rows[0].segment

    @property
    def leaks(self) -> bool:
        """Whether the order is by the segment that is to be reported."""
        return self.sorted_by is not None and self.sorted_by != "validation"

    @property
    def most_seeds(self) -> int:
        """Of one row."""
        return max(len(row.replicas) for row in self.rows)


@dataclass(frozen=True)
class Leaderboard:
    """The tables of some folders of runs, one for each kind of targets.

    Args:
        metric: one of METRICS.
        sort: the segment that was asked for, one of SORTS.
        runs: how many there are in the tables.
        repeats: runs with the config and the seed of a newer one, which counts.
        of_seed: keys that follow the seed.
        left_out: the other runs.
        unreadable: folders that could not be searched.
    """

    metric: str
    sort: str
    tables: Sequence[Table]
    runs: int
    repeats: int
    of_seed: Sequence[str]
    left_out: Sequence[LeftOut] = ()
    unreadable: Sequence[str] = field(default=())

    @cached_property
    def rows(self) -> int:
        """In all tables."""
        return sum(len(table.rows) for table in self.tables)


def read_leaderboard(folders: Sequence[Path], *, metric: str = "rmse", sort: str = "validation") -> Leaderboard:
    """The leaderboard of all complete runs in some folders, however deep.

    Args:
        folders: of runs, or runs themselves.
        metric: one of METRICS.
        sort: the segment to sort by, one of SORTS. By test is a leak.

    Raises:
        RunError: where a folder does not exist, or none of them holds a complete run.
    """
    found = read_entries(folders)
    if not found.entries:
        where = ", ".join(map(str, folders))
        others = f": {count_left_out(found.left_out)}" if found.left_out else ""
        raise RunError(f"{where}: no complete run here{others}")
    return leaderboard(found, metric=metric, sort=sort)


def leaderboard(found: Found, *, metric: str = "rmse", sort: str = "validation") -> Leaderboard:
    """The leaderboard of runs that were read; in whatever order, it is the same."""
    entries = sorted(found.entries, key=lambda entry: (entry.finished, entry.name), reverse=True)
    of_seed = seed_keys(entries)
    rows = _rows(entries, of_seed)
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(identity(target_values(row.entries[0], of_seed)), []).append(row)
    differing = columns([row.config for row in rows], _asked(rows))
    tables = [_table(part, differing, metric, sort) for part in kinds.values()]
    used = sum(len(row.entries) for row in rows)
    return Leaderboard(
        metric=metric,
        sort=sort,
        tables=sorted(tables, key=_table_order),
        runs=used,
        repeats=len(entries) - used,
        of_seed=sorted(of_seed),
        left_out=sorted(found.left_out, key=lambda run: run.name),
        unreadable=sorted(found.unreadable),
    )


def count_left_out(left_out: Sequence[LeftOut]) -> str:
    """2 failed, 1 running."""
    statuses = [run.status for run in left_out]
    return ", ".join(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))


def _rows(entries: Sequence[Entry], of_seed: set[str]) -> list[Row]:
    """Runs by config; of equal ones, the first counts."""
    parts: dict[str, tuple[dict[str, Any], dict[int, Replica], list[Entry]]] = {}
    for entry in entries:
        config = {key: value for key, value in entry.config.items() if key not in of_seed}
        known_by = identity({"config": config, "targets": target_values(entry, of_seed)})
        _, replicas, runs = parts.setdefault(known_by, (config, {}, []))
        new = {replica.seed: replica for replica in entry.replicas if replica.seed not in replicas}
        if new:
            replicas |= new
            runs.append(entry)
    return [Row(config, dict(sorted(replicas.items())), runs) for config, replicas, runs in parts.values()]


def _table(rows: Sequence[Row], differing: Sequence[str], metric: str, sort: str) -> Table:
    configs = [row.config for row in rows]
    here = varying(configs)
    first = rows[0]
    shared = [key for key in differing if key not in here and key in first.config and key != "data"]
    shared.sort(key=lambda key: not key.startswith("data."))  # what the targets are made of comes first
    about = {key: first.config[key] for key in shared}
    segments = [sort, first.segment] if sort == "validation" else [first.segment]
    sorted_by = next((part for part in segments if any(row.scores(part, metric) for row in rows)), None)
    keys = columns(configs, _asked(rows))
    ordered = sorted(rows, key=lambda row: [value_order(row.config.get(key)) for key in keys])
    if sorted_by:
        ordered.sort(key=lambda row: _rank(row, sorted_by, metric))
    marks, hows = _marks(ordered, sorted_by, metric)
    return Table(
        title=first.entries[0].title,
        unit=first.entries[0].unit,
        horizon=first.config.get("data.horizon", 1),
        about=about,
        keys=keys,
        rows=ordered,
        marks=marks,
        metric=metric,
        sorted_by=sorted_by,
        welch="welch" in hows,
    )


def _rank(row: Row, segment: str, metric: str) -> tuple[bool, float]:
    found = row.over_seeds(segment, metric)
    if found is None:
        return True, 0.0
    return False, -found.mean if metric in LARGEST_IS_BEST else found.mean


def _marks(rows: Sequence[Row], segment: str | None, metric: str) -> tuple[list[str], set[str]]:
    """How each row stands to the first one, and the kinds of intervals that say so."""
    best = rows[0].scores(segment, metric) if segment else None
    marks, hows = [BEST if best else UNKNOWN], set()
    for row in rows[1:]:
        scores = row.scores(segment, metric) if segment else None
        found = distinguishable(scores, best, largest_is_best=metric in LARGEST_IS_BEST) if scores and best else None
        if found:
            hows.add(found[1])
        marks.append(UNKNOWN if found is None else WORSE if found[0] else SAME)
    return marks, hows


def _asked(rows: Iterable[Row]) -> set[str]:
    return {key for row in rows for entry in row.entries for key in entry.asked}


def _table_order(table: Table) -> tuple[Any, ...]:
    """By title, then by what tells the tables apart."""
    return table.title.casefold(), table.title, [(key, value_order(table.about[key])) for key in table.about]
