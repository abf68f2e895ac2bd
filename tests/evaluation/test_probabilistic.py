"""CRPS, pinball loss, coverage, mixtures, and conformal calibration, against what is known of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from unroll.data.transforms import fit_transform
from unroll.evaluation.conformal import calibrate, moved, windows_needed
from unroll.evaluation.probabilistic import ENDS, GRID, LEVELS, crps, interval_of, mixed, pinball, summarise
from unroll.models.heads.gaussian import GaussianHead

NONE = fit_transform("none", np.zeros((3, 1)))
LOGARITHM = fit_transform(["log1p", "standard"], np.arange(1.0, 60.0)[:, None])


def test_the_crps_of_a_normal_distribution_has_a_closed_form():
    """Gneiting and Raftery (2007), equation 21."""
    truth = np.linspace(-3, 3, 61)
    quantiles = np.tile(stats.norm.ppf(GRID), (len(truth), 1))
    closed = truth * (2 * stats.norm.cdf(truth) - 1) + 2 * stats.norm.pdf(truth) - 1 / np.sqrt(np.pi)
    np.testing.assert_allclose(crps(quantiles, truth), closed, rtol=0.01, atol=1e-3)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9), st.floats(-2e3, 2e3))
def test_the_crps_is_never_negative_and_that_of_a_point_is_its_error(values, truth):
    quantiles = np.quantile(values, GRID)
    found = float(crps(quantiles, np.array(truth)))
    assert found >= 0
    point = float(crps(np.full(199, values[0]), np.array(truth)))
    assert point == pytest.approx(0.99 * abs(truth - values[0]), rel=1e-9)  # 99 of the 100 hundredths


def test_a_summary_counts_what_lies_inside():
    rng = np.random.default_rng(0)
    params = torch.from_numpy(np.stack([rng.normal(size=(500, 3)), rng.uniform(0.5, 2, (500, 3))], axis=-1))
    truth = np.asarray(params[..., 0] + params[..., 1] * torch.from_numpy(rng.normal(size=(500, 3))))
    truth = np.expm1(truth * LOGARITHM.steps[1].scale[0] + LOGARITHM.steps[1].offset[0])
    (single,), ensemble, mixture = summarise(GaussianHead(1, 3), LOGARITHM, [params], truth)
    assert single.scores == ensemble.scores == mixture.scores
    units = [LOGARITHM.invert_target(stats.norm.ppf(level, *params.numpy().transpose(2, 0, 1))) for level in ENDS]
    np.testing.assert_allclose(single.ends, np.stack(units, axis=-1), rtol=1e-6)
    low, high = units[0], units[4]
    assert single.scores["coverage_95"] == pytest.approx(((low <= truth) & (truth <= high)).mean())
    assert single.by_step["coverage_80"][1] == pytest.approx(((units[1] <= truth) & (truth <= units[3]))[:, 1].mean())
    assert single.scores["width_95"] == pytest.approx((high - low).mean(), rel=1e-6)
    losses = [np.maximum(level * (truth - q), (level - 1) * (truth - q)) for level, q in zip(ENDS, units, strict=True)]
    assert single.scores["pinball"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert np.mean(single.by_step["crps"]) == pytest.approx(single.scores["crps"])


def test_long_series_are_summarised_in_parts(monkeypatch):
    params = torch.randn(90, 2, 2, dtype=torch.float64).abs() + 0.1
    truth = np.random.default_rng(1).normal(size=(90, 2))
    whole = summarise(GaussianHead(1, 2), NONE, [params, params + 1], truth)
    monkeypatch.setattr("unroll.evaluation.probabilistic.AT_ONCE", 3000)
    parts = summarise(GaussianHead(1, 2), NONE, [params, params + 1], truth)
    for one, other in zip([*whole[0], *whole[1:]], [*parts[0], *parts[1:]], strict=True):
        np.testing.assert_array_equal(one.ends, other.ends)
        assert one.scores == pytest.approx(other.scores)


def test_ensemble_and_mixture():
    """Of normal distributions with means -2 and 2: the mean of the quantiles is one around 0, the mixture has both."""
    params = [torch.tensor([[[mean, 1.0]]], dtype=torch.float64) for mean in (-2, 2)]
    _, ensemble, mixture = summarise(GaussianHead(1, 1), NONE, params, np.zeros((1, 1)))
    np.testing.assert_allclose(ensemble.ends[0, 0], stats.norm.ppf(ENDS), rtol=1e-6, atol=1e-6)
    cdf = [0.5 * (stats.norm.cdf(value + 2) + stats.norm.cdf(value - 2)) for value in mixture.ends[0, 0]]
    np.testing.assert_allclose(cdf, ENDS, atol=0.006)
    same = np.stack([stats.norm.ppf(GRID)] * 3)
    np.testing.assert_allclose(mixed(same), same[0])


@given(st.integers(2, 60), st.floats(0.1, 99.9), st.integers(0, 1000))
def test_a_calibration_takes_the_residual_of_its_rank(count, level, seed):
    rng = np.random.default_rng(seed)
    truth, point = rng.normal(size=(count, 2)), rng.normal(size=(count, 2))
    found = calibrate({level: (point, point)}, truth)
    assert found.windows == count
    if level in found.missing:
        assert count < windows_needed(level)
        return
    assert count >= windows_needed(level)
    inside = np.abs(truth - point) <= found.moves[level]
    assert (inside.sum(axis=0) == np.ceil((count + 1) * level / 100)).all()


def test_a_calibration_of_intervals_may_narrow_them_but_not_turn_them_round():
    truth = np.zeros((99, 1))
    ends = (np.full((99, 1), -5.0), np.full((99, 1), 5.0))
    found = calibrate({80.0: ends}, truth)
    assert found.moves[80.0] == pytest.approx([-5.0])
    low, high = moved((np.array([[-1.0]]), np.array([[3.0]])), found.moves[80.0], NONE)
    assert (low, high) == (np.array([[1.0]]), np.array([[1.0]]))
    low, _ = moved((np.array([[-1.0]]), np.array([[3.0]])), np.array([2.0]), NONE, counts=True)
    assert low == 0


def test_after_a_logarithm_the_upper_side_is_the_longer_one():
    point = LOGARITHM.apply_target(np.full((1, 1), 20.0))
    low, high = moved((point, point), np.array([0.5]), LOGARITHM)
    assert high - 20 > 20 - low > 0
    assert np.log1p(high) - np.log(21) == pytest.approx(np.log(21) - np.log1p(low))


def test_levels_lie_where_they_are_looked_up():
    ends = np.array(ENDS)
    for level in LEVELS:
        low, high = interval_of(ends, level)
        assert high - low == pytest.approx(level / 100)
    assert pinball(np.array([1.0, 1.0]), np.array(0.0), np.array([0.3, 0.9])) == pytest.approx([0.7, 0.1])
