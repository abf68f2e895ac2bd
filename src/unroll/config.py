"""What every config key may hold, checked before torch or lightning are imported.

One word means one thing everywhere (DESIGN: vocabulary), so a rule belongs to a key's name: `hidden_size` is a
positive integer in each model, also in one that a user adds. Constructors check their arguments by the same
rules (`check_arguments`), so that a notebook gets the same message as the command line.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unroll.errors import ConfigError, nearest
from unroll.targets import check_target

Rule = Callable[[object], str | None]
"""Says what a value must be, or None where it is right."""


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def integer(minimum: int, maximum: int | None = None) -> Rule:
    """An integer from minimum to maximum."""
    span = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"

    def rule(value: object) -> str | None:
        fits = _is_integer(value) and minimum <= value and (maximum is None or value <= maximum)  # type: ignore[operator]
        return None if fits else f"an integer {span}"

    return rule


def number(minimum: float = -math.inf, *, above: float = -math.inf, below: float = math.inf) -> Rule:
    """A finite number >= minimum, > above and < below."""
    bounds = [("at least", minimum), ("greater than", above), ("less than", below)]
    spans = [f"{words} {bound:g}" for words, bound in bounds if math.isfinite(bound)]
    wanted = "a number" + (" " + " and ".join(spans) if spans else "")

    def rule(value: object) -> str | None:
        fits = _is_number(value) and value >= minimum and value > above and value < below  # type: ignore[operator]
        return None if fits else wanted

    return rule


def choice(*options: str) -> Rule:
    """One of some words."""

    def rule(value: object) -> str | None:
        return None if value in options else f"one of {', '.join(options)}{nearest(str(value), options)}"

    return rule


def boolean(value: object) -> str | None:
    """True or false."""
    return None if isinstance(value, bool) else "true or false"


def text(value: object) -> str | None:
    """A string that is not empty."""
    return None if isinstance(value, str) and value.strip() else "a text that is not empty"


def character(value: object) -> str | None:
    """A mark, which may be white space."""
    return None if isinstance(value, str) and value else "a mark, such as , or ; or '\\t'"


def code(value: object) -> str | None:
    """A text or an integer, as identifiers in CSV files are."""
    return None if text(value) is None or _is_integer(value) else "a text or an integer"


def optional(rule: Rule) -> Rule:
    """The rule, or null."""

    def optional_rule(value: object) -> str | None:
        wanted = None if value is None else rule(value)
        return wanted and f"{wanted}, or null"

    return optional_rule


def either(*rules: Rule) -> Rule:
    """Any of several rules."""

    def either_rule(value: object) -> str | None:
        wanted = [rule(value) for rule in rules]
        return None if None in wanted else ", or ".join(str(words) for words in wanted)

    return either_rule


def list_of(rule: Rule, name: str) -> Rule:
    """A list whose every element follows the rule."""

    def list_rule(value: object) -> str | None:
        fits = isinstance(value, list | tuple) and all(rule(element) is None for element in value)
        return None if fits else f"a list of {name}, such as [] or [16,8]"

    return list_rule


def _part(value: object) -> str | None:
    fits = (_is_integer(value) and value >= 0) or (isinstance(value, float) and 0 <= value < 1)  # type: ignore[operator]
    return None if fits else "a fraction from 0 up to 1, or a count of rows as an integer"


RULES: dict[str, Rule] = {
    # the run
    "seed": integer(0, 2**32 - 1),
    "threads": integer(1),
    "output_dir": text,
    "checkpoint_seconds": number(0),
    "resume": optional(text),
    "early_stopping.patience": optional(integer(1)),
    "min_delta": number(0),
    # data
    "window_size": integer(1),
    "horizon": integer(1),
    "stride": integer(1),
    "batch_size": integer(1),
    "shuffle": boolean,
    "validation": _part,
    "test": _part,
    "transform": choice("none", "minmax", "standard"),
    "seasonal_period": optional(integer(1)),
    "missing": choice("error", "interpolate", "ffill", "zero"),
    "points": integer(2),
    "period": number(above=0),
    "step": optional(number(above=0)),
    "span": optional(number(above=0)),
    "amplitude": number(),
    "phase": number(),
    "noise": number(0),
    "frequency": number(),
    "slope": number(),
    "days": integer(14, 36_525),  # a hundred years
    "path": optional(text),
    "target": optional(text),
    "date": optional(text),
    "date_format": optional(text),
    "covariates": list_of(text, "column names"),
    "separator": character,
    "decimal": text,
    "encoding": text,
    "unit": optional(text),
    "cinema_code": optional(code),
    "film_code": optional(code),
    # model
    "hidden_size": integer(1),
    "num_layers": integer(1),
    "dropout": number(0, below=1),
    "head_sizes": list_of(integer(1), "positive integers"),
    "sizes": list_of(integer(1), "positive integers"),
    "input_layout": choice("sequence", "features"),
    "loss": choice("mse", "mae", "huber"),
    # optimizer and scheduler (torch checks what is its own)
    "lr": number(above=0),
    "weight_decay": number(0),
    "interval": choice("epoch", "step"),
    "monitor": text,
    # trainer (lightning checks what is its own)
    "accelerator": choice("auto", "cpu", "gpu", "cuda", "mps"),
    "devices": integer(1, 1),
    "max_epochs": integer(1),
    "max_steps": either(integer(1), integer(-1, -1)),
    "gradient_clip_val": optional(number(0)),
    "gradient_clip_algorithm": choice("norm", "value"),
    "fast_dev_run": boolean,
    "deterministic": either(boolean, choice("warn")),
    "limit_train_batches": optional(either(integer(1), number(above=0, below=1), number(1, below=1.0000001))),
}
"""By key name, or by dotted key where a name alone would be ambiguous."""


def check_value(key: str, value: object) -> None:
    """Raise ConfigError where the value breaks the key's rule; keys without a rule are their owner's matter."""
    rule = RULES.get(key) or RULES.get(key.rpartition(".")[2])
    wanted = rule(value) if rule else None
    if wanted:
        shown = "null" if value is None else value
        raise ConfigError(f"{key}={shown}: {key} must be {wanted}")


def check_arguments(**arguments: object) -> None:
    """Check a constructor's arguments by the rules of the config."""
    for key, value in arguments.items():
        check_value(key, value)


def leaves(cfg: DictConfig, prefix: str = "") -> Iterator[tuple[str, DictConfig, str]]:
    """Every (dotted key, parent node, key) whose value is not a mapping."""
    for key in map(str, cfg):
        path = f"{prefix}{key}"
        is_plain = OmegaConf.is_missing(cfg, key) or OmegaConf.is_interpolation(cfg, key)
        if not is_plain and isinstance(cfg[key], DictConfig):
            yield from leaves(cfg[key], f"{path}.")
        else:
            yield path, cfg, key


def check_config(cfg: DictConfig) -> None:
    """Check every value of a composed config.

    Raises:
        ConfigError: names the first key that is missing, unresolvable or out of its rule, and what would be
            right.
    """
    _check_file(cfg)
    for path, parent, key in leaves(cfg):
        if OmegaConf.is_missing(parent, key):
            raise ConfigError(f"{path} is not set: give {path}=... on the command line")
        try:
            value = parent[key]
        except OmegaConfBaseException as error:
            first_line = str(error).splitlines()[0]
            raise ConfigError(f"{path}: cannot be resolved: {first_line}") from error
        if key == "_target_":
            check_target(value, path)
        elif not OmegaConf.is_interpolation(parent, key):  # checked where it points
            check_value(path, list(value) if isinstance(value, ListConfig) else value)
    _check_combinations(cfg)


def _check_combinations(cfg: DictConfig) -> None:
    """What no key can say alone."""
    data, scheduler = cfg.data, cfg.get("scheduler")
    fractions = [part for part in (data.validation, data.test) if isinstance(part, float)]
    if sum(fractions) >= 1:
        raise ConfigError(
            f"data.validation={data.validation} and data.test={data.test} leave no rows to train on: "
            "fractions must add up to less than 1"
        )
    if data.test == 0:
        raise ConfigError("data.test=0: a run needs a test segment; give a fraction or a count of rows")
    monitor = scheduler and scheduler.get("monitor")
    if data.validation == 0 and monitor and str(monitor).startswith("val/"):
        raise ConfigError(
            f"scheduler.monitor={monitor} needs a validation segment: set data.validation, "
            "or scheduler.monitor=train/loss"
        )


def _check_file(cfg: DictConfig) -> None:
    if OmegaConf.is_missing(cfg.data, "path"):
        raise ConfigError("data.path is not set: give data.path=FILE.csv")
    path = cfg.data.get("path")
    if isinstance(path, str):
        found = Path(os.path.expanduser(path))  # noqa: PTH111  # Path's own raises for an unknown ~user
        if not found.is_file():
            kind = "is a directory, not a file" if found.is_dir() else "does not exist"
            raise ConfigError(f"data.path={path}: this file {kind} (looked from {Path.cwd()})")


def known_keys(cfg: DictConfig) -> list[str]:
    """The dotted keys of a config, groups included, for suggestions."""
    paths = [path for path, _, _ in leaves(cfg)]
    parents = {path.rpartition(".")[0] for path in paths} - {""}
    return [*paths, *sorted(parents)]


def plain(cfg: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """A resolved config as plain dicts and lists: what may be written to files and checkpoints."""
    container = OmegaConf.to_container(cfg, resolve=True) if isinstance(cfg, DictConfig) else dict(cfg)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}
