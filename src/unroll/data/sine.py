"""A sine with noise: the smallest series on which a recurrent network can show that it works."""

import math
from typing import Unpack

import numpy as np
import pandas as pd

from unroll.config import check_arguments
from unroll.data.module import WindowDataModule, Windowing
from unroll.data.series import FloatArray, Series, check_made_up
from unroll.errors import ConfigError


class SineData(WindowDataModule):
    """amplitude * sin(2 pi t / period + phase) + noise * N(0, 1).

    Args:
        points: N.
        period: of the sine, in the units of t.
        step: from one t to the next, t = 0, step, 2 step, ...; or
        span: t runs from 0 to span, both included (then step is null).
        amplitude, phase: of the sine; the phase in radians.
        noise: standard deviation of the normal noise.
        seed: of the noise. It is not the run's seed: a sweep over seeds trains on one series.
        windowing: see WindowDataModule.
    """

    def __init__(
        self,
        *,
        points: int,
        period: float,
        step: float | None = None,
        span: float | None = None,
        amplitude: float = 1.0,
        phase: float = 0.0,
        noise: float = 0.0,
        seed: int = 0,
        **windowing: Unpack[Windowing],
    ) -> None:
        super().__init__(**windowing)
        check_arguments(points=points, period=period, step=step, span=span, amplitude=amplitude)
        check_arguments(phase=phase, noise=noise, seed=seed)
        if (step is None) == (span is None):
            raise ConfigError(f"data.step={step} and data.span={span}: give one of them, and null for the other")
        self.points, self.period, self.step, self.span = points, period, step, span
        self.amplitude, self.phase, self.noise, self.seed = amplitude, phase, noise, seed

    def load(self) -> Series:
        """The same numbers on every machine (RandomState's streams are frozen by NumPy's policy)."""
        check_made_up("data.points", self.points)
        if self.span is None:
            assert self.step is not None
            t = np.arange(self.points, dtype=np.float64) * self.step
        else:
            t = np.linspace(0.0, self.span, self.points, dtype=np.float64)
        noise = self.noise * np.random.RandomState(self.seed).standard_normal(self.points)
        values = self.formula(t) + noise
        rows = self.period / (t[1] - t[0])
        season = round(rows) if abs(rows - round(rows)) < 1e-6 and rows >= 1.5 else None
        return Series(values[:, None], pd.Index(t, name="t"), ("value",), "sine", kind="synthetic", season=season)

    def formula(self, t: FloatArray) -> FloatArray:
        """(n,) the sine at any t, without noise."""
        return self.amplitude * np.sin(2 * math.pi * t / self.period + self.phase)
