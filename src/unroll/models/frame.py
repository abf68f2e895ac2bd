"""What is done to each window before the network reads it, and undone on its forecast: differences, centre, scale.

So a network can read a series that drifts: it sees changes, or a window beside its own mean, and never a level that it
was not trained on. Everything comes from the window itself; nothing is fitted.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unroll.errors import ConfigError
from unroll.rules import WINDOW_WORDS

CLIP = 2.0  # in scaled units, that is about two standard deviations of the series
FLAT = 0.25  # in scaled units: windows whose standard deviation is less are magnified to it
LEAST_SCALE = 1e-3  # in scaled units: windows that are flatter are not blown up further


class Entered(NamedTuple):
    """A window as the network reads it, and the way back.

    Args:
        target: (B, W') the target.
        leave: (B, H) forecasts as the network makes them, to scaled units.
        factor: (B, 1) what spreads are multiplied with on this way; None: 1.
    """

    target: Tensor
    leave: Callable[[Tensor], Tensor]
    factor: Tensor | None


class Frame:
    """The window part of a chain of transforms. All tensors may have more dimensions before B.

    Args:
        words: of WINDOW_WORDS, in their order.
        season: rows, for `seasonal_difference`.

    Source of the window's own mean and standard deviation:
        Kim et al. (2022), Reversible instance normalization for accurate time-series forecasting against distribution
        shift, equations 1 and 2, without their learned weights.
    """

    def __init__(self, words: Sequence[str], season: int | None = None) -> None:
        self.words = tuple(words)
        self.lags = []
        for word in self.words:
            if word == "difference":
                self.lags.append(1)
            elif word == "seasonal_difference":
                if not season or season < 2:
                    raise ConfigError("data.transform=seasonal_difference needs a season: set data.seasonal_period")
                self.lags.append(season)
            elif word not in WINDOW_WORDS:
                raise ConfigError(f"data.transform: {word} is none of {', '.join(WINDOW_WORDS)}")

    @property
    def lost(self) -> int:
        """Rows of the window that differences use up."""
        return sum(self.lags)

    def enter(self, target: Tensor) -> Entered:
        """(B, W) in scaled units to (B, W - lost) as the network reads it."""
        ways: list[Callable[[Tensor], Tensor]] = []
        factor: Tensor | None = None
        lags = iter(self.lags)
        for word in self.words:
            if word in ("difference", "seasonal_difference"):
                lag = next(lags)
                ways.append(_summed(target[..., -lag:]))
                target = target[..., lag:] - target[..., :-lag]
                continue
            if word == "window_clip":  # a day without sales tells no more than a bad one
                target = target.clamp(-CLIP, CLIP)
                continue
            if word == "window_magnify":
                spread = (target - target.mean(-1, keepdim=True)).square().mean(-1, keepdim=True).sqrt()
                scale = (spread / FLAT).clamp(LEAST_SCALE, 1.0)
                target = target / scale
                ways.append(_affine(None, scale))
                factor = scale if factor is None else factor * scale
                continue
            middle = _median(target) if word == "window_median" else target.mean(-1, keepdim=True)  # (B, 1)
            target = target - middle
            if word == "window_standard":
                scale = target.square().mean(-1, keepdim=True).sqrt().clamp_min(LEAST_SCALE)
                target = target / scale
                ways.append(_affine(middle, scale))
                factor = scale if factor is None else factor * scale
            else:
                ways.append(_affine(middle, None))

        def leave(made: Tensor) -> Tensor:
            for way in reversed(ways):
                made = way(made)
            return made

        return Entered(target, leave, factor)


def _median(target: Tensor) -> Tensor:
    """(B, W) to (B, 1); of an even number of rows the mean of the two in the middle."""
    ordered, rows = target.sort(-1).values, target.shape[-1]
    return (ordered[..., [(rows - 1) // 2]] + ordered[..., [rows // 2]]) / 2


def _affine(middle: Tensor | None, scale: Tensor | None) -> Callable[[Tensor], Tensor]:
    def way(made: Tensor) -> Tensor:
        made = made if scale is None else made * scale
        return made if middle is None else middle + made

    return way


def _summed(last: Tensor) -> Callable[[Tensor], Tensor]:
    """Add up differences from the last known values (B, lag) on."""
    lag = last.shape[-1]

    def way(made: Tensor) -> Tensor:
        horizon = made.shape[-1]
        if horizon <= lag:
            return made + last[..., :horizon]
        seasons = -(-horizon // lag)
        filled = torch.nn.functional.pad(made, (0, seasons * lag - horizon)).unflatten(-1, (seasons, lag))
        return (filled.cumsum(-2) + last.unsqueeze(-2)).flatten(-2)[..., :horizon]

    return way
