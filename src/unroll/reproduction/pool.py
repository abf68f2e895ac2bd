"""Runs side by side in worker processes that stay warm, with progress, and an end that loses nothing."""

import io
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from unroll.errors import UnrollError
from unroll.progress import clock
from unroll.reproduction.jobs import Job
from unroll.runs.directory import TERMINATED
from unroll.runs.reuse import complete_run

STOP_SECONDS = 30  # for a worker to write down that it was stopped


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
            progress.done(job, reused=True)
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
    progress: "Overall",
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
                    progress.done(job, failed=True)
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


def stop_workers() -> None:
    """Ask the workers to stop, and wait until they have written down how far they are."""
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    for child in children:
        child.join(STOP_SECONDS)


def _begin(log: Path) -> None:
    """In a worker: leave the terminal to the parent, and end with it."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)
    parent = multiprocessing.parent_process()
    assert parent

    def follow() -> None:
        parent.join()  # it was killed, or it ended
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        os._exit(TERMINATED)

    threading.Thread(target=follow, daemon=True).start()


def _run(job: Job) -> Path:
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


class Overall:
    """One line of progress for all jobs: a bar with the time left on a terminal, a line a job elsewhere.

    Args:
        console: where to show it.
        jobs: all of them; their work is what the time left is made from.
        workers: side by side.
    """

    def __init__(self, console: Console, jobs: Sequence[Job], workers: int) -> None:
        self.console, self.total, self.workers = console, len(jobs), workers
        self.remaining = list(jobs)
        self.worked, self.begun = 0.0, time.monotonic()
        self.bar: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("run {task.completed:.0f}/{task.total}"), BarColumn(bar_width=16))
            text = TextColumn("{task.description}", markup=False)
            self.bar = Progress(*columns, TimeElapsedColumn(), text, console=console, transient=True)
            self.task = self.bar.add_task("", total=self.total)
            self.bar.start()

    def done(self, job: Job, *, reused: bool = False, failed: bool = False) -> None:
        """A job has ended."""
        self.remaining.remove(job)
        if not reused:
            self.worked += job.work
        flying = sum(other.work for other in self.remaining[: self.workers]) / 2  # those that run are half done
        rate = (time.monotonic() - self.begun) / (self.worked + flying) if self.worked else 1 / self.workers
        ahead = sum(other.work for other in self.remaining) - flying
        left = f"about {clock(ahead * rate)} left" if self.remaining else "all done"
        count = self.total - len(self.remaining)
        said = "failed" if failed else "complete before" if reused else "done"
        if self.bar:
            self.bar.update(self.task, completed=count, description=f"{left}  {job.name}")
        else:
            self.console.print(f"{count}/{self.total}  {job.name}: {said}; {left}", soft_wrap=True)

    def stop(self) -> None:
        """Leave the terminal in order."""
        if self.bar:
            self.bar.stop()
