"""An Optuna study that several searches may share, and that a killed one leaves as it is.

A search holds a lock on a file of its own for as long as it lives, and its trials name that file: a running trial whose
file nobody holds was left behind. It becomes a failed one, and its parameters are tried again, so that its run goes on
where it stopped. One more lock lets one search at a time look at the trials and choose new ones, so that together they
make no more than there are to be.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from unroll.errors import ConfigError, RunError
from unroll.sweeps.settings import Settings, calm
from unroll.sweeps.space import Space

LOCK = ".search.lock"
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
OF_THE_PLACE = ("output_dir", "checkpoint_seconds", "threads", "trainer", "trainer.accelerator")
GRID = ("grid_id", "search_space")  # how GridSampler knows the place of a trial


class SharedStudy:
    """The study of a search.

    Args:
        settings: of the search.
        space: what is searched.
        folder: of the sweep.
        name: of the sweep.
    """

    def __init__(self, settings: Settings, space: Space, folder: Path, name: str) -> None:
        self.settings, self.space, self.folder = settings, space, folder
        self.total = settings.total(space)
        self.name = settings.study_name or name
        self.lock = folder / f".search-{secrets.token_hex(6)}"
        self.failed = 0  # in this call: they are not tried again in it
        self.retried = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Open the study, and be known as alive meanwhile.

        Raises:
            ConfigError: where the study is of another search.
        """
        with _held(self.lock):
            try:
                with _held(self.folder / LOCK), calm():
                    storage = self.settings.open_storage(self.folder)
                    self.study = optuna.create_study(
                        storage=storage,
                        study_name=self.name,
                        directions=[StudyDirection[word.upper()] for word in self.settings.directions],
                        pruner=self.settings.make_pruner(),
                        load_if_exists=True,
                    )
                    self._check_same()
                yield
            finally:
                self.lock.unlink(missing_ok=True)

    def _check_same(self) -> None:
        """Trials of another space, objective or config do not compare with those to come."""
        about: dict[str, Any] = {
            "objectives": self.settings.objectives,
            "fixed": _comparable(self.space.fixed),
        }
        before = self.study.user_attrs.get("unroll") if self.done() else None
        if before is None:  # nothing to compare with yet
            self.study.set_user_attr("unroll", about)
            before = about
        try:
            found = [direction.name.lower() for direction in self.study.directions]
            if found != self.settings.directions:
                raise ConfigError(f"direction was {_words(found)} before, and now {_words(self.settings.directions)}")
            if before["objectives"] != about["objectives"]:
                earlier, asked = _words(before["objectives"]), _words(self.settings.objectives)
                raise ConfigError(f"objectives was {earlier} before, and now {asked}")
            for key in {**before["fixed"], **about["fixed"]}:
                was, now = before["fixed"].get(key), about["fixed"].get(key)
                if was != now:
                    raise ConfigError(f"{key} was {was or 'not set'} before, and now {now or 'not set'}")
            for trial in reversed(self.trials()):
                if trial.distributions:  # those of failed ones bind Optuna too
                    self.space.check_same(trial.distributions)
                    break
        except ConfigError as error:
            raise ConfigError(
                f"{error}: the trials of the study {self.name} do not compare with that: go back, or begin another "
                "study with another sweep.name"
            ) from None

    def trials(self) -> list[FrozenTrial]:
        """All trials there are."""
        return self.study.get_trials(deepcopy=False)

    def counts(self) -> dict[str, int]:
        """How many trials are complete, pruned, and failed without one that mended it."""
        trials = self.trials()
        states = [trial.state for trial in trials]
        failed = [trial.params for trial in trials if trial.state is TrialState.FAIL and trial.params]
        settled = [trial.params for trial in trials if trial.state is not TrialState.FAIL]
        left = [params for number, params in enumerate(failed) if params not in [*settled, *failed[:number]]]
        complete, pruned = (states.count(state) for state in COUNTED)
        return {"complete": complete, "pruned": pruned, "failed": len(left)}

    def done(self) -> int:
        """How many trials count: failed ones do not."""
        return sum(trial.state in COUNTED for trial in self.trials())

    def ask(self, most: int) -> list[Trial] | None:
        """Choose the parameters of new trials.

        Args:
            most: at a time.

        Returns:
            none where there are enough; None where others are at the last ones, of which some may fail.

        Raises:
            ConfigError: where the sampler cannot work with the space.
        """
        with _held(self.folder / LOCK), calm():
            left = self._fail_abandoned()
            if not self.retried:
                left, self.retried = [trial for trial in self.trials() if trial.state is TrialState.FAIL], True
            states = [trial.state for trial in self.trials()]
            counted, running = sum(states.count(state) for state in COUNTED), states.count(TrialState.RUNNING)
            room = self.total - counted - running - self.failed
            if room <= 0:
                return None if running else []
            self._enqueue(left, room)
            self.study.sampler = self.settings.make_sampler(self.space, len(states))
            return [self._ask_one() for _ in range(min(room, most))]

    def _ask_one(self) -> Trial:
        try:
            trial = self.study.ask(dict(self.space.distributions))
        except (ValueError, NotImplementedError, RuntimeError, ImportError) as error:
            name = self.settings.sampler["name"]
            raise ConfigError(f"hydra.sweeper.sampler.name={name}: {' '.join(str(error).split())}") from error
        trial.set_user_attr("search", str(self.lock))
        return trial

    def tell(self, trial: Trial | int, values: Sequence[float] | None, state: TrialState, **about: Any) -> None:
        """The end of a trial.

        Args:
            trial: or its number.
            values: of the objectives, where it is complete.
            state: how it ended.
            about: user attributes.
        """
        frozen = self._frozen(trial if isinstance(trial, int) else trial.number)
        with calm():
            for key, value in about.items():
                self.study._storage.set_trial_user_attr(frozen._trial_id, key, value)
            with suppress(RuntimeError, KeyError):  # a sampler that has gone through all values; the state is set
                self.study.tell(frozen.number, values, state)
        assert self._frozen(frozen.number).state is state

    def _frozen(self, number: int) -> FrozenTrial:
        return next(trial for trial in self.trials() if trial.number == number)

    def _fail_abandoned(self) -> list[FrozenTrial]:
        """Set the trials of searches that were killed to failed."""
        left = []
        for trial in self.trials():
            if trial.state is TrialState.RUNNING and not _is_alive(trial.user_attrs.get("search")):
                self.tell(trial.number, None, TrialState.FAIL, status="failed", reason="its search was stopped")
                left.append(trial)
        return left

    def _enqueue(self, failed: Sequence[FrozenTrial], most: int) -> None:
        """Have the parameters of failed trials tried again, those once that no other trial has."""
        waiting = sum(trial.state is TrialState.WAITING for trial in self.trials())
        known = [
            trial.system_attrs.get("fixed_params", trial.params)
            for trial in self.trials()
            if trial.state is not TrialState.FAIL
        ]
        for trial in failed:
            if waiting < most and self.space.has(trial.params) and trial.params not in known:
                waiting += 1
                known.append(trial.params)
                place = {key: trial.system_attrs[key] for key in GRID if key in trial.system_attrs}
                self.study.add_trial(
                    optuna.trial.create_trial(
                        state=TrialState.WAITING, system_attrs={"fixed_params": trial.params, **place}
                    )
                )


def trial_of(settings: Settings, folder: Path, sweep: str, number: int) -> Trial:
    """A trial of a running search, for the job that it is tried in.

    Args:
        settings: of the search.
        folder: of the sweep.
        sweep: its name.
        number: of the trial.
    """
    with calm():
        storage = settings.open_storage(folder)
        study = optuna.load_study(
            study_name=settings.study_name or sweep,
            storage=storage,
            sampler=optuna.samplers.RandomSampler(),  # chooses nothing here
            pruner=settings.make_pruner(),
        )
        return Trial(study, study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number))


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a file; the lock ends with the process, however that ends."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise RunError(
                f"{path.parent}: this file system has no locks ({error.strerror}), by which a search knows which of "
                "its trials were left behind: set output_dir to another one"
            ) from error
        yield
    finally:
        os.close(lock)


def _is_alive(lock: str | None) -> bool:
    """Whether a search holds its file. What is on another machine cannot be seen, and is left alone."""
    if lock is None:  # it was killed while it chose the parameters
        return False
    if not Path(lock).parent.is_dir():
        return True
    try:
        handle = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    Path(lock).unlink(missing_ok=True)
    return False


def _comparable(words: Sequence[str]) -> dict[str, str]:
    """What decides the results of all trials, by key."""
    parts = [word.lstrip("+").partition("=") for word in words]
    return {key: value for key, _, value in parts if key not in OF_THE_PLACE and not key.startswith("sweep.")}


def _words(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"[{','.join(names)}]"
