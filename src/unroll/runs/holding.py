"""A folder that one command writes at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unroll.errors import RunError


@contextmanager
def held(folder: Path, option: str = "--output") -> Iterator[None]:
    """Hold the folder: two of these commands in it would do the same runs twice.

    Args:
        folder: is made where it is not there.
        option: of the command line, which chooses it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise RunError(f"{option} {folder}: this folder cannot be made ({error.strerror})") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"{folder} is in use by another of these commands: wait for it, or give {option}") from error
        yield
    finally:
        os.close(lock)
