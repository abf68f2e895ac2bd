"""Progress of a training: a bar with the time left on a terminal, a few quiet lines in a log file."""

import os
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment

from unroll.tables import printable

LINES = 10  # in a log file, over all epochs
SECONDS = 30.0  # at the latest after so long, another line
BAR_SECONDS = 0.5  # between moves of the bar within an epoch


class PatientConsole(Console):
    """A console that goes on without a reader: `python train.py | head` must not cost the training.

    Square brackets are printed as they are: they may be part of a path. Marks in names that would move the cursor or
    turn the text around are printed as ?.
    """

    def __init__(self) -> None:
        super().__init__(markup=False)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            part if part.control or part.text.isprintable() else part._replace(text=_visible(part.text))
            for part in buffer
        )

    def on_broken_pipe(self) -> None:
        """Print nothing more."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _visible(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


class EpochProgress:
    """Shows epochs as they end.

    Args:
        console: a terminal gets a bar, anything else lines.
        epochs: at most so many.
        done: epochs done before, where a run is continued.
    """

    def __init__(self, console: Console, epochs: int, done: int = 0) -> None:
        self.console, self.epochs, self.first = console, epochs, done
        self.begun = self.said = time.monotonic()
        self.bar: Progress | None = None
        self.task = TaskID(0)
        if console.is_terminal:
            columns = (
                *(TextColumn("epoch {task.completed:.0f}/{task.total}"), BarColumn(bar_width=24)),
                *(TextColumn("{task.description}", markup=False), TimeElapsedColumn()),
                *(TextColumn("at most"), TimeRemainingColumn(compact=True), TextColumn("left")),
            )
            self.bar = Progress(*columns, console=console, transient=True)
            self.task = self.bar.add_task("", total=epochs, completed=done)
            self.bar.start()

    def update(self, epoch: int, losses: str) -> None:
        """Show that an epoch (from 1) has ended."""
        if self.bar:
            self.bar.update(self.task, completed=epoch, description=losses)
            self.said = time.monotonic()
            return
        now = time.monotonic()
        step = max(1, self.epochs // LINES)
        if epoch == self.first + 1 or epoch % step == 0 or epoch == self.epochs or now - self.said > SECONDS:
            left = (now - self.begun) / (epoch - self.first) * (self.epochs - epoch)
            self.console.print(f"epoch {epoch}/{self.epochs}  {losses}  at most {clock(left)} left", soft_wrap=True)
            self.said = now

    def within(self, done: int, fraction: float) -> None:
        """Show how far an epoch is that takes longer than a moment.

        Args:
            done: epochs before it.
            fraction: of its batches.
        """
        now = time.monotonic()
        if now - self.said < (BAR_SECONDS if self.bar else SECONDS):
            return
        self.said = now
        if self.bar:
            self.bar.update(self.task, completed=done + fraction)
            return
        left = (now - self.begun) / (done + fraction - self.first) * (self.epochs - done - fraction)
        self.console.print(
            f"epoch {done + 1}/{self.epochs}  {fraction:.0%}  at most {clock(left)} left", soft_wrap=True
        )

    def stop(self) -> None:
        """Remove the bar."""
        if self.bar:
            self.bar.stop()
            self.bar = None


class Item(Protocol):
    """Something to be done among others."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def work(self) -> float:
        """In proportion to the others'."""


class Overall:
    """One line of progress for many jobs: a bar with the time left on a terminal, a line a job elsewhere.

    Args:
        console: where to show it.
        items: all of them, in the order in which they begin; the time left is made from their work.
        workers: side by side.
    """

    def __init__(self, console: Console, items: Sequence[Item], workers: int) -> None:
        self.console, self.total, self.workers = console, len(items), workers
        self.remaining = list(items)
        self.worked, self.begun = 0.0, time.monotonic()
        self.bar: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("run {task.completed:.0f}/{task.total}"), BarColumn(bar_width=16))
            text = TextColumn("{task.description}", markup=False)
            self.bar = Progress(*columns, TimeElapsedColumn(), text, console=console, transient=True)
            self.task = self.bar.add_task("", total=self.total)
            self.bar.start()

    def done(self, item: Item, said: str = "done", *, worked: bool = True) -> None:
        """One has ended.

        Args:
            item: which.
            said: how.
            worked: whether it took its time.
        """
        self.remaining.remove(item)
        if worked:
            self.worked += item.work
        flying = sum(other.work for other in self.remaining[: self.workers]) / 2  # those that run are half done
        rate = (time.monotonic() - self.begun) / (self.worked + flying) if self.worked else 1 / self.workers
        ahead = sum(other.work for other in self.remaining) - flying
        left = f"about {clock(ahead * rate)} left" if self.remaining else "all done"
        count = self.total - len(self.remaining)
        if self.bar:
            self.bar.update(self.task, completed=count, description=f"{left}  {item.name}")
        else:
            self.console.print(f"{count}/{self.total}  {item.name}: {said}; {left}", soft_wrap=True, highlight=False)

    def stop(self) -> None:
        """Leave the terminal in order."""
        if self.bar:
            self.bar.stop()


def clock(seconds: float) -> str:
    """Seconds, or hours, minutes and seconds where there are many."""
    return f"{seconds:.0f} s" if seconds < 100 else str(timedelta(seconds=round(seconds)))


def cores() -> int:
    """How many processes can run side by side here."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def many(count: int, what: str) -> str:
    """A count and its noun."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
