"""What a checkpoint must be before anything relies on it, whoever wrote it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unroll.errors import RunError

PLAIN = (str, int, float, bool, type(None))
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)
DTYPES = (*FLOATS, *INTEGERS, torch.complex64, torch.complex128)
DEEPEST = 20  # a checkpoint of ours has 9 levels
ROW = ("epoch", "train_loss", "last_batch_loss", "val_loss", "lr")


def check_values(path: Path, checkpoint: dict[str, Any]) -> None:
    """Look at all that a checkpoint holds: ordinary tensors that are as large as they say, and plain values.

    Args:
        path: of the checkpoint, for messages.
        checkpoint: as it was read.

    Raises:
        RunError: names the first thing that is something else.
    """
    if type(checkpoint["epoch"]) is not int or not isinstance(checkpoint["unroll"], dict):
        raise RunError(f"{path} is no checkpoint of a run: its epoch is no number, or its unroll no mapping")
    level: list[tuple[str, Any]] = [("", checkpoint)]
    seen: set[int] = set()
    for _ in range(DEEPEST):
        inner: list[tuple[str, Any]] = []
        for key, value in level:
            if isinstance(value, Tensor):
                _check_tensor(path, key, value)
            elif isinstance(value, dict | list | tuple):
                if id(value) in seen:  # a few lists, one in the other, are as many as one likes
                    continue
                seen.add(id(value))
                pairs = value.items() if isinstance(value, dict) else enumerate(value)
                inner += [(f"{key}.{name}".lstrip(".")[:80], part) for name, part in pairs]
            elif not isinstance(value, PLAIN):
                raise RunError(f"{path} is no checkpoint of a run: its {key} is a {type(value).__name__}")
        level = inner
        if not level:
            return
    raise RunError(f"{path} is no checkpoint of a run: its {level[0][0]} is nested too deeply")


def _check_tensor(path: Path, key: str, tensor: Tensor) -> None:
    ordinary = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided and not tensor.is_nested
    if not ordinary or tensor.dtype not in DTYPES or tensor.device.type != "cpu":
        raise RunError(
            f"{path} is no checkpoint of a run: its {key} is a tensor of {tensor.dtype}, {tensor.layout}, on "
            f"{tensor.device}"
        )
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise RunError(f"{path} is damaged: its {key} says that it is larger than what it holds")


def check_kinds(path: Path, state: Any, weights: Mapping[str, Tensor]) -> None:
    """Raise RunError for numbers of another kind than the network's own: torch drops what it cannot take.

    Args:
        path: of the checkpoint, for messages.
        state: of it.
        weights: of the network.
    """
    for name, value in state.items() if isinstance(state, dict) else ():
        if not isinstance(value, Tensor):  # said when it is taken
            continue
        kinds = [(one.is_complex(), one.is_floating_point()) for one in (value, weights.get(name, value))]
        if kinds[0] != kinds[1]:
            raise RunError(f"{path} does not fit the network: its {name} is a tensor of {value.dtype}")


def check_continued(
    path: Path, checkpoint: Mapping[str, Any], weights: Mapping[str, Tensor], seeds: Sequence[int]
) -> None:
    """Whether what a training goes on from fits its network, and tells of one and the same number of epochs.

    Args:
        path: of the checkpoint, for messages.
        checkpoint: from `load_checkpoint`, and continuable.
        weights: of the forecaster as it is built.
        seeds: one a replica.

    Raises:
        RunError: names the part that does not fit.
    """
    saved = checkpoint["callbacks"]["Recorder"]
    done, tracks = checkpoint["epoch"], saved["tracks"]
    if not _are_rows(saved["history"], done):
        raise RunError(f"{path} is damaged: its history is not that of {done} epochs")
    known = isinstance(tracks, list) and all(isinstance(track, dict) for track in tracks)
    if not known or [track.get("seed") for track in tracks] != list(seeds):
        raise RunError(f"{path} is damaged: its tracks are not of the seeds {', '.join(map(str, seeds))}")
    if not all(_are_rows(track.get("history"), None) and len(track["history"]) <= done for track in tracks):
        raise RunError(f"{path} is damaged: the history of a seed is not that of {done} epochs")
    shapes = {name: (tuple(value.shape)[len(seeds) > 1 :]) for name, value in weights.items()}
    for part in ("best", "last"):
        if not _is_kept(saved[part], shapes, len(seeds)):
            raise RunError(f"{path} does not fit the model: its {part} weights are others")
    states = checkpoint.get("optimizer_states")
    if not isinstance(states, list) or len(states) != 1:  # Lightning would go on with a new optimizer
        raise RunError(f"{path} is damaged: it does not hold the state of one optimizer")
    progress = checkpoint.get("loops")
    for key in ("fit_loop", "epoch_progress", "current"):
        progress = progress.get(key) if isinstance(progress, dict) else None
    if not isinstance(progress, dict) or any(progress.get(key) != done for key in ("ready", "completed")):
        raise RunError(f"{path} is damaged: its loops are not at the end of epoch {done}")


def _are_rows(rows: Any, count: int | None) -> bool:
    """Whether these are the epochs from 1 on."""
    if not isinstance(rows, list) or (count is not None and len(rows) != count):
        return False
    return all(
        isinstance(row, dict)
        and row.get("epoch") == number
        and all(name in row and isinstance(row[name], int | float | None) for name in ROW)
        for number, row in enumerate(rows, 1)
    )


def _is_kept(kept: Any, shapes: Mapping[str, tuple[int, ...]], count: int) -> bool:
    """Whether these are weights of some of the replicas (unroll.tracks.Kept)."""
    known, tensors = (kept.get("known"), kept.get("tensors")) if isinstance(kept, dict) else (None, None)
    if not isinstance(known, list) or not isinstance(tensors, dict):
        return False
    if len(known) != count or not all(isinstance(one, bool) for one in known) or (any(known) and not tensors):
        return False
    stacked = (count,) if count > 1 else ()
    found = {name: tuple(value.shape) for name, value in tensors.items() if isinstance(value, Tensor)}
    return not tensors or found == {name: (*stacked, *shape) for name, shape in shapes.items()}
