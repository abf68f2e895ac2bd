"""ETS and Theta against statsmodels itself, on series of every nature, without a look past the origin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unroll.evaluation.classical import ExponentialSmoothing, classical, theta

pytest.importorskip("statsmodels")

NOISE = np.random.default_rng(0).standard_normal(120)
T = np.arange(120)
SERIES = {
    "season": 10 + 3 * np.sin(T * 2 * np.pi / 7) + 0.1 * NOISE,
    "negative": -5 + NOISE,
    "growth": np.exp(0.05 * T) * (1 + 0.2 * np.sin(T * 2 * np.pi / 7)),
    "decay": np.round(100 * np.exp(-0.1 * T)),
    "constant tail": np.where(T < 50, 5 + np.sin(T), 3.0),
    "constant": np.full(120, 2.0),
    "zeros": np.zeros(120),
    "line": 2.0 * T,
    "huge": 1e130 * (3 + NOISE / 10),
    "tiny": 1e-130 * NOISE,
    "falls below zero": 9 - 0.1 * T + 0.01 * NOISE,
}


@pytest.mark.parametrize("name", SERIES)
def test_every_series_has_its_forecasts(name):
    target, origins = SERIES[name], np.array([84, 112])
    made, notes = classical(target, origins, 4, 7)
    assert set(made) == {"ETS", "Theta"}
    assert notes[0].startswith("ETS")
    for found in made.values():
        assert found.shape == (2, 4)
        assert np.isfinite(found).all()
        assert np.abs(found).max() <= 2 * np.abs(target).max()


def test_few_rows_are_enough_for_the_last_value():
    made, notes = classical(np.array([3.0, 1.0, 2.0, 5.0]), np.array([3]), 1, 7)
    assert made["ETS"].tolist() == [[2.0]]
    assert "ETS: the last value, where nothing could be fitted" in notes


def test_the_season_is_found_and_beats_none():
    target, origins = SERIES["season"], np.arange(90, 114, 3)
    truth = target[origins[:, None] + np.arange(3)]
    for found in classical(target, origins, 3, 7)[0].values():
        assert np.sqrt(np.mean((found - truth) ** 2)) < 0.2  # noise of 0.1, a season of 3
    assert ExponentialSmoothing(target[:90], 7).best.form[3]
    assert ExponentialSmoothing(SERIES["negative"][:90], 7).best.form == ("add", None, False, None)
    assert ExponentialSmoothing(SERIES["growth"][:90], 7).best.form[3] == "mul"


@pytest.mark.parametrize(("name", "season"), [("season", 7), ("growth", 7), ("growth", None), ("line", None)])
def test_states_brought_up_to_date_are_those_of_statsmodels(name, season):
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    target = SERIES[name]
    smoothing = ExponentialSmoothing(target[:90], season)
    origins = np.array([90, 97, 105])
    made = smoothing.forecast(target, origins, 9)
    for row, origin in zip(made, origins, strict=True):
        known = ETSModel(target[:origin] / smoothing.unit, **smoothing.best.keywords)
        expected = known.smooth(smoothing.best.parameters).forecast(9) * smoothing.unit
        np.testing.assert_allclose(row, expected, rtol=1e-9)


@pytest.mark.parametrize(("name", "season"), [("season", 7), ("growth", 8), ("falls below zero", None)])
def test_later_rows_change_no_bit(name, season, monkeypatch):
    monkeypatch.setattr("unroll.evaluation.classical.LONGEST_ESTIMATED", 7)  # one of them has a long season
    target = SERIES[name].copy()
    origins = np.array([80, 84, 88])
    before, notes = classical(target, origins, 2, season)
    target[88:] = -1e3 * NOISE[88:]  # known to none of them
    after, again = classical(target, origins, 2, season)
    for key, found in before.items():
        np.testing.assert_array_equal(found, after[key])
    assert notes == again
    target[84:] = -5  # the first two do not know it; a form for positive series cannot go on with it
    other = classical(target, origins, 2, season)[0]
    for key, found in before.items():
        np.testing.assert_array_equal(found[:2], other[key][:2])
        assert np.isfinite(other[key]).all()
        assert not np.array_equal(found[2], other[key][2])


def test_theta_is_that_of_statsmodels():
    from statsmodels.tsa.forecasting.theta import ThetaModel

    target = SERIES["season"]
    made, failed = theta(target, np.array([100]), 3, 7)
    unit = np.abs(target[:100]).mean()
    expected = ThetaModel(target[:100] / unit, period=7).fit().forecast(3) * unit
    np.testing.assert_allclose(made[0], expected, rtol=1e-9)
    assert failed == 0


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, -2.0, 3.5, 1e-9, 1e9]), min_size=12, max_size=30), st.integers(1, 4))
def test_whatever_the_values_every_forecast_is_a_number(values, horizon):
    target = np.array(values)
    made, _ = classical(target, np.array([len(target) - 1]), horizon, 3)
    for found in made.values():
        assert found.shape == (1, horizon)
        assert np.isfinite(found).all()
