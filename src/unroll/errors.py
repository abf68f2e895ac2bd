"""Mistakes that the user can mend. The command lines show them as one line, without a traceback."""


class UnrollError(Exception):
    """What is wrong, where (file, column, row, key), and what to do, in one line."""


class ConfigError(UnrollError):
    """A config key, value or combination of them that cannot work."""


class DataError(UnrollError):
    """A series or a file that cannot be used as it is."""


class RunError(UnrollError):
    """A run directory that cannot be written or read, or a training that cannot go on."""
