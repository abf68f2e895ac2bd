"""The chain of transforms of a series: fitted on the training segment alone, and exactly inverted.

Words of two kinds, in the order of the config. Pointwise ones are applied here, to every row. Those of the window
(`WINDOW_WORDS`) are undone by what a window holds itself, so the network applies them; here they are only passed on.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from unroll.data.files import shown
from unroll.data.series import SMALLEST, FloatArray, Series, is_constant
from unroll.errors import DataError
from unroll.rules import WINDOW_WORDS

BEYOND = 1e145  # no forecast that the scores can say

Values = TypeVar("Values", FloatArray, Tensor)


@dataclass(frozen=True)
class Affine:
    """Column by column, scaled = (value - offset) / scale.

    Args:
        word: none | standard | minmax | robust.
        offset, scale: (F,) in the units of what it is applied to.
    """

    word: str
    offset: FloatArray
    scale: FloatArray

    def columns(self, values: Values) -> Values:
        """(..., F) to (..., F), float64."""
        if isinstance(values, Tensor):
            return (values - torch.from_numpy(self.offset)) / torch.from_numpy(self.scale)
        return (values - self.offset) / self.scale

    def target(self, values: Values) -> Values:
        """Any shape of the target."""
        return (values - float(self.offset[0])) / float(self.scale[0])

    def undo_target(self, scaled: Values) -> Values:
        """Any shape of the scaled target."""
        return scaled * float(self.scale[0]) + float(self.offset[0])


@dataclass(frozen=True)
class Log1p:
    """The target alone becomes log(1 + value); for values above -1."""

    word = "log1p"

    def columns(self, values: Values) -> Values:
        """(..., F) to (..., F); the first column is the target."""
        if isinstance(values, Tensor):
            return torch.cat([self.target(values[..., :1]), values[..., 1:]], dim=-1)
        return np.concatenate([self.target(values[..., :1]), values[..., 1:]], axis=-1)

    def target(self, values: Values) -> Values:
        """Any shape of the target."""
        if isinstance(values, Tensor):
            return torch.log1p(values)
        with np.errstate(invalid="ignore", divide="ignore"):  # `Transform.check` says what is wrong
            return np.log1p(values)

    def undo_target(self, scaled: Values) -> Values:
        """Any shape of logarithms; those of more than BEYOND are taken for it."""
        if isinstance(scaled, Tensor):
            return torch.expm1(scaled.clamp(max=math.log(min(BEYOND, torch.finfo(scaled.dtype).max / 2))))
        return np.expm1(np.minimum(scaled, math.log(BEYOND)))


@dataclass(frozen=True)
class Transform:
    """The pointwise words, fitted, in order. No words are no change.

    Args:
        steps: one a word.
    """

    steps: tuple[Affine | Log1p, ...]

    def apply(self, values: Values) -> Values:
        """(..., F) in the series' units to (..., F) scaled."""
        for step in self.steps:
            values = step.columns(values)
        return values

    def apply_target(self, values: FloatArray) -> FloatArray:
        """Any shape of target values in the series' units to scaled ones."""
        return self.target_to_scaled(values)

    def invert_target(self, scaled: FloatArray) -> FloatArray:
        """Any shape of scaled target values to the series' units."""
        return self.target_to_units(scaled)

    def target_to_scaled(self, values: Values) -> Values:
        """Any shape of the target, as an array or a tensor of any kind and device."""
        for step in self.steps:
            values = step.target(values)
        return values

    def target_to_units(self, scaled: Values) -> Values:
        """The inverse of `target_to_scaled`. Where a logarithm is undone, BEYOND is the most that is given."""
        for step in reversed(self.steps):
            scaled = step.undo_target(scaled)
        if not any(isinstance(step, Log1p) for step in self.steps):
            return scaled
        if isinstance(scaled, Tensor):
            most = min(BEYOND, torch.finfo(scaled.dtype).max)
            return scaled.clamp(-most, most)
        return np.clip(scaled, -BEYOND, BEYOND)

    def only(self, columns: Sequence[int]) -> "Transform":
        """The same for some of the columns, without the target."""
        kept = [step for step in self.steps if isinstance(step, Affine)]
        places = list(columns)
        return Transform(tuple(Affine(step.word, step.offset[places], step.scale[places]) for step in kept))

    @property
    def description(self) -> list[dict[str, Any]]:
        """Words and numbers as plain values, to be kept and compared."""
        return [
            {"word": step.word}
            | ({"offset": step.offset.tolist(), "scale": step.scale.tolist()} if isinstance(step, Affine) else {})
            for step in self.steps
        ]


def fit_transform(
    words: str | Sequence[str],
    train: FloatArray,
    plain: Sequence[int] = (),
    *,
    name: str = "the target",
    label: Callable[[int], str] = str,
) -> Transform:
    """Fit the pointwise words of a chain on the training rows, each on what the ones before it make of them.

    Args:
        words: one or several, in order; those of the window are left out.
        train: (n, F) the training rows only. A column that is constant there is only shifted.
        plain: columns that stay as they are, such as those of the calendar.
        name: of the target, for messages.
        label: of a row, for messages.

    Raises:
        DataError: where a logarithm is asked of a value that has none, or leaves nothing to learn.
    """
    steps: list[Affine | Log1p] = []
    made = train
    for word in pointwise(words):
        step = Log1p() if word == "log1p" else _fit_affine(word, made, plain)
        steps.append(step)
        check_logarithms(Transform(tuple(steps)), train, name, label)
        made, before = step.columns(made), made
        if isinstance(step, Log1p) and is_constant(made[:, 0]) and not is_constant(before[:, 0]):
            raise DataError(
                f"{name}: after log1p nothing is left of the changes in the training segment, which are too small "
                "beside the level: take log1p out of data.transform"
            )
    return Transform(tuple(steps))


def check_logarithms(transform: Transform, values: FloatArray, name: str, label: Callable[[int], str] = str) -> None:
    """Raise DataError at the first target that has no logarithm, where one is asked for.

    Args:
        transform: fitted.
        values: (N, F) in the series' units; NaN, which is no value, is passed over.
        name: of the target.
        label: of a row.
    """
    target = values[:, 0]
    for number, step in enumerate(transform.steps):
        wrong = target <= -1
        if isinstance(step, Log1p) and wrong.any():
            row = int(np.argmax(wrong))
            before = " + ".join(earlier.word for earlier in transform.steps[:number])
            made = f" ({target[row]:g} after {before})" if before else ""
            raise DataError(
                f"{name} is {values[row, 0]:g}{made} at {label(row)}, and log1p needs values above -1: mend the data, "
                "or take log1p out of data.transform"
            )
        target = step.target(target)


def in_words(transform: str | Sequence[str]) -> list[str]:
    """Words of a config as a list, whether one or several were given."""
    return [transform] if isinstance(transform, str) else list(transform)


def pointwise(transform: str | Sequence[str]) -> list[str]:
    """The words of a chain that work on every row."""
    return [word for word in in_words(transform) if word not in WINDOW_WORDS]


def window_words(transform: str | Sequence[str]) -> tuple[str, ...]:
    """The words of a chain that work inside of each window."""
    return tuple(word for word in in_words(transform) if word in WINDOW_WORDS)


def _fit_affine(word: str, train: FloatArray, plain: Sequence[int]) -> Affine:
    """One of none, standard (mean 0, standard deviation 1), minmax (training rows to 0..1), and robust (median 0,
    interquartile range 1; where that range is empty, as of a column of mostly zeros, the standard deviation 1).
    """
    columns = train.shape[1]
    offset, scale = np.zeros(columns), np.ones(columns)
    if word == "none":
        return Affine(word, offset, scale)
    if word == "minmax":
        offset, scale = train.min(axis=0), np.ptp(train, axis=0)
    elif word == "standard":
        offset, scale = train.mean(axis=0), train.std(axis=0)
    elif word == "robust":
        low, offset, high = np.quantile(train, [0.25, 0.5, 0.75], axis=0)
        empty = high - low <= np.maximum(1e-12 * np.maximum(np.abs(low), np.abs(high)), SMALLEST)
        scale = np.where(empty, train.std(axis=0), high - low)
    else:
        raise ValueError(f"transform {word!r} is not one of none, standard, minmax, robust")
    constant = np.array([is_constant(train[:, column]) for column in range(columns)])
    scale = np.where(constant, 1.0, scale)
    offset[list(plain)], scale[list(plain)] = 0.0, 1.0
    return Affine(word, offset, scale)


def scaled(series: Series, transform: Transform, chunk: int = 1_000_000) -> Tensor:
    """The scaled series in float32, made in chunks so that no second float64 copy of it exists.

    Raises:
        DataError: where a value is too large for it.
    """
    values = series.values
    made = np.empty(values.shape, dtype=np.float32)
    for begin in range(0, len(values), chunk):
        with np.errstate(over="ignore"):
            made[begin : begin + chunk] = transform.apply(values[begin : begin + chunk])
    beyond = np.argwhere(~np.isfinite(made))
    if len(beyond):
        row, column = beyond[0]
        raise DataError(
            f"series {series.name}: column {shown(series.columns[column])} is {values[row, column]:g} at "
            f"{series.label(row)}, too large for the network beside the training segment: mend it, or use "
            "data.transform=standard if it is not set"
        )
    return torch.from_numpy(made)
