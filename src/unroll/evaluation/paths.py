"""Free runs of distributions: many paths, each of which reads what it drew, and what these come to."""

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from unroll.data.series import FloatArray
from unroll.data.transforms import Transform
from unroll.evaluation.conformal import Ends
from unroll.models.forecaster import Forecaster
from unroll.seeding import PATHS, derive_seed

MOST_PATHS, LEAST_PATHS = 1000, 100
AT_ONCE = 2**24  # numbers, which bounds memory where many steps are asked for


def paths_for(rows: int, steps: int) -> int:
    """How many paths there are of each of some forecasts, of all replicas together."""
    return max(LEAST_PATHS, min(MOST_PATHS, AT_ONCE // (rows * steps)))


def draw_paths(
    forecaster: Forecaster,
    states: Sequence[dict[str, Tensor]],
    transform: Transform,
    history: Tensor,
    steps: int,
    *,
    paths: int,
    seed: int,
    part: int = 0,
    known: Tensor | None = None,
    future: Tensor | None = None,
) -> list[FloatArray]:
    """Let each replica draw its share of the paths: all of them together are draws from the replicas' mixture.

    Args:
        forecaster: of a head that makes distributions; the weights it has are replaced.
        states: of K replicas.
        transform: of the series.
        history, steps, known, future: see Forecaster.free_run.
        paths: of all replicas together.
        seed: of the first replica; the same seed draws the same paths.
        part: of several calls that are to draw other paths.

    Returns:
        K times (S, B, steps), in the series' units.
    """
    found = []
    for number, state in enumerate(states):
        forecaster.load_state_dict(state)
        drawn = forecaster.free_run(
            history,
            steps,
            known=known,
            future=future,
            samples=math.ceil(paths / len(states)),
            seed=derive_seed(seed + number, PATHS, part),
        )
        found.append(transform.invert_target(drawn.double().cpu().numpy()))
    return found


def middle(paths: FloatArray, *, counts: bool) -> FloatArray:
    """(S, ...) paths to the point forecast (...): their median, or of counts their mean."""
    return np.asarray(paths.mean(axis=0) if counts else np.median(paths, axis=0))


def sides(levels: Sequence[float]) -> list[float]:
    """The levels of the quantiles that are the ends of central intervals: the lower and the upper one of each in turn.

    Args:
        levels: of the intervals, in percent.
    """
    return [(1 + side * level / 100) / 2 for level in levels for side in (-1, 1)]


def ends_of(paths: FloatArray, levels: Sequence[float]) -> dict[float, Ends]:
    """(S, ...) paths to the lower and upper ends (...) of their central intervals, by level in percent."""
    made = np.quantile(paths, sides(levels), axis=0)
    return {level: (made[2 * place], made[2 * place + 1]) for place, level in enumerate(levels)}
