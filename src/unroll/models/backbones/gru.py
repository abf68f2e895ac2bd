"""Gated recurrent units (Cho et al., 2014, arXiv 1406.1078), in the variant of torch.nn.GRU."""

from torch import Tensor

from unroll.config import check_arguments
from unroll.models import layers
from unroll.models.backbones.backbone import Backbone


class GRU(Backbone):
    """Gated recurrent units (Cho et al., 2014, arXiv 1406.1078), in the variant of torch.nn.GRU.

    Args:
        input_size: F, features of a row.
        hidden_size: D.
        num_layers: layers on top of each other.
        dropout: between the layers.
    """

    leading_dimensions = True  # see Network

    def __init__(self, input_size: int, *, hidden_size: int, num_layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        check_arguments(hidden_size=hidden_size, num_layers=num_layers, dropout=dropout)
        between = dropout if num_layers > 1 else 0.0  # torch warns of dropout that has no place
        self.layers = layers.GRU(input_size, hidden_size, num_layers, dropout=between, batch_first=True)

    def scan(self, past: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, W, F) to features (B, W, D), and the state after the last row; see Backbone."""
        features, state = self.layers(past, state)
        return features, state

    def last(self, past: Tensor) -> Tensor:
        """(B, W, F) to the last feature (B, D); see Backbone."""
        return self.layers.last(past)
