"""Score finished runs again: one as its training did, several side by side on one table and figure."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from unroll.errors import DataError, RunError
from unroll.evaluation.evaluate import Evaluation, evaluate, predictions
from unroll.evaluation.figures import draw_forecast, draw_runs
from unroll.evaluation.metrics import METRICS
from unroll.evaluation.report import HEADINGS, as_values, show, signed
from unroll.evaluation.style import DPI
from unroll.load import LoadedRun, load_run
from unroll.results import essentials, print_scores
from unroll.runs.directory import main_segment
from unroll.runs.files import replace_file, write_json


def evaluate_again(
    paths: Sequence[Path],
    segment: str | None,
    data_path: Path | None,
    output: Path | None,
    console: Console,
    replica: int | None = None,
) -> dict[str, Any]:
    """Load, score, print, draw, write.

    Args:
        paths: of run directories.
        segment: test | validation | train; None: test, or train where a run has no test segment.
        data_path: another file for all of them; None: what each was trained on.
        output: a folder; None: `evaluation` in the first run directory.
        console: where to print.
        replica: only this one of each run, counted from 0; None: all of them, and their ensemble.

    Returns:
        the scores by run, as they are written.
    """
    each = dict.fromkeys(path.absolute() for path in paths)  # none twice
    scored = [_scored(_chosen(load_run(path, data_path), replica), segment) for path in each]
    folder = output or scored[0][0].run.path / "evaluation"
    if output is None and folder.is_symlink():
        raise RunError(f"{folder} is a link: give --output FOLDER")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be made ({error.strerror}): give --output FOLDER") from error
    values = {
        str(loaded.run.path): as_values(found, loaded.config.seed) | {"segment": found.segment}
        for loaded, found in scored
    }
    if len(scored) == 1:
        loaded, found = scored[0]
        if loaded.number is not None:
            console.print(f"replica {loaded.number}, which is seed {loaded.config.seed}", highlight=False)
        print_scores(found.segment, _about(loaded, found), console)
        label, subtitle = str(loaded.metrics["model"]), essentials(loaded.config)
        figure = draw_forecast(loaded.datamodule, found, label=label, subtitle=subtitle)
    else:
        _print_runs(scored, console)
        figure = draw_runs([(run.run.path.name, run.datamodule, found) for run, found in scored])
    stem = scored[0][1].segment if len(scored) == 1 else "runs"
    stem += "" if replica is None else f"_replica{replica}"
    replace_file(folder / f"{stem}.png", functools.partial(figure.savefig, dpi=DPI))
    tables = [
        predictions(found, run.datamodule, run.config.seed).assign(run=run.run.path.name) for run, found in scored
    ]
    replace_file(folder / f"{stem}.csv", lambda path: pd.concat(tables).to_csv(path, index=False))
    write_json(folder / f"{stem}.json", values)
    console.print(f"{folder}: {stem}.json, {stem}.csv, {stem}.png", soft_wrap=True, highlight=False)
    return values


def _chosen(loaded: LoadedRun, replica: int | None) -> LoadedRun:
    return loaded if replica is None else loaded.single(replica)


def _scored(loaded: LoadedRun, segment: str | None) -> tuple[LoadedRun, Evaluation]:
    """A run's scores on a segment, with the weights of its best epoch, and of the last one, of all its replicas."""
    name = segment or ("test" if loaded.datamodule is not loaded.trained else main_segment(loaded.metrics))
    if not len(loaded.datamodule.origins(name)):
        series = loaded.datamodule.series
        raise DataError(
            f"{loaded.run.path}: there is no window in the {name} segment of {series.title} ({series.label(0)} to "
            f"{series.label(-1)}): choose another --segment, or give data that reach into it"
        )
    _check_numbered_rows(loaded)
    return loaded, evaluate(
        loaded.forecaster, loaded.datamodule, name, loaded.weights, loaded.reference, trained=loaded.trained
    )


def _check_numbered_rows(loaded: LoadedRun) -> None:
    """Rows without dates are known by their number alone: they must begin as the run's own, or training is scored."""
    own, other = loaded.trained.series, loaded.datamodule.series
    count = min(len(own.values), len(other.values))
    dated = isinstance(own.index, pd.DatetimeIndex)
    if not dated and not np.allclose(own.target[:count], other.target[:count], equal_nan=True):
        raise DataError(
            f"{other.title} has no dates, and its first {count} rows are not those of {loaded.run.path}: give the "
            "whole series from its first row"
        )


def _about(loaded: LoadedRun, found: Evaluation) -> Mapping[str, Any]:
    """What the table says, in the words of metrics.json."""
    values = as_values(found, loaded.config.seed)
    values["models"].setdefault("last", values["models"]["best"])
    return loaded.metrics | {found.segment: values, "data": loaded.datamodule.series.title}


def _print_runs(scored: Sequence[tuple[LoadedRun, Evaluation]], console: Console) -> None:
    """One row a run, and below the runs of the same targets the best baseline; the lowest RMSE first."""
    groups: list[list[tuple[LoadedRun, Evaluation]]] = []
    for entry in sorted(scored, key=lambda pair: pair[1].scores[pair[1].main]["rmse"] or 0.0):
        same = next((group for group in groups if np.array_equal(group[0][1].truth, entry[1].truth)), None)
        groups += [[entry]] if same is None else []
        if same is not None:
            same.append(entry)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", overflow="fold")
    for heading in (*HEADINGS.values(), "skill"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in groups:
        for loaded, found in group:
            skill = found.skill[found.main]
            cells = [_number(found.scores[found.main][key]) for key in METRICS]
            ensemble = f", ensemble of {loaded.replicas}" if loaded.replicas > 1 else ""
            table.add_row(f"{loaded.run.path.name}{ensemble}", *cells, "n/a" if skill is None else signed(skill))
        found = group[0][1]
        about = f"{found.best_baseline}: {found.segment} of {group[0][0].datamodule.series.title}"
        cells = [_number(found.scores[found.best_baseline][key]) for key in METRICS]
        table.add_row(about, *cells, "", style="dim", end_section=True)
    console.print(table)
    if len(groups) > 1:
        console.print("These runs forecast different targets: compare their skill, not their errors.", soft_wrap=True)


def _number(value: float | None) -> str:
    return "n/a" if value is None else show(value)
