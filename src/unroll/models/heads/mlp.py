"""Fully connected layers with ReLU between them, or one linear layer."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from unroll.config import check_arguments


class MLPHead(nn.Module):
    """From a vector to the forecast of all steps.

    Args:
        input_size: D, and the known-ahead columns of all steps (D + H * C).
        horizon: H.
        sizes: hidden layers, for example [16, 8]; none: one linear layer.
    """

    leading_dimensions = True  # see Network

    def __init__(self, input_size: int, horizon: int, *, sizes: Sequence[int] = ()) -> None:
        super().__init__()
        check_arguments(sizes=sizes)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([input_size, *sizes]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear([input_size, *sizes][-1], horizon))

    def forward(self, feature: Tensor) -> Tensor:
        """(B, D + H * C) to (B, H)."""
        forecast: Tensor = self.layers(feature)
        return forecast
