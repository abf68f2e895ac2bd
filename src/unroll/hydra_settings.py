"""What config files may say to Hydra itself, checked before Hydra builds anything.

Hydra instantiates what `hydra.callbacks`, the launcher, the sweeper and the logging of a composed config name, sets
environment variables and runs commands on a cluster, all before `main`. An experiment that somebody hands over may
compose any of that (Hydra's own block list lets `torch.load` pass). So files other than the root config and those of
conf/hydra that the command line chooses may only choose values for a sweep; the rest is for the command line.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import hydra._internal.hydra as hydra_main
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.utils import JobRuntime
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unroll.errors import ConfigError

CALLBACKS = ("hydra.experimental.callbacks.LogJobReturnCallback",)
LOGGING = (
    *("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler", "logging.Formatter"),
    *("rich.logging.RichHandler", "colorlog.ColoredFormatter"),
)
PLUGINS = ("hydra.launcher._target_", "hydra.sweeper._target_")  # Hydra itself takes only its plugins here
PLUGIN_PACKAGES = ("hydra_plugins.", "hydra._internal.core_plugins.")
FACTORIES = ("_target_", "()", "class")  # the last two are those of Python's logging
BUILT = ("hydra.launcher", "hydra.sweeper", "hydra.callbacks", "hydra.job_logging", "hydra.hydra_logging")
SET_BY_HYDRA = (
    *("hydra.overrides.", "hydra.runtime.", "hydra.mode"),
    *("hydra.job.override_dirname", "hydra.job.config_name"),
)
MISSING = object()


class Leaf(NamedTuple):
    """A value of a config that is no mapping or list, or an empty one, or refers to another."""

    key: str
    value: Any
    parent: DictConfig | ListConfig
    name: Any


class CheckedLoader(ConfigLoaderImpl):
    """Composes configs as Hydra does, and lets those alone pass that `check_hydra` does.

    Args:
        config_search_path: Hydra's.
    """

    def __init__(self, config_search_path: Any) -> None:
        super().__init__(config_search_path)
        self.known: dict[tuple[Any, ...], dict[str, Any]] = {}

    def load_configuration(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, *arguments: Any, **others: Any
    ) -> DictConfig:
        """See Hydra's method of this name. Raises ConfigError for what a file may not set."""
        try:
            cfg = super().load_configuration(config_name, overrides, run_mode, *arguments, **others)
        except (TypeError, AttributeError, LookupError, AssertionError, RecursionError) as error:
            raise ConfigError(
                f"Hydra cannot compose the config ({type(error).__name__}: {error}): a group takes one of its options, "
                "such as data=sine, and a key a value; --help lists them"
            ) from error
        typed = tuple(word for word in overrides if re.match("[+~]*hydra[./@]", word))
        if len(cfg.hydra.overrides.hydra) + len(cfg.hydra.overrides.task) != len(overrides):
            raise ConfigError("hydra.overrides: a config file sets this, which is for the command line alone")
        if config_name is not None:  # else Hydra shows its own help
            check_hydra(cfg, self._without_files(config_name, typed, run_mode))
        return cfg

    def _without_files(self, config_name: str, typed: tuple[str, ...], run_mode: RunMode) -> dict[str, Any]:
        """What the root config and the words of the command line alone say to Hydra, by dotted key.

        Args:
            config_name: of the root config.
            typed: the words.
            run_mode: Hydra's.
        """
        asked = (config_name, typed, run_mode, JobRuntime.instance().get("name"))
        if asked not in self.known:  # a sweep composes many configs
            loader = ConfigLoaderImpl(self.config_search_path)
            cfg = loader.load_configuration(config_name, list(typed), run_mode, validate_sweep_overrides=False)
            self.known[asked] = {leaf.key: leaf.value for leaf in _leaves(cfg.hydra, "hydra")}
        return self.known[asked]


@contextmanager
def checked_hydra() -> Iterator[None]:
    """Have Hydra compose by `CheckedLoader` meanwhile.

    Raises:
        ConfigError: where the command line names a pickle to run.
    """
    if any(word.startswith("--e") for word in sys.argv[1:]):
        raise ConfigError("--experimental-rerun reads a pickle, which can run any code: use resume=outputs/RUN")
    module: Any = hydra_main
    given, module.ConfigLoaderImpl = module.ConfigLoaderImpl, CheckedLoader
    try:
        yield
    finally:
        module.ConfigLoaderImpl = given


def check_hydra(cfg: DictConfig, known: dict[str, Any]) -> None:
    """Check the part of a composed config that is Hydra's.

    Args:
        cfg: the whole config.
        known: what the root config and the command line say, by dotted key.

    Raises:
        ConfigError: names the first key that a file may not set, or that would build something.
    """
    for leaf in _leaves(cfg.hydra, "hydra"):
        given = leaf.key.startswith(SET_BY_HYDRA) or known.get(leaf.key, MISSING) == leaf.value
        if not given and not _for_files(leaf):
            choices = cfg.hydra.runtime.choices.items()
            files = [f"{group}={option}" for group, option in choices if option and group in ("experiment", "sweep")]
            raise ConfigError(
                f"{leaf.key}={leaf.value}: set by a config file ({', '.join([*files, 'or another one'])}), which may "
                "choose no more than values of hydra.sweeper: say it on the command line, if it is what you want"
            )
        _check_factory(leaf)
        value = str(leaf.value)
        if leaf.key.startswith(BUILT) and value.startswith("${") and value.endswith("}"):  # else it makes a text
            _check_reference(leaf)


def _leaves(node: DictConfig | ListConfig, key: str) -> Iterator[Leaf]:
    """All leaves, unresolved. A key may itself hold dots."""
    names: list[Any] = list(node) if isinstance(node, DictConfig) else list(range(len(node)))
    for name in names:
        child: Any = node._get_node(name)
        if isinstance(child, DictConfig | ListConfig) and isinstance(child._value(), dict | list) and len(child):
            yield from _leaves(child, f"{key}.{name}")
        else:
            yield Leaf(f"{key}.{name}", child._value(), node, name)


def _for_files(leaf: Leaf) -> bool:
    """Whether a config file may say this: what a sweep tries, and how much of it at a time."""
    if leaf.name in FACTORIES:
        return False
    if leaf.key == "hydra.sweeper.storage":  # a URL may name any file and any driver
        return leaf.value in (None, "journal")
    in_launcher = leaf.key.startswith("hydra.launcher.") and isinstance(leaf.value, int | float | None)
    return in_launcher or leaf.key.startswith("hydra.sweeper.")


def _check_factory(leaf: Leaf) -> None:
    """Whoever says it: what is built is on a list."""
    if leaf.name not in FACTORIES or not leaf.key.startswith(BUILT):
        return
    fits = leaf.value in (CALLBACKS if leaf.name == "_target_" else LOGGING)
    if leaf.key in PLUGINS:
        fits = str(leaf.value).startswith(PLUGIN_PACKAGES)
    if not fits:
        raise ConfigError(
            f"{leaf.key}={leaf.value} is not allowed: Hydra may build its launchers and sweepers, "
            f"{', '.join((*CALLBACKS, *LOGGING))}, and nothing else"
        )


def _check_reference(leaf: Leaf) -> None:
    """A reference to another key must not bring in a mapping, which may name something to build."""
    try:
        found = leaf.parent[leaf.name]
    except OmegaConfBaseException as error:
        raise ConfigError(f"{leaf.key}: cannot be resolved: {str(error).splitlines()[0]}") from error
    if OmegaConf.is_config(found):
        raise ConfigError(f"{leaf.key}={leaf.value}: it refers to a mapping or a list, and must be one value")
