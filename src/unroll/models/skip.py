"""A linear way past the backbone, from the window to the forecast: the autoregressive highway."""

from torch import Tensor, nn

from unroll.data.windows import WindowShape


class LinearSkip(nn.Module):
    """Adds to the network's forecast what is linear in its inputs, so that the backbone has the rest to learn.

    It begins at zero. The columns that are known ahead act on their own step alone, in the same way on each.

    Args:
        rows: of the window, as the backbone reads it.
        shape: of the windows.

    Source:
        Lai et al. (2018), Modeling long- and short-term temporal patterns with deep neural networks, section 3.6.
    """

    leading_dimensions = True  # see Network

    def __init__(self, rows: int, shape: WindowShape) -> None:
        super().__init__()
        self.columns = [column for column in range(shape.features) if column not in shape.future_columns]
        self.window = nn.Linear(rows * len(self.columns), shape.horizon)
        self.ahead = nn.Linear(shape.future_features, 1, bias=False) if shape.future_features else None
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """(B, W', F) and (B, H, C) to (B, H)."""
        chosen = past if len(self.columns) == past.shape[-1] else past[..., self.columns]
        made: Tensor = self.window(chosen.flatten(-2))
        return made if self.ahead is None else made + self.ahead(future).squeeze(-1)
