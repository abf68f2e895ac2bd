"""The trainings of a backtest: in this process one after the other, or side by side in workers."""

import io
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console

from unroll.backtest.folds import Fold
from unroll.errors import UnrollError
from unroll.progress import Overall
from unroll.reproduction.pool import run_all
from unroll.runs.reuse import complete_run
from unroll.train import train_once


def train_all(
    folds: Sequence[Fold], workers: int, console: Console, log: Path
) -> tuple[dict[Fold, Path], dict[Fold, str]]:
    """Make the run of every fold, go on with it, or find it. One that fails does not stop the others.

    Args:
        folds: in the order of time.
        workers: side by side; 1: in this process.
        console: for progress.
        log: what workers say beside their results.

    Returns:
        the run directories, and why others failed, in a line each.
    """
    if workers > 1:
        return run_all(folds, workers, console, log)
    found: dict[Fold, Path] = {}
    failures: dict[Fold, str] = {}
    progress = Overall(console, folds, 1)
    try:
        for fold in folds:
            before = complete_run(fold.config)
            try:
                quiet = Console(file=io.StringIO())
                run = before or train_once(OmegaConf.create(fold.config), fold.overrides, quiet).run
                found[fold] = run.path
                progress.done(fold, "complete before" if before else "done", worked=not before)
            except UnrollError as error:
                failures[fold] = " ".join(str(error).split())
                progress.done(fold, "failed")
    finally:
        progress.stop()
    return found, failures
