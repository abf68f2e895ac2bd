"""What the replicas of a run come to together: means with their 95 % intervals, and the ensemble.

The ensemble's forecast is the mean of the replicas' forecasts, in the series' units. Its error is no mean of their
errors: it is lower, by what they disagree in (Krogh and Vedelsby, 1995, Neural network ensembles, cross validation, and
active learning).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unroll.data.series import FloatArray
from unroll.evaluation.intervals import interval
from unroll.evaluation.metrics import Scores

ENSEMBLE, MIXTURE = "ensemble", "mixture"
SPREAD = ("low", "high", "min", "max")

Steps = dict[str, list[float | None]]
"""A score of each step ahead by its name; None where it is not finite."""


@dataclass(frozen=True)
class Members:
    """The forecasts of K replicas, each with its own weights, and their scores one by one. n windows, H steps.

    Args:
        forecasts: (K, n, H) in the series' units.
        scores: K rows: the scores, `skill` and `loss`.
        by_step: K rows: RMSE and MAE of each step ahead.
    """

    forecasts: FloatArray
    scores: Sequence[Scores]
    by_step: Sequence[Steps]


def mean_scores(rows: Sequence[Scores]) -> Scores:
    """Each score's mean over replicas; None where a replica has none."""
    known = _known(rows)
    return {name: interval(values).mean if values else None for name, values in known.items()}


def spread(rows: Sequence[Scores]) -> dict[str, Scores]:
    """Of each score over replicas: `low` and `high` of the mean's 95 % t interval, `min`, `max`; see `mean_scores`."""
    found: dict[str, Scores] = {}
    for name, values in _known(rows).items():
        found[name] = dict.fromkeys(SPREAD)
        if values:
            one = interval(values)
            half = one.half_width or 0.0
            ends = (one.mean - half, one.mean + half, one.lowest, one.highest)
            found[name] = dict(zip(SPREAD, ends, strict=True))
    return found


def with_seeds(rows: Sequence[Scores], seed: int) -> list[dict[str, Any]]:
    """What files say of each replica; replica k has the k-th seed from the run's own on."""
    return [{"seed": seed + number, **row} for number, row in enumerate(rows)]


def mean_by_step(rows: Sequence[Steps]) -> Steps:
    """The scores of each step ahead: means over replicas; None where a replica has none."""
    means = {name: np.array([row[name] for row in rows], dtype=np.float64).mean(axis=0) for name in rows[0]}
    return {name: [float(value) if np.isfinite(value) else None for value in found] for name, found in means.items()}


def metrics_of_replica(metrics: Mapping[str, Any], number: int) -> dict[str, Any]:
    """What metrics.json would say of one replica alone, as far as that of the whole run says it.

    Args:
        metrics: of a run with replicas, as unroll.runs.listing.check_replicas wants them.
        number: of the replica, from 0.
    """
    epochs = {key: value for key, value in metrics["epochs"].items() if key != "replicas"}
    epochs |= metrics["epochs"]["replicas"][number]
    seed = epochs.pop("seed")
    dropped_here = ("spread", "by_step", "intervals")
    dropped = ("replicas", "weights_sha256", "free_run", "seconds")  # of all replicas together
    found = {key: value for key, value in metrics.items() if key not in dropped} | {"seed": seed, "epochs": epochs}
    loss: dict[str, float | None] = {"val_best": None, "val_last": None}
    for segment in ("train", "validation", "test"):
        if segment not in metrics:
            continue
        scored = {key: value for key, value in metrics[segment].items() if key not in dropped_here}
        rows = {name: rows[number] for name, rows in scored.pop("replicas").items()}
        models = {name: {key: row[key] for key in row if key != "seed"} for name, row in rows.items()}
        found[segment] = scored | {"models": models}
        if segment == "validation":
            loss |= {f"val_{name}": row.get("loss") for name, row in models.items()}
    found["loss"] = {"name": metrics["loss"].get("name"), **loss}
    return found


def _known(rows: Sequence[Scores]) -> dict[str, list[float]]:
    """The values by name; empty where a replica has none."""
    found = {}
    for name in rows[0]:
        values = [value for value in (row[name] for row in rows) if value is not None]
        found[name] = values if len(values) == len(rows) else []
    return found
