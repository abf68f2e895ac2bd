"""The arithmetic: ratios of fits that were measured one after the other, their spread, and whether a demand is met."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fits.works import Work


@dataclass(frozen=True)
class Fit:
    """What a worker answered.

    Args:
        seconds: of the training.
        whole: seconds of the whole call, with what comes before and after the training.
        computed: seconds of a processor in the whole call; fewer than `whole` where it had to wait for one.
        steps: of the optimizer.
        loss: of training, at the end.
    """

    seconds: float
    whole: float
    computed: float
    steps: int
    loss: float


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of some values."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Row:
    """A contender's part in a work.

    Args:
        contender: a key of CONTENDERS.
        seeds: of a fit.
        fit, whole: seconds.
        seeds_per_second: of the fits.
        ratios: see Work.compare, one an alternation; none for the contender that the others are compared with.
        demand: on the ratio.
    """

    contender: str
    seeds: int
    fit: Spread
    whole: Spread
    seeds_per_second: Spread
    ratios: tuple[float, ...]
    demand: float | None

    @property
    def ratio(self) -> Spread | None:
        """Of all alternations."""
        return Spread.of(self.ratios) if self.ratios else None


def rows(work: Work, fits: dict[str, list[Fit]]) -> list[Row]:
    """What each contender did.

    Args:
        work: that was done.
        fits: of each contender, one an alternation; those of the same number were measured one after the other.
    """
    reference = "unroll" if work.compare == "speed" else "loop"
    found = []
    for name, done in fits.items():
        seeds = work.sizes.replicas if name == "unroll" else 1
        ratios: tuple[float, ...] = ()
        if name != reference and reference in fits:
            reference_seeds = work.sizes.replicas if reference == "unroll" else 1
            ratios = tuple(
                (own.seconds / seeds) / (other.seconds / reference_seeds)
                for own, other in zip(done, fits[reference], strict=True)
            )
        found.append(
            Row(
                name,
                seeds,
                Spread.of([fit.seconds for fit in done]),
                Spread.of([fit.whole for fit in done]),
                Spread.of([seeds / fit.seconds for fit in done]),
                ratios,
                work.demands.get(name) if ratios else None,
            )
        )
    return found


def waited(fits: Iterable[Fit]) -> float:
    """The median part of their time in which fits waited: near 0 where the machine had nothing else to do."""
    return statistics.median([max(0.0, 1 - fit.computed / fit.whole) for fit in fits])


def met(ratios: Sequence[float], demand: float, *, at_least: bool) -> bool:
    """Whether the median meets the demand."""
    median = statistics.median(ratios)
    return median >= demand if at_least else median <= demand


def verdict(ratios: Sequence[float], demand: float, *, at_least: bool) -> str:
    """Whether the demand is met, in words: the median decides, and single alternations that disagree are told.

    Args:
        ratios: one an alternation.
        demand: on them.
        at_least: or at most.
    """
    single = [met([ratio], demand, at_least=at_least) for ratio in ratios]
    by_median = met(ratios, demand, at_least=at_least)
    word = "met" if by_median else "not met"
    count = sum(single) if by_median else len(single) - sum(single)
    return word if count == len(single) else f"{word} (in {count} of {len(single)})"
