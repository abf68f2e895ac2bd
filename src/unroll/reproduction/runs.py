"""Finished runs of the reference experiments, as the page needs them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from unroll.runs.directory import RunDirectory, main_segment
from unroll.runs.files import read_json


@dataclass(frozen=True)
class Run:
    """One complete run of an experiment.

    Args:
        experiment: its name.
        seed: of the run.
        directory: where it is.
        changed: whether it is another experiment than the published one.
    """

    experiment: str
    seed: int
    directory: RunDirectory
    changed: bool = False

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What metrics.json says."""
        return read_json(self.directory.metrics)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config."""
        return self.directory.read_config()

    @cached_property
    def history(self) -> pd.DataFrame:
        """Losses by epoch."""
        return pd.read_csv(self.directory.history).set_index("epoch")

    @property
    def segment(self) -> str:
        """The segment whose scores stand for the run."""
        return main_segment(self.metrics)

    @property
    def model(self) -> str:
        """RNN, LSTM or GRU."""
        return str(self.metrics["model"])

    def at_epoch(self, column: str, epoch: int) -> float | None:
        """A column of the history; None where the run did not get so far."""
        return float(self.history[column].loc[epoch]) if epoch in self.history.index else None

    def score(self, segment: str, metric: str) -> float | None:
        """A score of the evaluated weights; None where the segment was not scored."""
        return self.metrics[segment]["models"]["best"][metric] if segment in self.metrics else None

    def baseline(self, name: str, metric: str) -> float | None:
        """A score of a baseline on the same targets; None where there is no such baseline."""
        return self.metrics[self.segment]["baselines"].get(name, {}).get(metric)

    @property
    def baselines(self) -> list[str]:
        """Their names."""
        return list(self.metrics[self.segment]["baselines"])

    @property
    def free_run_rmse(self) -> float | None:
        """None where the run made none."""
        return self.metrics["free_run"]["models"]["best"]["rmse"] if "free_run" in self.metrics else None

    @property
    def seconds(self) -> float:
        """Of all epochs, also those before a run was interrupted."""
        return float(self.history["seconds"].sum())


@dataclass(frozen=True)
class Spread:
    """A quantity over seeds.

    Args:
        values: (n,) one a seed.
    """

    values: np.ndarray

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(self.values.mean())

    @property
    def deviation(self) -> float | None:
        """Standard deviation between seeds (n - 1 in the denominator); None for one seed."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else None

    @property
    def lowest(self) -> float:
        """The minimum."""
        return float(self.values.min())

    @property
    def highest(self) -> float:
        """The maximum."""
        return float(self.values.max())


def spread(runs: Iterable[Run], quantity: Callable[[Run], float | None]) -> Spread | None:
    """A quantity over the seeds of an experiment; None where a run has none."""
    values = [quantity(run) for run in runs]
    if not values or any(value is None for value in values):
        return None
    return Spread(np.array(values, dtype=np.float64))


def ours(metric: str) -> Callable[[Run], float | None]:
    """A score of the model in the segment that stands for a run."""
    return lambda run: run.score(run.segment, metric)


def theirs(baseline: str, metric: str) -> Callable[[Run], float | None]:
    """A score of a baseline on the same targets."""
    return lambda run: run.baseline(baseline, metric)


def wins(runs: Sequence[Run], baseline: str) -> int:
    """In how many runs the model has a lower RMSE than a baseline."""
    pairs = [(ours("rmse")(run), theirs(baseline, "rmse")(run)) for run in runs]
    return sum(one is not None and other is not None and one < other for one, other in pairs)
