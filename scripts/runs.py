"""List the runs under outputs/, the newest first: model, data, status, scores, age.

python scripts/runs.py
python scripts/runs.py --model gru --data cinema --status complete --sort rmse
python scripts/runs.py outputs/reproduce --limit 5
python scripts/runs.py --json

`rmse` sorts by the validation segment, which is for choosing; the test scores are for reporting.
"""

import unroll.early  # noqa: F401  before all others

# isort: split
import argparse
import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unroll.cli import one_line_errors
from unroll.progress import PatientConsole
from unroll.runs.listing import SORTS, STATUSES, ListedRun, begins, list_runs, sort_runs
from unroll.tables import Column, age, folded, number, printable, ratio

CONFIG_DIR = Path(__file__).parent.parent / "conf"
STYLES = {"running": "cyan", "failed": "red", "damaged": "red", "interrupted": "yellow", "killed": "yellow"}
NARROW, MIDDLE = 11, 20  # of a run's name: its date in one line; its date and time in one line
WORD = 14  # longer words of models and data may be folded


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="searched for runs (default: outputs)")
    parser.add_argument("--model", metavar="NAME", help="only this model; the beginning of its name is enough")
    parser.add_argument("--data", metavar="NAME", help="only these data; the beginning of their name is enough")
    parser.add_argument("--status", type=str.lower, choices=STATUSES, help="only runs that stand so")
    parser.add_argument("--sort", type=str.lower, choices=SORTS, default="age", help="best first (default: age)")
    parser.add_argument("--reverse", action="store_true", help="the other way round; missing values stay last")
    parser.add_argument("--limit", type=_positive, metavar="N", help="no more than the first N")
    parser.add_argument("--json", action="store_true", help="everything, as a JSON list")
    arguments = parser.parse_intermixed_args()
    with one_line_errors(CONFIG_DIR):
        show(arguments, PatientConsole())


def show(arguments: argparse.Namespace, console: Console) -> None:
    """Find, choose, sort, print."""
    folders = arguments.folders or [Path("outputs")]
    runs = list_runs([folder.expanduser() for folder in folders], _left_out)
    asked = {name: getattr(arguments, name) for name in ("model", "data", "status") if getattr(arguments, name)}
    chosen = [run for run in runs if all(begins(getattr(run, name), wanted) for name, wanted in asked.items())]
    chosen = sort_runs(chosen, arguments.sort, reverse=arguments.reverse)[: arguments.limit]
    if arguments.json:
        text = json.dumps([asdict(run) for run in chosen], indent=2, allow_nan=False)
        console.out(text, highlight=False)
        return
    where = printable(", ".join(map(str, folders)))
    if not chosen:
        filters = printable(" ".join(f"--{name} {wanted}" for name, wanted in asked.items()))
        none = f"none of the {len(runs)} runs under {where} is {filters}" if runs else f"no runs under {where}"
        console.print(none, soft_wrap=True, highlight=False)
        return
    count = (
        f"{len(chosen)} of {len(runs)} runs" if len(chosen) < len(runs) else f"{len(runs)} run{'s'[: len(runs) > 1]}"
    )
    console.print(f"{count} under {where}", soft_wrap=True, highlight=False)
    console.print()
    print_runs(chosen, console)


def print_runs(runs: list[ListedRun], console: Console) -> None:
    """Print the table, as many of its columns as there is room for, and the reasons of failures."""
    name = Column("run", [printable(run.name) for run in runs], NARROW, "left")
    model, data = (
        _names(heading, names)
        for heading, names in (
            ("model", [_model(run) for run in runs]),
            ("data", [run.data for run in runs]),
        )
    )
    columns = [
        *(name, model, data, Column("status", [run.status for run in runs], justify="left")),
        Column("val RMSE", [_score(run, "rmse", number, validation=True) for run in runs]),
        Column("test RMSE", [_score(run, "rmse", number) + _marks(run) for run in runs]),
        Column("test R2", [_score(run, "r2", lambda value: ratio(value, "")) for run in runs]),
        Column("skill", [_score(run, "skill", lambda value: ratio(value, "+")) for run in runs]),
        Column("age", ["" if run.age_seconds is None else age(run.age_seconds) for run in runs]),
    ]
    extras = [
        Column("epochs", [_epochs(run) for run in runs]),
        Column("seed", [_seeds(run) for run in runs]),
        Column("seconds", ["" if run.seconds is None else f"{run.seconds:.1f}" for run in runs]),
        *([Column("unit", [printable(run.unit or "") for run in runs], justify="left")] if _has_units(runs) else []),
    ]
    missing = _fit(columns, extras, (model, name, data), console.width)
    name.cells = [folded(cell, name.width) for cell in name.cells]
    least = sum(column.width + 1 for column in columns) - 1
    gap = 1 if least + len(columns) - 1 <= console.width else 0
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, gap, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(Text(column.heading), justify=column.justify, width=column.width, overflow="fold")
    for row, run in enumerate(runs):
        cells = [Text(column.cells[row]) for column in columns]
        cells[3].stylize(STYLES.get(run.status, ""))
        table.add_row(*cells)
    width = console.width
    console.width = max(width, least)  # print(width=...) would keep to the terminal's, and cut
    console.print(table)
    console.width = width
    _print_reasons(runs, console)
    for line in _notes(runs, missing):
        console.print(line, style="dim", soft_wrap=True, highlight=False)


def _fit(columns: list[Column], extras: list[Column], names: tuple[Column, ...], width: int) -> list[str]:
    """Add the columns there is room for, then widen the names. Returns the headings of those left out."""
    room = width - sum(column.width + 1 for column in columns) + 1
    kept = max(0, min(MIDDLE, names[1].full) - names[1].width)  # for the runs' names
    while extras and extras[0].width + 1 <= room - kept:
        columns.append(extras.pop(0))
        room -= columns[-1].width + 1
    for column in names:
        more = max(0, min(room, column.full - column.width))
        column.width += more
        room -= more
    return [column.heading for column in extras]


def _print_reasons(runs: list[ListedRun], console: Console) -> None:
    """A line for each run that failed or is damaged."""
    lines = [f"{run.name}: {run.reason}" for run in runs if run.reason and run.status in ("failed", "damaged")]
    if lines:
        console.print()
    for line in map(printable, lines):
        short = line if cell_len(line) <= console.width else set_cell_size(line, console.width - 3) + "..."
        console.print(Text(short, style="red"), soft_wrap=True, highlight=False)


def _notes(runs: list[ListedRun], missing: list[str]) -> list[str]:
    lines = []
    if any(run.scores for run in runs):
        lines += ["", "scores of the best epoch: choose by validation, report the test; skill is on the test too"]
    if any((run.replicas or 1) > 1 for run in runs):
        lines.append("x16: 16 seeds in one run; its scores are their means")
    if any(run.segment == "train" for run in runs):
        lines.append("* no test segment: RMSE, R2 and skill are of the train segment, all seen in training")
    if any(run.fast_dev_run for run in runs):
        lines.append("? fast_dev_run: one training batch, the scores mean nothing")
    if missing:
        lines.append(f"no room for: {', '.join(missing)} (a wider terminal or --json shows them)")
    return lines


def _names(heading: str, names: list[str | None]) -> Column:
    cells = [printable(name or "") for name in names]
    longest = max((cell_len(word) for cell in cells for word in cell.split()), default=0)
    return Column(heading, cells, min(longest, WORD), "left")


def _score(run: ListedRun, metric: str, write: Callable[[float], str], *, validation: bool = False) -> str:
    """A score; n/a where a complete run has none, empty where a run is not complete."""
    value = run.score(metric, validation=validation)
    if value is None:
        return "n/a" if run.scores else ""
    return write(value)


def _model(run: ListedRun) -> str | None:
    """GRU, or GRU x16 where a run has so many replicas."""
    return f"{run.model} x{run.replicas}" if run.model and run.replicas and run.replicas > 1 else run.model


def _seeds(run: ListedRun) -> str:
    if run.seed is None or not run.replicas:
        return ""
    return str(run.seed) if run.replicas == 1 else f"{run.seed}-{run.seed + run.replicas - 1}"


def _marks(run: ListedRun) -> str:
    return "*" * (run.segment == "train") + "?" * bool(run.fast_dev_run)


def _epochs(run: ListedRun) -> str:
    """Trained, and of how many where it did not come to an end."""
    if run.epochs is None:
        return ""
    return f"{run.epochs}/{run.max_epochs}" if run.max_epochs and run.status != "complete" else str(run.epochs)


def _has_units(runs: list[ListedRun]) -> bool:
    return any(run.unit for run in runs)


def _left_out(error: OSError) -> None:
    sys.stderr.write(f"note: {printable(str(error.filename))} is left out: {error.strerror}\n")


def _positive(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1")
    return int(text)


if __name__ == "__main__":
    main()
