"""Check a config before torch or lightning are imported.

Constructors check their arguments by the same rules (`check_arguments`), so that a notebook gets the same message as
the command line.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unroll.errors import ConfigError, nearest
from unroll.rules import POINTWISE_WORDS, RULES, WINDOW_WORDS
from unroll.targets import check_target

TOP_KEYS = (
    *("data", "model", "optimizer", "scheduler", "trainer", "early_stopping"),
    *(
        "seed",
        "replicas",
        "threads",
        "checkpoint_seconds",
        "output_dir",
        "resume",
        "evaluate_train",
        "free_run",
        "sweep",
    ),
)
SECTION_KEYS = {
    "sweep": ("name", "trial"),
    "early_stopping": ("patience", "min_delta"),
    "free_run": ("steps", "start", "step"),
}
REQUIRED = SECTION_KEYS | {
    "model": ("backbone", "head", "dropout", "input_layout", "loss"),
    "trainer": ("accelerator", "devices", "max_epochs", "max_steps", "fast_dev_run"),
}
SECTIONS = ("data", "model", "model.backbone", "model.head", "optimizer", "trainer", "early_stopping")
TARGETS = ("data", "model.backbone", "model.head", "optimizer")
MODEL_KEYS = (*REQUIRED["model"], "skip", "residual", "combine")  # what the forecaster itself reads


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


def check_order(order: str, history: bool) -> None:
    """Raise ConfigError where windows are to be split that must not reach over the split."""
    if order == "window_then_split" and not history:
        raise ConfigError(
            "data.order=window_then_split and data.history=false contradict each other: the windows of a whole series "
            "read across any split; use data.order=split_then_window"
        )


def check_inputs(transform: str | Sequence[str], calendar: str | Sequence[str], holidays: str | None) -> None:
    """Raise ConfigError for a chain in the wrong order, and for a calendar and holidays that do not belong together."""
    chain = [transform] if isinstance(transform, str) else list(transform)
    inside = [word for word in chain if word in WINDOW_WORDS]
    if inside and chain[-len(inside) :] != inside:
        right = ",".join([word for word in chain if word in POINTWISE_WORDS] + inside)
        raise ConfigError(
            f"data.transform=[{','.join(chain)}]: {inside[0]} works inside of each window, so it stands behind the "
            f"words that work on the whole series: data.transform=[{right}]"
        )
    words = [calendar] if isinstance(calendar, str) else list(calendar)
    twice = [word for word in words if words.count(word) > 1]
    if twice:
        raise ConfigError(f"data.calendar=[{','.join(words)}]: {twice[0]} stands twice: name it once")
    if "holiday" in words and holidays is None:
        raise ConfigError(
            "data.calendar asks for holiday: set data.holidays to a country (such as DE) or to a 0/1 column of the file"
        )
    if holidays is not None and not {"holiday", "auto"} & set(words):
        raise ConfigError(
            f"data.holidays={holidays} is used by data.calendar alone: put holiday into it, such as "
            f"data.calendar=[{','.join([*words, 'holiday'])}]"
        )


def leaves(cfg: DictConfig, prefix: str = "") -> Iterator[tuple[str, DictConfig, str]]:
    """Every (dotted key, parent node, key) whose value is not a mapping."""
    for key in map(str, cfg):
        path = f"{prefix}{key}"
        is_plain = OmegaConf.is_missing(cfg, key) or OmegaConf.is_interpolation(cfg, key)
        if not is_plain and isinstance(cfg[key], DictConfig):
            yield from leaves(cfg[key], f"{path}.")
        else:
            yield path, cfg, key


def check_config(cfg: DictConfig, *, new: bool = True) -> None:
    """Check every value of a composed config.

    Args:
        cfg: composed from conf/train.yaml, or read from a run directory.
        new: False for the resolved config of an earlier run, which needs its data file no more.

    Raises:
        ConfigError: names the first key that is missing, unresolvable or out of its rule, and what would be
            right.
    """
    _check_sections(cfg)
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
        else:
            check_value(path, list(value) if isinstance(value, ListConfig) else value)
    if new:
        _check_use(cfg)
        _check_places(cfg)
    _check_combinations(cfg)
    _check_replicas(cfg)


def _check_sections(cfg: DictConfig) -> None:
    """Every part of a config must be there, and say what it is."""
    for path in SECTIONS:
        section = OmegaConf.select(cfg, path)
        if not isinstance(section, DictConfig):
            raise ConfigError(f"{path} is missing or no mapping: choose one of its options, or leave the default")
    for path in (*TARGETS, *(["scheduler"] if cfg.get("scheduler") is not None else [])):
        if "_target_" not in (OmegaConf.select(cfg, path) or ()):
            raise ConfigError(f"{path}._target_ is missing: it must name the class to build")


def _check_combinations(cfg: DictConfig) -> None:
    """What no key can say alone."""
    data, scheduler = cfg.data, cfg.get("scheduler")
    fractions = [part for part in (data.validation, data.test) if isinstance(part, float)]
    if sum(fractions) >= 1:
        raise ConfigError(
            f"data.validation={data.validation} and data.test={data.test} leave no rows to train on: "
            "fractions must add up to less than 1"
        )
    check_order(data.get("order", "split_then_window"), data.get("history", True))
    check_inputs(data.get("transform", "none"), data.get("calendar", ()), data.get("holidays"))
    if data.test == 0 and not cfg.get("evaluate_train"):
        raise ConfigError(
            "data.test=0: a run needs a test segment: give a fraction or a count, or set evaluate_train=true to score "
            "the training segment instead"
        )
    free_run = cfg.get("free_run") or {}
    if free_run.get("steps") and data.horizon != 1:
        raise ConfigError(
            f"free_run.steps={free_run['steps']} reads its own forecasts one by one: it needs data.horizon=1, not "
            f"{data.horizon}"
        )
    if free_run.get("step") and free_run.get("start") is None:
        raise ConfigError(f"free_run.step={free_run['step']} needs free_run.start, the t of the first forecast")
    monitor = scheduler and scheduler.get("monitor")
    if scheduler and str(scheduler._target_).endswith("ReduceLROnPlateau") and not monitor:
        raise ConfigError("scheduler.monitor is missing: ReduceLROnPlateau needs val/loss or train/loss")
    if monitor and monitor.startswith("val/"):
        every = cfg.trainer.get("check_val_every_n_epoch", 1)
        if cfg.trainer.get("limit_val_batches") == 0 or scheduler.get("frequency", 1) % every:
            raise ConfigError(
                f"scheduler.monitor={monitor} needs a validation at each of its steps: set scheduler.frequency to a "
                "multiple of trainer.check_val_every_n_epoch, remove trainer.limit_val_batches=0, or monitor train/loss"
            )
    if monitor and scheduler.get("interval") == "step":
        raise ConfigError(
            f"scheduler.interval=step: {monitor} is known at the end of an epoch only: use interval=epoch, or a "
            "scheduler that monitors nothing"
        )
    if data.validation == 0 and monitor and str(monitor).startswith("val/"):
        raise ConfigError(
            f"scheduler.monitor={monitor} needs a validation segment: set data.validation, "
            "or scheduler.monitor=train/loss"
        )


def _check_replicas(cfg: DictConfig) -> None:
    """What cannot be trained together."""
    count = cfg.get("replicas", 1)
    if count == 1:
        return
    alone = f"or train one run a seed (-m seed={cfg.seed},{cfg.seed + 1},...)"
    raw = OmegaConf.to_container(cfg.data, resolve=False)
    following = [str(key) for key, value in raw.items() if "{seed}" in repr(value)] if isinstance(raw, dict) else []
    for key in following:
        raise ConfigError(
            f"replicas={count}: data.{key} follows the seed, and replicas share one series: set "
            f"data.{key}={cfg.data[key]}, {alone}"
        )
    precision = cfg.trainer.get("precision")
    if precision is not None and str(precision) not in ("32", "32-true", "64", "64-true"):
        raise ConfigError(f"replicas={count}: trainer.precision={precision} is not for replicas: use 32-true, {alone}")
    for key in ("min_epochs", "min_steps"):
        if cfg.trainer.get(key) is not None:
            raise ConfigError(
                f"replicas={count}: trainer.{key} is not for replicas, each of which stops by itself: raise "
                f"early_stopping.patience, {alone}"
            )
    if cfg.seed + count > 2**32:
        raise ConfigError(f"seed={cfg.seed}, replicas={count}: the last seed must be at most {2**32 - 1}: lower seed")


def _check_use(cfg: DictConfig) -> None:
    """Keys that `+KEY=VALUE` added and that nothing would read, and those that `~KEY` removed and that are read."""
    for group, known in {"": TOP_KEYS, **SECTION_KEYS}.items():
        if group and not isinstance(cfg.get(group), DictConfig):
            raise ConfigError(
                f"{group} is missing or no mapping: set its keys ({', '.join(known)}), or leave the default"
            )
        for key in map(str, cfg[group] if group else cfg):
            if key not in known:
                raise ConfigError(f"there is no key {f'{group}.{key}'.lstrip('.')}{nearest(key, known)}")
    for group, required in REQUIRED.items():
        for key in required:
            if key not in cfg[group]:
                raise ConfigError(f"{group}.{key} is missing: leave its default")
    raw = OmegaConf.to_yaml(cfg, resolve=False)
    for key in map(str, cfg.model):
        if key not in MODEL_KEYS and f"${{model.{key}}}" not in raw:
            raise ConfigError(f"model.{key}: nothing in this model reads it{nearest(key, map(str, cfg.model))}")


def _check_places(cfg: DictConfig) -> None:
    """The data file must be there, and the folder of the runs must be one that can be written."""
    path = cfg.data.get("path")
    if path is not None:
        found = Path(os.path.expanduser(path))  # noqa: PTH111  # Path's own raises for an unknown ~user
        if not found.is_file():
            kind = "is a directory" if found.is_dir() else "is no regular file" if found.exists() else "does not exist"
            raise ConfigError(f"data.path={path}: this file {kind} (looked from {Path.cwd()})")
    check_folder(Path(cfg.output_dir), f"output_dir={cfg.output_dir}")


def check_folder(folder: Path, asked: str) -> None:
    """Raise ConfigError where a folder neither exists nor can be made.

    Args:
        folder: for runs.
        asked: as the user gave it.
    """
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise ConfigError(f"{asked}: no run directory can be made here ({folder} cannot be written to)")


def known_keys(cfg: DictConfig) -> list[str]:
    """The dotted keys of a config, groups included, for suggestions."""
    paths = [path for path, _, _ in leaves(cfg)]
    parents = {path.rpartition(".")[0] for path in paths} - {""}
    return [*paths, *sorted(parents)]


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A resolved config as plain dicts and lists: what may be written to files and checkpoints."""
    container = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}
