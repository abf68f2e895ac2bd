"""What metrics.json says of a run's replicas, checked before anything relies on it: no torch, no pandas."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unroll.errors import RunError
from unroll.runs.listing import SCORES, entry


def replica_scores(
    file: Path, metrics: Mapping[str, Any], segment: str, seed: int, replicas: int, name: str = "best"
) -> list[dict[str, float | None]]:
    """The scores of each replica on a segment, in the order of their seeds.

    Args:
        file: metrics.json.
        metrics: what it says.
        segment: there is such a one.
        seed: of the run, that is of its first replica.
        replicas: how many the config asks for.
        name: best | last.

    Raises:
        RunError: where they are not what the config says, or hold anything but scores.
    """
    rows: Any = metrics
    for key in (segment, "replicas"):
        rows = entry(file, rows, key, dict) or {}
    rows = entry(file, rows, name, list) or []
    place = f"{segment}.replicas.{name}"
    if len(rows) != replicas or not all(isinstance(row, dict) for row in rows):
        raise RunError(f"{file} is damaged: its {place} should hold {replicas} replicas")
    if [entry(file, row, "seed", int) for row in rows] != list(range(seed, seed + replicas)):
        raise RunError(f"{file} is damaged: its {place} are not of the seeds {seed} to {seed + replicas - 1}")
    return [{metric: entry(file, row, metric, float) for metric in SCORES} for row in rows]


def check_replicas(file: Path, metrics: Mapping[str, Any], seed: int, replicas: int) -> None:
    """Whether metrics.json holds the scores and epochs of as many replicas as the config asks for.

    Raises:
        RunError: where not.
    """
    found = entry(file, metrics, "replicas", int) or 1
    if found != replicas:
        raise RunError(f"{file} is damaged: its replicas are {found}, and those of config.yaml {replicas}")
    if replicas == 1:
        return
    for segment, name in itertools.product(("train", "validation", "test"), ("best", "last")):
        if segment in metrics:
            replica_scores(file, metrics, segment, seed, replicas, name)
    epochs = entry(file, entry(file, metrics, "epochs", dict) or {}, "replicas", list) or []
    if len(epochs) != replicas:
        raise RunError(f"{file} is damaged: its epochs should be of {replicas} replicas")
    for row in epochs:
        kinds = {"seed": int, "best": int, "trained": int, "stopped_early": bool}
        if not isinstance(row, dict) or any(type(row.get(key)) is not kind for key, kind in kinds.items()):
            raise RunError(f"{file} is damaged: its epochs of a replica are {str(row)[:40]!r}")
