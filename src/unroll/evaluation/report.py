"""The scores as a table for people and as plain values for files."""

import math
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unroll.evaluation.evaluate import Evaluation
from unroll.evaluation.metrics import METRICS

HEADINGS = {"mae": "MAE", "rmse": "RMSE", "r2": "R2", "mase": "MASE"}


def as_values(evaluation: Evaluation) -> dict[str, Any]:
    """What metrics.json says of a segment."""
    horizon = evaluation.truth.shape[1]
    steps = {"by_step": evaluation.by_step} if horizon > 1 else {}
    return {
        "windows": len(evaluation.truth),
        "models": {
            name: evaluation.scores[name] | {"skill": evaluation.skill[name], "loss": evaluation.loss[name]}
            for name in evaluation.models
        },
        "baselines": {name: evaluation.scores[name] for name in evaluation.baselines},
        "best_baseline": evaluation.best_baseline,
        **steps,
    }


def print_table(values: dict[str, Any], *, title: str, labels: dict[str, str], unit: str, console: Console) -> None:
    """Print the scores of a segment: the model first, then the baselines from the best down.

    Args:
        values: from `as_values`.
        title: what was forecast.
        labels: what to call each model.
        unit: of MAE and RMSE; may be empty.
        console: where to print.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    models, others = values["models"], values["baselines"]
    ranked = sorted(others, key=lambda other: others[other]["rmse"])
    rows = [*models.values(), *(others[name] for name in ranked)]
    columns = [aligned([row[metric] for row in rows], ratio=metric in ("r2", "mase")) for metric in METRICS]
    columns.append(["n/a" if row["skill"] is None else signed(row["skill"]) for row in models.values()])
    columns[-1] += [""] * len(ranked)
    styles = ["bold" if name == "best" else "" for name in models] + ["dim"] * len(ranked)
    names = [*(labels[name] for name in models), *ranked]
    table.add_column("forecast", min_width=max(map(len, names)))  # numbers are never cut, however narrow the terminal
    for heading, column in zip([*(HEADINGS[name] for name in METRICS), "skill"], columns, strict=True):
        table.add_column(heading, justify="right", min_width=max(map(len, column)))
    for number, name in enumerate(names):
        table.add_row(name, *(column[number] for column in columns), style=styles[number])
    console.print(Text(f"{title}; MAE and RMSE in {unit}" if unit else title), soft_wrap=True)
    table.collapse_padding = console.measure(table).minimum > console.width
    console.print(table, crop=False, width=max(console.width, console.measure(table).minimum))
    best = values["best_baseline"]
    if next(iter(models.values()))["skill"] is None:
        console.print(f"{best} is exact here, so there is no error left to compare with.", style="dim")
    else:
        console.print(
            f"skill: 1 - RMSE / RMSE of the best baseline ({best}); below 0, the baseline wins.",
            style="dim",
            soft_wrap=True,
        )


def aligned(values: list[float | None], *, ratio: bool = False) -> list[str]:
    """A column of numbers with the same decimals: four for ratios, else four digits of the smallest number."""
    sizes = [abs(value) for value in values if value]
    smallest, largest = (min(sizes), max(sizes)) if sizes else (1.0, 1.0)
    if largest >= 1e9 or (smallest < 1e-5 and not ratio):
        return ["n/a" if value is None else f"{value:.3e}" for value in values]
    decimals = 4 if ratio else min(8, max(0, 3 - math.floor(math.log10(smallest))))
    return ["n/a" if value is None else f"{value:,.{decimals}f}" for value in values]


def signed(value: float) -> str:
    """A skill, short also where it is hopeless."""
    return f"{value:+.3f}" if value > -100 else f"{value:+.2g}"


def show(value: float) -> str:
    """One number with four significant digits."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
