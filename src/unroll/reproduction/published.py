"""What five published tutorials say of nine experiments, and where our runs say the same thing.

Each tutorial shows one seed. `conf/experiment/` holds the experiments themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unroll.reproduction.runs import Run  # which imports pandas: the command line must not wait for it

ORDERS = {
    "split_then_window": "split, then window",
    "window_then_split": "window, then split",
}


@dataclass(frozen=True)
class Claim:
    """One figure of a tutorial.

    Args:
        quantity: what it is.
        value: as published; None where the tutorial prints or draws it and quotes no number.
        ours: the same of one of our runs; None where the run did not get so far.
    """

    quantity: str
    value: float | None
    ours: "Callable[[Run], float | None]"


@dataclass(frozen=True)
class Reference:
    """One published experiment.

    Args:
        name: its file in conf/experiment.
        what: in a few words.
        claims: what was published of it.
        figures: of a run, those that its source shows.
        work: roughly, in seconds; only for the time left and the order of the runs.
    """

    name: str
    what: str
    claims: tuple[Claim, ...]
    figures: tuple[str, ...]
    work: float


def _last_batch(epoch: int, value: float) -> Claim:
    return Claim(f"loss of the last batch, epoch {epoch}", value, lambda run: run.at_epoch("last_batch_loss", epoch))


def _loss(segment: str) -> Claim:
    return Claim(f"{segment} loss (MSE)", None, lambda run: run.score(segment, "loss"))


def _cinema(model: str, r2: float, loss: float) -> Reference:
    claims = (
        Claim("test R2", r2, lambda run: run.score("test", "r2")),
        Claim("training loss, epoch 100", loss, lambda run: run.at_epoch("train_loss", 100)),
    )
    return Reference(f"cinema_{model}", f"{model.upper()} on daily cinema sales", claims, ("forecast", "loss"), 2.0)


def _sine(model: str, work: float) -> Reference:
    claims = (
        Claim("test R2", None, lambda run: run.score("test", "r2")),
        Claim("training loss, epoch 500", None, lambda run: run.at_epoch("train_loss", 500)),
        Claim("RMSE of the free run", None, lambda run: run.free_run_rmse),
    )
    return Reference(f"sine_{model}", f"{model.upper()} on a sine, then a free run", claims, ("free_run", "loss"), work)


TREND_LOSSES = (7.4051, 4.0839, 1.6807, 0.5536, 0.2236, 0.1506, 0.1338, 0.1286, 0.1256, 0.1231)
TREND_EPOCHS = tuple(range(10, 101, 10))
CINEMA_R2 = {"rnn": 0.51, "lstm": 0.58, "gru": 0.62}
CINEMA_LOSS = {"rnn": 0.0158, "lstm": 0.0056, "gru": 0.0121}
SINE_SECONDS = {"a GTX 4060 Ti": 30, "an i5-9600K": 213}
"""Seconds of the three sine models together."""

REFERENCES = {
    reference.name: reference
    for reference in (
        Reference(
            "trend_gru",
            "GRU on a sine on a line",
            tuple(map(_last_batch, TREND_EPOCHS, TREND_LOSSES)),
            ("overlay", "forecast"),
            2.5,
        ),
        Reference("sine_gru_two_layer", "two layers of GRU on a sine", (_loss("test"),), ("overlay",), 14.0),
        Reference("noisy_sine_gru", "GRU on a noisy sine, scored in training", (_loss("train"),), ("overlay",), 1.5),
        *(_cinema(model, CINEMA_R2[model], CINEMA_LOSS[model]) for model in CINEMA_R2),
        *(_sine(model, work) for model, work in {"rnn": 35.0, "lstm": 60.0, "gru": 65.0}.items()),
    )
}
"""By name, in the order of the page."""
