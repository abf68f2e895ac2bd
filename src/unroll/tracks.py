"""The way of each replica through the epochs, and its weights at certain ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Track:
    """The way of one replica through the epochs (counted from 1). A run without replicas has one.

    Args:
        seed: of the replica.
        history: one row an epoch: epoch, train_loss, last_batch_loss, val_loss (None without a validation), lr.
    """

    seed: int
    history: list[dict[str, Any]] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0
    reference: float = math.inf
    waited: int = 0

    def note(self, row: dict[str, Any], min_delta: float) -> bool:
        """Add an epoch. Returns whether its weights are the best."""
        self.history.append(row)
        loss = row["val_loss"]
        if loss is None:
            return False
        enough = loss < self.reference - min_delta
        self.reference, self.waited = (loss, 0) if enough else (self.reference, self.waited + 1)
        if not loss < self.best_loss:
            return False
        self.best_loss, self.best_epoch = loss, row["epoch"]
        return True

    @property
    def evaluated_epoch(self) -> int:
        """The best epoch; without any validation, the last one."""
        return self.best_epoch or len(self.history)

    def has_stopped(self, patience: int | None) -> bool:
        """Whether the validation loss has not improved for `patience` epochs."""
        return patience is not None and self.waited >= patience


def mean_of(rows: Sequence[dict[str, Any]], name: str) -> float | None:
    """The mean of a value over replicas; None where one has none. One replica's stays as it is, to the last bit."""
    values = [row[name] for row in rows]
    if None in values:
        return None
    return float(values[0]) if len(values) == 1 else math.fsum(values) / len(values)


class Kept:
    """Weights of K replicas, each put in at its own time. For one replica, tensors have no dimension for it.

    Args:
        count: K.
    """

    def __init__(self, count: int) -> None:
        self.known = [False] * count
        self.tensors: dict[str, Tensor] = {}

    def put(self, weights: dict[str, Tensor], places: Sequence[int], numbers: Sequence[int]) -> None:
        """Keep a copy of some replicas' weights.

        Args:
            weights: of those that train, by name.
            places: among these.
            numbers: among all K.
        """
        if not numbers:
            return
        if len(self.known) == 1:
            self.tensors = {name: value.detach().clone() for name, value in weights.items()}
        else:
            for name, value in weights.items():
                if name not in self.tensors:
                    self.tensors[name] = value.new_zeros(len(self.known), *value.shape[1:])
                kept = self.tensors[name]
                kept[list(numbers)] = value.detach()[list(places)].to(kept.device)
        for number in numbers:
            self.known[number] = True

    def whole(self) -> dict[str, Tensor]:
        """By name: (K, ...), or of one replica without K."""
        return dict(self.tensors)

    def each(self) -> list[dict[str, Tensor]]:
        """A state dict a replica."""
        if len(self.known) == 1:
            return [self.whole()]
        return [{name: value[number] for name, value in self.tensors.items()} for number in range(len(self.known))]

    def copy(self) -> "Kept":
        """One that can be put into without a change of this one."""
        other = Kept(len(self.known))
        other.known, other.tensors = list(self.known), {name: value.clone() for name, value in self.tensors.items()}
        return other

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"known": self.known, "tensors": self.tensors}

    def load(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.known, self.tensors = state["known"], state["tensors"]
