"""Checkpoint files: written whole or not at all, and read only where every byte is the one that was written."""

import io
import os
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from unroll.errors import RunError
from unroll.runs.directory import RunDirectory
from unroll.untrusted import check_values


class Checkpoints(CheckpointIO):
    """How Lightning's trainer writes and reads its checkpoints: as everything here does."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """See `write_checkpoint`."""
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """See `load_checkpoint`."""
        return load_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file."""
        Path(path).unlink(missing_ok=True)


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values, and wait until the disk has them: a name that is given to the file afterwards
    never stands for less than all of it, also where the power fails.
    """
    content = io.BytesIO()  # torch's own file writer says of a full disk only that something was unexpected
    torch.save(checkpoint, content)
    with path.open("wb") as file:
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint: tensors and plain values only, never code.

    Raises:
        RunError: where it is missing, truncated, changed in a single bit, or holds anything else.
    """
    if path.exists() and not path.is_file():
        raise RunError(f"{path} is no regular file")
    try:
        content = path.read_bytes()
        _check_archive(content)
        with warnings.catch_warnings(action="ignore"):  # the error says it in a line
            checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"{path} does not exist: the run wrote no checkpoint yet, or it was removed") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # zip, pickle and torch each raise their own for a damaged file
        raise RunError(f"{path} is no checkpoint that can be read safely: it is damaged or holds objects") from error
    missing = [key for key in ("state_dict", "epoch", "unroll") if key not in (checkpoint or ())]
    if not isinstance(checkpoint, dict) or missing:
        raise RunError(f"{path} is no checkpoint of a run: it holds no {', '.join(missing)}")
    check_values(path, checkpoint)
    return checkpoint


def _check_archive(content: bytes) -> None:
    """Raise ValueError for a byte that is not as written, which torch does not notice, and for what would unpack to
    more than is there.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()
        packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
        if packed or sum(part.file_size for part in parts) > len(content):
            raise ValueError("packed")
        if archive.testzip():
            raise ValueError("damaged")


def newest_checkpoint(run: RunDirectory) -> tuple[Path | None, dict[str, Any], Sequence[str]]:
    """The newest checkpoint to go on from that is whole.

    Returns:
        its path, None where there is none; what it holds; and what is wrong with newer ones, a line each.
    """
    problems: list[str] = []
    for path in (run.last_checkpoint, run.previous_checkpoint):
        try:
            return path, load_checkpoint(path), problems
        except RunError as error:
            problems.append(str(error))
    there = run.last_checkpoint.exists() or run.previous_checkpoint.exists()
    return None, {}, problems if there else []
