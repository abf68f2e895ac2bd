"""The tables of a backtest, on a terminal and as a page in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from unroll.evaluation.metrics import METRICS
from unroll.evaluation.report import HEADINGS, print_table, print_whole, signed_or_missing, writer

SHORT = {"better than": "better", "worse than": "worse", "the same as": "the same", "cannot be told from": "not told"}
MOST_STEPS = 7  # in a table; the files hold all
Rows = tuple[list[str], list[list[str]]]
"""Headings and cells."""


def probability(value: float | None) -> str:
    """A p-value."""
    return "n/a" if value is None else "<0.0001" if value < 1e-4 else f"{value:.4f}"


def comparison_rows(values: Mapping[str, Any], measure: str) -> Rows:
    """One row a baseline, the best first: how far the model's error is from its, and what may be said."""
    table = values["comparison"]["with"]
    order = sorted(table, key=lambda name: values["baselines"][name][measure])
    ends = [table[name][measure][end] for name in order for end in ("value", "low", "high")]
    write = writer([end for end in ends if end is not None])
    rows = []
    for name in order:
        gap = table[name][measure]
        numbers = [write(gap[end]) for end in ("value", "low", "high")]
        rows.append([name, *numbers, probability(gap["diebold_mariano"]["p_value"])])
        rows[-1].append("n/a" if gap["low"] is None else SHORT[gap["verdict"]])
    return [f"{measure.upper()} less that of", "difference", "95 % from", "to", "p", "verdict"], rows


def step_rows(values: Mapping[str, Any], labels: Mapping[str, str]) -> Rows:
    """RMSE by step ahead, one row a forecast; some of the steps where there are many."""
    table = values["by_step"]
    horizon = len(next(iter(table.values()))["rmse"])
    chosen = sorted({round(at * (horizon - 1) / (MOST_STEPS - 1)) for at in range(MOST_STEPS)})
    write = writer([value for row in table.values() for value in row["rmse"]])
    models = [name for name in values["models"] if name in table]
    ranked = sorted(values["baselines"], key=lambda name: values["baselines"][name]["rmse"])
    rows = [[labels.get(name, name), *(write(table[name]["rmse"][at]) for at in chosen)] for name in (*models, *ranked)]
    return ["RMSE by step", *(str(at + 1) for at in chosen)], rows


def interval_rows(values: Mapping[str, Any], labels: Mapping[str, str]) -> Rows:
    """Coverage and width of the intervals, and the CRPS of distributions."""
    named = [(name, level, row) for name, levels in values["intervals"].items() for level, row in levels.items()]
    write = writer([row["width"] for _, _, row in named])
    crps = {name: values["models"].get(name, {}).get("crps") for name in values["intervals"]}
    score = writer([value for value in crps.values() if value is not None])
    rows = []
    for name, level, row in named:
        cells = [labels.get(name, name), f"{level} %", f"{100 * row['coverage']:.1f} %", write(row["width"])]
        rows.append([*cells, *(["" if crps[name] is None else score(crps[name])] if any(crps.values()) else [])])
    return ["intervals", "level", "coverage", "mean width", *(["CRPS"] if any(crps.values()) else [])], rows


def score_rows(values: Mapping[str, Any], labels: Mapping[str, str]) -> Rows:
    """One row a forecast, the models first."""
    ranked = sorted(values["baselines"], key=lambda name: values["baselines"][name]["rmse"])
    named = [(labels.get(name, name), row) for name, row in values["models"].items()]
    named += [(name, values["baselines"][name]) for name in ranked]
    columns = []
    for metric in METRICS:
        write = writer([row[metric] for _, row in named], ratio=metric in ("r2", "mase"))
        columns.append([write(row[metric]) for _, row in named])
    columns.append([signed_or_missing(row["skill"]) if "skill" in row else "" for _, row in named])
    rows = [[name, *cells] for (name, _), cells in zip(named, zip(*columns, strict=True), strict=True)]
    return ["forecast", *HEADINGS.values(), "skill"], rows


def markdown(rows: Rows) -> str:
    """A table of a page."""
    headings, cells = rows
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *cells]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def printed(rows: Rows, console: Console) -> None:
    """A table on a terminal: numbers are never cut."""
    headings, cells = rows
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(headings[0], min_width=min(24, max(len(line[0]) for line in cells)), overflow="fold")
    for number, heading in enumerate(headings[1:], 1):
        least = max(map(len, (heading, *(line[number] for line in cells))))
        table.add_column(heading, justify="left" if heading == "verdict" else "right", min_width=least)
    for line in cells:
        table.add_row(*line)
    print_whole(table, console)


def print_backtest(
    values: Mapping[str, Any], labels: Mapping[str, str], lines: Sequence[str], console: Console
) -> None:
    """Scores, differences, steps and intervals.

    Args:
        values: what backtest.json says.
        labels: what to call each model.
        lines: the verdicts, and what else is to be said.
        console: where to print.
    """
    console.print()
    print_table(dict(values), title=values["title"], labels=dict(labels), unit=values["unit"], console=console)
    tables = [comparison_rows(values, "rmse"), comparison_rows(values, "mae")]
    console.print(
        f"{labels[values['main']]} less each baseline; below 0, it is better. Intervals: paired bootstrap of blocks of "
        f"{values['comparison']['block']} origins; p: Diebold-Mariano, two-sided; not told: the interval holds 0.",
        style="dim",
        soft_wrap=True,
    )
    tables += [step_rows(values, labels)] if values["horizon"] > 1 else []
    tables += [interval_rows(values, labels)] if values["intervals"] else []
    for rows in tables:
        printed(rows, console)
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)


def page(values: Mapping[str, Any], labels: Mapping[str, str], lines: Sequence[str]) -> str:
    """The report in Markdown.

    Args:
        values, labels, lines: see `print_backtest`.
    """
    parts = [f"# {values['title']}", f"`{values['command']}`", "\n".join(f"- {line}" for line in lines)]
    parts += ["## Scores", values["about"], markdown(score_rows(values, labels))]
    parts += [
        f"## {labels[values['main']]} against each baseline",
        "Error of the model less error of the baseline, on the same targets; below 0, the model is better. The "
        f"interval is a paired bootstrap of blocks of {values['comparison']['block']} origins, widened for their "
        "number; p is the two-sided Diebold-Mariano test with the correction of Harvey, Leybourne and Newbold, on "
        "squared errors for RMSE and on absolute errors for MAE. Of twenty such comparisons of equally good forecasts, "
        "one comes out as a difference by chance.",
        markdown(comparison_rows(values, "rmse")),
        markdown(comparison_rows(values, "mae")),
    ]
    if values["horizon"] > 1:
        parts += ["## By step ahead", markdown(step_rows(values, labels))]
    if values["intervals"]:
        parts += [
            "## Intervals",
            "Calibrated on the validation segment of each fold; `rolling`: anew at each origin, on the latest windows "
            "whose targets are known by then, of all folds so far, and at a level that follows the misses (adaptive "
            "conformal inference).",
            markdown(interval_rows(values, labels)),
        ]
    parts += ["## Trainings", markdown(fold_rows(values))]
    return "\n\n".join([*parts, "![backtest](backtest.png)"]) + "\n"


def fold_rows(values: Mapping[str, Any]) -> Rows:
    """One row a training."""
    keys = ("fold", "first", "last", "origins", "rows_before", "run")
    headings = ["fold", "first origin", "last origin", "origins", "rows before", "run"]
    return headings, [[str(row[key]) for key in keys] for row in values["folds"]]
