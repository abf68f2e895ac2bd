"""Which runs a reproduction needs. Imports neither torch nor lightning: a wrong word must not wait for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict

from unroll.cli import check_keys
from unroll.config import check_config, known_keys, plain
from unroll.errors import ConfigError, nearest
from unroll.reproduction.published import REFERENCES

OWN = {
    "seed": "--seeds N",
    "output_dir": "--output FOLDER",
    "resume": "the same command again, which goes on by itself",
    "experiment": "the names of experiments",
    "model": "other experiments (python train.py experiment=NAME model=... changes the model)",
    "data": "other experiments (python train.py experiment=NAME data=... changes the data)",
}


HARMLESS = {  # what leaves an experiment what it is: the file, the machine
    *("data.path", "data.target", "data.date", "data.missing", "data.cinema_code", "data.film_code"),
    *("trainer", "trainer.accelerator", "threads", "checkpoint_seconds", "evaluate_train"),
}


@dataclass(frozen=True, eq=False)  # a dictionary has no hash
class Job:
    """One run to be made, or to be found.

    Args:
        config: resolved, as plain values.
        overrides: as they would be typed.
        work: roughly, in seconds.
    """

    experiment: str
    seed: int
    config: dict[str, Any]
    overrides: tuple[str, ...]
    work: float

    @property
    def changed(self) -> bool:
        """Whether an override makes it another experiment than the published one."""
        keys = [word.partition("=")[0] for word in self.overrides]
        return not {*keys} <= HARMLESS | {"experiment", "seed"}

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.experiment} seed {self.seed}"


def choose(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Experiments (all of them where none is named) and overrides.

    Raises:
        ConfigError: for a name that is none, and for keys that this command sets itself.
    """
    overrides = [word for word in words if "=" in word]
    names = list(dict.fromkeys(word for word in words if "=" not in word)) or list(REFERENCES)
    for name in names:
        if name not in REFERENCES:
            raise ConfigError(
                f"{name!r}: there is no such reference experiment{nearest(name, REFERENCES)}; choose from: "
                f"{', '.join(REFERENCES)}; to change a key, write KEY=VALUE"
            )
    for word in overrides:
        if word.startswith("="):
            raise ConfigError(f"{word}: write KEY=VALUE")
        if word.startswith(("+", "~")):
            raise ConfigError(f"{word}: keys can be set here (KEY=VALUE), not added or removed")
        key = word.partition("=")[0]
        if key in OWN:
            raise ConfigError(f"{word}: it cannot be set here; give {OWN[key]}")
    return names, overrides


def plan(
    names: Sequence[str], overrides: Sequence[str], seeds: int, folder: Path, config_dir: Path
) -> tuple[list[Job], list[str]]:
    """Compose and check the config of every run.

    An override whose key only some of the experiments have, such as data.path, goes to these.

    Args:
        names: of experiments.
        overrides: KEY=VALUE.
        seeds: 0 to seeds - 1.
        folder: for the runs.
        config_dir: the folder of the configs.

    Returns:
        the jobs, the longest first, and what is to be said of them.

    Raises:
        ConfigError: for a key that none has, and whatever is wrong with a config.
    """
    groups = {path.name for path in config_dir.iterdir() if path.is_dir()} - {"base"}
    chosen = [word for word in overrides if word.partition("=")[0] in groups]
    keys = {name: {*known_keys(composed([f"experiment={name}", *chosen], config_dir)[0]), *groups} for name in names}
    notes, mine = [], {name: [*chosen] for name in names}
    for word in overrides:
        key = word.partition("=")[0]
        those = [name for name in names if key in keys[name]]
        if not those:
            raise ConfigError(f"there is no key {key}{nearest(key, sorted(set().union(*keys.values())))}")
        if len(those) < len(names):
            notes.append(f"{word} goes to {', '.join(those)}; the other experiments have no key {key}.")
        for name in those if word not in chosen else ():
            mine[name].append(word)
    jobs = []
    for name in names:
        typed = [f"experiment={name}", *mine[name]]
        cfg, choices = composed(typed, config_dir)
        cfg.output_dir = str(folder)
        check_keys(cfg, choices, typed, config_dir)
        check_config(cfg)
        for seed in range(seeds):
            cfg.seed = seed
            jobs.append(Job(name, seed, plain(cfg), (*typed, f"seed={seed}"), REFERENCES[name].work))
    return sorted(jobs, key=lambda job: (-job.work, job.seed)), notes


def composed(overrides: Sequence[str], config_dir: Path) -> tuple[DictConfig, dict[str, str]]:
    """The config of a command line, and the option of each group."""
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir)):
        cfg = compose("train", overrides=list(overrides), return_hydra_config=True)
    choices = {str(group): str(option) for group, option in cfg.hydra.runtime.choices.items()}
    with open_dict(cfg):
        del cfg.hydra
    return cfg, choices
