"""The network: a window in, a forecast out. An ordinary nn.Module, without anything of training."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unroll.config import check_arguments
from unroll.data.windows import WindowShape
from unroll.errors import ConfigError
from unroll.models.backbones.backbone import Backbone
from unroll.models.frame import Entered, Frame
from unroll.models.heads.negative_binomial import NegativeBinomialHead, TargetMaps
from unroll.models.layers import GRU, LSTM, RNN, Dropout
from unroll.models.skip import LinearPartner, LinearSkip
from unroll.targets import build

OURS: dict[type[nn.Module], type[nn.Module]] = {nn.GRU: GRU, nn.LSTM: LSTM, nn.RNN: RNN, nn.Dropout: Dropout}


class Network(nn.Module):
    """Backbone, dropout, head. All steps are decoded from the last feature, which has seen every row.

    Where asked for, the window is brought into a frame of its own (differences, its mean and scale), and to what the
    head makes are added a linear skip and the last season; the frame is left last.

    Args:
        backbone: (B, W, F) to features (B, W, D).
        head: (B, D + H * C) to (B, H), or to P numbers a step (B, H, P), where it is of a distribution.
        shape: of the windows that it is made for.
        dropout: before the head.
        input_layout: `sequence` feeds W steps of F features; `features` feeds the window as one step of W * F.
        skip: none | linear: see LinearSkip.
        residual: none | seasonal_naive: the network forecasts the difference from the last season.
        combine: none | linear: outside of training, the forecast is the mean of the network's and of a LinearPartner's,
            which must be given its weights.
    """

    leading_dimensions = True
    """Whether `forward` is right for tensors with more dimensions before B, where its parts are. So it is for replicas
    (unroll.models.replicas); of a module that says nothing, torch.func.vmap makes replicas."""

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        shape: WindowShape,
        *,
        dropout: float,
        input_layout: str,
        skip: str = "none",
        residual: str = "none",
        combine: str = "none",
    ) -> None:
        super().__init__()
        check_arguments(dropout=dropout, input_layout=input_layout, skip=skip, residual=residual, combine=combine)
        self.backbone, self.head, self.shape = backbone, head, shape
        self.dropout = Dropout(dropout)
        self.input_layout = input_layout
        self.frame = Frame(shape.window_transform, shape.season)
        rows = shape.window_size - self.frame.lost
        self.skip = LinearSkip(rows, shape) if skip == "linear" else None
        self.season = _season_of(rows, shape) if residual == "seasonal_naive" else None
        self.partner = LinearPartner(rows, shape) if combine == "linear" else None
        self.partnered = True  # False while a training looks how good the network alone has become
        self.points: bool = getattr(head, "outputs", 1) == 1
        """Whether the head makes one number a step; else these are of a distribution."""
        self.counts: bool = getattr(head, "counts", False)
        """Whether it is for counts."""

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """Forecast.

        Args:
            past: (B, W, F).
            future: (B, H, C) the columns known ahead.

        Returns:
            (B, H) in scaled units.
        """
        made = self.distribution(past, future)
        if self.points:
            return made
        forecast: Tensor = self.head.point(made)  # type: ignore[operator]
        return forecast

    def distribution(self, past: Tensor, future: Tensor) -> Tensor:
        """The numbers (B, H, P) that the head's distribution is made of, in scaled units; (B, H) of a point's head."""
        entered: Entered | None = None
        if self.frame.words:
            entered = self.frame.enter(past[..., 0])
            past = torch.cat([entered.target.unsqueeze(-1), past[..., self.frame.lost :, 1:]], dim=-1)  # (B, W', F)
        read = past
        if self.input_layout == "features":
            read = past.flatten(-2).unsqueeze(-2)  # (B, 1, W' * F)
        backbone = self.backbone
        last = backbone.last(read) if isinstance(backbone, Backbone) else backbone(read)[..., -1, :]
        last = self.dropout(last)  # (B, D)
        if future.shape[-1]:
            last = torch.cat([last, future.flatten(-2)], dim=-1)  # (B, D + H * C)
        raw: Tensor = self.head(last)
        location = raw if self.points else raw[..., 0]  # (B, H)
        if self.skip is not None:
            location = location + self.skip(past, future)
        if self.season is not None:
            location = location + self._last_season(past[..., 0])
        if entered is not None:
            location = entered.leave(location)
        if self.partner is not None and self.partnered and not self.training:  # they would learn to need each other
            fitted = self.partner(past, future)
            if entered is not None:
                base = entered.leave(torch.zeros_like(fitted))
                fitted = base + (fitted if entered.factor is None else fitted * entered.factor)
            location = (location + fitted) / 2
        if self.points:
            return location
        placed: Tensor = self.head.place(raw, location, entered.factor if entered else None)  # type: ignore[operator]
        return placed

    def _last_season(self, target: Tensor) -> Tensor:
        """(B, W') to (B, H): the value of the same phase in the last season of the window."""
        assert self.season is not None
        steps = torch.arange(self.shape.horizon, device=target.device) % self.season
        return target[..., -self.season :].index_select(-1, steps)


def _season_of(rows: int, shape: WindowShape) -> int:
    """The season that the network's forecasts are differences from.

    Raises:
        ConfigError: where there is none, or the window does not hold it.
    """
    if not shape.season or shape.season < 2:
        raise ConfigError("model.residual=seasonal_naive needs a season: set data.seasonal_period, or residual=none")
    if shape.season > rows:
        raise ConfigError(
            f"model.residual=seasonal_naive: a season of {shape.season} rows is longer than the {rows} rows of the "
            "window that the network reads: raise data.window_size"
        )
    return shape.season


def build_network(model: Mapping[str, Any], shape: WindowShape, maps: TargetMaps | None = None) -> Network:
    """The network that a model config describes, sized from the data.

    Args:
        model: plain dict of the config group `model`: `backbone` and `head` with their `_target_`, `dropout`,
            `input_layout`; `skip`, `residual` and `combine` may be absent.
        shape: of the data module's windows.
        maps: of the target to the series' units and back, for heads of counts; None: these are the same.

    Raises:
        ConfigError: where a target is not allowed, or the backbone does not keep its contract.
    """
    steps, width = shape.window_size - Frame(shape.window_transform, shape.season).lost, shape.features
    if steps < 1:
        raise ConfigError(
            f"data.window_size={shape.window_size}: the differences of data.transform leave no row of it: raise it"
        )
    if model["input_layout"] == "features":
        steps, width = 1, steps * shape.features
    backbone = with_our_layers(build(model["backbone"], nn.Module, "model.backbone", input_size=width))
    feature_size = _feature_size(backbone, torch.zeros(2, steps, width))
    head_size = feature_size + shape.horizon * shape.future_features
    head = with_our_layers(build(model["head"], nn.Module, "model.head", input_size=head_size, horizon=shape.horizon))
    if maps is not None and isinstance(head, NegativeBinomialHead):
        head.use(maps)
    options = {
        name: model[name] for name in ("dropout", "input_layout", "skip", "residual", "combine") if name in model
    }
    return Network(backbone, head, shape, **options)


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
