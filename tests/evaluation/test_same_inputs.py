"""Linear autoregression with the network's inputs, beside the plain one and beside an oracle."""

import dataclasses

import numpy as np
import pytest

from unroll.data.sine import SineData
from unroll.evaluation.evaluate import fit_reference
from unroll.evaluation.same_inputs import SAME_INPUTS, SameInputs, fit_same_inputs

SIZES = {"points": 200, "period": 25.0, "step": 1.0, "noise": 0.1, "window_size": 6, "horizon": 3}


def test_with_the_same_inputs_as_the_plain_one_it_is_the_plain_one():
    data = SineData(**SIZES)
    data.setup()
    assert fit_same_inputs(data, data.origins("train")) is None
    plain, own = fit_reference(data).regression, SameInputs(data, data.origins("train"))
    test = data.origins("test")
    np.testing.assert_allclose(own.forecast(data, test), plain.forecast(data.series.values, test), atol=1e-5)


def test_columns_that_are_known_ahead_act_on_their_own_step():
    random = np.random.default_rng(0)
    known = random.integers(0, 2, 200).astype(float)
    made = SineData(**SIZES)
    series = made.load()
    values = np.stack([series.target + 3 * known, known], axis=1)  # the window alone cannot tell the next 3
    made.loaded = dataclasses.replace(series, values=values, columns=("x", "known"), known_ahead=("known",))
    made.setup()
    reference, test = fit_reference(made), made.origins("test")
    assert reference.same_inputs is not None
    errors = reference.same_inputs.forecast(made, test) - made.targets("test")
    plain = reference.regression.forecast(made.series.values, test) - made.targets("test")
    assert np.sqrt(np.square(errors).mean()) < 0.7 * np.sqrt(np.square(plain).mean())


@pytest.mark.parametrize("column", [0, 1])
def test_targets_after_the_training_rows_change_nothing_fitted(column):
    data, changed = SineData(**SIZES), SineData(**SIZES)
    data.setup()
    series = changed.load()
    values = np.stack([series.target, np.cos(series.index.to_numpy())], axis=1)
    data = SineData(**SIZES)
    data.loaded = dataclasses.replace(series, values=values.copy(), columns=("x", "k"), known_ahead=("k",))
    values[data_start(data) :, column] += 5
    changed.loaded = dataclasses.replace(series, values=values, columns=("x", "k"), known_ahead=("k",))
    changed.setup()
    one, other = (fit_reference(module).same_inputs for module in (data, changed))
    assert one is not None
    assert other is not None
    for weights, others in zip(one.weights, other.weights, strict=True):
        assert np.array_equal(weights, others)


def data_start(data: SineData) -> int:
    """The first row after the training segment."""
    data.setup()
    return data.segments.train.stop


def test_the_table_of_a_run_has_it_beside_the_plain_one(run_training, data_overrides):
    result = run_training(*data_overrides("csv"), "data.window_size=8", "trainer.max_epochs=1")
    assert SAME_INPUTS not in result.metrics["test"]["baselines"]
