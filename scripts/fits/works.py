"""What is measured: the works, their sizes, and what is demanded of unroll.

Plain Python: workers import it in environments that have no unroll.

Every contender of a work trains the same network on the same noise-free sine with the same windows, batch size,
optimizer (Adam, learning rate 0.001), loss (mean squared error), epochs and steps, shuffled each epoch, on one thread
of the CPU. There is no validation, except in `one seed`, where all of them evaluate 32 windows after each epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

LEARNING_RATE = 0.001
PERIOD = 20.0  # of the sine; a row is 0.5 of it, as in conf/base/experiment/sine.yaml
ROW = 0.5


@dataclass(frozen=True)
class Contender:
    """Someone who fits.

    Args:
        title: for tables and figures.
        module: its worker side, in fits.contenders.
        package: what must be installed, as pip calls it.
    """

    title: str
    module: str
    package: str


CONTENDERS = {
    "unroll": Contender("unroll", "with_unroll", "unroll"),
    "loop": Contender("plain loop", "plain_loop", "torch"),
    "lightning": Contender("usual Lightning", "usual_lightning", "lightning"),
    "darts": Contender("darts", "with_darts", "darts"),
    "neuralforecast": Contender("neuralforecast", "with_neuralforecast", "neuralforecast"),
}


@dataclass(frozen=True)
class Sizes:
    """Of one fit.

    Args:
        cell: GRU | LSTM | RNN.
        window_size, batch_size, hidden_size: W, B, D; the horizon is 1.
        windows: that train.
        epochs: over all of them, or over
        most_batches: of each epoch.
        head_sizes: hidden layers of the head; none: one linear layer.
        validation: windows that are evaluated after each epoch.
        test: windows that unroll scores after its fit; the others have none.
        replicas: seeds that unroll trains together; the others train one a fit.
        experiment: of conf/experiment, which unroll starts from.
    """

    cell: str
    window_size: int
    batch_size: int
    hidden_size: int
    windows: int
    epochs: int
    most_batches: int | None = None
    head_sizes: tuple[int, ...] = ()
    validation: int = 0
    test: int = 32
    replicas: int = 1
    experiment: str | None = None

    @property
    def points(self) -> int:
        """Rows of the series."""
        return self.window_size + self.windows + self.validation + self.test

    @property
    def batches(self) -> int:
        """Steps of an epoch."""
        return min(-(-self.windows // self.batch_size), self.most_batches or self.windows)

    @property
    def steps(self) -> int:
        """Of the optimizer, in a fit."""
        return self.epochs * self.batches

    @property
    def trained(self) -> int:
        """Windows that a seed's fit trains on, each as often as it does."""
        return self.epochs * min(self.windows, self.batches * self.batch_size)

    @property
    def words(self) -> str:
        """For people."""
        head = f", head {'-'.join(map(str, self.head_sizes))}" if self.head_sizes else ""
        checked = f", {self.validation} windows evaluated after each" if self.validation else ""
        return (
            f"{self.cell} of hidden size {self.hidden_size}{head}, window {self.window_size}, batch {self.batch_size}; "
            f"epochs: {self.epochs} of {min(self.windows, self.batches * self.batch_size):,} windows{checked}; "
            f"steps: {self.steps:,}"
        )


@dataclass(frozen=True)
class Work:
    """Fits that are compared.

    Args:
        name: of it.
        group: chosen together by --only.
        sizes: of each fit.
        compare: `speed`: how many times as many seeds a second unroll trains as another;
            `seconds`: how many times the plain loop's seconds another needs.
        demands: by contender, on that ratio: at least so much where speed is compared, at most where seconds are.
    """

    name: str
    group: str
    sizes: Sizes
    compare: Literal["speed", "seconds"] = "speed"
    demands: Mapping[str, float] = field(default_factory=dict)


SMALL = Sizes("GRU", window_size=9, batch_size=32, hidden_size=32, windows=181, epochs=100, head_sizes=(16, 8))
WORKS = (
    Work("16 seeds", "16 seeds", replace(SMALL, replicas=16), demands={"loop": 6, "darts": 8, "neuralforecast": 8}),
    Work("64 seeds", "64 seeds", Sizes("GRU", 10, 64, 16, windows=1000, epochs=30, replicas=64), demands={"loop": 9}),
    *(
        Work(
            f"sine {cell}",
            "sine",
            Sizes(cell, 80, 500, 20, windows=1536, epochs=25, test=384, experiment=f"sine_{cell.lower()}"),
            demands={"loop": demand},
        )
        for cell, demand in (("GRU", 1.7), ("LSTM", 1.0), ("RNN", 1.0))
    ),
    Work("one seed", "one seed", replace(SMALL, validation=32), compare="seconds", demands={"unroll": 1.4}),
)

MIDDLE = Sizes("GRU", window_size=20, batch_size=64, hidden_size=32, windows=6_400, epochs=4)
CURVES: Mapping[str, Sequence[int]] = {
    "window_size": (5, 10, 20, 40, 80, 160),
    "batch_size": (16, 32, 64, 128, 256, 512),
    "hidden_size": (8, 16, 32, 64, 128),
    "replicas": (1, 4, 16, 64),
    "points": (1_000, 10_000, 100_000, 1_000_000, 10_000_000),
}
CURVE_STEPS = 400


def curve_sizes(axis: str, value: int) -> Sizes:
    """The fit at one place of a curve: of 400 steps, or of as many whole epochs as come nearest to that.

    Args:
        axis: a key of CURVES; `points` is the length of the series.
        value: on it.
    """
    if axis == "points":
        sizes = replace(MIDDLE, windows=value - MIDDLE.window_size - MIDDLE.test)
    elif axis == "batch_size":
        sizes = replace(MIDDLE, batch_size=value, windows=100 * value)
    else:
        sizes = replace(MIDDLE, **{axis: value})  # type: ignore[arg-type]
    sizes = replace(sizes, most_batches=CURVE_STEPS)
    return replace(sizes, epochs=max(1, round(CURVE_STEPS / sizes.batches)))


def quick(sizes: Sizes) -> Sizes:
    """The same, tiny: to see whether it runs."""
    return replace(sizes, epochs=2, most_batches=2, replicas=min(2, sizes.replicas))
