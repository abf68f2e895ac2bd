"""Runs side by side in worker processes that stay warm, with progress, and an end that loses nothing."""

import io
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from unroll.errors import RunError, UnrollError
from unroll.progress import clock
from unroll.reproduction.jobs import Job
from unroll.runs.directory import TERMINATED, RunDirectory

STOP_SECONDS = 30  # for a worker to write down that it was stopped


def run_all(jobs: Sequence[Job], workers: int, console: Console, log: Path) -> tuple[dict[Job, Path], list[str]]:
    """Make or find the run of every job. One that fails does not stop the others.

    Args:
        jobs: in the order in which they start.
        workers: side by side.
        console: for progress.
        log: what the workers say beside their results.

    Returns:
        the run directories, and a line for each job that failed.

    Raises:
        KeyboardInterrupt: after every worker has stopped; what they did is kept.
        RunError: where a worker was killed.
    """
    found: dict[Job, Path] = {}
    failures: list[str] = []
    progress = Overall(console, jobs, workers)
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(log,)) as pool:
        with _uninterrupted():  # the workers inherit it: Ctrl-C is the parent's matter
            pending: dict[Future[tuple[Path, bool]], Job] = {pool.submit(_run, job): job for job in jobs}
        try:
            for future in as_completed(pending):
                job = pending[future]
                try:
                    found[job], reused = future.result()
                    progress.done(job, reused=reused)
                except UnrollError as error:
                    failures.append(f"{job.name}: {error}")
                    progress.done(job, reused=False, failed=str(error))
        except BrokenProcessPool as error:
            raise RunError(
                f"a worker process died (killed, or out of memory): lower --jobs; the same command goes on. See {log}"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_workers()
            raise
        finally:
            progress.stop()
    return found, failures


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

    threading.Thread(target=follow, daemon=True).start()


def _run(job: Job) -> tuple[Path, bool]:
    """In a worker: the run directory of a job, and whether it was complete before."""
    from unroll.train import train_once  # takes seconds, once a worker

    cfg = OmegaConf.create(job.config)
    begun = time.time()
    try:
        result = train_once(cfg, job.overrides, Console(file=io.StringIO()))
    except SystemExit:  # SIGTERM, and it is written down; the pool would begin the next job
        os._exit(TERMINATED)
    return result.run.path, _finished(result.run) < begun


def _finished(run: RunDirectory) -> float:
    return run.metrics.stat().st_mtime


class Overall:
    """One line of progress for all jobs: a bar with the time left on a terminal, a line a job elsewhere.

    Args:
        console: where to show it.
        jobs: all of them; their work is what the time left is made from.
        workers: side by side.
    """

    def __init__(self, console: Console, jobs: Sequence[Job], workers: int) -> None:
        self.console, self.total, self.workers = console, len(jobs), workers
        self.left = sum(job.work for job in jobs)
        self.count, self.worked, self.begun = 0, 0.0, time.monotonic()
        self.bar: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("run {task.completed:.0f}/{task.total}"), BarColumn(bar_width=24))
            self.bar = Progress(*columns, TimeElapsedColumn(), TextColumn("{task.description}"), console=console)
            self.task = self.bar.add_task("", total=self.total)
            self.bar.start()

    def done(self, job: Job, *, reused: bool, failed: str = "") -> None:
        """A job has ended."""
        self.count += 1
        self.left -= job.work
        if not reused:
            self.worked += job.work
        rate = (time.monotonic() - self.begun) / self.worked if self.worked else 1 / self.workers
        left = f"about {clock(self.left * rate)} left" if self.count < self.total else "all done"
        said = f"failed: {failed}" if failed else "complete before" if reused else "done"
        if self.bar:
            self.bar.update(self.task, completed=self.count, description=f"{left}; {job.name} {said}")
        else:
            self.console.print(f"{self.count}/{self.total}  {job.name}: {said}; {left}", soft_wrap=True)

    def stop(self) -> None:
        """Leave the terminal in order."""
        if self.bar:
            self.bar.stop()
