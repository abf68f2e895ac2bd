"""Intervals against SciPy, which only the tests need."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from unroll.evaluation.intervals import central_probability, distinguishable, interval, t_quantile

scores = st.floats(-1e6, 1e6, allow_subnormal=False)


def test_quantiles_are_those_of_scipy():
    degrees = np.arange(1, 201)
    ours = [t_quantile(int(one)) for one in degrees]
    np.testing.assert_allclose(ours, stats.t.ppf(0.975, degrees), rtol=1e-12)
    assert t_quantile(4, 0.99) == pytest.approx(stats.t.ppf(0.995, 4), rel=1e-12)
    assert t_quantile(100_000) == pytest.approx(1.96, abs=1e-3)


@given(st.floats(1e-3, 1e4), st.integers(1, 300))  # nearer to 0, SciPy's own digits are lost
def test_probabilities_are_those_of_scipy(t, degrees):
    assert central_probability(t, degrees) == pytest.approx(2 * stats.t.cdf(t, degrees) - 1, abs=1e-12)


@given(st.lists(scores, min_size=2, max_size=30))
def test_the_interval_of_a_mean(values):
    found = interval(values)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
    expected = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    assert found.half_width == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert (found.lowest, found.highest, found.count) == (min(values), max(values), len(values))


def test_one_seed_has_no_interval_and_equal_ones_a_point():
    assert interval([3.0]).half_width is None
    assert interval([0.1, 0.1, 0.1]) == interval([0.1] * 3)
    assert interval([0.1] * 3).half_width == 0
    assert interval([1e90, -1e90]).half_width == pytest.approx(12.706 * 1e90, rel=1e-3)  # no square overflows


@given(st.lists(st.tuples(scores, scores), min_size=2, max_size=12))
def test_pairs_as_scipy_tests_them(pairs):
    one, other = (dict(enumerate(part)) for part in zip(*pairs, strict=True))
    differences = np.array(list(one.values())) - np.array(list(other.values()))
    if np.ptp(differences) < 1e-6 * (1 + np.abs(pairs).max()):
        return
    p = stats.ttest_rel(list(one.values()), list(other.values())).pvalue
    if abs(p - 0.05) > 1e-6:
        worse = np.mean(list(one.values())) > np.mean(list(other.values()))
        assert distinguishable(one, other) == (p < 0.05 and worse, "paired")
        assert distinguishable(one, other, largest_is_best=True) == (p < 0.05 and not worse, "paired")


@given(st.lists(scores, min_size=2, max_size=8), st.lists(scores, min_size=2, max_size=8))
def test_welch_is_never_sharper_than_scipys(first, second):
    """Its degrees of freedom are rounded down, so that it sees no difference where SciPy sees none."""
    if min(np.ptp(first), np.ptp(second)) < 1e-6 * (1 + np.abs([*first, *second]).max()):
        return
    one, other = dict(enumerate(first)), dict(enumerate(second, 100))
    p = stats.ttest_ind(first, second, equal_var=False).pvalue
    (above, how), (below, _) = distinguishable(one, other), distinguishable(one, other, largest_is_best=True)
    differs = above or below
    assert how == "welch"
    if p > 0.05 + 1e-6:
        assert not differs
    if p < 1e-4:
        assert differs or min(len(first), len(second)) < 4


def test_pairs_see_what_seeds_apart_do_not():
    noise = [5.0, 1.0, 3.0]
    best, worse = dict(enumerate(noise)), {seed: value + 0.1 + 0.01 * seed for seed, value in enumerate(noise)}
    assert distinguishable(worse, best) == (True, "paired")
    assert distinguishable({seed + 10: value for seed, value in worse.items()}, best) == (False, "welch")
    assert distinguishable({0: 9.0}, best) is None
    assert distinguishable({0: 2.0, 7: 4.0}, best) == (False, "welch")  # one shared seed makes no pair


def test_no_variance_at_all():
    assert distinguishable({0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0}) == (False, "paired")
    assert distinguishable({0: 1.1, 1: 1.1}, {0: 1.0, 1: 1.0}) == (True, "paired")
    assert distinguishable({0: 0.1 + 0.2, 1: 0.3}, {0: 0.3, 1: 0.3}) == (False, "paired")
    assert distinguishable({5: 2.0, 6: 2.0}, {0: 1.0, 1: 1.0}) == (True, "welch")
