"""Which config keys tell the rows of a leaderboard apart, and what people call them."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unroll.errors import ConfigError, nearest
from unroll.runs.listing import natural
from unroll.sweeps.entries import Entry, identity

ORDER = ("model", "data", "optimizer", "scheduler", "trainer")  # of the columns, by their first word
INPUTS = (  # of data: not its targets
    *("window_size", "batch_size", "shuffle", "transform", "history", "covariates"),
    *("calendar", "calendar_encoding", "holidays", "known_ahead"),
)

WORD = re.compile(r"(?!(?:null|true|false)$)[A-Za-z_]\w*")  # that needs no quotes

Config = Mapping[str, Any]


def seed_keys(entries: Sequence[Entry]) -> set[str]:
    """The seeds of parts that follow the run's, as data.seed=${seed} does: with it, they count as one.

    Replicas share one data set, whatever their seeds: with such a run, no seed of a part follows.
    """
    places: dict[str, set[int]] = {}
    for entry in entries:
        for key, value in entry.config.items():
            if type(value) is int and key.endswith(".seed"):
                places.setdefault(key, set()).add(value)
    candidates = {key for key, values in places.items() if len(values) > 1}
    for entry in entries:
        alone = len(entry.replicas) == 1
        followed = {key for key in candidates & entry.config.keys() if alone and _same(entry.config[key], entry.seed)}
        candidates -= entry.config.keys() - followed
    return candidates


def target_values(entry: Entry, of_seed: set[str]) -> dict[str, Any]:
    """What the targets are made of: errors in other targets cannot be compared.

    These are the series, the horizon, the segments, and every other key of `data` but those of the model's inputs: a
    data set's own keys are taken to change the targets.
    """
    about = {"title": entry.title, "unit": entry.unit, "target": entry.target, "segment": entry.segment}
    keys = (key for key in entry.config if key == "data" or key.startswith("data."))
    known = {key: entry.config[key] for key in keys if key not in of_seed and key.removeprefix("data.") not in INPUTS}
    return about | known


def varying(configs: Sequence[Config]) -> list[str]:
    """The keys whose values differ between configs; one that only some of them have differs."""
    values: dict[str, set[str]] = {}
    for config in configs:
        for key, value in config.items():
            values.setdefault(key, set()).add(json.dumps(value))
    count = {key: sum(key in config for config in configs) for key in values}
    return sorted((key for key in values if len(values[key]) > 1 or count[key] < len(configs)), key=_place)


def columns(configs: Sequence[Config], asked: Iterable[str] = ()) -> list[str]:
    """The keys to show: those that differ, without those that follow another one.

    A key follows another where its value is the same in each config (model.backbone.hidden_size beside
    model.hidden_size). The one that people set is kept: one that a command line named, else one that all
    of them have, else the shortest. A key that
    comes with a choice (scheduler.gamma with scheduler=step) and that never differs beside it is left out too.
    """
    named = set(asked)
    found = varying(configs)
    count = {key: sum(key in config for config in configs) for key in found}
    kept: list[str] = []
    for key in sorted(found, key=lambda key: (key not in named, -count[key], key.count("."), len(key), key)):
        if key in named or not any(_follows(key, other, configs) for other in kept):
            kept.append(key)
    choices = [key for key in kept if any(other.startswith(f"{key}.") for other in kept)]
    kept = [key for key in kept if key in named or not any(_comes_with(key, choice, configs) for choice in choices)]
    return sorted(kept, key=_place)


def _follows(key: str, other: str, configs: Sequence[Config]) -> bool:
    """Whether a key has the value of another one in each config that has it."""
    return all(other in config and _same(config[key], config[other]) for config in configs if key in config)


def _comes_with(key: str, choice: str, configs: Sequence[Config]) -> bool:
    """Whether a key is there, always with one value, for some options of a choice only."""
    if not key.startswith(f"{choice}."):
        return False
    values: dict[str, set[str]] = {}
    for config in configs:
        values.setdefault(json.dumps(config.get(choice)), set()).add(
            identity({"": config[key]} if key in config else {})
        )
    return all(len(found) == 1 for found in values.values()) and {identity({})} in values.values()


def headings(keys: Sequence[str]) -> dict[str, str]:
    """The last component of each key where that is unambiguous, else the dotted key."""
    short = [key.rpartition(".")[2] for key in keys]
    return {key: last if short.count(last) == 1 else key for key, last in zip(keys, short, strict=True)}


def shown(key: str, configs: Sequence[Config], absent: str, *, rounded: bool = True) -> list[str]:
    """The values of a key as one types them; a class by its name and a rounded number, where that is unambiguous."""
    texts = [value_text(config[key]) if key in config else absent for config in configs]
    if key == "scheduler":
        texts = ["none" if text == "null" else text for text in texts]
    short = [_class_name(text) for text in texts]
    for place, config in enumerate(configs):
        if rounded and isinstance(config.get(key), float):
            short[place] = f"{config[key]:.4g}"
    return short if len(set(short)) == len(set(texts)) else texts


def value_text(value: Any) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(part, str) and WORD.fullmatch(part) for part in value):
        return f"[{','.join(value)}]"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def value_order(value: Any) -> tuple[int, float, list[str | int]]:
    """A key that sorts values: null, then numbers by size, then words."""
    if value is None:
        return 0, 0.0, []
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 1, float(value), []
    return 2, 0.0, natural(value_text(value))


def _class_name(text: str) -> str:
    is_path = "." in text and all(part.isidentifier() for part in text.split("."))
    return text.rpartition(".")[2] if is_path else text


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)


def _place(key: str) -> tuple[bool, int, list[str | int]]:
    """Models first, then by part."""
    first = key.partition(".")[0]
    return key != "model", ORDER.index(first) if first in ORDER else len(ORDER), natural(key)


def resolve(wanted: tuple[str, str], tables: Sequence[Sequence[str]]) -> tuple[str, str]:
    """The dotted keys of two names, each a dotted key or its last component.

    Raises:
        ConfigError: where a name is no key that differs between the rows of a table, or both are one.
    """
    known: dict[str, str] = {}
    for keys in tables:
        known |= {name: key for key, name in headings(keys).items()} | {key: key for key in keys}
    for name in wanted:
        if name not in known:
            options = ", ".join(dict.fromkeys(name for keys in tables for name in headings(keys).values()))
            hint = nearest(name, known) or (f" (there are: {options})" if options else "")
            raise ConfigError(f"{name}: no key of this name differs between the rows{hint}")
    first, second = (known[name] for name in wanted)
    if first == second:
        raise ConfigError(f"{wanted[0]} and {wanted[1]} are one key: name two")
    return first, second
