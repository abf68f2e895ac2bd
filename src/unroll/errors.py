"""Mistakes that the user can mend. The command lines show them as one line, without a traceback."""

import difflib
from collections.abc import Iterable


class UnrollError(Exception):
    """What is wrong, where (file, column, row, key), and what to do, in one line."""


class ConfigError(UnrollError):
    """A config key, value or combination of them that cannot work."""


class DataError(UnrollError):
    """A series or a file that cannot be used as it is."""


class RunError(UnrollError):
    """A run directory that cannot be written or read, or a training that cannot go on."""


class HeldError(RunError):
    """A run directory that another process is training in."""


class PrunedError(UnrollError):
    """A run that a search stopped before its end, because others promise more."""


def nearest(word: str, options: Iterable[str]) -> str:
    """A hint at the option most like a mistyped word, or nothing where none is like it."""
    close = difflib.get_close_matches(word, [option for option in options if option != word], n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
