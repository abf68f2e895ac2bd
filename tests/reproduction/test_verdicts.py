"""What the page says, from numbers made by hand."""

import numpy as np
import pandas as pd
import pytest

from unroll.reproduction.published import REFERENCES, TREND_LOSSES
from unroll.reproduction.runs import Run, Spread, spread, wins
from unroll.reproduction.verdicts import larger_than_spread, plus_minus, share_of_draws, verdicts


class Made(Run):
    """A run whose files are given."""

    def __init__(
        self, experiment, seed, model, r2=0.5, linear=0.4, losses=(), kind="real", segment="test", seconds=1.0
    ):
        object.__setattr__(self, "experiment", experiment)
        object.__setattr__(self, "seed", seed)
        scores = {"r2": r2, "rmse": 1 - r2, "skill": 0.1, "loss": 0.1, "mae": 0.1, "mase": 0.1}
        best = {segment: {"models": {"best": scores}, "baselines": {"linear autoregression": {"rmse": 1 - linear}}}}
        about = {"model": model, "kind": kind, "data": "made", "windows": {"train": 181, "test": 32}, "window_size": 9}
        run = {"free_run": {"models": {"best": {"rmse": 0.5}}}, "device": "cpu"}
        self.__dict__["metrics"] = best | about | run
        epochs = np.arange(10, 101, 10)[: len(losses)]
        seconds_each = seconds / max(1, len(losses))
        self.__dict__["history"] = pd.DataFrame({"last_batch_loss": losses, "seconds": seconds_each}, index=epochs)
        self.__dict__["config"] = {"threads": 1, "data": {"noise": 1.2, "batch_size": 64}}


def cinema(gru, lstm, rnn, **about):
    values = {"gru": gru, "lstm": lstm, "rnn": rnn}
    return {
        f"cinema_{model}": [
            Made(f"cinema_{model}", seed, model.upper(), r2=r2, **about) for seed, r2 in enumerate(found)
        ]
        for model, found in values.items()
    }


def test_an_order_larger_than_the_spread_holds():
    (text,) = [line for line in verdicts(cinema([0.7, 0.71], [0.6, 0.61], [0.4, 0.41])) if "in test R2" in line]
    assert "GRU 0.62 > LSTM 0.58 > RNN 0.51 in test R2 on cinema sales: holds in the mean of our 2 seeds.**" in text
    assert "100% of the draws" in text


@pytest.mark.parametrize(
    ("values", "share"),
    [
        (([0.7, 0.5], [0.6, 0.6], [0.4, 0.4]), "50%"),  # the means are equal
        (([0.65, 0.55], [0.62, 0.56], [0.4, 0.4]), "25%"),  # the order is right, by less than the spread
        (([0.4, 0.41], [0.6, 0.61], [0.7, 0.71]), "0%"),  # the other way round, clearly
    ],
)
def test_an_order_within_the_spread_or_reversed_does_not_hold(values, share):
    (text,) = [line for line in verdicts(cinema(*values)) if "in test R2" in line]
    assert "does not hold over our 2 seeds" in text
    expected = np.mean([g > other > r for g in values[0] for other in values[1] for r in values[2]])
    assert f"in {expected:.0%} of the draws" in text
    if share != "25%":
        assert f"in {share} of the draws" in text


def test_an_order_of_the_means_that_a_seed_does_not_show_is_called_so():
    values = [0.7, 0.7, 0.7, 0.58], [0.56, 0.57, 0.58, 0.59], [0.3, 0.3, 0.3, 0.3]
    (text,) = [line for line in verdicts(cinema(*values)) if "in test R2" in line]
    assert "holds in the mean of our 4 seeds, not from seed to seed" in text
    assert "88% of the draws" in text


def test_what_was_changed_judges_nothing_that_was_published():
    groups = cinema([0.7, 0.71], [0.6, 0.61], [0.4, 0.41])
    for runs in groups.values():
        for run in runs:
            object.__setattr__(run, "changed", True)
    (text,) = verdicts(groups)
    assert text.startswith("**Linear autoregression on the same windows wins**")


def test_one_seed_says_nothing_of_an_order():
    (text,) = [line for line in verdicts(cinema([0.7], [0.6], [0.4])) if "in test R2" in line]
    assert "cannot be said from one seed" in text


def test_where_linear_autoregression_wins():
    groups = cinema([0.7, 0.71], [0.3, 0.6], [0.1, 0.2])  # against 0.4
    (text,) = [line for line in verdicts(groups) if "Linear autoregression" in line]
    assert "in every seed of cinema_rnn; in some seeds of cinema_lstm (1 of 2 seeds); in none of cinema_gru" in text
    assert [wins(groups[name], "linear autoregression") for name in groups] == [2, 1, 0]


def test_simulated_sales_are_no_comparison():
    texts = " ".join(verdicts(cinema([0.7], [0.6], [0.4], kind="simulated")))
    assert "not comparable one by one" in texts
    texts = " ".join(verdicts(cinema([0.7, 0.6], [0.6, 0.6], [0.4, 0.4])))
    assert "1 of 2 GRUs reach 0.62, 2 of 2 LSTMs reach 0.58, 0 of 2 RNNs reach 0.51" in texts


def test_published_losses_are_looked_for_in_the_range_of_the_seeds():
    low, high = np.array(TREND_LOSSES) * 0.9, np.array(TREND_LOSSES) * 1.1
    high[:3] = low[:3]  # three of them now lie outside
    runs = [Made("trend_gru", seed, "GRU", losses=losses) for seed, losses in enumerate((low, high))]
    (text,) = [line for line in verdicts({"trend_gru": runs}) if "trend" in line and "loss" in line]
    assert "7 of 10 published values lie between" in text
    assert "the last batch alone, 53 of 181 windows" in text
    assert "of variance 0.12" in text
    assert "the published loss is above all of ours at 10, 20, 30)" in text
    short = [Made("trend_gru", 0, "GRU", losses=low[:4]), Made("trend_gru", 1, "GRU", losses=high[:4])]
    assert "1 of 4 published values" in " ".join(verdicts({"trend_gru": short}))


def test_all_three_fit_the_sine_or_not():
    def groups(worst: float):
        return {
            f"sine_{model}": [Made(f"sine_{model}", 0, model.upper(), r2=r2, losses=[1.0], seconds=10.0)]
            for model, r2 in {"rnn": worst, "lstm": 0.999, "gru": 0.9999}.items()
        }

    assert "**All three fit the sine: holds one step ahead, but 1 of 1 RNNs" in " ".join(verdicts(groups(0.995)))
    assert "does not hold for every seed" in " ".join(verdicts(groups(0.5)))
    assert "take 30 s" in " ".join(verdicts(groups(0.5)))
    two = {name: runs for name, runs in groups(0.995).items() if name != "sine_rnn"}
    assert "**LSTM and GRU fit the sine: holds one step ahead, but 1 of 1 LSTMs and 1 of 1 GRUs leave" in " ".join(
        verdicts(two)
    )


def test_scores_of_the_training_data_are_called_so():
    runs = [Made("noisy_sine_gru", 0, "GRU", segment="train")]
    assert "scored on the data it was trained on" in " ".join(verdicts({"noisy_sine_gru": runs}))


def test_spreads_by_hand():
    found = Spread(np.array([1.0, 2.0, 4.5]))
    assert (found.mean, found.lowest, found.highest) == (2.5, 1.0, 4.5)
    assert found.deviation == pytest.approx(np.sqrt((2.25 + 0.25 + 4) / 2))
    assert plus_minus(found) == "2.5 ± 1.8 (1 to 4.5)"
    assert Spread(np.array([1.0])).deviation is None
    assert larger_than_spread(found, Spread(np.array([1.0]))) is None
    assert larger_than_spread(Spread(np.array([0.0, 0.2])), Spread(np.array([1.0, 1.2])))
    assert not larger_than_spread(Spread(np.array([0.0, 2.0])), Spread(np.array([1.0, 1.2])))
    assert spread([], lambda run: 1.0) is None
    draws = [Spread(np.array([3.0, 1.0])), Spread(np.array([2.0, 0.5]))]
    assert share_of_draws(draws) == 0.75


def test_every_claim_has_a_name_of_its_own():
    for reference in REFERENCES.values():
        names = [claim.quantity for claim in reference.claims]
        assert len(names) == len(set(names))
