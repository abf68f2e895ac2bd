"""Unroll: recurrent sequence forecasting, honest, fast and plain.

Importing this package imports neither torch nor lightning: command lines answer before those are needed.
"""

TYPE_CHECKING = False  # `typing` takes milliseconds to import; type checkers know this name too

if TYPE_CHECKING:
    from unroll.load import LoadedRun as LoadedRun
    from unroll.load import load_run as load_run

__all__ = ["LoadedRun", "load_run"]


def __getattr__(name: str) -> object:
    if name in __all__:
        import unroll.load

        return getattr(unroll.load, name)
    raise AttributeError(f"module 'unroll' has no attribute {name!r}")
