"""What a backtest is asked for, checked before torch is imported."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from unroll.cli import check_keys
from unroll.config import check_config, plain
from unroll.errors import ConfigError
from unroll.reproduction.jobs import composed
from unroll.rules import RULES
from unroll.runs.reuse import data_digest, fingerprint, run_name

OWN = {
    "resume": "nothing: the same command goes on by itself",
    "sweep.name": "--name NAME",
    "sweep": "one config: a backtest is no sweep",
    "data.test": "--rows N",
}
FREE_RUN = {"steps": 0, "start": None, "step": None}


@dataclass(frozen=True)
class Options:
    """What a backtest is asked for.

    Args:
        rows: the last ones of the series, which are forecast; None: as many as data.test says.
        refit: rows from one training to the next; 0: trained once.
        step: rows from one origin to the next.
        overrides: of the config.
    """

    rows: int | None
    refit: int
    step: int
    overrides: tuple[str, ...]

    @property
    def slug(self) -> str:
        """For the name of the folder."""
        parts = {"rows": self.rows, "refit": self.refit or None, "step": self.step if self.step > 1 else None}
        return "".join(f"_{name}{value}" for name, value in parts.items() if value is not None)


def check_options(options: Options) -> None:
    """Raise ConfigError for a number that cannot be, and for keys that a backtest sets itself."""
    if options.rows is not None and options.rows < 1:
        raise ConfigError(f"--rows {options.rows}: give at least 1, the last rows, which are forecast")
    if options.refit < 0:
        raise ConfigError(f"--refit {options.refit}: give the rows from one training to the next, or 0 to train once")
    if options.step < 1:
        raise ConfigError(f"--step {options.step}: give at least 1, the rows from one origin to the next")
    for word in options.overrides:
        if "=" not in word or word.startswith("="):
            raise ConfigError(f"{word}: write KEY=VALUE, as for train.py")
        key = word.lstrip("+~").partition("=")[0]
        if key in OWN:
            raise ConfigError(f"{word}: it cannot be set here; give {OWN[key]}")


def compose_config(options: Options, config_dir: Path) -> DictConfig:
    """The config of all folds, checked as one of train.py; it has no free run.

    Args:
        options: checked.
        config_dir: the folder of the configs.

    Raises:
        ConfigError: whatever is wrong with it.
    """
    typed = list(options.overrides)
    cfg, choices = composed(typed, config_dir)
    check_keys(cfg, choices, typed, config_dir)
    if isinstance(cfg.get("free_run"), DictConfig):
        cfg.free_run = dict(FREE_RUN)
    if isinstance(cfg.get("data"), DictConfig) and cfg.data.get("test") == 0:
        if options.rows is None:
            raise ConfigError("data.test=0: it says how many rows are forecast here: give --rows N")
        cfg.data.test = options.rows
    check_config(cfg)
    return cfg


def folder_of(cfg: DictConfig, options: Options, name: str | None) -> Path:
    """Where a backtest's runs and its report lie: found again by the same command.

    Args:
        cfg: of all folds.
        options: checked.
        name: as the user gave it; None: made from the config and the data.
    """
    wanted = RULES["sweep.name"](name)
    if wanted:
        raise ConfigError(f"--name {name}: give {wanted}")
    config = plain(cfg)
    found = name or run_name(config, fingerprint(config, data_digest(config))) + options.slug
    return Path(cfg.output_dir).absolute() / "backtests" / found
