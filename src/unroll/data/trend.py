"""A sine on a line with uniform noise: a series that leaves the range it was trained on."""

import math
from typing import Unpack

import numpy as np
import pandas as pd

from unroll.config import check_arguments
from unroll.data.module import WindowDataModule, Windowing
from unroll.data.series import FloatArray, Series, check_made_up


class TrendData(WindowDataModule):
    """amplitude * sin(frequency t) + noise * U(0, 1) + slope * t for t = 0 .. points - 1.

    Args:
        points: N.
        frequency: of the sine, in radians a step.
        amplitude: of the sine.
        noise: the width of the uniform noise, which is added from 0 up.
        slope: of the line, a step.
        seed: of the noise. It is not the run's seed: a sweep over seeds trains on one series.
        windowing: see WindowDataModule; the forecast starts at t = points - test.
    """

    def __init__(
        self,
        *,
        points: int,
        frequency: float,
        amplitude: float = 1.0,
        noise: float = 0.0,
        slope: float = 0.0,
        seed: int = 0,
        **windowing: Unpack[Windowing],
    ) -> None:
        super().__init__(**windowing)
        check_arguments(points=points, amplitude=amplitude, noise=noise, slope=slope, seed=seed)
        check_arguments(**{"data.frequency": frequency})
        self.points, self.frequency, self.amplitude = points, frequency, amplitude
        self.noise, self.slope, self.seed = noise, slope, seed

    def load(self) -> Series:
        """The same numbers on every machine (RandomState's streams are frozen by NumPy's policy)."""
        check_made_up("data.points", self.points)
        t = np.arange(self.points, dtype=np.float64)
        noise = self.noise * np.random.RandomState(self.seed).random_sample(self.points)
        values = self.formula(t) + noise
        season = round(2 * math.pi / abs(self.frequency)) if self.frequency else None
        return Series(
            values[:, None], pd.RangeIndex(self.points, name="t"), ("value",), "trend", kind="synthetic", season=season
        )

    def formula(self, t: FloatArray) -> FloatArray:
        """(n,) sine and line at any t, without noise."""
        return self.amplitude * np.sin(self.frequency * t) + self.slope * t
