"""What conf/hydra/sweeper/optuna.yaml says, checked; Optuna's own objects are made from it."""

import functools
import inspect
import logging
import types
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig, OmegaConf
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from unroll.errors import ConfigError, nearest
from unroll.rules import Rule, choice, integer, list_of, optional, text
from unroll.sweeps.space import Space

DIRECTIONS = ("minimize", "maximize")
SCORES = ("rmse", "mae", "mase", "r2", "skill", "loss")
LARGEST_IS_BEST = ("validation/r2", "validation/skill")
OBJECTIVES = (*(f"validation/{score}" for score in SCORES), "parameters", "seconds")
KINDS: dict[str, tuple[types.ModuleType, type]] = {
    "sampler": (optuna.samplers, BaseSampler),
    "pruner": (optuna.pruners, BasePruner),
}
UNPICKLING = ("CmaEsSampler",)  # it keeps a pickle in the study, which whoever hands over the folder may replace
FIXED_SEED = ("GridSampler", "QMCSampler")  # these go through one sequence, and find their place in it
EXHAUSTIVE = ("GridSampler", "BruteForceSampler")
LOCK_SECONDS = 60  # how long a process waits while others write to an SQLite file


@dataclass(frozen=True)
class Settings:
    """The settings of a search.

    Args:
        directions: one an objective.
        objectives: of OBJECTIVES.
        n_trials: in total.
        n_jobs: trials at a time; None: as many as the launcher runs.
        sampler: its class by name, and arguments.
        pruner: likewise.
        storage: None (SQLite in the sweep's folder), journal, or a URL.
        study_name: None: the sweep's.
        params: the search space, by key.
    """

    directions: list[str]
    objectives: list[str]
    n_trials: int
    n_jobs: int | None
    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any]
    storage: str | None
    study_name: str | None
    params: Mapping[str, Any]

    @classmethod
    def read(cls, sweeper: DictConfig) -> "Settings":
        """From Hydra's config of the sweeper.

        Raises:
            ConfigError: names the first setting that is wrong.
        """
        given = OmegaConf.to_container(sweeper, resolve=True)
        assert isinstance(given, dict)
        known = {*cls.__dataclass_fields__, "direction", "_target_", "_recursive_"} - {"directions"}
        for key in map(str, given):
            if key not in known:
                raise ConfigError(f"there is no key hydra.sweeper.{key}{nearest(key, known)}")
        directions, objectives = _listed(given.get("direction")), _listed(given.get("objectives"))
        _check("direction", directions, list_of(choice(*DIRECTIONS), "minimize and maximize", "[minimize,maximize]"))
        _check_objectives(objectives, directions)
        _check("n_trials", given.get("n_trials"), integer(1))
        _check("n_jobs", given.get("n_jobs"), optional(integer(1)))
        _check("storage", given.get("storage"), optional(text))
        _check("study_name", given.get("study_name"), optional(text))
        params = given.get("params") or {}
        if not isinstance(params, dict):
            raise ConfigError(f"hydra.sweeper.params={params}: it must be a mapping: params: {{model: 'rnn,gru'}}")
        settings = cls(
            directions,
            objectives,
            given["n_trials"],
            given.get("n_jobs"),
            _part("sampler", given.get("sampler"), "TPESampler"),
            _part("pruner", given.get("pruner"), "NopPruner"),
            given.get("storage"),
            given.get("study_name"),
            {str(key): value for key, value in params.items()},
        )
        if settings.prunes and len(directions) > 1:
            raise ConfigError(
                f"hydra.sweeper.pruner.name={settings.pruner['name']}: Optuna prunes by one objective only, and there "
                f"are {len(directions)}: take NopPruner"
            )
        return settings

    @property
    def prunes(self) -> bool:
        """Whether trials may be stopped before their end."""
        return self.pruner["name"] != "NopPruner"

    def check(self, space: Space) -> None:
        """Make everything once, so that a mistake is found before anything is written."""
        self.make_sampler(space, 0)
        self.make_pruner()
        if self.storage not in (None, "journal"):
            self.open_storage(Path())

    def make_sampler(self, space: Space, trials: int) -> BaseSampler:
        """The sampler for the next trials.

        Args:
            space: to search.
            trials: that there are in the study: one that is gone on with must not draw the same numbers again.
        """
        arguments, name = dict(self.sampler), str(self.sampler["name"])
        if name == "GridSampler":
            arguments["search_space"] = space.values()
            if arguments["search_space"] is None:
                raise ConfigError(
                    "hydra.sweeper.sampler.name=GridSampler: a grid needs values that can be counted: write choices "
                    "and ranges, no intervals"
                )
        if isinstance(arguments.get("seed"), int) and name not in FIXED_SEED:
            arguments["seed"] = (arguments["seed"] + trials) % 2**32
        sampler = _make("sampler", arguments)
        assert isinstance(sampler, BaseSampler)
        return sampler

    def make_pruner(self) -> BasePruner:
        """The pruner."""
        pruner = _make("pruner", self.pruner)
        assert isinstance(pruner, BasePruner)
        return pruner

    def total(self, space: Space) -> int:
        """How many trials there are to be: fewer where a sampler goes through all values, and has done so."""
        most = space.combinations() if self.sampler["name"] in EXHAUSTIVE else None
        return min(self.n_trials, most or self.n_trials)

    def place(self, folder: Path) -> str:
        """Where the study is, as optuna-dashboard takes it; a password is not shown.

        Args:
            folder: of the sweep.
        """
        if self.storage is None:
            return URL.create("sqlite", database=str(folder / "study.db")).render_as_string()
        if self.storage == "journal":
            return str(folder / "study.log")
        return make_url(self.storage).render_as_string(hide_password=True)

    def open_storage(self, folder: Path) -> BaseStorage:
        """The storage; made where there is none.

        Raises:
            ConfigError: where it cannot be opened.
        """
        asked = self.storage
        try:
            with calm():
                if self.storage == "journal":
                    return _journal(self.place(folder))
                return _database(self.storage or self.place(folder))
        except Exception as error:  # of SQLAlchemy, of a driver that is not installed, of the disk
            with suppress(ArgumentError):
                asked = self.place(folder)
            if self.storage is None or self.storage == "journal":
                raise ConfigError(
                    f"{asked} is damaged or cannot be written ({_line(error)}): remove it; the search begins anew and "
                    "finds the runs that are complete"
                ) from error
            raise ConfigError(
                f"hydra.sweeper.storage={asked}: it cannot be opened ({_line(error)}): "
                "take null (SQLite), journal, or a URL such as sqlite:///study.db"
            ) from error


@functools.cache  # once a process: a worker makes many jobs
def _journal(path: str) -> BaseStorage:
    return JournalStorage(JournalFileBackend(path))


@functools.cache
def _database(url: str) -> BaseStorage:
    file = make_url(url).get_backend_name() == "sqlite"
    return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}} if file else {})


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check(key: str, value: Any, rule: Rule) -> None:
    wanted = rule(value)
    if wanted:
        shown = "null" if value is None else value[0] if isinstance(value, list) and len(value) == 1 else value
        raise ConfigError(f"hydra.sweeper.{key}={shown}: it must be {wanted}")


def _check_objectives(objectives: list[Any], directions: list[str]) -> None:
    for name in objectives:
        if str(name).startswith("test"):
            raise ConfigError(
                f"hydra.sweeper.objectives={name}: to choose by the test segment is a leak: nothing would be left to "
                f"report the choice on; take {str(name).replace('test', 'validation', 1)}"
            )
        _check("objectives", name, choice(*OBJECTIVES))
    if len(objectives) != len(directions) or not objectives:
        raise ConfigError(
            f"hydra.sweeper.direction and hydra.sweeper.objectives: give one direction an objective, not "
            f"{len(directions)} and {len(objectives)}: direction=[minimize,minimize] "
            "objectives=[validation/rmse,parameters]"
        )
    for name, direction in zip(objectives, directions, strict=True):
        wanted = "maximize" if name in LARGEST_IS_BEST else "minimize"
        if name.startswith("validation/") and direction != wanted:
            worse = "smaller" if wanted == "maximize" else "larger"
            raise ConfigError(f"hydra.sweeper.direction={direction}: a {worse} {name} is worse: {wanted} it")


def _part(kind: str, given: Any, default: str) -> dict[str, Any]:
    """A sampler or a pruner as the config says it."""
    if given is None:
        given = {"name": default}
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise ConfigError(f"hydra.sweeper.{kind}={given}: it must be a name and arguments, as {{name: {default}}}")
    return {str(key): value for key, value in given.items()}


def _make(kind: str, given: Mapping[str, Any], key: str | None = None) -> object:
    """An object of optuna.samplers or optuna.pruners; nothing else can be named.

    Args:
        kind: sampler or pruner.
        given: the name of its class, and arguments; a sampler or pruner among these is written in the same way.
        key: of the config, for messages.
    """
    module, base = KINDS[kind]
    key = key or f"hydra.sweeper.{kind}"
    found = {name: getattr(module, name) for name in module.__all__}
    classes = {
        name: item
        for name, item in found.items()
        if isinstance(item, type) and issubclass(item, base) and not inspect.isabstract(item) and name not in UNPICKLING
    }
    name = given["name"]
    if name not in classes:
        near = nearest(str(name), classes)
        raise ConfigError(f"{key}.name={name}: there is no such {kind} in Optuna{near}: {', '.join(classes)}")
    known = [argument for argument in inspect.signature(classes[name]).parameters if argument != "search_space"]
    arguments = {}
    for argument, value in given.items():
        if argument == "name" or (argument == "seed" and argument not in known):
            continue  # the seed is in the config whichever the sampler is
        if argument not in known and argument != "search_space":
            raise ConfigError(f"{key}.{argument}: {name} has no such argument{nearest(argument, known)}")
        inner = next((kind for kind in KINDS if argument.endswith(f"_{kind}")), None)
        if inner and isinstance(value, dict | str):
            value = _make(inner, _part(inner, value, "..."), f"{key}.{argument}")
        arguments[argument] = value
    try:
        with calm():
            return classes[name](**arguments)
    except (TypeError, ValueError, ImportError, AttributeError) as error:
        raise ConfigError(f"{key}.name={name}: Optuna refuses its arguments: {_line(error)}") from error


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def calm() -> Iterator[None]:
    """Leave the terminal to this program: no news from Optuna, nor that a part of it is experimental."""
    optuna.logging.set_verbosity(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
