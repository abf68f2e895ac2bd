"""What a search may choose from, written as sweeps are: `model=rnn,gru optimizer.lr=tag(log,interval(1e-4,1e-2))`.

The words mean what they mean to Hydra's own Optuna plugin:

a,b,c  choice(a,b,c)  glob(*)      one of these
range(8,64,step=8)                 8, 16, ..., 64: unlike in a grid, the stop is one of them
interval(0,0.5)                    any number between them; int(interval(8,64)): any integer
tag(log, ...)                      of an interval or of integers: as likely in each order of magnitude
shuffle(...)                       one of its values; their order is nothing to a search
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep, Sweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)

from unroll.errors import ConfigError, nearest

TAGS = ("log", "int")


@dataclass(frozen=True)
class Space:
    """A search space.

    Args:
        distributions: by parameter, the key without a `+`.
        keys: as they were typed, by parameter.
        fixed: the words that no parameter is in.
    """

    distributions: Mapping[str, BaseDistribution]
    keys: Mapping[str, str]
    fixed: Sequence[str]

    @classmethod
    def read(cls, words: Sequence[Override]) -> "Space":
        """The space of some words; the last one on a key counts.

        Raises:
            ConfigError: where there is nothing to choose, or a sweep is none that Optuna knows.
        """
        overrides: dict[str, Override] = {}
        for override in words:
            name = override.get_key_element().lstrip("+")
            overrides.pop(name, None)
            overrides[name] = override
        searched = {name: override for name, override in overrides.items() if override.is_sweep_override()}
        if not searched:
            raise ConfigError(
                "nothing to search: give parameters more than one value, such as "
                "'optimizer.lr=tag(log,interval(1e-4,1e-2))' or model=rnn,gru"
            )
        return cls(
            {name: _distribution(override) for name, override in searched.items()},
            {name: override.get_key_element() for name, override in searched.items()},
            [str(override.input_line) for name, override in overrides.items() if name not in searched],
        )

    def words(self, values: Mapping[str, Any]) -> list[str]:
        """The values of a trial, as Hydra reads them."""
        return [f"{key}={_text(values[name], self.distributions[name])}" for name, key in self.keys.items()]

    def short(self, values: Mapping[str, Any]) -> str:
        """The values of a trial, for people."""
        texts = {name: _text(values[name], self.distributions[name]) for name in self.keys}
        return " ".join(
            f"{name}={values[name]:.4g}" if isinstance(values[name], float) else f"{name}={text}"
            for name, text in texts.items()
        )

    def values(self) -> dict[str, list[Any]] | None:
        """All values by parameter; None where one of them is continuous."""
        found = {name: _values(distribution) for name, distribution in self.distributions.items()}
        return {name: values for name, values in found.items() if values is not None} if all(found.values()) else None

    def combinations(self) -> int | None:
        """How many there are; None where a parameter is continuous."""
        values = self.values()
        return math.prod(map(len, values.values())) if values else None

    def has(self, values: Mapping[str, Any]) -> bool:
        """Whether these are values for each of the parameters, within its bounds."""
        if values.keys() != self.distributions.keys():
            return False
        try:
            return all(part._contains(part.to_internal_repr(values[name])) for name, part in self.distributions.items())
        except ValueError:  # no number, or none of the choices
            return False

    def check_same(self, earlier: Mapping[str, BaseDistribution]) -> None:
        """Compare with the space of an earlier trial. Bounds may move.

        Raises:
            ConfigError: what differs.
        """
        for name in [*earlier, *self.distributions]:
            if name not in earlier or name not in self.distributions:
                raise ConfigError(f"{name} is searched {'now' if name not in earlier else 'no more'}")
            try:
                check_distribution_compatibility(earlier[name], self.distributions[name])
            except ValueError:
                was, now = _shown(earlier[name]), _shown(self.distributions[name])
                raise ConfigError(f"{name} was searched over {was} before, and now over {now}") from None


def parse(params: Mapping[str, Any], arguments: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """The words of a config's `params` and of a command line.

    Args:
        params: values by key, as on the command line.
        arguments: have the last word.
        loader: Hydra's, where there may be a glob.
    """
    words = [f"{key}={'null' if value is None else value}" for key, value in params.items()]
    return OverridesParser.create(config_loader=loader).parse_overrides([*words, *arguments])


def _distribution(override: Override) -> BaseDistribution:
    """What Optuna calls the sweep of a word."""
    sweep, word = override.value(), override.input_line
    tags = sweep.tags if isinstance(sweep, Sweep) else set()
    for tag in sorted(tags):
        if tag not in TAGS:
            raise ConfigError(f"{word}: there is no tag {tag}{nearest(tag, TAGS)}: use log or int")
    try:
        if isinstance(sweep, IntervalSweep):
            return _interval(sweep)
        if isinstance(sweep, RangeSweep) and not sweep.shuffle:
            return _range(sweep)
        if tags:
            raise ValueError(f"tag({', '.join(sorted(tags))}, ...) is for ranges and intervals")
        return CategoricalDistribution(_choices(override))
    except ValueError as error:
        raise ConfigError(f"{word}: cannot be searched: {' '.join(str(error).split())}") from error


def _interval(sweep: IntervalSweep) -> BaseDistribution:
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("its bounds must be finite")
    if "int" in sweep.tags or (isinstance(low, int) and isinstance(high, int)):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _range(sweep: RangeSweep) -> BaseDistribution:
    assert sweep.start is not None
    assert sweep.stop is not None
    log, numbers = "log" in sweep.tags, (sweep.start, sweep.stop, sweep.step)
    if "int" in sweep.tags and all(float(number).is_integer() for number in numbers):
        numbers = (int(sweep.start), int(sweep.stop), int(sweep.step))
    whole = all(isinstance(number, int) for number in numbers)
    if log and not (whole and numbers[2] == 1):
        raise ValueError("a range with the tag log goes over integers in steps of 1: use tag(log, interval(...))")
    if "int" in sweep.tags and not whole:
        raise ValueError("these are no integers")
    low, high, step = (Decimal(repr(number)) for number in numbers)
    if not (step > 0 and high >= low and high.is_finite()):
        raise ValueError("a range goes upwards, by steps above 0")
    high = low + (high - low) // step * step
    if whole:
        return IntDistribution(int(low), int(high), step=int(step), log=log)
    return FloatDistribution(float(low), float(high), step=float(step))


def _choices(override: Override) -> list[Any]:
    """Numbers as they are, everything else (lists too) as Hydra writes it; in the order as typed."""
    sweep = override.value()
    if isinstance(sweep, ChoiceSweep | RangeSweep):
        sweep.shuffle = False  # another order is another space to Optuna
    pairs = dict(zip(override.sweep_string_iterator(), override.sweep_iterator(), strict=True))
    if not pairs:
        raise ValueError("there is nothing to choose from")
    choices = [value if _is_plain(value) else text for text, value in pairs.items()]
    return choices if len(set(choices)) == len(pairs) else list(pairs)  # 1, 1.0 and true are equal to Optuna


def _is_plain(value: object) -> bool:
    """Whether storages and people's tools take it for what it is."""
    return value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _text(value: Any, distribution: BaseDistribution) -> str:
    """A value as Hydra reads it."""
    if isinstance(distribution, CategoricalDistribution):
        if isinstance(value, str):
            return value  # it is a word of the command line
        return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        return repr(_on_grid(value, distribution))
    return repr(value)


def _on_grid(value: float, distribution: FloatDistribution) -> float:
    """0.3 where the arithmetic of floats gives 0.30000000000000004: the run is that of a typed 0.3."""
    low, step = Decimal(repr(distribution.low)), Decimal(repr(distribution.step))
    return float(low + round((Decimal(repr(value)) - low) / step) * step)


def _values(distribution: BaseDistribution) -> list[Any] | None:
    """All values of a distribution; None where it is continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        count = round((distribution.high - distribution.low) / distribution.step) + 1
        return [_on_grid(distribution.low + number * distribution.step, distribution) for number in range(count)]
    return None


def _shown(distribution: BaseDistribution) -> str:
    """A distribution as people write it."""
    if isinstance(distribution, CategoricalDistribution):
        return ",".join(_text(choice, distribution) for choice in distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    kind = "integers" if isinstance(distribution, IntDistribution) else "numbers"
    log = " (log)" if distribution.log else ""
    return f"{kind} from {distribution.low} to {distribution.high}{log}"
