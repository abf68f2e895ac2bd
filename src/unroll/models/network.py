"""The network: a window in, a forecast out. An ordinary nn.Module, without anything of training."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unroll.config import check_arguments
from unroll.data.windows import WindowShape
from unroll.errors import ConfigError
from unroll.models.backbones.backbone import Backbone
from unroll.models.layers import GRU, LSTM, RNN, Dropout
from unroll.targets import build

OURS: dict[type[nn.Module], type[nn.Module]] = {nn.GRU: GRU, nn.LSTM: LSTM, nn.RNN: RNN, nn.Dropout: Dropout}


class Network(nn.Module):
    """Backbone, dropout, head. All steps are decoded from the last feature, which has seen every row.

    Args:
        backbone: (B, W, F) to features (B, W, D).
        head: (B, D + H * C) to (B, H).
        shape: of the windows that it is made for.
        dropout: before the head.
        input_layout: `sequence` feeds W steps of F features; `features` feeds the window as one step of W * F.
    """

    leading_dimensions = True
    """Whether `forward` is right for tensors with more dimensions before B, where its parts are. So it is for replicas
    (unroll.models.replicas); of a module that says nothing, torch.func.vmap makes replicas."""

    def __init__(
        self, backbone: nn.Module, head: nn.Module, shape: WindowShape, *, dropout: float, input_layout: str
    ) -> None:
        super().__init__()
        check_arguments(dropout=dropout, input_layout=input_layout)
        self.backbone, self.head, self.shape = backbone, head, shape
        self.dropout = Dropout(dropout)
        self.input_layout = input_layout

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """Forecast.

        Args:
            past: (B, W, F).
            future: (B, H, C) the columns known ahead.

        Returns:
            (B, H) in scaled units.
        """
        if self.input_layout == "features":
            past = past.flatten(-2).unsqueeze(-2)  # (B, 1, W * F)
        backbone = self.backbone
        last = backbone.last(past) if isinstance(backbone, Backbone) else backbone(past)[..., -1, :]
        last = self.dropout(last)  # (B, D)
        if future.shape[-1]:
            last = torch.cat([last, future.flatten(-2)], dim=-1)  # (B, D + H * C)
        forecast: Tensor = self.head(last)
        return forecast


def build_network(model: Mapping[str, Any], shape: WindowShape) -> Network:
    """The network that a model config describes, sized from the data.

    Args:
        model: plain dict of the config group `model`: `backbone` and `head` with their `_target_`, `dropout`,
            `input_layout`.
        shape: of the data module's windows.

    Raises:
        ConfigError: where a target is not allowed, or the backbone does not keep its contract.
    """
    steps, width = shape.window_size, shape.features
    if model["input_layout"] == "features":
        steps, width = 1, shape.window_size * shape.features
    backbone = with_our_layers(build(model["backbone"], nn.Module, "model.backbone", input_size=width))
    feature_size = _feature_size(backbone, torch.zeros(2, steps, width))
    head_size = feature_size + shape.horizon * shape.future_features
    head = with_our_layers(build(model["head"], nn.Module, "model.head", input_size=head_size, horizon=shape.horizon))
    return Network(backbone, head, shape, dropout=model["dropout"], input_layout=model["input_layout"])


def with_our_layers(module: nn.Module) -> nn.Module:
    """The module with torch's recurrent layers and dropout, wherever they are in it, become ours of the same results:
    faster on a CPU, and open to replicas. What is of a subclass stays as it is.
    """
    for part in module.modules():
        if not getattr(part, "inplace", False):  # ours makes a new tensor
            part.__class__ = OURS.get(type(part), type(part))
    return module


def _feature_size(backbone: nn.Module, past: Tensor) -> int:
    """D, found by asking the backbone, which so need not declare it."""
    backbone.eval()  # so that dropout draws no random numbers
    with torch.no_grad():
        features = backbone(past)
    backbone.train()
    name = type(backbone).__name__
    if not isinstance(features, Tensor):
        raise ConfigError(f"model.backbone: {name} returns a {type(features).__name__}; return features (B, W, D)")
    if features.dim() != 3 or features.shape[:2] != past.shape[:2]:
        given, wanted = tuple(features.shape), (*past.shape[:2], "D")
        raise ConfigError(f"model.backbone: {name} returns features of shape {given}, not (B, W, D) = {wanted}")
    return features.shape[-1]
