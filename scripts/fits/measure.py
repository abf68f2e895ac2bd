"""Run the works: a worker process for each contender, whose fits alternate in time."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fits.summary import Fit
from fits.works import CONTENDERS, CURVES, Sizes, Work, curve_sizes, quick

SCRIPTS = Path(__file__).parents[1]
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")}
QUICK_POINTS = 10_000  # of a series, at most


class WorkerError(Exception):
    """A contender that failed, and why."""


class Worker:
    """A contender's process, started with an interpreter of its own; see fits.worker.

    Args:
        name: a key of CONTENDERS.
        python: the interpreter.
        folder: for what the fits write and the worker says.
    """

    def __init__(self, name: str, python: Path, folder: Path) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        paths = [str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(python), "-m", "fits.worker", name],
                cwd=folder,
                env=os.environ | ONE_THREAD | {"PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.versions: dict[str, str] = {}
        self.missing: str | None = None

    def wait(self) -> None:
        """Until it has imported what it needs, or said what is missing.

        Raises:
            WorkerError: where it ended.
        """
        first = self._answer()
        self.versions, self.missing = first.get("ready", {}), first.get("missing")

    def fit(self, sizes: Sizes, seed: int) -> Fit:
        """Fit once.

        Raises:
            WorkerError: where it could not.
        """
        assert self.process.stdin
        with tempfile.TemporaryDirectory(dir=self.log.parent) as folder:
            request = {"sizes": asdict(sizes), "seed": seed, "folder": folder}
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self._answer()
        if "error" in answer:
            raise WorkerError(answer["error"])
        return Fit(**answer)

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            said = self.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise WorkerError(f"its process ended with {self.process.wait()}: {' '.join(said)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process, which reads its input to the end."""
        assert self.process.stdin
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


@dataclass(frozen=True)
class Measured:
    """A work that was done.

    Args:
        work: with the sizes that were measured.
        fits: by contender, one an alternation.
        failures: by contender, why.
    """

    work: Work
    fits: dict[str, list[Fit]]
    failures: dict[str, str]


@contextmanager
def started(pythons: Mapping[str, Path]) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    """Workers of the contenders that are installed, and why others are left out.

    Args:
        pythons: the interpreter of each contender.
    """
    workers: dict[str, Worker] = {}
    left_out: dict[str, str] = {}
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="benchmark_")))
        for name, python in pythons.items():
            try:
                workers[name] = Worker(name, python, folder)
            except OSError as error:
                left_out[name] = f"failed: {error}"
                continue
            ending.callback(workers[name].close)
        for name, worker in list(workers.items()):
            try:
                worker.wait()
            except WorkerError as error:
                left_out[name] = f"failed: {error}"
            if worker.missing == CONTENDERS[name].package:
                left_out[name] = f"not installed: pip install {worker.missing}"
            elif worker.missing:
                left_out[name] = f"failed: its environment has no {worker.missing}"
            if name in left_out:
                del workers[name]
        yield workers, left_out


def run_work(work: Work, workers: Mapping[str, Worker], alternations: int, say: Callable[[str], None]) -> Measured:
    """A warm-up of each contender, then one fit of each in turn, forwards and backwards by turns.

    Args:
        work: to be done.
        workers: of the contenders.
        alternations: how often each fits.
        say: takes lines of progress.
    """
    fits: dict[str, list[Fit]] = {name: [] for name in workers}
    failures: dict[str, str] = {}
    for number in range(alternations + 1):
        warming = number == 0
        sizes = replace(work.sizes, epochs=min(2, work.sizes.epochs)) if warming else work.sizes
        names = [name for name in workers if name not in failures]
        for name in names if number % 2 else reversed(names):
            try:
                done = workers[name].fit(sizes, number)
            except (WorkerError, BrokenPipeError) as error:
                failures[name] = str(error)
                say(f"  {CONTENDERS[name].title} failed: {error}")
                continue
            if not warming:
                fits[name].append(done)
        if not warming:
            shown = ", ".join(
                f"{CONTENDERS[name].title} {fits[name][-1].seconds:.2f} s" for name in names if name not in failures
            )
            say(f"  {number}/{alternations}: {shown}")
    return Measured(work, {name: done for name, done in fits.items() if name not in failures}, failures)


def run_curves(
    workers: Mapping[str, Worker], alternations: int, say: Callable[[str], None], *, small: bool
) -> dict[str, dict[int, Measured]]:
    """Unroll beside the plain loop along every axis of CURVES.

    Args:
        workers: of the contenders.
        alternations: how often each fits at a place.
        say: takes lines of progress.
        small: to see whether it runs.
    """
    two = {name: workers[name] for name in ("unroll", "loop") if name in workers}
    found: dict[str, dict[int, Measured]] = {}
    for axis, values in CURVES.items():
        found[axis] = {}
        for value in quick_values(axis, values) if small else values:
            sizes = curve_sizes(axis, value)
            work = Work(f"{axis.replace('_', ' ')} {value:,}", "curves", quick(sizes) if small else sizes)
            say(work.name)
            found[axis][value] = run_work(work, two, alternations, say)
    return found


def quick_values(axis: str, values: Sequence[int]) -> Sequence[int]:
    """Two places of a curve, none with a long series."""
    return [value for value in values if axis != "points" or value <= QUICK_POINTS][:2]
