"""Turn a user's mistake on the command line into one line that says what would be right."""

import functools
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from unroll.config import known_keys
from unroll.errors import ConfigError, UnrollError, nearest
from unroll.interrupts import INTERRUPTED
from unroll.tables import printable, shortened

OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "Unable to allocate", "array is too big")
BAD_GROUP = "Config group override must be a string or a list"
NO_PLUGIN = "Unknown plugin class"
EXTRAS = ("joblib", "ray", "slurm", "optuna")
SHOW_ALL = os.environ.get("HYDRA_FULL_ERROR") == "1"  # as the user set it


@contextmanager
def one_line_errors(config_dir: Path) -> Iterator[None]:
    """Around a Hydra main: mistakes become one line on standard error and exit code 1.

    HYDRA_FULL_ERROR=1 shows the traceback instead.

    Args:
        config_dir: the folder of the configs, to look up what would have been right.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise, where it would print and exit
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        if SHOW_ALL or not _is_users(error):
            raise
        sys.stderr.write(f"error: {printable(shortened(explain(error, config_dir)))}\n")
        sys.exit(1)


def _is_users(error: Exception) -> bool:
    """Whether an error comes of what the user gave. Any other is a fault of the program, and shows its traceback."""
    if isinstance(error, UnrollError | HydraException | OmegaConfBaseException | OSError | MemoryError | YAMLError):
        return True
    return any(words in str(error) for words in (*OUT_OF_MEMORY, BAD_GROUP, NO_PLUGIN))


def explain(error: Exception, config_dir: Path) -> str:
    """What is wrong and what would be right, in one line."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    message = " ".join(str(error).split())
    if isinstance(error, UnrollError):
        return message
    if isinstance(error, OverrideParseException):
        return (
            f"cannot read the override {error.override!r}: write KEY=VALUE; quote lists, 'KEY=[16,8]', and quote a "
            "value with blanks or marks such as ~ ; , = twice: \"KEY='a b.csv'\""
        )
    if "Ambiguous value for argument" in message:
        return f"{message.split(chr(39))[1]}: write 'KEY=[16,8]' for a list, or add -m to sweep over several values"
    if BAD_GROUP in message:
        return "a group takes one of its options (scheduler=none for no scheduler); --help lists them"
    if NO_PLUGIN in message:
        extra = {"submitit": "slurm", "joblib": "joblib", "ray": "ray"}
        asked = next((extra[name] for name in extra if f"hydra_{name}" in message), None)
        return f"hydra/launcher={asked} needs: {how_to_install(asked)}" if asked else message
    if any(words in message for words in OUT_OF_MEMORY):
        return f"not enough memory ({message[:120]}): lower data.window_size, data.batch_size or model.hidden_size"
    if isinstance(error, YAMLError):
        return f"a config file is no YAML: {message}"
    if isinstance(error, MissingConfigException):
        return _explain_option(error)
    if isinstance(error, ConfigCompositionException):
        unknown = re.search(r"Could not override '(?:[^'@]*@)?([^']+)'", message)
        if unknown:
            file = re.search("In '([^']+)'", message)
            if file and "No match in the defaults list" in message and file[1] != "train":
                hint = nearest(unknown[1], _groups(config_dir))
                return f"{file[1]}.yaml: its defaults choose {unknown[1]}, and there is no such group{hint}"
            return _explain_key(unknown[1], config_dir)
        return explain(error.__cause__, config_dir) if isinstance(error.__cause__, Exception) else message
    if isinstance(error, OmegaConfBaseException):
        place = f"{error.full_key}: " if error.full_key else ""
        return place + str(error.msg or error).splitlines()[0]
    return message


def check_keys(cfg: DictConfig, choices: dict[str, str], overrides: list[str], config_dir: Path) -> None:
    """Find keys of `data` and `model` and top-level keys that only an experiment or a study names: they are mistyped.

    Hydra itself refuses unknown keys on the command line, and takes any key from a file.

    Args:
        cfg: the composed config.
        choices: option by group.
        overrides: of the command line; what they add with `+` is meant.
        config_dir: the folder of the configs.

    Raises:
        ConfigError: names the key and the nearest one.
    """
    files = [group for group in ("experiment", "sweep") if choices.get(group) not in (None, "None", "null")]
    if not files:
        return
    named = " and ".join(f"{group}={choices[group]}" for group in files)
    others = re.compile("experiment$|sweep$|hydra/|base/")
    groups = {group: option for group, option in choices.items() if not others.match(group)}
    known = _known_keys(tuple(f"{group}={option}" for group, option in groups.items() if option), config_dir)
    added = {override.lstrip("+").partition("=")[0] for override in overrides if override.startswith("+")}
    for key in known_keys(cfg):
        group = key.partition(".")[0]
        checked = group not in ("optimizer", "scheduler", "trainer")  # these take what torch takes
        if key.startswith("experiment.") or re.match("sweep[.](?!name$|trial$)", key):
            raise ConfigError(f"{named}: its first line must be: # @package _global_")
        if not checked or key in known or key in added:
            continue
        if any(word.startswith(f"{group}=") for word in overrides):
            raise ConfigError(
                f"{named} sets {key}, and {group}={choices[group]} has no such key: leave "
                f"{group}={choices[group]} away, or write a file for it"
            )
        raise ConfigError(f"{named}: there is no key {key}{nearest(key, known)}")


@functools.cache  # a sweep asks once for each of its jobs
def _known_keys(overrides: tuple[str, ...], config_dir: Path) -> list[str]:
    return known_keys(_compose(list(overrides), config_dir))


def _explain_key(key: str, config_dir: Path) -> str:
    """An override of a key, or of a group, that does not exist."""
    if key.startswith("hydra."):
        return _explain_hydra_key(key, config_dir)
    groups = _groups(config_dir)
    chosen = [word for word in sys.argv[1:] if word.partition("=")[0] in groups and _is_option(word, config_dir)]
    known = list(dict.fromkeys([*known_keys(_compose(chosen, config_dir)), *groups]))
    siblings = [name for name in known if name.rpartition(".")[0] == key.rpartition(".")[0]]
    hint = nearest(key, siblings) or nearest(key, known)
    if not hint and siblings:
        hint = f" (there are: {', '.join(siblings)})"
    return f"there is no key {key}{hint}; python train.py --help lists all"


def _explain_hydra_key(key: str, config_dir: Path) -> str:
    """A key of the launcher or the sweeper, which have other keys for each option."""
    part, _, name = key.removeprefix("hydra.").partition(".")
    if "." in name:
        return f"there is no key {key}: to add it, write +{key}=VALUE"
    chosen = [word for word in sys.argv[1:] if word.startswith(("hydra/launcher=", "hydra/sweeper="))]
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir)):
        hydra = compose("train", overrides=chosen, return_hydra_config=True).hydra
    siblings = [str(other) for other in hydra.get(part) or () if not str(other).startswith("_")]
    if part in ("launcher", "sweeper"):
        option = hydra.runtime.choices[f"hydra/{part}"]
        others = {
            "basic": "hydra/launcher=joblib, ray or slurm have some",
            "grid": "for a search, add hydra/sweeper=optuna",
        }
        there = others.get(option, f"it has: {', '.join(siblings)}")
        hint = nearest(name, siblings) or f" ({there})"
        return f"hydra/{part}={option} has no key {name}{hint}"
    return f"there is no key {key}{nearest(name, siblings)}; python train.py --hydra-help says more"


def _explain_option(error: MissingConfigException) -> str:
    """A group's option that does not exist."""
    missing = re.search(r"Could not find '([^']+)/([^'/]*)'", str(error))
    if not missing:
        return " ".join(str(error).split())
    group, option = missing.groups()
    if group.startswith("hydra/") and option in EXTRAS:
        return f"{group}={option} needs: {how_to_install(option)}"
    options = list(error.options or [])
    hint = (
        f"{nearest(option, options)}; choose from: {', '.join(options)}"
        if options
        else f"; add conf/{group}/{option}.yaml"
    )
    return f"{group}={option}: there is no such option{hint}"


def how_to_install(extra: str) -> str:
    """The command for an extra of pyproject.toml. Ray needs older packages than constraints.txt names."""
    if extra == "ray":
        return "pip install torch==2.13.0 -e '.[ray]', in an environment of its own"
    return f"pip install -c constraints.txt -e '.[{extra}]'"


def _groups(config_dir: Path) -> list[str]:
    return [path.name for path in sorted(config_dir.iterdir()) if path.is_dir() and path.name not in ("base", "hydra")]


def _is_option(word: str, config_dir: Path) -> bool:
    group, _, option = word.partition("=")
    return (config_dir / group / f"{option}.yaml").is_file()


def _compose(overrides: list[str], config_dir: Path) -> DictConfig:
    """The config that some choices of options give, found where the command line finds its own."""
    extra = [sys.argv[at + 1] for at, word in enumerate(sys.argv[:-1]) if word in ("--config-dir", "-cd")]
    search_path = [f"hydra.searchpath=[{','.join(f'file://{Path(folder).resolve()}' for folder in extra)}]"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir)):
        return compose("train", overrides=[*overrides, *(search_path if extra else [])])
