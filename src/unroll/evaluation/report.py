"""The scores as a table for people and as plain values for files."""

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
        "models": {name: evaluation.scores[name] | {"skill": evaluation.skill[name]} for name in evaluation.models},
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
    table.add_column("forecast", no_wrap=True)
    for name in METRICS:
        table.add_column(HEADINGS[name], justify="right")
    table.add_column("skill", justify="right")
    models, others = values["models"], values["baselines"]
    for name, row in models.items():
        style = "bold" if name == "best" else ""
        cells = [show(row[metric]) for metric in METRICS]
        table.add_row(labels[name], *cells, show(row["skill"], signed=True), style=style)
    for name in sorted(others, key=lambda other: others[other]["rmse"]):
        table.add_row(name, *[show(others[name][metric]) for metric in METRICS], "", style="dim")
    console.print(Text(f"{title}; MAE and RMSE in {unit}" if unit else title), soft_wrap=True)
    console.print(table)
    best = values["best_baseline"]
    if next(iter(models.values()))["skill"] is None:
        console.print(f"{best} is exact here, so there is no error left to compare with.", style="dim")
    else:
        console.print(
            f"skill: 1 - RMSE / RMSE of the best baseline ({best}); below 0, the baseline wins.",
            style="dim",
            soft_wrap=True,
        )


def show(value: float | None, *, signed: bool = False) -> str:
    """A number with four significant digits, or n/a where it is undefined."""
    if value is None:
        return "n/a"
    if signed:
        return f"{value:+.3f}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
