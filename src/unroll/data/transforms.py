"""Transforms of the series, fitted on the training segment alone and exactly inverted."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from unroll.data.series import FloatArray, is_constant


@dataclass(frozen=True)
class Affine:
    """Column by column, scaled = (value - offset) / scale.

    Args:
        offset, scale: (F,) in each column's own units.
    """

    offset: FloatArray
    scale: FloatArray

    def apply(self, values: FloatArray) -> FloatArray:
        """(N, F) in the series' units to (N, F) scaled."""
        return (values - self.offset) / self.scale

    def invert_target(self, scaled: FloatArray) -> FloatArray:
        """Any shape of scaled target values to the series' units."""
        return scaled * self.scale[0] + self.offset[0]

    def apply_target(self, units: FloatArray) -> FloatArray:
        """Any shape of target values in the series' units to scaled ones."""
        return (units - self.offset[0]) / self.scale[0]

    def target_to_units(self, scaled: Tensor) -> Tensor:
        """As `invert_target`, on a tensor."""
        return scaled * float(self.scale[0]) + float(self.offset[0])

    def target_to_scaled(self, units: Tensor) -> Tensor:
        """As `apply_target`, on a tensor."""
        return (units - float(self.offset[0])) / float(self.scale[0])


def fit_transform(kind: str, train: FloatArray) -> Affine:
    """Fit a transform on the training rows.

    Args:
        kind: none, minmax (training rows to 0..1) or standard (mean 0, standard deviation 1).
        train: (n, F) the training rows only. A column that is constant there is only shifted.
    """
    columns = train.shape[1]
    if kind == "none":
        return Affine(np.zeros(columns), np.ones(columns))
    if kind == "minmax":
        offset, scale = train.min(axis=0), np.ptp(train, axis=0)
    elif kind == "standard":
        offset, scale = train.mean(axis=0), train.std(axis=0)
    else:
        raise ValueError(f"transform {kind!r} is not one of none, minmax, standard")
    constant = np.array([is_constant(train[:, column]) for column in range(columns)])
    return Affine(offset, np.where(constant, 1.0, scale))
