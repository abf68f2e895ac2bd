"""One call of a sweep: its folder, what is there already, what is launched, and what came of it."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path

from hydra.core.override_parser.types import Override
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict
from rich.console import Console

from unroll.cli import explain
from unroll.config import check_folder, check_value
from unroll.errors import ConfigError, HeldError, RunError
from unroll.interrupts import stoppable, workers_stop_first
from unroll.progress import PatientConsole, cores, many
from unroll.runs.directory import is_held
from unroll.runs.reuse import finished
from unroll.sweeps.jobs import Job, Planner, check_sweep, stored, sweep_folder
from unroll.sweeps.watch import Outcome, Watch
from unroll.tables import printable

ATTEMPTS = 2  # of a job whose process dies: a neighbour may have taken it along
POLL_SECONDS = 0.5
MANY = 20  # configs, which take a second to compose
EXAMPLES = 2  # of the jobs that share a reason


class Session:
    """One call of a sweep.

    Args:
        config: of the sweep itself; the name of an unnamed sweep is filled in.
        context: Hydra's.
        launcher: runs jobs.
        arguments: of the command line, parsed.
    """

    def __init__(
        self, config: DictConfig, context: HydraContext, launcher: Launcher, arguments: Sequence[Override]
    ) -> None:
        config_dir = next(
            Path(source.path) for source in config.hydra.runtime.config_sources if source.provider == "main"
        )
        self.config_dir = Path(str(config_dir).removeprefix("file://"))
        self.config, self.launcher = config, launcher
        self.console: Console = PatientConsole()
        self.outcomes: dict[Job, Outcome] = {}
        self.launched = 0
        for key in ("output_dir", "sweep.name"):
            check_value(key, config.output_dir if key == "output_dir" else config.sweep.name)
        check_sweep(arguments)
        if config.hydra.job.chdir:
            raise ConfigError("hydra.job.chdir=true: a sweep's runs have folders of their own already: leave it away")
        check_folder(Path(config.output_dir), f"output_dir={config.output_dir}")
        workers = config.hydra.launcher.get("n_jobs", 1)
        if not isinstance(workers, int) or workers == 0:
            raise ConfigError(f"hydra.launcher.n_jobs={workers}: it must be a number of processes, or -1 for all cores")
        self.named = config.sweep.name is not None
        if not self.named:
            with open_dict(config):
                config.sweep.name = _reserve(sweep_folder(config).parent)
        self.own = [f"sweep.name={config.sweep.name}"]
        self.folder = sweep_folder(config)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.folder}: this folder cannot be made ({error.strerror})") from error
        self.planner = Planner(config, context.config_loader, self.config_dir)

    def plan(self, command_lines: Sequence[Sequence[str]], names: Sequence[str] | None = None) -> list[Job]:
        """The job of each command line; those of equal configs are one and the same.

        Args:
            command_lines: without sweeps.
            names: for people; None: what sets each apart.
        """
        jobs: dict[object, Job] = {}
        planned = []
        busy = self.console.is_terminal and len(command_lines) > MANY
        with self.console.status(f"composing {len(command_lines)} configs") if busy else nullcontext():
            for overrides, name in zip(command_lines, names or _names(command_lines), strict=True):
                typed = [word for word in overrides if not word.lstrip("+").startswith("sweep.name=")]
                job = self.planner.job([*typed, *self.own], name)
                planned.append(jobs.setdefault(job.run.path if job.run else job.overrides, job))
        return planned

    def work(self, jobs: Sequence[Job], *, announce: bool = True) -> dict[Job, Outcome]:
        """Make what is missing of some jobs: launch, wait for what another process is at, launch what it left.

        Args:
            jobs: from `plan`.
            announce: whether to print how many there are, and a line each; a terminal has its bar in any case.

        Returns:
            the outcome of each.

        Raises:
            RunError: where the launcher itself fails.
        """
        jobs, missing = list(dict.fromkeys(jobs)), []
        for job in jobs:
            metrics = finished(job.run, job.fingerprint) if job.run else None
            if metrics:
                self.outcomes[job] = Outcome("complete", metrics=metrics)
            elif job.problem:
                self.outcomes[job] = Outcome("failed", job.problem)
            else:
                missing.append(job)
        if announce:
            self._announce(jobs, missing)
        if missing:
            console = self.console if announce or self.console.is_terminal else Console(quiet=True)
            with Watch(console, missing, self.side_by_side(len(missing))) as watch:
                self._work_off(missing, watch)
        return {job: self.outcomes[job] for job in jobs}

    def _work_off(self, missing: list[Job], watch: Watch) -> None:
        attempts: Counter[Job] = Counter()
        waiting = False
        while missing:
            free = [job for job in missing if job.run and not is_held(job.run.path)]
            if not free:  # all that is left is in the hands of other processes
                if not waiting:
                    self.say(f"waiting for {_holders(missing)}")
                waiting = True
                time.sleep(POLL_SECONDS)
            broken, refused = self._launch(free) if free else (None, {})
            ended = watch.ended()
            if broken:
                ended = self._after_a_death(broken, free, watch)
                refused = {}
            self.outcomes |= ended
            for job in free:
                if job in ended or broken or (job.run and is_held(job.run.path)):
                    continue
                attempts[job] += 1
                if job in refused:
                    self.outcomes[job] = watch.give_up(job, refused[job])
                elif attempts[job] == ATTEMPTS:
                    reason = "it was stopped each time" if watch.begun(job) else "its data or config changed meanwhile"
                    self.outcomes[job] = watch.give_up(job, reason)
            missing = [job for job in missing if job not in self.outcomes]

    def _after_a_death(self, broken: RunError, jobs: Sequence[Job], watch: Watch) -> dict[Job, Outcome]:
        """A launcher gives up all its jobs where the process of one dies. Find that one, by running alone what ran.

        Raises:
            RunError: where the launcher did nothing at all.
        """
        ended = watch.ended()
        suspects = [job for job in jobs if job not in ended and watch.died(job)]
        if not suspects and not any(job in ended for job in jobs):
            raise broken
        for job in suspects:
            alone, _ = self._launch([job])
            ended = watch.ended()
            if alone and job not in ended and watch.died(job):
                watch.give_up(job, "its process died (killed, or no memory left)")
        return watch.ended()

    def _launch(self, jobs: Sequence[Job]) -> tuple[RunError | None, dict[Job, str]]:
        """Run jobs by Hydra's launcher. What came of them is in their run directories.

        Returns:
            what is wrong with the launcher, and the jobs that failed before they could write anything.
        """
        kind = str(self.config.hydra.launcher._target_)
        # Hydra's own launcher keeps the whole config of every job until the last has ended, a third of a megabyte each.
        parts = [[job] for job in jobs] if kind.endswith("BasicLauncher") else [list(jobs)]
        errors: dict[Job, object] = {}
        try:
            with workers_stop_first(self._say_way_on) if kind.endswith("JoblibLauncher") else nullcontext():
                for part in parts:
                    first, self.launched = self.launched, self.launched + len(part)
                    returns = self.launcher.launch([list(job.overrides) for job in part], initial_job_idx=first)
                    errors |= {job: done._return_value for job, done in zip(part, returns, strict=True)}
        except Exception as error:  # its workers died, its cluster is not there
            kind = self.config.hydra.runtime.choices["hydra/launcher"]
            message = " ".join(str(error).split())[:300]
            return RunError(f"hydra/launcher={kind}: {type(error).__name__}: {message}"), {}
        return None, {
            job: explain(error, self.config_dir)
            for job, error in errors.items()
            if isinstance(error, Exception) and not isinstance(error, HeldError)
        }

    def _announce(self, jobs: Sequence[Job], missing: Sequence[Job]) -> None:
        done = sum(self.outcomes[job].status == "complete" for job in jobs if job in self.outcomes)
        wrong = [job for job in jobs if job.problem]
        parts = [f"{many(len(jobs), 'run')} in {shown(self.folder)}"]
        parts += [f"{done} complete already"] if done else []
        parts += [f"{len(wrong)} with a wrong config"] if wrong else []
        self.say(", ".join(parts))

    def say(self, line: str) -> None:
        """Print a line."""
        self.console.print(line, soft_wrap=True, highlight=False)

    def side_by_side(self, jobs: int) -> int:
        """How many of some jobs run at a time."""
        asked = self.config.hydra.launcher.get("n_jobs", self.config.hydra.launcher.get("array_parallelism"))
        return 1 if asked is None else min(jobs, asked if asked > 0 else cores())

    def way_on(self) -> str:
        """How to go on with this sweep."""
        return "the same command" if self.named else f"the same command with sweep.name={self.config.sweep.name}"

    @contextmanager
    def told(self) -> Iterator[None]:
        """Say of an interruption how to go on."""
        with stoppable():
            try:
                yield
            except (KeyboardInterrupt, SystemExit):
                self._say_way_on()
                raise

    def _say_way_on(self) -> None:
        sys.stderr.write(f"interrupted; what was done is kept: {self.way_on()} goes on\n")
        sys.stderr.flush()

    def failures(self) -> list[str]:
        """All failures, one line a reason."""
        jobs: dict[str, list[str]] = {}
        for job, outcome in self.outcomes.items():
            if outcome.status == "failed":
                jobs.setdefault(str(outcome.reason), []).append(job.name or " ".join(job.overrides))
        lines = []
        for reason, labels in jobs.items():
            more = f" and {len(labels) - EXAMPLES} more" if len(labels) > EXAMPLES else ""
            who = f"{'; '.join(labels[:EXAMPLES])}{more}"
            alone = len(self.outcomes) == 1 or reason.startswith(f"{who}: ")
            lines.append(reason if alone else f"{who}: {reason}")
        return lines

    def close(self) -> None:
        """Show the leaderboard and every failure. Exits with 1 where a job failed."""
        from unroll.sweeps.board import publish

        failures = self.failures()
        try:
            there = not self.outcomes and any(self.folder.glob("*/metrics.json"))  # a search that has all its trials
            if there or any(outcome.status == "complete" for outcome in self.outcomes.values()):
                publish([self.folder], self.folder, self.console)
        except RunError as error:  # no run is one for a table, as with fast_dev_run
            self.say(f"no leaderboard: {error}")
        finally:
            if failures:
                failed = sum(outcome.status == "failed" for outcome in self.outcomes.values())
                tries = f"{self.way_on()} tries {'it' if failed == 1 else 'them'} again"
                if any(job.problem for job in self.outcomes):
                    tries = "mend the command; what is complete stays so"
                sys.stderr.write(f"error: {failed} of {many(len(self.outcomes), 'run')} failed; {tries}\n")
                for line in failures:
                    sys.stderr.write(f"error: {printable(line)}\n")
        if not self.named:
            with suppress(OSError):
                self.folder.rmdir()  # where every config was wrong, it is empty
        if failures:
            sys.exit(1)


def _holders(jobs: Sequence[Job]) -> str:
    """Who is at some runs."""
    states = [stored(job) or {} for job in jobs]
    who = sorted({f"process {state.get('process', '?')} on {state.get('host', '?')}" for state in states})
    return f"{many(len(jobs), 'run')} in the hands of {', '.join(who[:EXAMPLES])}"


def _names(command_lines: Sequence[Sequence[str]]) -> list[str]:
    """What sets each command line apart."""
    if len(command_lines) == 1:
        return ["the only one"]
    counts = Counter(word for line in command_lines for word in line)
    return [" ".join(word for word in line if counts[word] < len(command_lines)) for line in command_lines]


def _reserve(parent: Path) -> str:
    """Make a folder for a sweep without a name, by time; sweeps started at the same instant get different ones."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        stem, number = f"{datetime.now():%Y-%m-%d_%H-%M-%S}", 1
        while True:
            name = stem if number == 1 else f"{stem}_{number}"
            try:
                (parent / name).mkdir()  # atomic: of two starts, one finds it taken
                return name
            except FileExistsError:
                number += 1
    except OSError as error:
        raise RunError(f"{parent}: no folder can be made here ({error.strerror}): set output_dir to another") from error


def shown(folder: Path) -> str:
    """A folder as people say it, from where they are."""
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
