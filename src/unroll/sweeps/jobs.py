"""What a sweep has to do: one job a config, known by its fingerprint. Imports neither torch nor lightning."""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from unroll.cli import check_keys, explain
from unroll.config import check_config, plain
from unroll.errors import ConfigError, RunError
from unroll.runs.directory import RunDirectory
from unroll.runs.reuse import data_digest, fingerprint, run_name

FIXED = ("output_dir", "resume", "sweep.name", "sweep.trial")  # one of each for a whole sweep
FAMILIES = ("ddp", "fsdp", "deepspeed", "xla", "bagua", "hivemind")


@dataclass(frozen=True)
class Job:
    """One run of a sweep, to be made or to be found.

    Args:
        overrides: of the command line, as Hydra takes them.
        run: its directory; None where the config is wrong.
        fingerprint: of its config and data.
        problem: what is wrong with its config, in a line.
        name: what sets it apart from the other jobs.
        work: in proportion to the others'.
    """

    overrides: tuple[str, ...]
    run: RunDirectory | None = field(compare=False)
    fingerprint: str
    problem: str | None = None
    name: str = ""
    work: float = 1.0


class Planner:
    """Composes and checks the configs of a sweep's jobs.

    Args:
        master: the config of the sweep itself.
        loader: Hydra's, for the configs of the jobs.
        config_dir: the folder of the configs.
    """

    def __init__(self, master: DictConfig, loader: ConfigLoader, config_dir: Path) -> None:
        self.master, self.loader, self.config_dir = master, loader, config_dir
        self.folder = sweep_folder(master)
        self.digests: dict[str, str | None] = {}
        self.composed: dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]] = {}

    def job(self, overrides: Sequence[str], name: str = "") -> Job:
        """The job of a command line without sweeps. What is wrong with it is said in `problem`."""
        try:
            cfg, choices = self._composed(overrides)
            known_by, folder = identify(cfg, choices, overrides, self.config_dir, self.digests)
            return Job(tuple(overrides), RunDirectory(self.folder / folder), known_by, name=name)
        except Exception as error:
            return Job(tuple(overrides), None, "", explain(error, self.config_dir), name)

    def _composed(self, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
        """The config of a command line, and the option of each group.

        Composing takes a tenth of a second, so that it is done once for each choice of options. Keys with a dot, and
        seeds, choose none: their values are put in afterwards, as Hydra itself does.
        """
        plain_values = [word for word in overrides if re.match("(seed|[a-z_]+[.][A-Za-z0-9_.]+)=", word)]
        plain_values = [word for word in plain_values if not word.startswith("hydra.")]
        choosing = tuple(word for word in overrides if word not in plain_values)
        if choosing not in self.composed:
            self.composed[choosing] = self._in_full(choosing)
        base, choices = self.composed[choosing]
        cfg = copy.deepcopy(base)
        for word in OverridesParser.create().parse_overrides(plain_values):
            if OmegaConf.select(cfg, word.key_or_group, default=self) is self:  # no such key: Hydra says it best
                return self._in_full(overrides)
            OmegaConf.update(cfg, word.key_or_group, word.value(), merge=True)
        return cfg, choices

    def _in_full(self, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
        cfg = self.loader.load_sweep_config(self.master, list(overrides))
        choices = {str(group): str(option) for group, option in cfg.hydra.runtime.choices.items()}
        with open_dict(cfg):
            del cfg.hydra
        return cfg, choices


def identify(
    cfg: DictConfig,
    choices: dict[str, str],
    overrides: Sequence[str],
    config_dir: Path,
    digests: dict[str, str | None] | None = None,
) -> tuple[str, str]:
    """Check the config of a job. Returns its fingerprint and the name of its run directory.

    Args:
        cfg: composed, without the part of Hydra.
        choices: option by group.
        overrides: of the job.
        config_dir: the folder of the configs.
        digests: of data files that were read before, by path; a sweep reads each once.

    Raises:
        ConfigError: whatever is wrong with it.
    """
    check_keys(cfg, choices, list(overrides), config_dir)
    check_sweepable(cfg)  # says more of trainer.num_nodes than its rule
    check_config(cfg)
    config = plain(cfg)
    digests = {} if digests is None else digests
    path = str(config["data"].get("path"))
    if path not in digests:
        digests[path] = data_digest(config)
    known_by = fingerprint(config, digests[path])
    return known_by, run_name(config, known_by)


def check_sweepable(cfg: DictConfig) -> None:
    """Raise ConfigError for what cannot be part of a sweep."""
    if not isinstance(cfg.get("trainer"), DictConfig):  # said by check_config
        return
    strategy = str(cfg.trainer.get("strategy", "")).lower()
    if strategy.startswith(FAMILIES) or cfg.trainer.get("num_nodes", 1) != 1:
        asked = f"strategy={strategy}" if strategy.startswith(FAMILIES) else f"num_nodes={cfg.trainer.num_nodes}"
        raise ConfigError(
            f"trainer.{asked}: such a training starts its processes by repeating the command line, and each of them "
            "would start the whole sweep again: leave it away (a sweep is parallel by hydra/launcher=joblib), or "
            "train without -m"
        )


def check_sweep(arguments: Sequence[Override]) -> None:
    """Raise ConfigError for a command line that is no sweep's.

    Args:
        arguments: parsed.
    """
    for word in arguments:
        key = word.get_key_element().lstrip("+~")
        if key == "resume":
            raise ConfigError(
                f"{word.input_line}: resume continues one run; a sweep goes on by the same command with the same "
                "sweep.name"
            )
        if key == "sweep.trial":
            raise ConfigError(f"{word.input_line}: it is set by a search alone")
        if key == "sweep" and word.is_sweep_override():
            raise ConfigError(f"{word.input_line}: one study at a time, each is a sweep of its own")
        if key in FIXED and word.is_sweep_override():
            raise ConfigError(f"{word.input_line}: a sweep has one {key}")


def sweep_folder(cfg: DictConfig) -> Path:
    """Where the runs of a sweep are."""
    return Path(cfg.output_dir).absolute() / "sweeps" / str(cfg.sweep.name)


def without_own(overrides: Sequence[str]) -> list[str]:
    """Overrides as a user typed them, without what a sweep adds to each job."""
    return [word for word in overrides if not re.match(r"\+*sweep\.(name|trial)=", word)]


def stored(job: Job) -> dict[str, Any] | None:
    """What run.json of a job says; None where there is none."""
    try:
        return job.run.read_state() if job.run else None
    except (RunError, OSError):
        return None
