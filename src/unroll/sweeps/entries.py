"""Complete runs as a leaderboard needs them, from their small files alone; and what is left out, and why."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unroll.errors import RunError, UnrollError
from unroll.runs.directory import RunDirectory, main_segment
from unroll.runs.files import read_json
from unroll.runs.listing import SCORES, find_runs, read_run
from unroll.runs.replicas import check_replicas, replica_scores
from unroll.runs.reuse import COUNTS_OR_FRACTIONS, NO_MATTER

SEGMENTS = ("validation", "test", "train")
SEEDS = ("seed", "replicas")  # which seeds a run is of
CHOICE = "._target_"  # ends the key of a class: model, optimizer, ...
LARGEST_INTEGER = 2**63
LARGEST = 1e100  # of a score: what is beyond is no result, and its square no number

Scores = Mapping[str, Mapping[str, float | None]]  # by segment and metric


@dataclass(frozen=True)
class Replica:
    """What one seed came to.

    Args:
        seed: of the weights, batch order and dropout.
        scores: of the best epoch.
        baselines: scores of the best baseline on the same targets.
    """

    seed: int
    scores: Scores
    baselines: Scores


@dataclass(frozen=True)
class Entry:
    """A complete run.

    Args:
        name: for people.
        finished: when, ISO 8601; the newest of equal runs counts.
        seed: of its config; with replicas, the first.
        replicas: one a seed.
        config: JSON value by dotted key, without the seeds and what does not matter to a result. A class goes by its
            part: `model`, `data`, `optimizer`. A data file goes by its digest.
        asked: the keys that its command line named.
        segment: whose scores stand for the run: test, or train where there is no test segment.
        title, kind, unit, target: of the series.
        windows: their number, by segment.
        baseline: the name of the best one, by segment.
        seconds: of all epochs, for all seeds together.
    """

    name: str
    finished: str
    seed: int
    replicas: Sequence[Replica]
    config: Mapping[str, Any]
    asked: frozenset[str]
    segment: str
    title: str
    unit: str
    target: str
    windows: Mapping[str, int]
    baseline: Mapping[str, str]
    parameters: int
    seconds: float


@dataclass(frozen=True)
class LeftOut:
    """A run that is not in the table."""

    name: str
    status: str
    reason: str | None


@dataclass
class Found:
    """What there is in some folders.

    Args:
        entries: the complete runs, in no order.
        left_out: the other runs.
        unreadable: folders that could not be searched.
    """

    entries: list[Entry] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def read_entries(folders: Sequence[Path]) -> Found:
    """All runs in some folders, however deep, each once. Links to folders are not followed.

    Raises:
        RunError: where one is no folder.
    """
    found, seen, now = Found(), set(), datetime.now(UTC)
    for folder in folders:
        for path in find_runs(folder, lambda error: found.unreadable.append(f"{error.filename}: {error.strerror}")):
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            name = path.name if path == folder else str(path.relative_to(folder))
            entry = read_entry(path, name if len(folders) == 1 else str(path), now)
            if isinstance(entry, Entry):
                found.entries.append(entry)
            else:
                found.left_out.append(entry)
    return found


def read_entry(path: Path, name: str, now: datetime) -> Entry | LeftOut:
    """One run. A damaged one is left out, with the file that is wrong."""
    try:
        config = RunDirectory(path).read_config()
        listed = read_run(path, name, now)
        if listed.status != "complete":
            return LeftOut(name, listed.status, listed.reason)
        if listed.fast_dev_run:
            return LeftOut(name, "fast_dev_run", None)
        return _entry(RunDirectory(path), name, config, listed.finished or listed.started or "")
    except UnrollError as error:
        return LeftOut(name, "damaged", " ".join(str(error).replace(f"{path}/", "").split()))
    except OSError as error:
        return LeftOut(name, "damaged", f"{Path(error.filename or path).name}: {error.strerror}")
    except (RecursionError, ValueError, OverflowError, TypeError) as error:
        return LeftOut(name, "damaged", f"a file holds what cannot be read ({type(error).__name__})")


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key of a config and its value, as JSON has it."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            exact = key.startswith(COUNTS_OR_FRACTIONS)
            yield f"{prefix}{key}", repr(value) if exact and isinstance(value, float) else _plain(value)


def _entry(run: RunDirectory, name: str, config: dict[str, Any], finished: str) -> Entry:
    metrics, state = read_json(run.metrics), run.read_state()
    run.check_as_written(run.history)  # its seconds are in the table; read_run has looked at metrics.json
    keys = dict(flatten({key: value for key, value in config.items() if key not in (*NO_MATTER, *SEEDS)}))
    keys = {"model" if key == "model.backbone._target_" else key.removesuffix(CHOICE): keys[key] for key in keys}
    if keys.get("data.timezone", "") is None:  # as before there was any
        del keys["data.timezone"]
    if isinstance(state.get("data_sha256"), str):
        keys["data.path"] = state["data_sha256"]
    typed = state.get("overrides")
    asked = [word for word in typed if isinstance(word, str)] if isinstance(typed, list) else []
    seed = config.get("seed")
    if type(seed) is not int or abs(seed) >= LARGEST_INTEGER:
        raise RunError(f"{run.config} is damaged: its seed is {str(seed)[:40]!r}")
    count = config.get("replicas", 1)
    if type(count) is not int or count < 1:
        raise RunError(f"{run.config} is damaged: its replicas are {str(count)[:40]!r}")
    parts = [segment for segment in SEGMENTS if segment in metrics]
    baseline = {segment: _value(run.metrics, metrics, str, segment, "best_baseline", default="") for segment in parts}
    return Entry(
        name=name,
        finished=finished,
        seed=seed,
        replicas=_replicas(run.metrics, metrics, seed, count),
        config=keys,
        asked=frozenset(word.lstrip("+").partition("=")[0] for word in asked),
        segment=main_segment(metrics),
        title=_value(run.metrics, metrics, str, "data"),
        unit=_value(run.metrics, metrics, str, "unit", default=""),
        target=_value(run.metrics, metrics, str, "target", default=""),
        windows={segment: _value(run.metrics, metrics, int, "windows", segment, default=0) for segment in parts},
        baseline=baseline,
        parameters=_value(run.metrics, metrics, int, "parameters"),
        seconds=_seconds(run.history),
    )


def _replicas(file: Path, metrics: Mapping[str, Any], seed: int, count: int) -> list[Replica]:
    """One a seed; a run that trains several seeds together has several, and the baselines are the same for all."""
    check_replicas(file, metrics, seed, count)
    scores: list[dict[str, Mapping[str, float | None]]] = [{} for _ in range(count)]
    baselines: dict[str, Mapping[str, float | None]] = {}
    for segment in (segment for segment in SEGMENTS if segment in metrics):
        if count == 1:
            scores[0][segment] = _scores(file, metrics, segment, "models", "best")
        else:
            rows = replica_scores(file, metrics, segment, seed, count)
            for number, row in enumerate(rows):
                scores[number][segment] = _scores(file, {"replica": row}, "replica")
        name = _value(file, metrics, str, segment, "best_baseline", default="")
        if name:
            baselines[segment] = _scores(file, metrics, segment, "baselines", name)
    return [Replica(seed + number, found, baselines) for number, found in enumerate(scores)]


def _scores(file: Path, metrics: Mapping[str, Any], *place: str) -> dict[str, float | None]:
    return {metric: _value(file, metrics, float, *place, metric, default=None) for metric in SCORES}


REQUIRED = object()


def _value(file: Path, values: Mapping[str, Any], kind: type[Any], *place: str, default: Any = REQUIRED) -> Any:
    """A value in nested objects.

    Raises:
        RunError: where it is missing and has no default, or of another kind.
    """
    value: Any = values
    for key in place:
        if not isinstance(value, dict):
            raise RunError(f"{file} is damaged: it holds no {'.'.join(place)}")
        value = value.get(key)
    if value is None and default is not REQUIRED:
        return default
    if kind is float and type(value) is int and abs(value) < LARGEST:
        value = float(value)
    if type(value) is not kind or (kind is float and not abs(value) < LARGEST):
        raise RunError(f"{file} is damaged: its {'.'.join(place)} is {str(value)[:40]!r}")
    return value


def _seconds(file: Path) -> float:
    """Of all epochs, those before an interruption too."""
    try:
        if not file.is_file():
            raise RunError(f"{file} is missing or no regular file")
        with file.open(encoding="utf-8", newline="") as lines:
            total = math.fsum(float(row["seconds"]) for row in csv.DictReader(lines))
    except (ValueError, KeyError, TypeError, csv.Error, OverflowError) as error:
        raise RunError(f"{file} is damaged: its seconds cannot be read") from error
    if not 0 <= total < LARGEST:
        raise RunError(f"{file} is damaged: its seconds are {total}")
    return total


def _plain(value: Any) -> Any:
    """As JSON has it, and 1.0 as 1: the same value has one form."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, int) and abs(value) >= LARGEST_INTEGER:
        return str(value)
    return value if value is None or isinstance(value, str | int) else str(value)


def identity(values: Mapping[str, Any]) -> str:
    """Equal for equal values, told apart by kind: 1 is not true."""
    return json.dumps(values, sort_keys=True)
