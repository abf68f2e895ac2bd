"""Intervals that are calibrated anew at each origin, on what is known there and on nothing else."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from unroll.evaluation.conformal import calibrate, rolling_moves, shortfall


@settings(max_examples=50, deadline=None)
@given(st.integers(9, 20), st.integers(1, 12), st.integers(1, 4), st.integers(1, 3), st.integers(0, 100))
def test_the_moves_are_those_of_the_latest_windows_that_are_known(count, later, horizon, step, seed):
    random = np.random.default_rng(seed)
    origins = 50 + step * np.arange(later)
    before, after = random.standard_normal((count, horizon)), random.standard_normal((later, horizon))
    found = rolling_moves(before, after, origins, 80)
    for number, origin in enumerate(origins):
        for ahead in range(horizon):
            known = [after[at, ahead] for at in range(later) if origins[at] + ahead < origin]
            latest = sorted([*before[:, ahead], *known][-count:])
            assert found[number, ahead] == latest[math.ceil((count + 1) * 0.8) - 1]
    after[-1] += 100  # known to none of them
    np.testing.assert_array_equal(rolling_moves(before, after, origins, 80), found)


def test_the_first_origin_is_calibrated_as_a_run_is_and_few_windows_give_none():
    random = np.random.default_rng(0)
    truth, ends = random.standard_normal((30, 2)), np.zeros((30, 2))
    calibration = calibrate({80.0: (ends, ends), 95.0: (ends, ends)}, truth)
    errors = shortfall((ends, ends), truth)
    for level, moves in calibration.moves.items():
        np.testing.assert_array_equal(rolling_moves(errors, errors[:1], np.array([40]), level)[0], moves)
    assert rolling_moves(errors[:10], errors[:1], np.array([40]), 95) is None


def test_where_errors_grow_the_intervals_follow():
    random = np.random.default_rng(1)
    sizes = np.abs(random.standard_normal((300, 1))) * np.linspace(1, 6, 300)[:, None]
    moves = rolling_moves(sizes[:40], sizes[40:], np.arange(40, 300), 80)
    assert 0.73 < (sizes[40:] <= moves).mean() < 0.87
    assert (sizes[40:] <= np.sort(sizes[:40], axis=0)[32]).mean() < 0.6  # what was found once is soon too narrow
