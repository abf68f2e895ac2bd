"""What the swept keys of a table do to its score: groups of rows by value, effects, the Pareto front."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from unroll.evaluation.intervals import Interval, interval
from unroll.sweeps.cells import ABSENT, key_fields, measured_in, numbers
from unroll.sweeps.entries import identity
from unroll.sweeps.keys import shown, value_order
from unroll.sweeps.leaderboard import LARGEST_IS_BEST, METRICS, Row, Table


@dataclass(frozen=True)
class Point:
    """A row as a figure shows it.

    Args:
        row: of the table.
        words: its keys and their values.
        scores: by seed, in the scale of the table.
    """

    row: Row
    words: Sequence[str]
    scores: Sequence[float]

    @cached_property
    def over_seeds(self) -> Interval:
        """The mean and its interval."""
        return interval(self.scores)


@dataclass(frozen=True)
class Group:
    """The rows with one value of a key.

    Args:
        name: of the value.
        number: the value, where it is a number.
        points: their rows.
    """

    name: str
    number: float | None
    points: Sequence[Point]

    @cached_property
    def scores(self) -> list[float]:
        """Of all runs."""
        return [score for point in self.points for score in point.scores]

    @cached_property
    def over_runs(self) -> Interval:
        """The mean over all runs, whatever else they have."""
        return interval(self.scores)


class Effects:
    """The scored rows of a table, by the segment that it is sorted by.

    Args:
        table: whose rows.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.scale, self.write = numbers(table)
        self.points: list[Point] = []
        names = key_fields(table)
        for place, row in enumerate(table.rows):
            scores = row.scores(table.sorted_by, table.metric) if table.sorted_by else None
            if scores:
                words = [" ".join(f"{field.heading}={field.cells[place]}".split()) for field in names]
                self.points.append(Point(row, words, [score / 10.0**self.scale for score in scores.values()]))
        self.groups = {key: self._by_value(key) for key in table.keys}

    @property
    def name(self) -> str:
        """Segment, metric, scale and unit, for an axis."""
        metric = METRICS[self.table.metric]
        unit = measured_in(self.table).removeprefix(f"{metric} in ")
        return f"{self.table.sorted_by} {metric}{f' ({unit})' if unit else ''}"

    @property
    def is_grid(self) -> bool:
        """Whether each two values of different keys were run equally often, so that no effect is another key's."""
        counts = {key: self.table_of(*key) for key in combinations(self.table.keys, 2)}
        return all(len({len(cell) for row in cells for cell in row}) == 1 for cells in counts.values())

    def table_of(self, first: str, second: str) -> list[list[list[float]]]:
        """The scores of all runs with a value of the first key (outer list) and one of the second (inner list)."""
        found = []
        for one in self.groups[first]:
            here = {id(point) for point in one.points}
            found.append(
                [
                    [score for point in other.points if id(point) in here for score in point.scores]
                    for other in self.groups[second]
                ]
            )
        return found

    def effect(self, key: str) -> float:
        """How far the means of a key's values lie apart."""
        means = [group.over_runs.mean for group in self.groups[key]]
        return max(means) - min(means)

    def largest(self, count: int, most_values: float = math.inf) -> list[str]:
        """The keys with the largest effects, of those with at least two and not too many values."""
        keys = [key for key, groups in self.groups.items() if 1 < len(groups) <= most_values]
        return sorted(keys, key=lambda key: -self.effect(key))[:count]

    def front(self) -> list[Point]:
        """The Pareto front: the rows that no quicker one equals, the quickest first."""
        sign = -1 if self.table.metric in LARGEST_IS_BEST else 1
        front: list[Point] = []
        for point in sorted(self.points, key=lambda point: (point.row.seconds, sign * point.over_seeds.mean)):
            if not front or sign * point.over_seeds.mean < sign * front[-1].over_seeds.mean:
                front.append(point)
        return front

    def _by_value(self, key: str) -> list[Group]:
        """In natural order; the rows without the key last."""
        names = shown(key, [point.row.config for point in self.points], ABSENT)
        found: dict[str, tuple[str, Any, list[Point]]] = {}
        for name, point in zip(names, self.points, strict=True):
            config = point.row.config
            kind = identity({"": config[key]}) if key in config else ""
            found.setdefault(kind, (name, config.get(key), []))[2].append(point)
        order = sorted(found, key=lambda kind: (kind == "", value_order(found[kind][1])))
        return [Group(found[kind][0], _number(found[kind][1]), found[kind][2]) for kind in order]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
