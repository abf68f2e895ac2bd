"""What every backbone is: a causal network over a window, that can also go step by step."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """A causal network from windows to features.

    A subclass takes `input_size` (the features of a row) and its own keyword arguments, which are its YAML's keys,
    and defines `scan`. A plain nn.Module with the same `forward` trains as well; it only cannot carry a state.
    """

    @abstractmethod
    def scan(self, past: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Go over a window, or the next part of one.

        Args:
            past: (B, W, F).
            state: what an earlier call returned, or None at the beginning.

        Returns:
            features (B, W, D), where feature t has seen rows 0..t only, and the state after the last row.
        """

    def forward(self, past: Tensor) -> Tensor:
        """(B, W, F) to features (B, W, D), feature t from rows 0..t."""
        return self.scan(past)[0]

    def last(self, past: Tensor) -> Tensor:
        """(B, W, F) to the last feature (B, D), which is all that a forecast is made from."""
        features: Tensor = self(past)
        return features[..., -1, :]
