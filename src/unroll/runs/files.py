"""Files that are written whole or not at all, and what they hold."""

import hashlib
import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unroll.errors import RunError
from unroll.interrupts import settled, stoppable

PARTIAL = ".partial"  # in the names of files that are being written
IS_PARTIAL = re.compile(rf"[.][0-9a-f]{{16}}{re.escape(PARTIAL)}([.]|$)")


def replace_file(path: Path, write: Callable[[Path], object], keep: Path | None = None) -> None:
    """Write a whole file or none: a reader, or a run killed meanwhile, never sees half of it.

    Args:
        path: the file; a link in its place is replaced, not followed.
        write: writes to the path that it is given, which is new and in the same folder.
        keep: what was there before gets this name; None: it is lost.
    """
    partial = path.with_name(f"{path.stem}.{secrets.token_hex(8)}{PARTIAL}{path.suffix}")  # a name nobody can foresee
    try:
        with stoppable(), settled():
            write(partial)
            if keep is not None and path.exists():
                path.replace(keep)
            partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.filename in (None, str(partial)):  # nobody asked for that name
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file in one piece."""
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write strict JSON (no NaN) in one piece."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RunError: where it is missing or damaged.
    """
    if path.exists() and not path.is_file():
        raise RunError(f"{path} is no regular file")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} does not exist: the run did not get so far, or the file was removed") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise RunError(f"{path} is damaged: it holds no object")
    return values


def file_digest(path: Path) -> str | None:
    """SHA-256 of a regular file; None where there is none."""
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
