"""The bootstrap interval and the test of Diebold and Mariano, against loops, SciPy and statsmodels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from unroll.evaluation.comparison import block_length, diebold_mariano, difference, overlap


def noise(count: int, horizon: int, seed: int, kept: float = 0.0) -> np.ndarray:
    """(count, horizon) errors as of forecasts of the same white noise, so that neighbours share targets."""
    random = np.random.default_rng(seed)
    values = random.standard_normal(count + horizon)
    for row in range(1, len(values)):
        values[row] += kept * values[row - 1]
    return np.stack([values[row : row + horizon] for row in range(count)])


@pytest.mark.parametrize("measure", ["rmse", "mae"])
@pytest.mark.parametrize(("count", "horizon", "step"), [(60, 1, 1), (61, 3, 1), (50, 7, 2)])
def test_the_interval_is_that_of_blocks_drawn_one_by_one(measure, count, horizon, step):
    model, other = noise(count, horizon, 0), 1.1 * noise(count, horizon, 1)
    found = difference(model, other, measure, step=step, seed=5, resamples=200)
    block = max(math.ceil(horizon / step), math.ceil(1.5 * count ** (1 / 3)))
    assert found.block == block == block_length(count, horizon, step)
    whole, rest = divmod(count, block)
    starts = np.random.default_rng(5).integers(0, count, (200, whole + 1))

    def error(errors: np.ndarray) -> float:
        return np.sqrt(np.mean(errors**2)) if measure == "rmse" else np.mean(np.abs(errors))

    values = []
    for row in starts:
        lengths = [block] * whole + [rest]
        chosen = np.concatenate([np.arange(at, at + length) % count for at, length in zip(row, lengths, strict=True)])
        values.append(error(model[chosen]) - error(other[chosen]))
    value = error(model) - error(other)
    factor = stats.t.ppf(0.975, whole - 1) / stats.norm.ppf(0.975) * math.sqrt(whole / (whole - 1))
    low, high = value + factor * (np.quantile(values, [0.025, 0.975]) - value)
    assert (found.value, found.low, found.high) == pytest.approx((value, low, high), rel=1e-9, abs=1e-12)


finite = st.floats(-1e3, 1e3, allow_subnormal=False)
pairs = st.tuples(st.integers(20, 40), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(arrays(float, shape, elements=finite), arrays(float, shape, elements=finite))
)


@settings(max_examples=60, deadline=None)
@given(pairs, st.sampled_from(["rmse", "mae"]), st.integers(-120, 120))
def test_the_other_way_round_and_in_other_units_it_is_the_same_interval(pair, measure, power):
    model, other = pair
    found = difference(model, other, measure, resamples=50)
    back = difference(other, model, measure, resamples=50)
    scaled = difference(model * 2.0**power, other * 2.0**power, measure, resamples=50)
    assert back.value == -found.value
    if found.low is None:
        assert "origins are fewer than 4 blocks" in found.why
        assert back.low is scaled.low is None
        return
    assert found.low <= found.high
    size = np.abs([model, other]).max()
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low), rel=1e-9, abs=1e-9 * size)
    ends = (scaled.low * 2.0**-power, scaled.high * 2.0**-power)
    assert ends == pytest.approx((found.low, found.high), rel=1e-9, abs=1e-9 * size)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    for horizon, least in ((1, 0.92), (7, 0.85)):
        held = []
        for seed in range(300):
            model, other = noise(90, horizon, 2 * seed), noise(90, horizon, 2 * seed + 1)
            found = difference(model, other, "rmse", seed=seed, resamples=300)
            held.append(found.low <= 0 <= found.high)
        assert least < np.mean(held) < 0.985


def test_what_may_be_said():
    errors = noise(100, 1, 0)
    assert difference(errors, 3 * errors, "rmse").verdict == "better than"
    assert difference(3 * errors, errors, "mae").verdict == "worse than"
    assert difference(errors, noise(100, 1, 1), "rmse").verdict == "cannot be told from"
    assert difference(errors, -errors, "rmse").verdict == "the same as"
    few = difference(errors[:8], 3 * errors[:8], "rmse")
    assert (few.low, few.verdict) == (None, "cannot be told from")
    assert few.why == "8 origins are fewer than 4 blocks of 3"
    assert difference(0 * errors, 0 * errors, "rmse").value == 0


def test_the_same_seed_gives_the_same_interval_and_another_seed_almost():
    model, other = noise(100, 1, 0), 1.2 * noise(100, 1, 1)
    first = difference(model, other, "rmse", seed=3)
    assert first == difference(model, other, "rmse", seed=3)
    second = difference(model, other, "rmse", seed=4)
    assert first != second
    assert first.low == pytest.approx(second.low, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(st.integers(30, 120), st.integers(1, 6), st.integers(1, 3), st.sampled_from([1, 2]), st.integers(0, 1000))
def test_the_statistic_is_that_of_statsmodels(count, horizon, step, power, seed):
    from statsmodels.regression.linear_model import OLS

    model, other = noise(count, horizon, seed, 0.5), 1.2 * noise(count, horizon, seed + 1, 0.5)
    found = diebold_mariano(model, other, power, step=step)
    gap = (np.abs(model) ** power).mean(axis=1) - (np.abs(other) ** power).mean(axis=1)
    reach = overlap(horizon, step)
    centred = gap - gap.mean()
    covariances = [centred[lag:] @ centred[: count - lag] / count for lag in range(reach)]
    variance = (covariances[0] + 2 * sum(covariances[1:])) / count
    if variance <= 0:
        assert (found.statistic, found.p_value) == (None, None)
        assert found.why == "the estimate of the variance is not positive"
        return
    how = {"maxlags": reach - 1, "kernel": "uniform", "use_correction": False}
    fitted = OLS(gap, np.ones(count)).fit(cov_type="HAC", cov_kwds=how)
    shrunk = math.sqrt((count + 1 - 2 * reach + reach * (reach - 1) / count) / count)
    assert found.statistic == pytest.approx(fitted.tvalues[0] * shrunk, rel=1e-6)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.statistic), count - 1), rel=1e-6, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(pairs, st.sampled_from([1, 2]), st.integers(-120, 120))
def test_the_statistic_changes_its_sign_with_the_order_and_not_with_the_units(pair, power, factor):
    model, other = pair
    found, back = diebold_mariano(model, other, power), diebold_mariano(other, model, power)
    scaled = diebold_mariano(model * 2.0**factor, other * 2.0**factor, power)
    assert (found.statistic is None) == bool(found.why) == (found.p_value is None)
    assert (back.p_value, scaled.p_value) == (found.p_value, found.p_value)
    if found.statistic is not None:
        assert back.statistic == -found.statistic
        assert 0 <= found.p_value <= 1


def test_it_rejects_what_is_equal_about_as_often_as_it_says():
    rejected = [diebold_mariano(noise(60, 1, 2 * k), noise(60, 1, 2 * k + 1), 2).p_value < 0.05 for k in range(400)]
    assert 0.02 < np.mean(rejected) < 0.09


def test_without_a_variance_there_is_no_test_and_a_reason():
    errors = noise(50, 1, 0)
    assert diebold_mariano(errors, errors, 2).why == "both forecasts have the same errors"
    one, two = np.ones((50, 1)), np.full((50, 1), 2.0)
    assert diebold_mariano(one, two, 2).why == "the estimate of the variance is not positive"
    swinging = np.where(np.arange(50) % 2, 1.0, 0.1)[:, None]  # the next loss undoes each
    assert diebold_mariano(swinging, 0.7 * one, 2, horizon=2).why == "the estimate of the variance is not positive"
    assert diebold_mariano(noise(4, 5, 0), noise(4, 5, 1), 1).why == "4 origins are too few for 5 of them that overlap"
    assert diebold_mariano(errors[:1], 2 * errors[:1], 1).why == "1 origins are too few for 1 of them that overlap"


@pytest.mark.parametrize(("horizon", "step", "shared"), [(1, 1, 1), (14, 1, 14), (14, 7, 2), (14, 14, 1), (15, 14, 2)])
def test_origins_share_targets(horizon, step, shared):
    assert overlap(horizon, step) == shared
