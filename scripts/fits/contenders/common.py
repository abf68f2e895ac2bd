"""What the contenders share: the series, its windows, and the network of those who write their own."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from fits.works import PERIOD, ROW, Sizes


@dataclass(frozen=True)
class Done:
    """A fit.

    Args:
        seconds: of the training alone.
        steps: of the optimizer that were made.
        loss: of training, at the end, as the contender reports it: to see that it did learn.
    """

    seconds: float
    steps: int
    loss: float


def series(sizes: Sizes) -> npt.NDArray[np.float32]:
    """(N,) the sine without noise that unroll's data=sine makes."""
    t = np.linspace(0.0, sizes.points * ROW, sizes.points)
    return np.sin(2 * np.pi * t / PERIOD).astype(np.float32)


def datasets(sizes: Sizes) -> tuple[TensorDataset, TensorDataset]:
    """Training and validation windows: past (n, W, 1), target (n, 1). Views of the series, so that long ones fit."""
    rows = torch.from_numpy(series(sizes)).unfold(0, sizes.window_size + 1, 1)  # (n, W + 1)
    past, target = rows[:, :-1].unsqueeze(-1), rows[:, -1:]
    train, end = sizes.windows, sizes.windows + sizes.validation
    return TensorDataset(past[:train], target[:train]), TensorDataset(past[train:end], target[train:end])


class Recurrent(nn.Module):
    """torch.nn's recurrent layer and a head, as tutorials write it."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.layers = getattr(nn, sizes.cell)(1, sizes.hidden_size, batch_first=True)
        head: list[nn.Module] = []
        width = sizes.hidden_size
        for size in sizes.head_sizes:
            head += [nn.Linear(width, size), nn.ReLU()]
            width = size
        self.head = nn.Sequential(*head, nn.Linear(width, 1))

    def forward(self, past: Tensor) -> Tensor:
        """(B, W, 1) to (B, 1)."""
        features, _ = self.layers(past)  # (B, W, D)
        forecast: Tensor = self.head(features[:, -1])
        return forecast
