"""A search: choose parameters, have their runs made, tell the study what came of them, until there are enough."""

import csv
import math
import shlex
import time
from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState

from unroll.errors import RunError
from unroll.progress import clock, many
from unroll.runs.directory import RunDirectory
from unroll.sweeps.jobs import Job, without_own
from unroll.sweeps.session import Session, shown
from unroll.sweeps.settings import Settings, calm
from unroll.sweeps.space import Space
from unroll.sweeps.study import SharedStudy
from unroll.sweeps.watch import Outcome
from unroll.tables import number

POLL_SECONDS = 1.0
FRONT = 20  # trials of a Pareto front that are printed


class Search:
    """One call of a search.

    Args:
        session: of its sweep.
        settings: of the search.
        space: what is searched.
    """

    def __init__(self, session: Session, settings: Settings, space: Space) -> None:
        self.session, self.settings, self.space = session, settings, space
        self.study = SharedStudy(settings, space, session.folder, session.config.sweep.name)
        self.at_a_time = settings.n_jobs or session.side_by_side(self.study.total)

    def run(self) -> None:
        """Go on to the total number of trials, then say which was the best."""
        with self.study.opened():
            before, begun = self.study.done(), time.monotonic()
            self._announce(before)
            told_to_wait = False
            while (trials := self.study.ask(self.at_a_time)) != []:
                if trials is None:
                    if not told_to_wait:
                        self.session.say("waiting for another search on this study, which is at the last trials")
                    told_to_wait = True
                    time.sleep(POLL_SECONDS)
                    continue
                told = self._work(trials)
                done = self.study.done()
                told[-1] += f"; {done} of {self.study.total}"
                left = self.study.total - done - self.study.failed
                if left > 0 and done > before:
                    told[-1] += f", about {clock((time.monotonic() - begun) / (done - before) * left)} left"
                for line in told:
                    self.session.say(line)
            self._conclude()

    def _announce(self, done: int) -> None:
        total, folder = self.study.total, shown(self.session.folder)
        parts = [f"{many(total, 'trial')} in {folder}"] + ([f"{done} done already"] if done else [])
        if total < self.settings.n_trials:
            parts.append("which are all combinations there are")
        self.session.say(", ".join(parts))
        combinations = self.space.combinations()
        if total == self.settings.n_trials and combinations and combinations < total:
            self.session.say(f"the values have {combinations} combinations only: hydra/sweeper=grid makes each once")

    def _work(self, trials: list[Trial]) -> list[str]:
        """Have the runs of some trials made. Returns what came of each, in words."""
        lines = [
            [*self.space.fixed, *self.space.words(trial.params), f"sweep.trial={trial.number}"] for trial in trials
        ]
        names = [f"trial {trial.number}  {self.space.short(trial.params)}" for trial in trials]
        jobs = self.session.plan(lines, names)
        outcomes = self.session.work(jobs, announce=False)
        return [
            f"{name}: {self._tell(trial, job, outcomes[job])}"
            for trial, job, name in zip(trials, jobs, names, strict=True)
        ]

    def _tell(self, trial: Trial, job: Job, outcome: Outcome) -> str:
        """Tell the study what came of a trial. Returns it in words."""
        if outcome.status == "complete" and job.run:
            try:
                values = [objective(name, outcome.metrics or {}, job.run) for name in self.settings.objectives]
            except (RunError, OSError, KeyError, ValueError) as error:
                outcome = Outcome("failed", str(error))
                self.session.outcomes[job] = outcome
        about = {"status": outcome.status} | ({"run": job.run.path.name} if job.run else {})
        about |= {"reason": outcome.reason} if outcome.reason else {}
        if outcome.status == "complete":
            self.study.tell(trial, values, TrialState.COMPLETE, **about)
            return self._values(values)
        if outcome.status == "pruned":
            self.study.tell(trial, None, TrialState.PRUNED, **about)
            return outcome.reason or "pruned"
        self.study.tell(trial, None, TrialState.FAIL, **about)
        self.study.failed += 1
        return "failed"

    def _values(self, values: list[float]) -> str:
        return ", ".join(
            f"{name} {number(value)}" for name, value in zip(self.settings.objectives, values, strict=True)
        )

    def _conclude(self) -> None:
        """Say how many trials there are, and the best of them."""
        say, counts = self.session.say, self.study.counts()
        words = [f"{counts['complete']} complete"]
        words += [f"{counts[status]} {status}" for status in ("pruned", "failed") if counts[status]]
        say("")
        say(f"trials: {', '.join(words)}")
        if counts["complete"]:
            with calm():
                best = self.study.study.best_trials
            if len(self.settings.objectives) == 1:
                (trial,) = best[:1]
                say(f"best: trial {trial.number}, {self._values(trial.values)}")
                say(f"  {self._command(trial)}")
            else:
                self._print_front(best, counts["complete"])
        say(f"to look at: optuna-dashboard {shlex.quote(self.settings.place(self.session.folder))}")
        say("")

    def _command(self, trial: FrozenTrial) -> str:
        """The command line of a trial's run; where a sweep's file chose the data or the model, its parameters alone."""
        words = self.space.words(trial.params)
        if any(word.lstrip("+").startswith("sweep=") for word in self.space.fixed):
            return shlex.join(words)
        return shlex.join(["python", "train.py", *without_own(self.space.fixed), *words])

    def _print_front(self, best: list[FrozenTrial], complete: int) -> None:
        """The trials that no other one beats in all objectives."""
        say, names = self.session.say, self.settings.objectives
        say(f"Pareto front: {len(best)} of {many(complete, 'complete trial')}, by {' and '.join(names)}")
        front = sorted(best, key=lambda trial: trial.values)
        rows = [["trial", *names, "parameters"]]
        rows += [[str(trial.number), *map(number, trial.values), self.space.short(trial.params)] for trial in front]
        widths = [max(len(row[place]) for row in rows) for place in range(len(names) + 1)]
        for row in rows[: FRONT + 1]:
            say("  ".join([*(cell.rjust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))
        if len(front) > FRONT:
            say(f"and {len(front) - FRONT} more")


def objective(name: str, metrics: Mapping[str, Any], run: RunDirectory) -> float:
    """The value of an objective for a complete run.

    Raises:
        RunError: where it has none.
    """
    segment, _, score = name.rpartition("/")
    if name == "parameters":
        value: Any = metrics.get("parameters")
    elif name == "seconds":
        with run.history.open(encoding="utf-8") as lines:
            value = math.fsum(float(row["seconds"]) for row in csv.DictReader(lines))
    elif segment in metrics:
        value = metrics[segment]["models"]["best"].get(score)
    else:
        raise RunError(f"there is no {name}: data.validation leaves no validation segment")
    if value is None or not math.isfinite(value):
        raise RunError(f"{name} is {'undefined' if value is None else value}: it cannot be searched by")
    return float(value)
