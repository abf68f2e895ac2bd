"""Intervals that are calibrated anew at each origin, on what is known there and on nothing else."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unroll.evaluation.conformal import RATE, Known, calibrate, rolling_moves, shortfall


def before_row(row: int, errors: np.ndarray) -> Known:
    """Validation windows whose last targets end at a row."""
    count, horizon = errors.shape
    return Known.of_validation(row - horizon - np.arange(count)[::-1], errors)


@settings(max_examples=50, deadline=None)
@given(st.integers(9, 20), st.integers(1, 12), st.integers(1, 4), st.integers(1, 3), st.integers(0, 100))
def test_the_moves_are_those_of_the_latest_windows_that_are_known(count, later, horizon, step, seed):
    random = np.random.default_rng(seed)
    origins = 50 + step * np.arange(later)
    before, after = random.standard_normal((count, horizon)), random.standard_normal((later, horizon))
    found, known_then = rolling_moves(before_row(50, before), origins, after, 80, count)
    for ahead in range(horizon):
        for number, origin in enumerate(origins):
            known = [at for at in range(later) if origins[at] + ahead < origin]
            latest = sorted([*before[:, ahead], *after[known, ahead]][-count:])
            share = 0.2 + RATE * sum(0.2 - (after[at, ahead] > found[at, ahead]) for at in known)
            rank = min(max(math.ceil((count + 1) * (1 - share) - 1e-9), 1), count)
            assert found[number, ahead] == latest[rank - 1]
    changed = after.copy()
    changed[-1] += 100  # known to none of them
    np.testing.assert_array_equal(rolling_moves(before_row(50, before), origins, changed, 80, count)[0], found)
    assert len(known_then.origins) == count + later


def test_two_folds_go_on_where_the_first_ended():
    random = np.random.default_rng(3)
    errors, origins = random.standard_normal((60, 2)), np.arange(100, 140)
    whole, known = rolling_moves(before_row(100, errors[:20]), origins, errors[20:], 80, 20)
    first, so_far = rolling_moves(before_row(100, errors[:20]), origins[:15], errors[20:35], 80, 20)
    second, after = rolling_moves(so_far, origins[15:], errors[35:], 80, 20)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)
    np.testing.assert_array_equal(after.debts, known.debts)


def test_the_first_origin_is_calibrated_as_a_run_is_and_few_windows_give_none():
    random = np.random.default_rng(0)
    truth, ends = random.standard_normal((30, 2)), np.zeros((30, 2))
    calibration = calibrate({80.0: (ends, ends), 95.0: (ends, ends)}, truth)
    errors = shortfall((ends, ends), truth)
    for level, moves in calibration.moves.items():
        found = rolling_moves(before_row(40, errors), np.array([40]), errors[:1], level, 30)
        np.testing.assert_array_equal(found[0][0], moves)
    assert rolling_moves(before_row(40, errors[:10]), np.array([40]), errors[:1], 95, 10) is None


@pytest.mark.parametrize(("level", "least", "most"), [(80, 0.77, 0.83), (95, 0.92, 0.98)])
def test_where_errors_grow_or_jump_the_intervals_follow(level, least, most):
    random = np.random.default_rng(1)
    for growth in (np.linspace(1, 6, 300), np.where(np.arange(300) < 150, 1, 5), np.exp(np.linspace(0, 4, 300))):
        sizes = np.abs(random.standard_normal((300, 1))) * growth[:, None]
        moves, _ = rolling_moves(before_row(40, sizes[:40]), np.arange(40, 300), sizes[40:], level, 40)
        assert least < (sizes[40:] <= moves).mean() < most
        rank = math.ceil(41 * level / 100)
        assert (sizes[40:] <= np.sort(sizes[:40], axis=0)[rank - 1]).mean() < least  # found once, soon too narrow
