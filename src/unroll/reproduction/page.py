"""The page and the table of the reference experiments."""

import functools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from unroll.evaluation.style import DPI
from unroll.reproduction.figures import comparison_figures
from unroll.reproduction.jobs import Job
from unroll.reproduction.published import ORDERS, REFERENCES
from unroll.reproduction.runs import Run, Spread, ours, spread, theirs, wins
from unroll.reproduction.verdicts import Groups, number, plus_minus, verdicts
from unroll.runs.directory import RunDirectory
from unroll.runs.files import replace_file, write_text

PAGE, TABLE = "reproduction.md", "reproduction.csv"
CAPTIONS = {
    "cinema_r2": "Test R2 on cinema sales",
    "trend_loss": "trend_gru, loss of the last batch",
    "sine_losses": "Loss of the sine models",
    "sine_free_runs": "Free runs of the sine models",
    "relative_rmse": "All experiments beside persistence and linear autoregression",
    "overlay": "forecasts over the series",
    "forecast": "forecast",
    "free_run": "free run",
    "loss": "loss by epoch",
}
SCORES = ("rmse", "mae", "r2", "mase")


@dataclass(frozen=True)
class About:
    """How the page came about.

    Args:
        command: the line that made it.
        overrides: of the experiments' configs.
        failures: what ended without a result, in one line each.
        notes: where an override did not go to all experiments.
        workers: runs side by side.
    """

    command: str
    overrides: Sequence[str] = ()
    failures: Sequence[str] = ()
    notes: Sequence[str] = ()
    workers: int = 1


def render(groups: Groups, about: About, figures: dict[str, list[tuple[str, str]]]) -> str:
    """The page, in Markdown.

    Args:
        groups: runs by experiment; none is empty.
        about: how it came about.
        figures: captions and file names by heading, relative to the page.
    """
    runs = [run for group in groups.values() for run in group]
    seeds = sorted({run.seed for run in runs})
    environment = runs[0].directory.read_state()["environment"]
    commits = {_commit(run.directory.read_state()["environment"]) for run in runs}
    parts = [
        "# The reference experiments, over seeds",
        f"`{about.command}`, {date.today().isoformat()}: {len(runs)} runs, seeds {', '.join(map(str, seeds))}; torch "
        f"{environment['packages']['torch']}, lightning {environment['packages']['lightning']}, Python "
        f"{environment['python']}; commit {', '.join(sorted(commits))}.",
        "Five published tutorials showed one seed each. Below, their figures beside ours over several seeds, and "
        "simple baselines on the same targets.",
    ]
    changed = [name for name, group in groups.items() if group[0].changed]
    if changed:
        parts.append(
            f"**Changed from the published experiments by `{' '.join(about.overrides)}`: {', '.join(changed)}.** Their "
            "published figures are of another setting, and are not judged."
        )
    elif about.overrides:
        parts.append(f"With `{' '.join(about.overrides)}`.")
    parts += [*about.notes, *(f"**Failed, and missing below:** {line}" for line in about.failures)]
    parts += ["## What holds, and what does not", "\n".join(f"- {text}" for text in verdicts(groups))]
    parts += ["## Published and ours", _claims(groups)]
    parts += [
        "## Beside the baselines",
        "RMSE in the series' own units, on the same targets; the mean over seeds. Skill is 1 - RMSE / RMSE of the best "
        "baseline; n/a where that baseline is exact.",
        _baselines(groups),
    ]
    parts += ["## What was run", _runs(groups, about)]
    for heading, pictures in figures.items():
        parts += [f"## {heading}", *(f"{caption}\n\n![{name}]({name})" for caption, name in pictures)]
    return "\n\n".join(parts) + "\n"


def table(groups: Groups) -> pd.DataFrame:
    """All numbers of the page, one row an experiment, forecast and quantity."""
    rows = []
    for name, runs in groups.items():
        model, segment = runs[0].model, runs[0].segment
        rows += [
            _row(name, model, claim.quantity, claim.value, spread(runs, claim.ours))
            for claim in REFERENCES[name].claims
        ]
        rows += [_row(name, model, f"{segment} {key}", None, spread(runs, ours(key))) for key in (*SCORES, "skill")]
        rows.append(_row(name, model, "fit seconds", None, spread(runs, lambda run: run.seconds)))
        rows.append(_row(name, model, "parameters", None, spread(runs, lambda run: run.metrics["parameters"])))
        rows += [
            _row(name, other, f"{segment} {key}", None, spread(runs, theirs(other, key)))
            for other in runs[0].baselines
            for key in SCORES
        ]
    return pd.DataFrame(rows)


def _commit(environment: Mapping[str, Any]) -> str:
    """The commit of a run's code."""
    commit = str(environment["git_commit"] or "unknown")[:10]
    return f"{commit} with local changes" if environment["git_dirty"] else commit


def _row(name: str, forecast: str, quantity: str, published: float | None, found: Spread | None) -> dict[str, Any]:
    row: dict[str, Any] = {"experiment": name, "forecast": forecast, "quantity": quantity, "published": published}
    if found is None:
        return row | dict.fromkeys(("mean", "sd", "min", "max")) | {"seeds": 0}
    numbers = {"mean": found.mean, "sd": found.deviation, "min": found.lowest, "max": found.highest}
    return row | numbers | {"seeds": len(found.values)}


def _claims(groups: Groups) -> str:
    rows = []
    for name, runs in groups.items():
        for claim in REFERENCES[name].claims:
            found = spread(runs, claim.ours)
            published = "no number" if claim.value is None else f"{claim.value:g}"
            if found is None:
                rows.append([name, claim.quantity, published, "not reached", "", "", "", ""])
                continue
            place = ""
            if claim.value is not None:
                place = "inside" if found.lowest <= claim.value <= found.highest else "outside"
                if len(runs) == 1:
                    place = "one seed"
                if runs[0].metrics["kind"] == "simulated":
                    place = "other data"
                if runs[0].changed:
                    place = "changed"
            values = [number(value) for value in (found.mean, found.deviation, found.lowest, found.highest)]
            rows.append([name, claim.quantity, published, *values, place])
    headings = ["experiment", "quantity", "published", "ours: mean", "sd", "min", "max", "published is in min..max"]
    return _markdown(headings, rows)


def _baselines(groups: Groups) -> str:
    rows = []
    for name, runs in groups.items():
        model, skill = spread(runs, ours("rmse")), spread(runs, ours("skill"))
        cells = [name, runs[0].segment, plus_minus(model) if model else "n/a"]
        for baseline in ("linear autoregression", "seasonal naive", "persistence", "drift"):
            full = next((other for other in runs[0].baselines if other.startswith(baseline)), None)
            found = spread(runs, theirs(full, "rmse")) if full else None
            cells.append(number(found.mean) if found else "")
        cells += [f"{skill.mean:+.3f}" if skill else "n/a", f"{wins(runs, 'linear autoregression')} of {len(runs)}"]
        rows.append(cells)
    headings = ["experiment", "segment", "RMSE of the model", "linear autoregression", "seasonal naive", "persistence"]
    return _markdown([*headings, "drift", "skill", "seeds that beat linear autoregression"], rows)


def _runs(groups: Groups, about: About) -> str:
    rows = []
    for name, runs in groups.items():
        run, seconds = runs[0], spread(runs, lambda run: run.seconds)
        windows, data = run.metrics["windows"], run.config["data"]
        order = ORDERS[data["order"]] if data["history"] else "split, then window, no history across it"
        order = order if windows["test"] else "no split"
        assert seconds
        cells = [
            name,
            REFERENCES[name].what,
            run.metrics["data"],
            order,
            f"{windows['train']:,}",
            f"{windows['test']:,}",
        ]
        cells += [f"{run.metrics['parameters']:,}", str(run.metrics["epochs"]["trained"])]
        rows.append([*cells, f"{seconds.mean:.1f} ({seconds.lowest:.1f} to {seconds.highest:.1f})", str(len(runs))])
    headings = ["experiment", "what", "data", "order", "train windows", "test windows", "parameters", "epochs"]
    note = (
        "The README explains the two orders, and why neither leaks (`Two orders of splitting`). Seconds are the sum of "
        f"a run's epochs, while others shared the machine ({about.workers} at once in this command)."
    )
    return _markdown([*headings, "fit seconds", "seeds"], rows) + f"\n\n{note}"


def _markdown(headings: list[str], rows: list[list[str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [headings, ["---"] * len(headings), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(found: Mapping[Job, Path], about: About, folder: Path, console: Console) -> None:
    """Write page, table and figures; say where they are, and the verdicts.

    Args:
        found: the run directory of each job.
        about: how they came about.
        folder: for all of it.
        console: where to print.
    """
    groups: dict[str, list[Run]] = {}
    for name in REFERENCES:
        runs = [
            Run(name, job.seed, RunDirectory(path), job.changed)
            for job, path in found.items()
            if job.experiment == name
        ]
        if runs:
            groups[name] = sorted(runs, key=lambda run: run.seed)
    pictures = folder / "figures"
    pictures.mkdir(exist_ok=True)
    names: dict[str, list[tuple[str, str]]] = {"Over seeds": [], "As each source shows it, one seed": []}
    for name, figure in comparison_figures(groups).items():
        path = pictures / f"{name}.png"
        replace_file(path, functools.partial(figure.savefig, dpi=DPI))
        names["Over seeds"].append((CAPTIONS[name], f"figures/{path.name}"))
    for name, runs in groups.items():
        for shown in REFERENCES[name].figures:
            source, path = runs[0].directory.figures / f"{shown}.png", pictures / f"{name}_{shown}.png"
            if source.exists():  # an override may have taken it away
                replace_file(path, functools.partial(shutil.copyfile, source))
                caption = f"{name}, seed {runs[0].seed}: {CAPTIONS[shown]}"
                names["As each source shows it, one seed"].append((caption, f"figures/{path.name}"))
    frame = table(groups)
    replace_file(folder / TABLE, lambda path: frame.to_csv(path, index=False))
    write_text(folder / PAGE, render(groups, about, names))
    for text in verdicts(groups):
        console.print(f"- {text.replace('**', '')}", highlight=False)
    for path in (folder / PAGE, folder / TABLE, pictures):
        console.print(str(path), soft_wrap=True, highlight=False)
