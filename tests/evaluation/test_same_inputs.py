"""Linear autoregression with the network's inputs, beside the plain one and beside an oracle."""

import dataclasses

import numpy as np
import pytest
import torch

from conftest import load_config
from unroll import load_run
from unroll.building import build_seeded
from unroll.config import plain
from unroll.data.module import WindowDataModule
from unroll.data.sine import SineData
from unroll.evaluation.baselines import least_squares
from unroll.evaluation.evaluate import evaluate, fit_reference
from unroll.evaluation.same_inputs import SAME_INPUTS, SHRINKAGE, SameInputs, fit_same_inputs, ridge
from unroll.targets import build

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


def test_ridge_is_least_squares_shrunk_as_generalised_cross_validation_says():
    random = np.random.default_rng(0)
    inputs = np.hstack([random.standard_normal((80, 5)), np.ones((80, 1))])
    wanted = inputs @ random.standard_normal((6, 2)) + 2.0 * random.standard_normal((80, 2))
    halves = [(inputs[:30], wanted[:30]), (inputs[30:], wanted[30:])]
    found = ridge(halves)
    centred, targets = inputs[:, :5] - inputs[:, :5].mean(0), wanted - wanted.mean(0)
    scores = []
    for penalty in (
        SHRINKAGE * np.linalg.eigvalsh(centred.T @ centred / 80).mean() * 80
    ):  # the oracle, by the hat matrix
        inverse = np.linalg.inv(centred.T @ centred + penalty * np.eye(5))
        hat = centred @ inverse @ centred.T
        score = np.square(targets - hat @ targets).sum() / (1 - (np.trace(hat) + 1) / 80) ** 2
        scores.append((score, inverse @ centred.T @ targets))
    best = min(scores, key=lambda pair: pair[0])[1]
    np.testing.assert_allclose(found[:5], best, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(inputs.mean(0) @ found, wanted.mean(0))  # the constant is not shrunk
    plain = least_squares(halves)
    assert np.abs(found[:5]).sum() < np.abs(plain[:5]).sum()
    exact = ridge([(inputs, inputs @ plain)])
    np.testing.assert_allclose(exact, plain, rtol=1e-3, atol=1e-3)  # no noise: hardly any shrinking
    twice = np.sqrt(np.repeat([2.0, 1.0], 40))[:, None]  # rows that count twice are as if there were two
    heavy, doubled = ridge([(inputs * twice, wanted * twice)]), ridge([(inputs[:40], wanted[:40]), (inputs, wanted)])
    np.testing.assert_allclose(heavy, doubled, atol=0.15)  # their number, in the cross-validation, differs
    few = ridge([(inputs[:4], wanted[:4])])  # fewer windows than inputs
    assert np.isfinite(few).all()


def test_a_partner_is_half_of_the_forecast_and_no_part_of_the_training(run_training):
    words = ("data=cinema", "data.calendar=[weekday]", "data.horizon=3", "data.window_size=9", "trainer.max_epochs=2")
    alone = run_training(*words)
    both = run_training(*words, "model.combine=linear")
    for kept in ("epochs", "loss"):
        assert alone.metrics[kept] == both.metrics[kept]  # trained, and stopped, in the same way
    loaded, single = load_run(both.run.path), load_run(alone.run.path)
    data = loaded.datamodule
    found = evaluate(loaded.forecaster, data, "test", loaded.weights, loaded.reference)
    network = evaluate(single.forecaster, data, "test", single.weights, single.reference)
    partner = SameInputs(data, data.origins("train"), ridge).forecast(data, data.origins("test"))
    np.testing.assert_allclose(found.models["best"], (network.models["best"] + partner) / 2, rtol=1e-4)


@pytest.mark.parametrize("words", [[], ["asinh", "difference", "window_standard"], ["asinh", "window_median"]])
def test_the_partner_forecasts_what_is_fitted_in_any_frame(words, load):
    data, network = load(words)
    network.eval()
    for parameter in network.head.parameters():
        torch.nn.init.zeros_(parameter)
    fitted = SameInputs(data, data.origins("train"), ridge)
    batch = next(iter(data.loader("test")))
    twice = 2 * network(batch.past, batch.future).detach()
    alone = network.frame.enter(batch.past[..., 0]).leave(torch.zeros_like(batch.target)) if len(words) > 1 else 0
    both = data.transform.invert_target((twice - alone).double().numpy())
    expected = fitted.forecast(data, data.origins("test"))
    np.testing.assert_allclose(both, expected[: len(both)], rtol=1e-3, atol=1e-3)


@pytest.fixture
def load():
    """A data module of some transforms, and a network for it whose partner is fitted."""

    def made(words):
        cfg = load_config(
            "data=cinema",
            "data.target=tickets_sold",
            f"data.transform=[{','.join(words)}]",
            "data.calendar=[weekday]",
            "data.horizon=3",
            "data.window_size=9",
            "model.combine=linear",
        )
        data = build(plain(cfg.data), WindowDataModule, "data")
        data.setup()
        return data, build_seeded(cfg, data, 0)

    return made


def test_flat_windows_do_not_rule_the_regression():
    """After many zeros a jump is thousands of times what the window holds."""
    random = np.random.default_rng(0)
    values = np.where(np.arange(400) % 40 < 15, 0.0, 50 + 10 * random.standard_normal(400))
    made = SineData(**SIZES | {"points": 400, "transform": ["standard", "window_magnify"]})
    made.loaded = dataclasses.replace(made.load(), values=values[:, None])
    made.setup()
    reference, test = fit_reference(made), made.origins("test")
    errors = [
        np.sqrt(np.square(one.forecast(*given) - made.targets("test")).mean())
        for one, given in ((reference.same_inputs, (made, test)), (reference.regression, (made.series.values, test)))
    ]
    assert errors[0] < 1.3 * errors[1]
