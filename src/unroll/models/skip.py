"""Linear forecasts beside the network: a highway past its backbone, and a partner for its forecast."""

from collections.abc import Sequence

import torch
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


class LinearPartner(nn.Module):
    """A linear autoregression that is fitted once, before the training, and learns nothing more.

    The mean of two forecasts that err in different ways errs less than either usually does; equal weights are hard to
    beat where there is little data to find others from.

    Args:
        rows: of the window, as the backbone reads it.
        shape: of the windows.

    Source:
        Bates and Granger (1969), The combination of forecasts; Timmermann (2006), Forecast combinations, section 2.
    """

    leading_dimensions = True  # see Network
    window: Tensor
    ahead: Tensor
    constant: Tensor

    def __init__(self, rows: int, shape: WindowShape) -> None:
        super().__init__()
        self.columns = [column for column in range(1, shape.features) if column not in shape.future_columns]
        inputs = rows * (1 + len(self.columns))
        self.register_buffer("window", torch.zeros(shape.horizon, inputs))  # buffers: no optimizer may move them
        self.register_buffer("ahead", torch.zeros(shape.horizon, shape.future_features))
        self.register_buffer("constant", torch.zeros(shape.horizon))

    def take(self, weights: Sequence[Tensor]) -> None:
        """Weights as unroll.evaluation.same_inputs fits them: (p, 1) of each step, or one (p, H) of all."""
        together = torch.cat(list(weights), dim=1)  # (p, H)
        inputs, known = self.window.shape[1], self.ahead.shape[1]
        self.window.copy_(together[:inputs].T)
        self.ahead.copy_(together[inputs : inputs + known].T)
        self.constant.copy_(together[-1])

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """(B, W', F) and (B, H, C) to (B, H)."""
        read = past[..., 0]
        if self.columns:
            read = torch.cat([read, past[..., self.columns].flatten(-2)], dim=-1)
        made = read @ self.window.mT + self.constant.unsqueeze(-2)
        return made + (future * self.ahead.unsqueeze(-3)).sum(-1) if future.shape[-1] else made
