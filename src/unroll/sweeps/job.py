"""One job of a sweep, in whatever process a launcher runs it."""

import multiprocessing
import os
import signal
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from unroll.cli import OUT_OF_MEMORY, explain
from unroll.errors import ConfigError, PrunedError, RunError, UnrollError
from unroll.interrupts import TERMINATED, end_with, stoppable
from unroll.runs.directory import RunDirectory
from unroll.runs.reuse import finished, validation_score
from unroll.sweeps.jobs import identify, sweep_folder, without_own

if TYPE_CHECKING:
    from lightning import Callback

LOG_WIDTH = 100

_follows = False


def run_job(cfg: DictConfig, config_dir: Path) -> float:
    """Make the run of a job, go on with it, or find it complete; its score is what a search minimises.

    The outcome is in the run directory: whoever started the sweep reads it there, whichever process ran the job. The
    directory is held meanwhile, so that of two processes on one sweep one does the job.

    Args:
        cfg: of the job, without the part of Hydra.
        config_dir: the folder of the configs.

    Raises:
        RunError: why it failed, in a line.
    """
    about = HydraConfig.get()
    typed = OmegaConf.to_container(about.overrides.task)
    assert isinstance(typed, list)
    overrides = [str(word) for word in typed]
    if cfg.get("sweep") is None or cfg.sweep.name is None:
        raise ConfigError(f"hydra/sweeper={about.runtime.choices['hydra/sweeper']} needs a name: add sweep.name=NAME")
    known_by, name = identify(cfg, dict(about.runtime.choices), overrides, config_dir)
    folder = sweep_folder(cfg) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: this run directory cannot be made ({error.strerror})") from error
    if folder.is_symlink():  # its target is not ours to write, and even less to clear
        raise RunError(f"{folder} is a link: remove it")
    run = RunDirectory(folder)
    # With one job at a time joblib has no workers.
    worker = str(about.launcher._target_).endswith("JoblibLauncher") and multiprocessing.parent_process() is not None
    if worker:
        _follow_parent()
    with run.locked():
        metrics = finished(run, known_by)
        if metrics:
            return validation_score(metrics)
        try:
            with stoppable():
                return _train(run, cfg, without_own(overrides), config_dir)
        except (KeyboardInterrupt, SystemExit):
            if worker:  # it is written down; the worker would begin the next job
                os._exit(TERMINATED)
            raise


def _train(run: RunDirectory, cfg: DictConfig, overrides: list[str], config_dir: Path) -> float:
    """Train, and turn any failure into a line, which travels between processes where an exception may not."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(cfg.threads))  # NumPy reads it when it is imported

    from unroll.train import train_in  # takes seconds, once a process; a complete run does not need it

    handle = os.open(run.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    with os.fdopen(handle, "a", encoding="utf-8") as log:
        try:
            console = Console(file=log, width=LOG_WIDTH, markup=False)
            return train_in(run, cfg, overrides, console, _callbacks(cfg)).score
        except PrunedError:
            raise
        except Exception as error:
            known = isinstance(error, UnrollError | OSError) or any(words in str(error) for words in OUT_OF_MEMORY)
            traceback.print_exc(file=log)
            line = explain(error, config_dir) if known else f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise RunError(line) from None


def _callbacks(cfg: DictConfig) -> "list[Callback]":
    """What a search has to say in the training of a job."""
    if cfg.sweep.trial is None:
        return []
    from unroll.sweeps.pruning import pruning  # needs Optuna

    return pruning(cfg)


def _follow_parent() -> None:
    """End with the process that started this worker, also where that was killed."""
    global _follows
    if _follows:
        return
    _follows = True
    parent = os.getppid()
    end_with(lambda: os.getppid() == parent)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(TERMINATED))  # between two jobs; in one, it is written down
