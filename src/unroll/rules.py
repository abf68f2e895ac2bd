"""What a config key may hold: one rule a key name.

One word means one thing everywhere (DESIGN: vocabulary), so a rule belongs to a key's name: `hidden_size` is a positive
integer in each model, also in one that a user adds.
"""

import math
import re
import zoneinfo
from collections.abc import Callable

from unroll.errors import nearest

LARGEST_INTEGER = 2**63 - 1  # that arrays can hold
POINTWISE_WORDS = ("none", "log1p", "asinh", "standard", "minmax", "robust")  # of data.transform: row by row
WINDOW_WORDS = (  # window by window
    *("difference", "seasonal_difference"),
    *("window_centre", "window_median", "window_standard", "window_clip", "window_magnify"),
)
CALENDAR_WORDS = ("weekday", "month", "day_of_year", "hour", "week", "holiday")

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
        if _is_integer(value) and value > LARGEST_INTEGER:  # type: ignore[operator]
            return f"an integer of at most {LARGEST_INTEGER}"
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


def only(right: object, words: str) -> Rule:
    """One value."""
    return lambda value: None if value == right and type(value) is type(right) else words


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


def list_of(rule: Rule, name: str, example: str) -> Rule:
    """A list whose every element follows the rule."""

    def list_rule(value: object) -> str | None:
        fits = isinstance(value, list | tuple) and all(rule(element) is None for element in value)
        return None if fits else f"a list of {name}, such as [] or {example}"

    return list_rule


def words_of(example: str, *options: str, alone: tuple[str, ...] = ()) -> Rule:
    """A word, or a list of several, none of which is unknown.

    Args:
        example: of a list.
        options: the words.
        alone: words that stand in no list.
    """

    def words_rule(value: object) -> str | None:
        if isinstance(value, str) and value in (*options, *alone):
            return None
        parts = value if isinstance(value, list | tuple) else [value]
        wrong = [part for part in parts if part not in options]
        if not wrong and isinstance(value, list | tuple):
            return None
        hint = nearest(str(wrong[0]), (*options, *alone))
        return f"one of {', '.join((*alone, *options))}, or a list such as [] or {example}{hint}"

    return words_rule


def folder(value: object) -> str | None:
    """A path as it is."""
    fits = text(value) is None and not str(value).startswith("~")
    return None if fits else "the path of a folder (a shell reads ~ in $HOME/... only)"


def name(value: object) -> str | None:
    """What can be the name of a folder everywhere, and no path."""
    fits = isinstance(value, str) and re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]{0,79}", value)
    return None if fits else "a name of letters, digits, . _ and -, of at most 80, that begins with a letter or digit"


def zone(value: object) -> str | None:
    """The name of a time zone that this machine knows."""
    try:
        fits = isinstance(value, str) and bool(zoneinfo.ZoneInfo(value))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        fits = False
    hint = "" if fits else nearest(str(value), zoneinfo.available_timezones())
    return None if fits else f"the IANA name of a time zone, such as Europe/Berlin{hint}"


def _levels(value: object) -> str | None:
    """Levels of quantiles; that they increase, and hold the median, is said by the head."""
    inside = number(above=0, below=1)
    fits = isinstance(value, list | tuple) and 2 < len(value) < 200 and all(inside(level) is None for level in value)
    return None if fits else "a list of 3 to 199 numbers between 0 and 1, such as [0.1,0.5,0.9]"


def _part(value: object) -> str | None:
    fits = integer(0)(value) is None or (isinstance(value, float) and 0 <= value < 1)
    return None if fits else "a fraction from 0 up to 1, or a count as an integer"


_batches = optional(either(integer(0), number(0, below=1), only(1.0, "1.0")))


RULES: dict[str, Rule] = {
    # the run
    "seed": integer(0, 2**32 - 1),
    "replicas": integer(1, 4096),
    "threads": integer(1, 1024),
    "output_dir": folder,
    "checkpoint_seconds": number(0),
    "resume": optional(text),
    "early_stopping.patience": optional(integer(1)),
    "min_delta": number(0),
    "evaluate_train": boolean,
    "sweep.name": optional(name),
    "sweep.trial": optional(integer(0)),
    "free_run.steps": integer(0),
    "free_run.start": optional(either(number(), text)),
    # data
    "window_size": integer(1),
    "horizon": integer(1),
    "stride": integer(1),
    "batch_size": optional(integer(1)),
    "shuffle": boolean,
    "order": choice("split_then_window", "window_then_split"),
    "history": boolean,
    "validation": _part,
    "test": _part,
    "transform": words_of("[log1p,standard]", *POINTWISE_WORDS, *WINDOW_WORDS),
    "calendar": words_of("[weekday,month]", *CALENDAR_WORDS, alone=("auto",)),
    "calendar_encoding": choice("one_hot", "cyclic"),
    "holidays": optional(text),
    "seasonal_period": optional(integer(1)),
    "end": optional(either(integer(1), text)),
    "missing": choice("error", "interpolate", "ffill", "zero"),
    "points": integer(2),
    "period": number(above=0),
    "step": optional(number(above=0)),
    "span": optional(number(above=0)),
    "amplitude": number(),
    "phase": number(),
    "noise": number(0),
    "data.frequency": number(),
    "slope": number(),
    "days": integer(14, 36_525),  # a hundred years
    "path": optional(text),
    "target": optional(text),
    "date": optional(text),
    "date_format": optional(text),
    "timezone": optional(zone),
    "covariates": list_of(text, "column names", "[price]"),
    "known_ahead": list_of(text, "column names", "[price]"),
    "separator": character,
    "decimal": text,
    "encoding": text,
    "unit": optional(text),
    "cinema_code": optional(code),
    "film_code": optional(code),
    # model
    "hidden_size": integer(1),
    "num_layers": integer(1, 1000),
    "dropout": number(0, below=1),
    "head_sizes": list_of(integer(1), "positive integers", "[16,8]"),
    "levels": _levels,
    "sizes": list_of(integer(1), "positive integers", "[16,8]"),
    "input_layout": choice("sequence", "features"),
    "loss": choice("mse", "mae", "huber"),
    "skip": choice("none", "linear"),
    "residual": choice("none", "seasonal_naive"),
    "combine": choice("none", "linear"),
    # optimizer and scheduler (torch checks what is its own)
    "lr": number(above=0),
    "weight_decay": number(0),
    "interval": choice("epoch", "step"),
    "monitor": choice("val/loss", "train/loss"),
    "scheduler.frequency": integer(1),
    "scheduler.patience": integer(0),
    "factor": number(above=0, below=1),
    "step_size": integer(1),
    "gamma": number(above=0),
    "T_max": integer(1),
    "eta_min": number(0),
    "momentum": number(0),
    # trainer (lightning checks what is its own)
    "accelerator": choice("auto", "cpu", "gpu", "cuda", "mps"),
    "devices": only(1, "1 (a run trains on one device)"),
    "accumulate_grad_batches": integer(1),
    "check_val_every_n_epoch": integer(1),
    "max_epochs": integer(1),
    "max_steps": either(integer(1), only(-1, "-1 (no limit)")),
    "gradient_clip_val": optional(number(0)),
    "gradient_clip_algorithm": choice("norm", "value"),
    "fast_dev_run": boolean,
    "deterministic": either(boolean, choice("warn")),
    "limit_train_batches": optional(either(integer(1), number(above=0, below=1), only(1.0, "1.0"))),
    "limit_val_batches": _batches,
    "limit_test_batches": _batches,
    "limit_predict_batches": _batches,
    "overfit_batches": either(integer(0), number(0, below=1), only(1.0, "1.0")),
    "min_epochs": optional(integer(0)),
    "min_steps": optional(integer(0)),
    "num_nodes": only(1, "1 (a run trains on one device)"),
    "detect_anomaly": boolean,
    "inference_mode": boolean,
    "benchmark": optional(boolean),
    "barebones": boolean,
    "sync_batchnorm": boolean,
    "use_distributed_sampler": boolean,
    "reload_dataloaders_every_n_epochs": integer(0),
}
"""By key name, or by dotted key where a name alone would be ambiguous."""
