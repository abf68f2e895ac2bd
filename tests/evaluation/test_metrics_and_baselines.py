"""Scores against scikit-learn and hand computation; baselines against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from unroll.data.windows import origins
from unroll.evaluation.baselines import LinearAutoregression, baselines, drift, persistence, seasonal_naive
from unroll.evaluation.metrics import best_by, naive_error, scores, skill


@given(st.integers(2, 50), st.integers(1, 4), st.integers(-9, 12), st.integers(0, 1000))
def test_scores_equal_scikit_learns(windows, horizon, power, seed):
    random = np.random.RandomState(seed)
    truth = random.standard_normal((windows, horizon)) * 10.0**power
    forecast = truth + random.standard_normal((windows, horizon)) * 10.0 ** (power - 1)
    found = scores(truth, forecast, scale=10.0**power)
    flat = truth.ravel(), forecast.ravel()
    assert found["mae"] == pytest.approx(mean_absolute_error(*flat), rel=1e-9)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(*flat), rel=1e-9)
    assert found["r2"] == pytest.approx(r2_score(*flat), rel=1e-9)
    assert found["mase"] == pytest.approx(mean_absolute_error(*flat) / 10.0**power, rel=1e-9)


def test_scores_by_hand():
    found = scores(np.array([[1.0], [2.0], [3.0], [6.0]]), np.array([[1.0], [3.0], [3.0], [4.0]]), scale=0.5)
    assert found["mae"] == 0.75
    assert found["rmse"] == pytest.approx(math.sqrt(5 / 4))
    assert found["r2"] == pytest.approx(1 - 5 / 14)
    assert found["mase"] == 1.5


def test_the_scale_of_mase_is_the_seasonal_naive_error_in_the_training_segment():
    train = np.array([1.0, 5.0, 2.0, 7.0, 3.0, 3.0])
    assert naive_error(train, 1) == pytest.approx((4 + 3 + 5 + 4 + 0) / 5)
    assert naive_error(train, 2) == pytest.approx((1 + 2 + 1 + 4) / 4)
    assert naive_error(train, 50) == naive_error(train, 1)


def test_undefined_scores_are_none():
    constant = np.full((5, 1), 2.0)
    found = scores(constant, constant + 1, scale=0.0)
    assert found["r2"] is None
    assert found["mase"] is None


def test_skill():
    truth = np.array([[1.0], [-1.0]])
    assert skill(0.5, 1.0, truth) == 0.5
    assert skill(2.0, 1.0, truth) == -1.0
    assert skill(0.1, 1e-9, truth) is None
    assert skill(1e-4, 5e-8, 1e9 + 1e-3 * truth) is None  # what is left of a number of 1e9
    assert skill(0.5, 1e-3, np.ones((5, 1))) == -499.0
    assert best_by("rmse", {"a": {"rmse": 2.0}, "b": {"rmse": 1.0}}) == "b"


@given(rows=st.integers(40, 80), horizon=st.integers(1, 9), season=st.integers(1, 12), stride=st.integers(1, 3))
def test_simple_baselines_equal_plain_loops(rows, horizon, season, stride):
    y = np.random.RandomState(rows).standard_normal(rows)
    found = origins(range(25, rows), 5, horizon, stride)
    if not len(found):
        return
    naive, seasonal, line = (np.empty((len(found), horizon)) for _ in range(3))
    for number, origin in enumerate(found):
        for step in range(horizon):
            naive[number, step] = y[origin - 1]
            back = origin + step
            while back >= origin:  # the last season that is known at the origin
                back -= season
            seasonal[number, step] = y[back]
            line[number, step] = y[origin - 1] + (step + 1) * (y[origin - 1] - y[0]) / (origin - 1)
    np.testing.assert_array_equal(persistence(y, found, horizon), naive)
    np.testing.assert_array_equal(seasonal_naive(y, found, horizon, season), seasonal)
    np.testing.assert_allclose(drift(y, found, horizon), line)


@settings(deadline=None)
@given(columns=st.integers(1, 3), window=st.integers(1, 8), horizon=st.integers(1, 3), power=st.integers(-12, 12))
def test_linear_autoregression_equals_scikit_learns(columns, window, horizon, power):
    values = np.random.RandomState(3).standard_normal((120, columns)).cumsum(axis=0) * 10.0**power
    values[:, -1] *= 1e-3  # columns of other sizes
    train, test = origins(range(90), window, horizon, 1), origins(range(90, 120), window, horizon, 1)

    def inputs(rows):
        return np.stack([values[row - window : row].ravel() for row in rows])

    targets = np.stack([values[row : row + horizon, 0] for row in train])
    oracle = LinearRegression().fit(inputs(train) / 10.0**power, targets)
    ours = LinearAutoregression(values, train, window, horizon).forecast(values, test)
    np.testing.assert_allclose(ours, oracle.predict(inputs(test) / 10.0**power), rtol=1e-6, atol=1e-8 * 10.0**power)


def test_linear_autoregression_in_chunks_is_the_same(monkeypatch):
    values = np.random.RandomState(0).standard_normal((500, 1)).cumsum(axis=0)
    train = origins(range(400), 6, 2, 1)
    whole = LinearAutoregression(values, train, 6, 2).weights
    monkeypatch.setattr("unroll.evaluation.baselines.CHUNK", 37 * 7)
    np.testing.assert_allclose(LinearAutoregression(values, train, 6, 2).weights, whole, atol=1e-10)


def test_linear_autoregression_solves_a_clean_sine():
    """Its windows span two dimensions only: least squares must not blow up."""
    values = np.sin(np.arange(300) / 4)[:, None]
    fitted = LinearAutoregression(values, origins(range(200), 20, 3, 1), 20, 3)
    test = origins(range(200, 300), 20, 3, 1)
    np.testing.assert_allclose(fitted.forecast(values, test), values[test[:, None] + np.arange(3), 0], atol=1e-8)


@pytest.mark.parametrize("season", [None, 1, 7, 500])
def test_which_baselines_there_are(season):
    values = np.random.RandomState(0).standard_normal((100, 2))
    regression = LinearAutoregression(values, origins(range(70), 4, 2, 1), 4, 2)
    found = baselines(values, regression, origins(range(85, 100), 4, 2, 1), season)
    names = ["persistence", "drift", "linear autoregression"] + (["seasonal naive (7)"] if season == 7 else [])
    assert sorted(found) == sorted(names)
    assert all(made.shape == (14, 2) and np.isfinite(made).all() for made in found.values())
