"""Find the run that a config would make, where it was made before."""

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unroll.errors import RunError
from unroll.runs.directory import RunDirectory, main_segment
from unroll.runs.files import read_json
from unroll.runs.listing import best_scores

NO_MATTER = ("output_dir", "resume", "checkpoint_seconds", "sweep")  # where and how often a run is written

COUNTS_OR_FRACTIONS = ("limit_", "overfit_batches", "val_check_interval")  # 1: one batch; 1.0: all


def data_digest(config: dict[str, Any]) -> str | None:
    """SHA-256 of the data file of a config; None where it reads none."""
    path = config["data"].get("path")
    if path is None:
        return None
    with Path(path).expanduser().open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(config: dict[str, Any], data: str | None) -> str:
    """A digest of all that decides a run's result but code and versions: equal for equal configs and data.

    Args:
        config: resolved, as plain values.
        data: from `data_digest`; it stands for the file, wherever that lies.
    """
    config = in_one_form({key: value for key, value in config.items() if key not in NO_MATTER})
    if config.get("replicas") == 1:  # as before there were any
        del config["replicas"]
    if config["data"].get("timezone", "") is None:  # as before there was any
        del config["data"]["timezone"]
    if config["data"].get("end", "") is None:
        del config["data"]["end"]
    for name in ("calendar", "holidays", "known_ahead"):
        if not config["data"].get(name, True):
            del config["data"][name]
    if "calendar" not in config["data"]:  # then nothing reads it
        config["data"].pop("calendar_encoding", None)
    if data is not None:
        config["data"]["path"] = data
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


def in_one_form(value: Any, key: str = "") -> Any:
    """A copy of a config in which 0.0 is 0, as for all who read it, but for Lightning where 1 and 1.0 mean two things.

    Args:
        value: a config, or a part of it.
        key: of the part.
    """
    if isinstance(value, dict):
        return {name: in_one_form(part, str(name)) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [in_one_form(part, key) for part in value]
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if whole and not key.startswith(COUNTS_OR_FRACTIONS) else value


def run_name(config: dict[str, Any], known_by: str) -> str:
    """The folder of a config's run in a sweep: the same for the same fingerprint, and something to read.

    Args:
        config: resolved, as plain values.
        known_by: its fingerprint.
    """
    config = in_one_form(config)
    data, model = config["data"], config["model"]
    kind = str(data["_target_"]).split(".")[-2:][0]  # the module of the class
    sizes = {"window": data["window_size"], "hidden": model.get("hidden_size"), "dropout": model.get("dropout")}
    words = [kind, str(model["backbone"]["_target_"]).rpartition(".")[2]]
    replicas = config.get("replicas", 1)
    sizes |= {"seed": config["seed"], "replicas": replicas if replicas > 1 else None}
    words += [f"{key}{value}" for key, value in sizes.items() if value is not None]
    slug = "_".join(re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-.")[:40] for word in words)
    return f"{slug}_{known_by[:12]}".lower()


def finished(run: RunDirectory, known_by: str) -> dict[str, Any] | None:
    """What metrics.json of a run says; None where the run is not complete, damaged, or of another fingerprint."""
    try:
        state = run.read_state()
        whole = state["status"] == "complete" and state.get("fingerprint") == known_by
        return read_result(run) if whole else None
    except (RunError, OSError):
        return None


def validation_score(metrics: dict[str, Any]) -> float:
    """What a search minimises: the validation RMSE of the best epoch, in the series' units.

    Not the validation loss, which changes with the transform and the kind of loss. Without a validation segment, the
    last training loss.
    """
    if "validation" in metrics:
        return float(metrics["validation"]["models"]["best"]["rmse"])
    return float(metrics["loss"]["train_last"])


def equals_uninterrupted(run: RunDirectory, config: dict[str, Any]) -> bool:
    """Whether a run, continued with a config, ends as one that had this config from the start.

    It does where no more than the number of epochs was changed; clipping or patience that came in half-way make it
    something that no config describes.
    """
    before = copy.deepcopy(run.read_config())
    before["trainer"]["max_epochs"] = config["trainer"]["max_epochs"]
    return run.read_state().get("fingerprint") is not None and before == config


def matching_runs(parent: Path, wanted: str) -> Iterator[RunDirectory]:
    """The runs in a folder with a fingerprint, complete ones first, then the newest."""
    found = []
    for path in parent.iterdir() if parent.is_dir() else ():
        try:
            run = RunDirectory.open(path)
            state = run.read_state()
        except RunError:  # something else, or a run that died at once
            continue
        if state.get("fingerprint") == wanted:
            found.append((state["status"] == "complete", path.name, run))
    for _, _, run in sorted(found, key=lambda entry: entry[:2], reverse=True):
        yield run


def complete_run(config: dict[str, Any]) -> RunDirectory | None:
    """A whole, complete run of a config and its data in the config's output_dir; None where there is none yet."""
    for run in matching_runs(Path(config["output_dir"]), fingerprint(config, data_digest(config))):
        try:
            if run.read_state()["status"] == "complete":
                read_result(run)
                return run
        except RunError:  # damaged: it is made again
            continue
    return None


def read_result(run: RunDirectory, *, as_written: bool = True) -> dict[str, Any]:
    """What metrics.json of a complete run says, after a look at all that belongs to it.

    Args:
        run: complete.
        as_written: whether a file that was changed since is refused, also where it can be read.

    Raises:
        RunError: where a file is missing or damaged.
    """
    if as_written:  # first, because it names the way to mend it
        run.check_as_written(run.metrics)
    metrics = read_json(run.metrics)
    scores = metrics.get(main_segment(metrics))
    if not isinstance(scores, dict) or not {"models", "baselines"} <= scores.keys():
        raise RunError(f"{run.metrics} is damaged: it holds no scores")
    for segment in ("validation", main_segment(metrics)):
        found = best_scores(run.metrics, metrics, segment)
        if found and found["rmse"] is None:
            raise RunError(f"{run.metrics} is damaged: its {segment} segment has no RMSE")
    run.read_config()
    epochs, loss = metrics.get("epochs"), metrics.get("loss")
    kinds = {"horizon": int, "unit": str, "model": str, "data": str, "windows": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(metrics.get(name), kind)]
    if wrong or not isinstance(epochs, dict) or not isinstance(loss, dict):
        raise RunError(f"{run.metrics} is damaged: {(*wrong, 'epochs or loss')[0]} is missing or of another kind")
    if not all(isinstance(epochs.get(name), int) for name in ("best", "trained")):
        raise RunError(f"{run.metrics} is damaged: its epochs are no numbers")
    rows = {run.history: metrics["epochs"]["trained"]}
    if "free_run" in metrics:
        ran = metrics["free_run"]
        if not isinstance(ran, dict) or not isinstance(ran.get("steps"), int):
            raise RunError(f"{run.metrics} is damaged: its free_run holds no steps")
        rows[run.free_run] = ran["steps"]
    for path, count in rows.items():
        try:
            if not path.is_file():
                raise OSError("no regular file")
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            raise RunError(f"{path} is missing or damaged") from error
        if len(lines) != count + 1 or any(line.count(",") != lines[0].count(",") for line in lines):
            raise RunError(f"{path} is damaged: it should hold {count} rows")
    if as_written:
        run.check_as_written(*rows)
    return metrics
