"""Follow the jobs of a sweep by their run directories, whichever process or machine they run on."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from unroll.progress import Overall
from unroll.runs.directory import LOCK, STOPS, is_held
from unroll.runs.reuse import finished
from unroll.sweeps.jobs import Job, stored

POLL_SECONDS = 0.5
ENDS = ("complete", "failed", "pruned")


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Args:
        status: complete, failed or pruned.
        reason: of a failure.
        metrics: what metrics.json says of a complete run.
    """

    status: str
    reason: str | None = None
    metrics: dict[str, Any] | None = None


class Watch:
    """Follows some jobs, and shows how far they are.

    Args:
        console: where to show it.
        jobs: to follow.
        workers: side by side.
    """

    def __init__(self, console: Console, jobs: Sequence[Job], workers: int) -> None:
        self.jobs = list(jobs)
        self.before = {job: _stamp(_state(job)) for job in jobs}
        self.locks = {job: _stamp(_state(job).with_name(LOCK)) for job in jobs}
        self.overall = Overall(console, jobs, workers)
        self.seen: dict[Job, Outcome] = {}
        self.lock, self.stop = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Watch":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.overall.stop()

    def _follow(self) -> None:
        while not self.stop.wait(POLL_SECONDS):
            self.ended()

    def begun(self, job: Job) -> bool:
        """Whether anything has happened to a job since the start."""
        return _stamp(_state(job)) != self.before[job]

    def died(self, job: Job) -> bool:
        """Whether a job was begun and its process is gone."""
        assert job.run
        state = stored(job)
        cut = not state or state["status"] == "running" or str(state.get("error")).startswith(STOPS)
        taken = _stamp(job.run.path / LOCK) != self.locks[job]
        return taken and (cut or not self.begun(job)) and not is_held(job.run.path)

    def ended(self) -> dict[Job, Outcome]:
        """The jobs that have ended since the start."""
        with self.lock:
            for job in self.jobs:
                if job not in self.seen and self.begun(job):
                    self._look(job)
            return dict(self.seen)

    def _look(self, job: Job) -> None:
        assert job.run
        state = stored(job)
        if not state or state["status"] not in ENDS or state.get("fingerprint") != job.fingerprint:
            return
        if is_held(job.run.path):  # a failure of earlier, which is being tried again; or its last lines are written
            return
        metrics = finished(job.run, job.fingerprint)
        status = state["status"] if metrics or state["status"] != "complete" else "failed"
        reason = state.get("error") or (None if metrics else "its run directory is damaged")
        if reason and reason.startswith(STOPS):
            return
        self.note(job, Outcome(status, reason, metrics))

    def note(self, job: Job, outcome: Outcome) -> None:
        """A job has ended."""
        self.seen[job] = outcome
        self.overall.done(job, {"complete": "done"}.get(outcome.status, outcome.status))

    def give_up(self, job: Job, reason: str) -> Outcome:
        """A job whose process dies each time."""
        with self.lock:
            self.note(job, Outcome("failed", reason))
            return self.seen[job]


def _state(job: Job) -> Path:
    assert job.run
    return job.run.state


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever a file is written."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a network file system looks again when a file is opened
    except OSError:
        return None
    status = os.fstat(handle)
    os.close(handle)
    return status.st_mtime_ns, status.st_ino
