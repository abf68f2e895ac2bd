"""The scores as a table for people and as plain values for files."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unroll.evaluation.evaluate import Evaluation
from unroll.evaluation.metrics import METRICS
from unroll.evaluation.replicas import mean_by_step, mean_scores, spread, with_seeds

WIDEST = 1000  # that a table could be
NAME = 24  # characters of a long name that stay on one line
HEADINGS = {"mae": "MAE", "rmse": "RMSE", "r2": "R2", "mase": "MASE"}


def as_values(evaluation: Evaluation, seed: int) -> dict[str, Any]:
    """What metrics.json says of a segment.

    With replicas, `best` and `last` are means over them; beside these stand the ensemble, each replica by its seed,
    and how far the replicas spread.

    Args:
        evaluation: of the segment.
        seed: of the run, that is of its first replica.
    """
    models = {
        name: evaluation.scores[name] | {"skill": evaluation.skill[name], "loss": evaluation.loss[name]}
        for name in evaluation.models
    }
    for row in models.values():
        if row["loss"] is None:
            del row["loss"]  # of an ensemble of distributions
    members = evaluation.members
    rows = {name: found.scores for name, found in members.items()}
    if rows:
        rows.setdefault("last", rows["best"])
    replicated: dict[str, Any] = {
        "replicas": {name: with_seeds(found, seed) for name, found in rows.items()},
        "spread": {name: spread(found) for name, found in rows.items()},
    }
    by_step = {name: mean_by_step(found.by_step) for name, found in members.items()} | evaluation.by_step
    steps = {"by_step": by_step} if evaluation.truth.shape[1] > 1 else {}
    return {
        "windows": len(evaluation.truth),
        "models": {name: mean_scores(found) for name, found in rows.items()} | models,
        **(replicated if rows else {}),
        "baselines": {name: evaluation.scores[name] for name in evaluation.baselines},
        "best_baseline": evaluation.best_baseline,
        **steps,
        **({"intervals": evaluation.interval_scores} if evaluation.interval_scores else {}),
    }


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Args:
        label: what was scored.
        scores: by metric; with `skill`, but for baselines.
        half_width: of the mean's interval, by metric, where the row is a mean over replicas.
        style: of rich.
    """

    label: str
    scores: Mapping[str, float | None]
    half_width: Mapping[str, float | None] | None = None
    style: str = ""


def print_table(values: dict[str, Any], *, title: str, labels: dict[str, str], unit: str, console: Console) -> None:
    """Print the scores of a segment: the model first, then the baselines from the best down.

    With replicas: their mean and its 95 % interval, the lowest and the highest of each score, and the ensemble.

    Args:
        values: from `as_values`.
        title: what was forecast.
        labels: what to call each model; one without a label is left out.
        unit: of MAE and RMSE; may be empty.
        console: where to print.
    """
    rows = _rows(values, labels)
    console.print(Text(f"{title}; MAE and RMSE in {unit}" if unit else title), soft_wrap=True)
    table = _table(rows, console, in_one_line=True)
    if _least(table, console) > console.width and any(row.half_width for row in rows):
        table = _table(rows, console, in_one_line=False)
    table.collapse_padding = _least(table, console) > console.width
    print_whole(table, console)
    best = values["best_baseline"]
    if rows[0].scores["skill"] is None:
        console.print(f"{best} is exact here, so there is no error left to compare with.", style="dim")
    else:
        console.print(
            f"skill: 1 - RMSE / RMSE of the best baseline ({best}); below 0, the baseline wins.",
            style="dim",
            soft_wrap=True,
        )


def _rows(values: Mapping[str, Any], labels: Mapping[str, str]) -> list[Row]:
    """In their order."""
    models, others, spreads = values["models"], values["baselines"], values.get("spread", {})
    rows = []
    for name in ("best", "ensemble", "mixture", "last"):
        if name not in labels or name not in models:
            continue
        ends = spreads.get(name)
        halves = {key: _half(end["low"], end["high"]) for key, end in ends.items()} if ends else None
        rows.append(Row(labels[name], models[name], halves, "" if name == "last" else "bold"))
        if ends and name == "best":
            for word, end in (("lowest", "min"), ("highest", "max")):
                rows.append(Row(f"  {word}", {key: found[end] for key, found in ends.items()}))
    ranked = sorted(others, key=lambda name: others[name]["rmse"])
    return [*rows, *(Row(name, others[name], style="dim") for name in ranked)]


def _half(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None else (high - low) / 2


def _table(rows: Sequence[Row], console: Console, *, in_one_line: bool) -> Table:
    """Numbers are never cut, however narrow the terminal.

    Args:
        rows: of the table.
        console: whose encoding must have the signs.
        in_one_line: a mean and its interval; else one below the other.
    """
    sign = "±" if console.encoding.lower().startswith("utf") else "+-"
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    several = any(row.half_width for row in rows)
    below = [] if in_one_line else [f"  {sign} 95 % interval"] * several
    names = [row.label for row in rows if row.half_width]  # other long ones are broken where there is no room
    most = min(NAME, max(len(row.label) for row in rows))
    table.add_column("forecast", min_width=max([most, *map(len, (*names, *below))]))
    columns = []
    for metric in (*METRICS, "skill"):
        known = [row.scores[metric] for row in rows if metric in row.scores]
        write = signed_or_missing if metric == "skill" else writer(known, ratio=metric in ("r2", "mase"))
        cells = [write(row.scores[metric]) if metric in row.scores else "" for row in rows]
        widths = [row.half_width[metric] if row.half_width else None for row in rows]
        halves = [
            f"{sign} {write(width).lstrip('+')}" if row.half_width else ""
            for row, width in zip(rows, widths, strict=True)
        ]
        heading = HEADINGS.get(metric, metric)
        left, right = max(map(len, (heading, *cells))), max(map(len, halves))
        if several and in_one_line:  # the means one below the other
            texts = [f"{cell:>{left}} {half:>{right}}" for cell, half in zip(cells, halves, strict=True)]
            table.add_column(f"{heading:>{left}} {'':{right}}", min_width=left + 1 + right, no_wrap=True)
        else:
            texts = [f"{cell}\n{half}" if half else cell for cell, half in zip(cells, halves, strict=True)]
            table.add_column(heading, justify="right", min_width=max(left, right))
        columns.append(texts)
    for number, row in enumerate(rows):
        label = f"{row.label}\n{below[0]}" if below and row.half_width else row.label
        table.add_row(label, *(column[number] for column in columns), style=row.style)
    return table


def print_whole(table: Table, console: Console) -> None:
    """Print a table, beyond the terminal's width where its numbers need that."""
    width = console.width
    console.width = max(width, _least(table, console))  # print(width=...) would keep to the terminal's, and cut
    console.print(table)
    console.width = width


def _least(table: Table, console: Console) -> int:
    """The width that it needs, whatever that of the terminal."""
    return console.measure(table, options=console.options.update(width=WIDEST)).minimum


def writer(values: Sequence[float | None], *, ratio: bool = False) -> Callable[[float | None], str]:
    """Write numbers of a column with the same decimals: four for ratios, else four digits of the smallest number."""
    sizes = [abs(value) for value in values if value]
    smallest, largest = (min(sizes), max(sizes)) if sizes else (1.0, 1.0)
    if largest >= 1e9 or (smallest < 1e-5 and not ratio):
        return lambda value: "n/a" if value is None else f"{value:.3e}"
    decimals = 4 if ratio else min(8, max(0, 3 - math.floor(math.log10(smallest))))
    return lambda value: "n/a" if value is None else f"{value:,.{decimals}f}"


def signed_or_missing(value: float | None) -> str:
    """A skill, where there is one."""
    return "n/a" if value is None else signed(value)


def signed(value: float) -> str:
    """A skill, short also where it is hopeless."""
    return f"{value:+.3f}" if value > -100 else f"{value:+.2g}"


def show(value: float) -> str:
    """One number with four significant digits."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
