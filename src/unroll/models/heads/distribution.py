"""What all heads share that make a distribution: their layers, their spreads, and what the others ask of them."""

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unroll.models.heads.mlp import MLPHead
from unroll.models.layers.dropout import runs_eagerly

LEAST_SPREAD = 1e-3  # in the units of the window as the network reads it: no density grows beyond all bounds


class DistributionHead(nn.Module):
    """From a vector to the distribution of each step. B windows, H steps, P numbers a step.

    Every tensor may have more dimensions before B (see Network). A subclass says what the numbers of its layers mean:
    the first one is added to the skip and the residual, and so becomes the location.

    Args:
        input_size: D, and the known-ahead columns of all steps (D + H * C).
        horizon: H.
        made: numbers a step that the layers make.
        outputs: P; more than `made` where some are the same for all windows.
        sizes: hidden layers, see MLPHead.
    """

    leading_dimensions = True  # see Network
    loss_name = "nll"
    counts = False
    """Whether it is for targets that are counts, and forecasts their mean."""

    def __init__(self, input_size: int, horizon: int, *, made: int, outputs: int, sizes: Sequence[int] = ()) -> None:
        super().__init__()
        self.outputs, self.made = outputs, made
        self.layers = MLPHead(input_size, horizon * made, sizes=sizes)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, D + H * C) to raw numbers (B, H, made)."""
        raw: Tensor = self.layers(feature)
        return raw.unflatten(-1, (-1, self.made))

    def place(self, raw: Tensor, location: Tensor, factor: Tensor | None) -> Tensor:
        """The numbers of the distribution, in scaled units.

        Args:
            raw: (B, H, made) from `forward`.
            location: (B, H) in scaled units.
            factor: (B, 1) what spreads are multiplied with; None: 1.

        Returns:
            (B, H, P); the first is the location.
        """
        raise NotImplementedError

    def loss(self, params: Tensor, target: Tensor) -> Tensor:
        """(B, H, P) and (B, H) in scaled units to the loss of each step (B, H)."""
        raise NotImplementedError

    def point(self, params: Tensor) -> Tensor:
        """(B, H, P) to the point forecast (B, H): the median."""
        return params[..., 0]

    def quantiles(self, params: Tensor, levels: Tensor) -> Tensor:
        """(B, H, P) and Q levels between 0 and 1, increasing, to (B, H, Q), which do not decrease."""
        raise NotImplementedError

    def sample(self, params: Tensor) -> Tensor:
        """(B, H, P) to one draw of each (B, H), from torch's global generator."""
        raise NotImplementedError


def positive(raw: Tensor) -> Tensor:
    """Any number to a positive one: softplus, which is 1 at 0."""
    return F.softplus(raw) / math.log(2)


def spread(raw: Tensor, factor: Tensor | None) -> Tensor:
    """(B, H) any numbers to a spread in scaled units, never 0: windows may be constant."""
    found = positive(raw) + LEAST_SPREAD
    return found if factor is None else found * factor


def constants(values: Sequence[float], like: Tensor) -> Tensor:
    """Numbers as a tensor of the kind of another, copied to a device once: no buffers, which replicas would stack."""
    make = _kept if runs_eagerly() else _made
    return make(tuple(values), like.device, like.dtype)


def _made(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # one that was made in it could not be learned with later
        return torch.tensor(values, device=device, dtype=dtype)


_kept = functools.lru_cache(maxsize=64)(_made)
