"""Linear autoregression with all that the network is given: its transforms, its columns, what is known ahead.

A network must beat it to show that it found more than least squares would in the same inputs.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unroll.data.module import WindowDataModule
from unroll.data.series import SMALLEST, FloatArray
from unroll.data.windows import Batch, Windows
from unroll.evaluation.baselines import CHUNK, least_squares
from unroll.models.frame import Entered, Frame

Parts = Iterable[tuple[FloatArray, FloatArray]]
SAME_INPUTS = "linear autoregression, same inputs"
SHRINKAGE = np.logspace(-5, 2, 29)  # beside the mean variance of the inputs
WORDS_OF_THE_PLAIN = ("none", "standard", "minmax", "robust")  # these change no forecast of least squares


class SameInputs:
    """Least squares in scaled units, window by window in the frame that the network has.

    Each step has weights of its own, for the window and for the columns that are known ahead, of that step alone.

    Args:
        datamodule: after setup.
        origins: (n,) first target rows of the windows that it is fitted on.
        fit: inputs (n, p) and targets (n, q), part by part, to weights (p, q).
    """

    def __init__(
        self,
        datamodule: WindowDataModule,
        origins: npt.NDArray[np.int64],
        fit: Callable[[Parts], FloatArray] = least_squares,
    ) -> None:
        shape = datamodule.shape
        self.horizon, self.frame = shape.horizon, Frame(shape.window_transform, shape.season)
        self.columns = [column for column in range(1, shape.features) if column not in shape.future_columns]
        self.steps = range(self.horizon) if shape.future_features else range(1)  # all at once where they read the same
        self.weights = [fit(self._parts(datamodule, origins, step)) for step in self.steps]

    def forecast(self, datamodule: WindowDataModule, origins: npt.NDArray[np.int64]) -> FloatArray:
        """(n, H) in the series' units."""
        made = []
        for batch in self._batches(datamodule, origins):
            entered = self.frame.enter(batch.past[..., 0])
            found = [
                self._inputs(batch, entered, step) @ weights
                for step, weights in zip(self.steps, self.weights, strict=True)
            ]
            base, factor = self._way_back(entered, batch.target)
            made.append(base + factor * np.hstack(found))
        return datamodule.transform.invert_target(np.concatenate(made))

    def _parts(
        self, datamodule: WindowDataModule, origins: npt.NDArray[np.int64], step: int
    ) -> Iterator[tuple[FloatArray, FloatArray]]:
        for batch in self._batches(datamodule, origins):
            entered = self.frame.enter(batch.past[..., 0])
            base, factor = self._way_back(entered, batch.target)
            wanted = (
                batch.target.numpy() - base
            )  # not divided by the factor: errors count in scaled units, as in training
            given = self._inputs(batch, entered, step) * factor
            yield given, wanted if len(self.steps) == 1 else wanted[:, [step]]

    def _inputs(self, batch: Batch, entered: Entered, step: int) -> FloatArray:
        """(n, p) window, past columns, the step's columns that are known ahead, and a constant."""
        others = batch.past[:, self.frame.lost :, self.columns].flatten(1)
        ahead = batch.future[:, step] if batch.future.shape[-1] else batch.future[:, 0]
        return np.hstack([entered.target.numpy(), others.numpy(), ahead.numpy(), np.ones((len(ahead), 1))])

    def _way_back(self, entered: Entered, like: Tensor) -> tuple[FloatArray, FloatArray | float]:
        """What a forecast of zero is outside of the frame, and what one is multiplied with."""
        factor = 1.0 if entered.factor is None else entered.factor.numpy()
        return entered.leave(torch.zeros_like(like)).numpy(), factor

    def _batches(self, datamodule: WindowDataModule, origins: npt.NDArray[np.int64]) -> Iterator[Batch]:
        """Windows in double precision, so many at once that memory stays bounded."""
        shape = datamodule.shape
        rows = torch.from_numpy(origins)
        windows = Windows(datamodule.values, rows, shape.window_size, shape.horizon, list(shape.future_columns))
        size = max(1, CHUNK // ((shape.window_size + shape.horizon) * shape.features))
        for chosen in torch.arange(len(origins)).split(max(size, shape.window_size)):
            past, future, target = windows.batch(chosen)
            yield Batch(past.double(), future.double(), target.double())


def fit_same_inputs(datamodule: WindowDataModule, origins: npt.NDArray[np.int64]) -> SameInputs | None:
    """Fitted; None where it would be the plain linear autoregression again: see SameInputs."""
    kind = datamodule.transform_kind
    words = [kind] if isinstance(kind, str) else list(kind)
    plain = all(word in WORDS_OF_THE_PLAIN for word in words) and not datamodule.shape.future_features
    return None if plain else SameInputs(datamodule, origins)


def ridge(parts: Parts) -> FloatArray:
    """Weights (p, q) as of least squares, shrunk as far as generalised cross-validation says; the last input is the
    constant, which is not shrunk. Rows may be weighted: then all of a row is multiplied, the constant too.

    Source:
        Golub, Heath and Wahba (1979), Generalized cross-validation as a method for choosing a good ridge parameter,
        equation 1.4; one parameter for all targets.
    """
    count, moments, width = 0, np.zeros((0, 0)), 0
    for given, wanted in parts:
        rows, width = np.hstack([given, wanted]), given.shape[1]
        moments = rows.T @ rows if not count else moments + rows.T @ rows
        count += len(rows)
    weight = moments[width - 1, width - 1]
    means = moments[width - 1] / weight  # of the constant with all others
    centred = moments / weight - np.outer(means, means)
    inputs, crossed = centred[: width - 1, : width - 1], centred[: width - 1, width:]
    sizes, directions = np.linalg.eigh(inputs)
    sizes, along = np.maximum(sizes, 0), directions.T @ crossed
    total = float(np.trace(centred[width:, width:]))
    best, chosen = np.inf, 0.0
    for penalty in max(float(sizes.mean()), SMALLEST) * SHRINKAGE:
        kept = sizes / (sizes + penalty)
        left = total - float(
            (np.square(along) * ((1 + penalty / (sizes + penalty)) / (sizes + penalty))[:, None]).sum()
        )
        score = max(left, 0.0) / (1 - min((kept.sum() + 1) / count, 1 - 1e-9)) ** 2
        if score < best:
            best, chosen = score, float(penalty)
    weights = directions @ (along / (sizes + chosen)[:, None])
    return np.vstack([weights, means[width:] - means[: width - 1] @ weights])
