"""Find the runs in folders and say of each how it stands, from its small files alone: no torch, no pandas."""

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from unroll.errors import RunError, UnrollError
from unroll.runs.directory import STOPS, RunDirectory, is_held, main_segment
from unroll.runs.files import read_json

STATUSES = ("running", "complete", "failed", "pruned", "interrupted", "killed", "damaged")
SCORES = ("mae", "rmse", "r2", "mase", "skill")

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class ListedRun:
    """What the list says of a run. None stands for what is not known, or not yet.

    Args:
        name: the path inside the folder that was searched; the whole path where several were.
        path: of the run directory.
        status: one of STATUSES.
        reason: why it failed, or which file is damaged.
        model: the backbone's class.
        data: the series' title.
        started, finished: ISO 8601, UTC.
        age_seconds: since `started`.
        seconds: of the training, evaluation included.
        epochs: trained so far, as far as written.
        max_epochs: at most so many.
        unit: of MAE and RMSE.
        segment: which one `scores` are of: test, or train where there is no test segment.
        replicas: how many seeds were trained together, `seed` and those after it.
        scores: of the best epoch, by metric; with replicas, the mean over them. Only complete runs have scores.
        validation: the same on the validation segment.
    """

    name: str
    path: str
    status: str
    reason: str | None = None
    model: str | None = None
    data: str | None = None
    seed: int | None = None
    started: str | None = None
    finished: str | None = None
    age_seconds: float | None = None
    seconds: float | None = None
    epochs: int | None = None
    max_epochs: int | None = None
    best_epoch: int | None = None
    fast_dev_run: bool | None = None
    unit: str | None = None
    segment: str | None = None
    replicas: int | None = None
    scores: dict[str, float | None] | None = None
    validation: dict[str, float | None] | None = None

    def score(self, metric: str, *, validation: bool = False) -> float | None:
        """A score of the best epoch, on the segment for reporting or on that for choosing."""
        scores = self.validation if validation else self.scores
        return scores[metric] if scores else None


def find_runs(folder: Path, unreadable: Callable[[OSError], object]) -> list[Path]:
    """All run directories in a folder, or the folder itself where it is one. Links to folders are not followed.

    Args:
        folder: to search, however deep.
        unreadable: told of folders that cannot be read; they are left out.

    Raises:
        RunError: where it is no folder.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} {'is no folder' if folder.exists() else 'does not exist'}: give a folder of runs")
    found = []
    for parent, folders, files in os.walk(folder, onerror=unreadable):
        if {"config.yaml", "run.json"} <= set(files):
            found.append(Path(parent))
            folders.clear()
    return found


def list_runs(folders: Sequence[Path], unreadable: Callable[[OSError], object]) -> list[ListedRun]:
    """The runs in some folders, each once, the newest first. See `find_runs`."""
    now = datetime.now(UTC)
    found: dict[Path, ListedRun] = {}
    for folder in folders:
        for path in find_runs(folder, unreadable):
            place = path.resolve()
            if place not in found:
                name = place.name if path == folder else str(path.relative_to(folder))
                found[place] = read_run(path, name if len(folders) == 1 else str(path), now)
    by_name = sorted(found.values(), key=lambda run: natural(run.name), reverse=True)
    return sort_runs(by_name, "age")


def read_run(path: Path, name: str, now: datetime) -> ListedRun:
    """What a run's files say. A damaged one hides neither the others nor what the run's other files say."""
    run = RunDirectory(path)
    known: dict[str, Any] = {}
    problem = None
    for part in (_from_state, _from_config, _from_results):
        try:
            known |= part(run, known, now)
        except (UnrollError, OSError, RecursionError, OverflowError, TypeError) as error:
            problem = problem or _explained(error, path)
    if problem:
        known |= {"status": "damaged", "reason": problem}
    return ListedRun(name, str(path), **known)


def _explained(error: Exception, path: Path) -> str:
    """Which file is wrong, inside the run's directory."""
    if isinstance(error, OSError):
        return f"{Path(error.filename or path).name}: {error.strerror}"
    if isinstance(error, UnrollError):
        return " ".join(str(error).replace(f"{path}{os.sep}", "").split())
    return f"a file holds what cannot be read ({type(error).__name__})"


def _from_state(run: RunDirectory, _: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Status and times. A run that says it is running, and that nobody holds, was killed."""
    state = run.read_state()
    if state["status"] == "running" and not is_held(run.path):
        state = run.read_state()  # it may have ended between the two looks
        if state["status"] == "running":
            state["status"] = "killed"
    status, reason = entry(run.state, state, "status", str), entry(run.state, state, "error", str)
    if status not in STATUSES:
        raise RunError(f"{run.state} is damaged: there is no status {status!r}")
    if status == "failed" and reason and reason.startswith(STOPS):
        status = "interrupted"
    started, finished = (_time(run.state, state, key) for key in ("started", "finished"))
    return {
        "status": status,
        "reason": reason,
        "started": started.isoformat() if started else None,
        "finished": finished.isoformat() if finished else None,
        "age_seconds": (now - started).total_seconds() if started else None,
        "seconds": (finished - started).total_seconds() if started and finished else None,
    }


def _from_config(run: RunDirectory, _: Mapping[str, Any], __: datetime) -> dict[str, Any]:
    """Model, seed, epochs asked for; and the data, as far as a config names them."""
    config = run.read_config()
    model, data, trainer = (entry(run.config, config, key, dict) for key in ("model", "data", "trainer"))
    if not (model and data and trainer):
        raise RunError(f"{run.config} is damaged: it holds no model, data or trainer")
    backbone = entry(run.config, entry(run.config, model, "backbone", dict) or {}, "_target_", str)
    file, target = entry(run.config, data, "path", str), entry(run.config, data, "_target_", str)
    kind = (target or "").split(".")[-2:][0]  # the module of the class
    return {
        "model": backbone.rpartition(".")[2] if backbone else None,
        "data": (Path(file).stem if file and kind == "csv" else kind) or None,
        "seed": entry(run.config, config, "seed", int),
        "replicas": entry(run.config, config, "replicas", int) or 1,
        "max_epochs": entry(run.config, trainer, "max_epochs", int),
    }


def _from_results(run: RunDirectory, known: Mapping[str, Any], _: datetime) -> dict[str, Any]:
    """Scores, epochs and seconds of a complete run; of any other, how far it came.

    A run that is trained further still has the scores of its earlier end, which are not those of what it now is.
    """
    if known.get("status") != "complete":
        return _series_title(run) | _epochs_written(run)
    metrics = read_json(run.metrics)
    segment = main_segment(metrics)
    scores = best_scores(run.metrics, metrics, segment)
    if scores is None:
        raise RunError(f"{run.metrics} is damaged: it holds no scores")
    run.check_as_written(run.metrics)
    epochs, seconds = (entry(run.metrics, metrics, key, dict) or {} for key in ("epochs", "seconds"))
    return {
        "data": entry(run.metrics, metrics, "data", str) or known.get("data"),
        "seconds": entry(run.metrics, seconds, "total", float),
        "epochs": entry(run.metrics, epochs, "trained", int),
        "best_epoch": entry(run.metrics, epochs, "best", int),
        "fast_dev_run": bool(metrics.get("fast_dev_run")),  # true, or a number of batches
        "unit": entry(run.metrics, metrics, "unit", str) or None,
        "segment": segment,
        "scores": scores,
        "validation": best_scores(run.metrics, metrics, "validation"),
    }


def _series_title(run: RunDirectory) -> dict[str, Any]:
    """The title of the series, where it was written: a config does not say all of it."""
    import numpy as np  # only here: its start takes longer than a list of complete runs

    if not run.series.is_file():
        return {}
    try:
        with np.load(run.series, allow_pickle=False) as parts:
            about = json.loads(str(parts["about"]))
        return {"data": f"{about['name']} ({about['kind']})" if about["kind"] else str(about["name"])}
    except Exception:  # missing or damaged, each in its own way: the config's name for it stays
        return {}


def _epochs_written(run: RunDirectory) -> dict[str, Any]:
    """The rows of history.csv."""
    if not run.history.is_file():
        return {}
    return {"epochs": max(0, len(run.history.read_bytes().splitlines()) - 1)}


def best_scores(file: Path, metrics: Mapping[str, Any], segment: str) -> dict[str, float | None] | None:
    """The scores of the best epoch on a segment; None where there is no such segment."""
    scored: Mapping[str, Any] | None = metrics
    for key in (segment, "models", "best"):
        scored = entry(file, scored, key, dict) if scored else None
    return {metric: entry(file, scored, metric, float) for metric in SCORES} if scored else None


def entry(file: Path, values: Mapping[str, Any], key: str, kind: type[Kind]) -> Kind | None:
    """An entry of a file, None where it is missing or null.

    Raises:
        RunError: where it is something else than it should be.
    """
    value: Any = values.get(key)
    if value is None:
        return None
    if kind is float and type(value) is int:
        value = float(value)
    finite = not isinstance(value, float) or math.isfinite(value)
    if type(value) is not kind or not finite:
        raise RunError(f"{file} is damaged: its {key} is {str(value)[:40]!r}")
    return value


def _time(file: Path, state: Mapping[str, Any], key: str) -> datetime | None:
    text = entry(file, state, key, str)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RunError(f"{file} is damaged: its {key} is {text[:40]!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def natural(text: str) -> list[str | int]:
    """A key that puts run_10 after run_2, without regard to case."""
    parts = re.split("([0-9]{1,18})", text.casefold())  # every other one is a number
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def begins(name: str | None, wanted: str) -> bool:
    """Whether a name is, or begins with, what is wanted, without regard to case."""
    return name is not None and name.casefold().startswith(wanted.casefold())


def _words(name: str | None) -> list[str | int] | None:
    return None if name is None else natural(name)


Key = Callable[[ListedRun], Any]
SORTS: dict[str, tuple[Key, bool]] = {  # what to sort by, and whether the largest comes first
    "age": (lambda run: run.age_seconds, False),
    "model": (lambda run: _words(run.model), False),
    "data": (lambda run: _words(run.data), False),
    "status": (lambda run: STATUSES.index(run.status), False),
    "rmse": (lambda run: run.score("rmse", validation=True), False),
    "r2": (lambda run: run.score("r2"), True),
    "skill": (lambda run: run.score("skill"), True),
    "name": (lambda run: _words(run.name), False),
    "seconds": (lambda run: run.seconds, False),
}


def sort_runs(runs: Iterable[ListedRun], by: str, *, reverse: bool = False) -> list[ListedRun]:
    """Sort by a key of SORTS: the newest, best or first comes first, equal ones keep their order.

    Runs that have no such value come last, also in reverse.
    """
    key, largest_first = SORTS[by]
    runs = list(runs)
    known = [run for run in runs if key(run) is not None]
    known.sort(key=key, reverse=largest_first != reverse)
    return known + [run for run in runs if key(run) is None]
