"""Runs side by side in worker processes that stay warm, with progress, and an end that loses nothing."""

import io
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from omegaconf import OmegaConf
from rich.console import Console

from unroll.errors import UnrollError
from unroll.interrupts import TERMINATED, end_with, stop_workers
from unroll.progress import Overall
from unroll.runs.reuse import complete_run


class Planned(Protocol):
    """A run to be made, or to be found."""

    @property
    def config(self) -> dict[str, Any]:
        """Resolved, as plain values."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """As they would be typed."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def work(self) -> float:
        """In proportion to the others'."""


Job = TypeVar("Job", bound=Planned)


def run_all(jobs: Sequence[Job], workers: int, console: Console, log: Path) -> tuple[dict[Job, Path], dict[Job, str]]:
    """Make or find the run of every job. One that fails does not stop the others.

    Args:
        jobs: in the order in which they start.
        workers: side by side.
        console: for progress.
        log: what the workers say beside their results.

    Returns:
        the run directories, and why others failed, in a line each.

    Raises:
        KeyboardInterrupt: after every worker has stopped; what they did is kept.
    """
    found: dict[Job, Path] = {}
    failures: dict[Job, str] = {}
    progress = Overall(console, jobs, workers)
    for job in jobs:
        run = complete_run(job.config)
        if run:
            found[job] = run.path
            progress.done(job, "complete before", worked=False)
    missing = [job for job in jobs if job not in found]
    try:
        if missing:
            _run_missing(missing, min(workers, len(missing)), log, progress, found, failures)
    finally:
        progress.stop()
    return found, failures


def _run_missing(
    jobs: Sequence[Job],
    workers: int,
    log: Path,
    progress: Overall,
    found: dict[Job, Path],
    failures: dict[Job, str],
) -> None:
    """Make the runs that are not there yet, and note them."""
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(log,)) as pool:
        with _uninterrupted():  # the workers inherit it: Ctrl-C is the parent's matter
            pending: dict[Future[Path], Job] = {pool.submit(_run, job): job for job in jobs}
        try:
            for future in as_completed(pending):
                job = pending[future]
                try:
                    found[job] = future.result()
                    progress.done(job)
                except BrokenProcessPool:
                    raise
                except Exception as error:  # of this job alone; a fault of the program is in the log with its traceback
                    failures[job] = _in_one_line(error, log)
                    progress.done(job, "failed")
        except BrokenProcessPool:
            died = (
                f"a worker process died (killed, or no memory left): lower --jobs; the same command goes on. See {log}"
            )
            failures |= {job: died for job in jobs if job not in found and job not in failures}
        except BaseException:
            with _uninterrupted():  # a second Ctrl-C changes nothing
                pool.shutdown(wait=False, cancel_futures=True)
                stop_workers()
            raise


@contextmanager
def _uninterrupted() -> Iterator[None]:
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


def _begin(log: Path) -> None:
    """In a worker: leave the terminal to the parent, and end with it."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)
    parent = multiprocessing.parent_process()
    assert parent

    def alive() -> bool:
        parent.join()  # it was killed, or it ended
        return False

    end_with(alive)


def _run(job: Planned) -> Path:
    """In a worker: make the run of a job, or go on with it."""
    from unroll.train import train_once  # takes seconds, once a worker

    cfg = OmegaConf.create(job.config)
    try:
        return train_once(cfg, job.overrides, Console(file=io.StringIO())).run.path
    except (SystemExit, KeyboardInterrupt):  # it is written down; the pool would begin the next job
        os._exit(TERMINATED)


def _in_one_line(error: Exception, log: Path) -> str:
    """Why a job failed."""
    message = " ".join(str(error).split())
    if isinstance(error, UnrollError):
        return message
    with log.open("a") as file:
        traceback.print_exception(error, file=file)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename or log.parent})"
    return f"{type(error).__name__}: {message[:200]} (see {log})"
