"""What a run needs of memory at the very least, reckoned before any of it is taken.

A bound from below: what is counted is certainly there at one moment, and much else is not counted. So no run is refused
that would fit, and one that is far too large gets a line in place of the system's OOM killer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

from unroll.config import plain
from unroll.data.module import WindowDataModule
from unroll.memory import check_room
from unroll.models.backbones.gru import GRU
from unroll.models.backbones.lstm import LSTM
from unroll.models.backbones.rnn import RNN
from unroll.models.layers.recurrent import WIDE
from unroll.targets import build

# Numbers for each window, row and feature that a layer keeps for its backward pass: ours by its code, and torch's own,
# which a CPU takes for wide ones, as measured with torch 2.13.
KEPT = {RNN: 1, GRU: 5, LSTM: 7}
KEPT_BY_TORCH = {RNN: 3, GRU: 8, LSTM: 7}
STATES = {"Adam": 2, "AdamW": 2, "NAdam": 2, "RAdam": 2, "Adamax": 2, "Adadelta": 2, "RMSprop": 1, "Adagrad": 1}
ORDINARY = {  # to find the key that makes a run large
    "data.window_size": 24,
    "data.horizon": 1,
    "data.batch_size": 32,
    "model.hidden_size": 32,
    "model.num_layers": 1,
    "model.head_sizes": 16,
    "replicas": 1,
}
DOUBLE = 8  # bytes
REGRESSION = 3  # the triangular factor, what it is made of, and a copy of that


@dataclass(frozen=True)
class Need:
    """What one part of a run needs.

    Args:
        size: bytes.
        what: needs them, with its verb.
        keys: that it grows with.
    """

    size: int
    what: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Weights:
    """How many numbers a network holds.

    Args:
        all: of its parameters.
        trained: of those that learn.
        kind: of the backbone.
        layers: of the backbone, where it is one of ours; else 0.
    """

    all: int
    trained: int
    kind: type | None
    layers: int


def check_memory(cfg: DictConfig, datamodule: WindowDataModule) -> None:
    """Refuse a run that certainly needs more memory than there is.

    Args:
        cfg: of the run.
        datamodule: after setup.

    Raises:
        ConfigError: names what needs the most, the numbers, and the keys to lower.
    """
    training, evaluating = training_needs(cfg, datamodule), evaluating_needs(cfg, datamodule)
    if cfg.trainer.accelerator in ("cuda", "gpu", "auto") and torch.cuda.is_available():
        _check(cfg, datamodule, training, on_gpu=True)
    elif cfg.trainer.accelerator in ("cpu", "auto"):
        _check(cfg, datamodule, training)
    for need in evaluating:
        _check(cfg, datamodule, [need])


def training_needs(cfg: DictConfig, datamodule: WindowDataModule) -> list[Need]:
    """What is there at once when the second step has gone forward."""
    if cfg.trainer.get("devices") not in (1, "auto") or cfg.trainer.get("strategy") not in (None, "auto"):
        return []  # the weights may be divided
    replicas, shape = cfg.get("replicas", 1), datamodule.shape
    windows = min(datamodule.batch_size or len(datamodule.origins("train")), len(datamodule.origins("train")))
    number = 2 if str(cfg.trainer.get("precision")).startswith(("16", "bf16")) else 4
    weights = count_weights(cfg, datamodule)
    again = _repeated(cfg, datamodule)  # a second step finds the gradients and the optimizer's numbers of the first
    best = again and cfg.trainer.get("max_epochs") not in (0, 1) and len(datamodule.origins("validation")) > 0
    numbers = weights.all * (1 + best) + weights.trained * again * (1 + _states(cfg))
    network = replicas * number * numbers
    rows, size = replicas * windows * shape.window_size, cfg.model.get("hidden_size") or 0
    read = replicas * windows * (shape.window_size - shape.lost_rows)  # by the backbone
    steps = read if cfg.model.input_layout == "sequence" else replicas * windows
    kept = KEPT_BY_TORCH if size >= WIDE and replicas == 1 else KEPT
    layers = weights.layers * next((numbers for kind, numbers in kept.items() if kind is weights.kind), 0)
    step = 4 * rows * shape.features + number * steps * layers * size
    keys = ("data.window_size", "data.batch_size", "model.hidden_size", "model.num_layers", "replicas")
    sizes = ("model.hidden_size", "model.head_sizes", "data.horizon", "model.num_layers", "replicas")
    many = f"{windows:,} windows" if replicas == 1 else f"{replicas} x {windows:,} windows"
    return [
        Need(
            network,
            f"{f'{replicas} x ' if replicas > 1 else ''}{weights.all:,} weights and what their training keeps need",
            sizes,
        ),
        Need(step, f"a training step of {many} needs", keys),
    ]


def evaluating_needs(cfg: DictConfig, datamodule: WindowDataModule) -> list[Need]:
    """What is there later, each at another moment."""
    shape, replicas = datamodule.shape, cfg.get("replicas", 1)
    own = shape.features - shape.future_features  # the plain regression reads no column that is known ahead
    inputs, windows = shape.window_size * own + 1, len(datamodule.origins("train"))
    across = inputs + shape.horizon
    regression = REGRESSION * DOUBLE * min(windows, across) * across
    scored = [name for name in ("validation", "test") if len(datamodule.origins(name))]
    scored += ["train"] if cfg.get("evaluate_train") else []
    count = sum(len(datamodule.origins(name)) for name in scored)
    each = 5 + (replicas if replicas > 1 else 0)  # the truth, three baselines, the model, and its replicas
    forecasts = DOUBLE * count * shape.horizon * each
    return [
        Need(regression, "the linear autoregression beside the model needs", ("data.window_size", "data.horizon")),
        Need(forecasts, f"the forecasts of {count:,} windows need", ("data.horizon", "replicas")),
    ]


def count_weights(cfg: DictConfig, datamodule: WindowDataModule) -> Weights:
    """The weights of a config's network, counted without memory for them; those of a part that cannot be, as zero."""
    shape, model = datamodule.shape, plain(cfg.model)
    width = shape.features * (shape.window_size - shape.lost_rows if model["input_layout"] == "features" else 1)
    backbone = _on_no_device(model["backbone"], "model.backbone", input_size=width)
    head, layers = None, 0
    if type(backbone) in (RNN, LSTM, GRU):  # of another nobody knows how many features it gives
        layers = model["backbone"].get("num_layers", 1)
        given = model["backbone"]["hidden_size"] + shape.horizon * shape.future_features
        head = _on_no_device(model["head"], "model.head", input_size=given, horizon=shape.horizon)
    parameters = [one for part in (backbone, head) if part for one in part.parameters()]
    known = [one for one in parameters if not isinstance(one, nn.UninitializedParameter)]  # shaped by the first batch
    trained = sum(one.numel() for one in known if one.requires_grad)
    return Weights(sum(one.numel() for one in known), trained, type(backbone), layers)


def _on_no_device(config: Mapping[str, Any], key: str, **given: int) -> nn.Module | None:
    """A part of the network without memory for its weights; None where it cannot be made so, which is no mistake."""
    try:
        with torch.device("meta"):
            return build(config, nn.Module, key, **given)
    except Exception:  # a user's constructor may ask for numbers, and what is wrong with a config is said elsewhere
        return None


def _states(cfg: DictConfig) -> int:
    """How many numbers the optimizer keeps for each weight."""
    name = str(cfg.optimizer.get("_target_")).rpartition(".")[2]
    return int(bool(cfg.optimizer.get("momentum"))) if name == "SGD" else STATES.get(name, 0)


def _repeated(cfg: DictConfig, datamodule: WindowDataModule) -> bool:
    """Whether there certainly is a second step."""
    trainer, windows = cfg.trainer, len(datamodule.origins("train"))
    limited = trainer.get("fast_dev_run") or trainer.get("limit_train_batches") is not None
    few = trainer.get("max_steps", -1) in (0, 1) or trainer.get("max_time") is not None
    one = trainer.get("max_epochs") in (0, 1) and windows <= (datamodule.batch_size or windows)
    return not (limited or few or one)


def _check(cfg: DictConfig, datamodule: WindowDataModule, needs: list[Need], *, on_gpu: bool = False) -> None:
    """Refuse what needs more than is free, all of it together. The largest part says why."""
    if not needs:
        return
    largest = max(needs, key=lambda need: need.size)
    sizes = {key: size for key in largest.keys if (size := _size(cfg, datamodule, key))}
    keys = sorted(sizes, key=lambda key: sizes[key] / ORDINARY[key], reverse=True)
    value = OmegaConf.select(cfg, keys[0])
    shown = f"{value:,}" if isinstance(value, int) else "null" if value is None else value
    lower = [key for key in keys if sizes[key] > 1]
    advice = f"lower {' or '.join([', '.join(lower[:-1]), lower[-1]] if len(lower) > 1 else lower or keys[:1])}"
    free = _free_on_gpu if on_gpu else None
    check_room(sum(need.size for need in needs), f"{keys[0]}={shown}: {largest.what}", advice, free)


def _size(cfg: DictConfig, datamodule: WindowDataModule, key: str) -> int:
    """The value of a key as a number; 0 where there is none."""
    if key == "data.batch_size":
        return datamodule.batch_size or len(datamodule.origins("train"))
    value = OmegaConf.select(cfg, key)
    if isinstance(value, ListConfig):
        return max(value, default=0)
    return value if isinstance(value, int) else 0


def _free_on_gpu() -> int:
    """Bytes, with those that torch keeps and does not use."""
    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info()[0])
