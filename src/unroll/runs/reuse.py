"""Find the run that a config would make, where it was made before."""

import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unroll.errors import RunError
from unroll.runs.directory import RunDirectory

NO_MATTER = ("output_dir", "resume", "checkpoint_seconds")  # where and how often a run is written, not what it is


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
    config = copy.deepcopy({key: value for key, value in config.items() if key not in NO_MATTER})
    if data is not None:
        config["data"]["path"] = data
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


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
