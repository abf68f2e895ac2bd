"""ETS and Theta, the classical forecasts of one series, from statsmodels: an optional package (the extra `classical`).

Both see the target alone, and nothing of its rows from the origin on.
"""

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from unroll.data.series import FloatArray, is_constant
from unroll.evaluation.baselines import Rows, persistence

MOST_ROWS = 5000  # the last ones; earlier ones say nothing more of level, trend and season
LEAST_ROWS = 10  # from which statsmodels finds where a search for the first states begins
LONGEST_ESTIMATED = 60  # seasons whose first states are fitted too; of longer ones they are taken from the first years
ITERATIONS = 300  # of a fit
FAILURES = (ValueError, ArithmeticError, np.linalg.LinAlgError, NotImplementedError, IndexError)

Form = tuple[str, str | None, bool, str | None]
"""Error, trend, whether it is damped, season; each add or mul, or None."""


def available() -> bool:
    """Whether statsmodels is installed."""
    return importlib.util.find_spec("statsmodels") is not None


@dataclass(frozen=True)
class Fitted:
    """An ETS form with its parameters and first states, of a series in units of `unit`.

    Args:
        keywords: of statsmodels' ETSModel.
        parameters: of smoothing and damping; the rest is in the keywords.
        damping: of the trend; 1 where it is not damped, 0 where there is none.
        aicc: the corrected Akaike criterion.
    """

    form: Form
    keywords: dict[str, Any]
    parameters: FloatArray
    damping: float
    aicc: float

    @property
    def positive(self) -> bool:
        """Whether it is for positive series only."""
        return "mul" in self.form

    @property
    def name(self) -> str:
        """In the usual letters, such as ETS(M,Ad,M)."""
        letters = {None: "N", "add": "A", "mul": "M"}
        error, trend, damped, season = self.form
        return f"ETS({letters[error]},{letters[trend]}{'d' if damped else ''},{letters[season]})"


class ExponentialSmoothing:
    """ETS: the form with the lowest AICc, fitted once; later rows bring its states up to date, as they do a model's.

    Twelve forms: additive or multiplicative error; no trend, an additive or a damped one; no season, or one of the kind
    of the error. What is multiplicative is for positive series alone; where a row that is not comes later, the best
    additive form goes on.

    Args:
        target: (n,) all that is known at the time of the fit.
        season: rows in one season; None or 1: none.

    Source:
        Hyndman, Koehler, Ord and Snyder (2008), Forecasting with exponential smoothing, chapters 2, 5 and 7.
    """

    def __init__(self, target: FloatArray, season: int | None) -> None:
        self.begin = max(0, len(target) - MOST_ROWS)
        history = target[self.begin :]
        self.unit = float(np.abs(history).mean()) or 1.0
        self.season = season if season and 1 < season <= len(history) // 2 else 0
        found = [self._fit(history / self.unit, form) for form in self._forms(history)]
        fits = sorted((fit for fit in found if fit), key=lambda fit: fit.aicc)
        self.best: Fitted | None = fits[0] if fits else None
        self.additive: Fitted | None = next((fit for fit in fits if not fit.positive), None)

    def forecast(self, target: FloatArray, origins: Rows, horizon: int) -> FloatArray:
        """(n, H) in the series' units, each from the rows before its origin; the last value where no form is at hand.

        Args:
            target: (N,) the series from its first row on, which begins with the rows of the fit.
            origins: (n,) none before the end of these.
            horizon: H.
        """
        made = persistence(target, origins, horizon)
        known = target[self.begin : origins.max()]
        wrong = np.flatnonzero(known <= 0)
        positive_until = self.begin + (int(wrong[0]) if len(wrong) else len(known))
        for fit, fits in ((self.additive, True), (self.best, origins <= positive_until)):  # the best has the last word
            chosen = np.flatnonzero(fits if fit and fit.positive else np.ones(len(origins), bool))
            if fit and len(chosen):
                found = self._ahead(fit, target, origins[chosen], horizon)
                finite = np.isfinite(found).all(axis=1)
                made[chosen[finite]] = found[finite]
        return made

    def _forms(self, history: FloatArray) -> list[Form]:
        """Those that the series may have."""
        if len(history) < LEAST_ROWS or is_constant(history):
            return []
        trends: list[tuple[str | None, bool]] = [(None, False), ("add", False), ("add", True)]
        kinds = ("add", "mul") if (history > 0).all() else ("add",)
        forms: list[Form] = []
        for kind in kinds:
            seasons = (None, kind) if self.season else (None,)
            forms += [(kind, trend, damped, season) for trend, damped in trends for season in seasons]
        return forms

    def _fit(self, history: FloatArray, form: Form) -> Fitted | None:
        """A form's maximum likelihood; None where it has none, or more parameters than AICc can bear."""
        from statsmodels.tsa.exponential_smoothing.ets import ETSModel

        keywords = self._keywords(form)
        first = "estimated" if self.season <= LONGEST_ESTIMATED else "heuristic"
        try:
            with _quietly():
                model = ETSModel(history, **keywords, initialization_method=first)
                if len(history) <= len(model.param_names) + 3:
                    return None
                fit = model.fit(disp=False, maxiter=ITERATIONS)
                aicc = float(fit.aicc)
        except FAILURES:
            return None
        values = dict(zip(model.param_names, np.asarray(fit.params, dtype=np.float64), strict=True))
        states = {"initial_level": fit.initial_level}
        states |= {"initial_trend": fit.initial_trend} if form[1] else {}
        states |= {"initial_seasonal": fit.initial_seasonal} if form[3] else {}
        kept = [value for name, value in values.items() if not name.startswith("initial")]
        finite = np.isfinite([aicc, *values.values()]).all()
        damping = values.get("damping_trend", 1.0) if form[1] else 0.0
        known = keywords | states | {"initialization_method": "known"}
        return Fitted(form, known, np.array(kept), damping, aicc) if finite else None

    def _keywords(self, form: Form) -> dict[str, Any]:
        error, trend, damped, season = form
        periods = {"seasonal_periods": self.season} if season else {}
        return {"error": error, "trend": trend, "damped_trend": damped, "seasonal": season, **periods}

    def _ahead(self, fit: Fitted, target: FloatArray, origins: Rows, horizon: int) -> FloatArray:
        """(n, H) from the states after each last known row: one pass over the series serves all origins."""
        from statsmodels.tsa.exponential_smoothing.ets import ETSModel

        known = target[self.begin : origins.max()] / self.unit
        with _quietly():
            states = np.asarray(ETSModel(known, **fit.keywords).smooth(fit.parameters).states, dtype=np.float64)
            last, steps = origins - 1 - self.begin, np.arange(1, horizon + 1)
            made = np.repeat(states[last, 0][:, None], horizon, axis=1)
            if fit.form[1]:
                made += states[last, 1][:, None] * np.cumsum(fit.damping**steps)
            if fit.form[3]:
                rows = last[:, None] + 1 - self.season + (steps - 1) % self.season
                seasonal = states[rows, 1 + bool(fit.form[1])]
                made = made * seasonal if fit.form[3] == "mul" else made + seasonal
            return made * self.unit


def theta(target: FloatArray, origins: Rows, horizon: int, season: int | None) -> tuple[FloatArray, int]:
    """The Theta method, fitted at each origin on the rows before it.

    The season is taken out where its autocorrelation is significant, as a factor in positive series and as a sum in
    others.

    Args:
        target: (N,) the series.
        origins: (n,) first target rows.
        horizon: H.
        season: rows in one season; None or 1: none.

    Returns:
        (n, H), and for how many origins nothing could be fitted, so that it is the last value.

    Source:
        Assimakopoulos and Nikolopoulos (2000), The theta model; the equivalence used is of Hyndman and Billah (2003),
        Unmasking the theta method.
    """
    made = persistence(target, origins, horizon)
    failed = 0
    for number, origin in enumerate(origins.tolist()):
        history = target[max(0, origin - MOST_ROWS) : origin]
        found = next(filter(_is_finite, _theta_of(history, horizon, season)), None)
        if found is None:
            failed += 1
        else:
            made[number] = found
    return made, failed


def _theta_of(history: FloatArray, horizon: int, season: int | None) -> Iterator[FloatArray | None]:
    """With the season, and where that fails without."""
    from statsmodels.tsa.forecasting.theta import ThetaModel

    unit = float(np.abs(history).mean()) or 1.0
    seasonal = bool(season and 1 < season <= len(history) // 2)
    for period in ([season] if seasonal else []) + [None]:
        try:
            with _quietly():
                model = ThetaModel(history / unit, period=period or 1, deseasonalize=period is not None)
                yield np.asarray(model.fit().forecast(horizon), dtype=np.float64) * unit
        except FAILURES:
            yield None


def _is_finite(made: FloatArray | None) -> bool:
    return made is not None and bool(np.isfinite(made).all())


@contextmanager
def _quietly() -> Iterator[None]:
    """A search that ends at a bound or before its end warns; its fit is judged by AICc and by what it forecasts."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def classical(
    target: FloatArray, origins: Rows, horizon: int, season: int | None
) -> tuple[dict[str, FloatArray], Sequence[str]]:
    """ETS, fitted on the rows before the first origin, and Theta, fitted at each; see there.

    Args:
        target: (N,) the series.
        origins: (n,) of one fold, increasing.
        horizon: H.
        season: rows in one season; None: none.

    Returns:
        (n, H) by name, and what is to be said of them.
    """
    smoothing = ExponentialSmoothing(target[: origins[0]], season)
    made, failed = theta(target, origins, horizon, season)
    notes = [smoothing.best.name if smoothing.best else "ETS: the last value, where nothing could be fitted"]
    if failed:
        notes.append(f"Theta: the last value at {failed} of {len(origins)} origins, where nothing could be fitted")
    return {"ETS": smoothing.forecast(target, origins, horizon), "Theta": made}, notes
