"""Write a leaderboard: CSV to go on with, Markdown to show, JSON with everything."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unroll.runs.files import write_json, write_text
from unroll.sweeps.cells import Field, counts, fields, legend, notes, title, warnings
from unroll.sweeps.entries import SEGMENTS
from unroll.sweeps.keys import shown
from unroll.sweeps.leaderboard import METRICS, Leaderboard, Row, Table
from unroll.tables import printable

PARTS = ("mean", "half_width", "lowest", "highest")


def write_leaderboard(board: Leaderboard, output: Path) -> None:
    """Write leaderboard.csv, .md and .json, each in one piece."""
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / "leaderboard.csv", as_csv(board))
    write_text(output / "leaderboard.md", as_markdown(board))
    write_json(output / "leaderboard.json", as_values(board))


def as_values(board: Leaderboard) -> dict[str, Any]:
    """Everything, in plain numbers and the series' own units, for JSON."""
    return {
        "metric": board.metric,
        "sort": board.sort,
        "interval": "95 % t interval over seeds",
        "runs": board.runs,
        "repeats": board.repeats,
        "keys_of_seed": list(board.of_seed),
        "left_out": [asdict(run) for run in board.left_out],
        "unreadable": list(board.unreadable),
        "legend": legend(board),
        "tables": [_table_values(board, table) for table in board.tables],
    }


def as_csv(board: Leaderboard) -> str:
    """One line a row, with the keys that differ by their dotted names, and every metric on every segment."""
    fixed = ["table", "rank", "mark", "seeds", "seed_list", "best_seed", "worst_seed", "seconds", "parameters"]
    fixed += [f"{segment}_{metric}_{part}" for segment in SEGMENTS for metric in METRICS for part in PARTS]
    keys = list(dict.fromkeys(key for table in board.tables for key in (*table.about, *table.keys)))
    names = {key: f"config.{key}" if key in (*fixed, "data_title") else key for key in keys}
    rows = [row for table in board.tables for row in table.rows]
    cells = {key: iter(shown(key, [row.config for row in rows], "", rounded=False)) for key in keys}
    text = io.StringIO()
    writer = csv.DictWriter(text, ["table", "data_title", *names.values(), *fixed[1:]], lineterminator="\n")
    writer.writeheader()
    for number, table in enumerate(board.tables, 1):
        for rank, row in enumerate(table.rows, 1):
            values = row_values(table, row, rank)
            seeds = values["seeds"]
            config = {names[key]: printable(next(cells[key])) for key in keys}
            line: dict[str, Any] = {"table": number, "data_title": printable(table.title), **config}
            line |= {key: values[key] for key in fixed if key in values}
            line |= {"seeds": len(seeds), "seed_list": " ".join(map(str, seeds))}
            for segment in SEGMENTS:
                for metric, found in values.get(segment, {}).items():
                    line |= {f"{segment}_{metric}_{part}": found[part] for part in PARTS} if found else {}
            writer.writerow(line)
    return text.getvalue()


def as_markdown(board: Leaderboard) -> str:
    """GitHub's tables, with all columns."""
    lines = ["# Leaderboard", ""]
    for table in board.tables:
        lines += [f"## {_escaped(title(board, table))}", ""]
        for warning in warnings(board, table):
            lines += [f"**{_escaped(warning)}.**", ""]
        lines += [*_markdown_table(table), ""]
        lines += [f"- {_escaped(note)}" for note in notes(table)]
        lines.append("")
    lines += [f"- {_escaped(line)}" for line in (*legend(board), *counts(board))]
    return "\n".join(lines) + "\n"


def row_values(table: Table, row: Row, rank: int) -> dict[str, Any]:
    """What there is to say of a row, in plain numbers."""
    extremes = row.extreme_seeds(table.reported, table.metric)
    scores: dict[str, Any] = {}
    for segment in (part for part in SEGMENTS if row.windows(part)):
        found = {metric: row.over_seeds(segment, metric) for metric in METRICS}
        scores[segment] = {
            metric: {part: getattr(one, part) for part in PARTS} if one else None for metric, one in found.items()
        }
    return {
        "rank": rank,
        "mark": table.marks[rank - 1],
        "keys": {key: row.config[key] for key in table.keys if key in row.config},
        "seeds": list(row.replicas),
        "best_seed": extremes[0] if extremes else None,
        "worst_seed": extremes[1] if extremes else None,
        "seconds": row.seconds,
        "parameters": row.parameters,
        "runs": [entry.name for entry in row.entries],
        **scores,
    }


def _table_values(board: Leaderboard, table: Table) -> dict[str, Any]:
    return {
        "title": title(board, table),
        "data": table.title,
        "unit": table.unit,
        "targets": dict(table.about),
        "keys": list(table.keys),
        "sorted_by": table.sorted_by,
        "reported": table.reported,
        "warnings": warnings(board, table),
        "notes": notes(table),
        "rows": [row_values(table, row, rank) for rank, row in enumerate(table.rows, 1)],
    }


def _markdown_table(table: Table) -> Iterator[str]:
    known = fields(table)
    columns: list[Field] = [
        known.rank,
        *known.keys,
        *known.scores,
        *(field for group in known.extras for field in group),
    ]
    yield _line(field.heading for field in columns)
    yield _line((":--" if field.words else "--:" for field in columns), escape=False)
    for cells in zip(*(field.cells for field in columns), strict=True):
        yield _line(cells)


def _line(cells: Any, *, escape: bool = True) -> str:
    return f"| {' | '.join(_escaped(cell.strip()) if escape else cell for cell in cells)} |"


def _escaped(text: str) -> str:
    """Text that Markdown and HTML leave alone; ~ alone strikes nothing out."""
    return re.sub(r"([\\|<>`*\[\]#])", r"\\\1", printable(text)) if text != "#" else "\\#"


def as_json(board: Leaderboard) -> str:
    """Strict JSON (no NaN)."""
    return json.dumps(as_values(board), indent=2, allow_nan=False)
