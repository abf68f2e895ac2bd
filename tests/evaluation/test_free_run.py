"""Free runs: the model's own forecasts fed back, beside a plain loop; what is not known is said."""

import io

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import load_config, options
from unroll.config import plain
from unroll.data.windows import WindowShape
from unroll.errors import ConfigError
from unroll.evaluation.baselines import LinearAutoregression
from unroll.models.forecaster import Forecaster
from unroll.models.network import build_network

W = 6


def forecaster_of(
    model: str = "gru", *overrides: str, features: int = 1, future: int = 0, horizon: int = 1
) -> Forecaster:
    cfg = load_config(f"model={model}", "model.dropout=0.3", *overrides)
    torch.manual_seed(3)
    network = build_network(plain(cfg.model), WindowShape(W, horizon, features, future))
    return Forecaster(network, loss="mse", optimizer=plain(cfg.optimizer))


@pytest.mark.parametrize("model", options("model"))
@pytest.mark.parametrize("layout", ["sequence", "features"])
@pytest.mark.parametrize("rows", [W, W + 4])
def test_a_free_run_is_a_plain_loop(model, layout, rows):
    forecaster = forecaster_of(model, f"model.input_layout={layout}")
    history = torch.randn(3, rows, 1)
    found = forecaster.free_run(history, 9)
    assert forecaster.training  # as it was
    forecaster.eval()
    window, expected = history[:, -W:], []
    for _ in range(9):
        with torch.no_grad():
            made = forecaster(window, torch.zeros(3, 1, 0))
        expected.append(made)
        window = torch.cat([window[:, 1:], made[:, :, None]], dim=1)
    torch.testing.assert_close(found, torch.cat(expected, 1))
    assert not found.requires_grad


@pytest.mark.parametrize("steps", [1, 3, 4, 11])
def test_a_longer_horizon_runs_in_blocks(steps):
    forecaster = forecaster_of(horizon=3).eval()
    rows = history = torch.randn(2, W, 1)
    while rows.shape[1] < W + steps:
        with torch.no_grad():
            rows = torch.cat([rows, forecaster(rows[:, -W:], torch.zeros(2, 3, 0))[:, :, None]], dim=1)
    torch.testing.assert_close(forecaster.free_run(history, steps), rows[:, W : W + steps, 0])


def test_direct_steps_need_nothing_of_the_other_columns():
    forecaster = forecaster_of(features=2, horizon=3).eval()
    history = torch.randn(2, W, 2)
    with torch.no_grad():
        made = forecaster(history, torch.zeros(2, 3, 0))
    torch.testing.assert_close(forecaster.free_run(history, 2), made[:, :2])


def test_known_columns_and_columns_known_ahead_reach_each_step():
    forecaster = forecaster_of(features=3, future=1).eval()
    history, known = torch.randn(2, W, 3), torch.randn(2, 5, 2)
    future = known[:, :, 1:]
    found = forecaster.free_run(history, 5, known=known, future=future)
    rows = history.clone()
    for step in range(5):
        with torch.no_grad():
            made = forecaster(rows[:, -W:], future[:, step : step + 1])
        torch.testing.assert_close(found[:, step], made[:, 0])
        rows = torch.cat([rows, torch.cat([made, known[:, step]], 1)[:, None]], 1)


@pytest.mark.parametrize(
    ("sizes", "shape", "message"),
    [
        ({}, (1, W - 1, 1), rf"history of shape \(B, at least {W}, 1\), not \(1, {W - 1}, 1\)"),
        ({}, (W, 1), "history of shape"),
        ({"features": 3}, (1, W, 3), r"3 columns needs known of shape \(1, 3, 2\)"),
    ],
)
def test_what_is_missing_is_said(sizes, shape, message):
    with pytest.raises(ConfigError, match=message):
        forecaster_of(**sizes).free_run(torch.zeros(shape), 3)


def test_known_values_of_another_shape_are_refused():
    with pytest.raises(ConfigError, match=r"known has the shape \(1, 2, 1\), not \(1, 3, 1\)"):
        forecaster_of(features=2).free_run(torch.zeros(1, W, 2), 3, known=torch.zeros(1, 2, 1))


def test_a_free_run_of_the_linear_autoregression_continues_a_sine():
    t = np.arange(300.0)
    values = np.sin(2 * np.pi * t / 17)[:, None]
    regression = LinearAutoregression(values[:200], np.arange(W, 200), W, 1)
    rows = values[194:300].copy()
    rows[W:] = np.nan  # nothing of what is forecast is read
    np.testing.assert_allclose(regression.free_run(rows), values[200:, 0], atol=1e-8)


def test_a_run_writes_its_free_run(run_training):
    result = run_training("data=trend", "free_run.steps=50", "trainer.max_epochs=2")
    table = pd.read_csv(result.run.free_run)
    assert table["t"].tolist() == list(range(720, 770))
    found = result.metrics["free_run"]
    assert (found["start"], found["steps"], found["segment"]) == (720, 50, "test")
    for name, column in {"best": "forecast_best_epoch"}.items():
        error = table["truth"] - table[column]
        assert found["models"][name]["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    assert set(found["baselines"]) == {"persistence", "linear autoregression"}
    assert (result.run.figures / "free_run.png").exists()
    first = pd.read_csv(result.run.predictions).iloc[0]
    assert table["forecast_best_epoch"][0] == pytest.approx(first["forecast_best_epoch"], rel=1e-6)


def test_a_free_run_starts_at_a_date(run_training):
    words = ("data=cinema", "free_run.steps=7", "free_run.start=2018-09-01", "trainer.max_epochs=1")
    result = run_training(*words)
    table = pd.read_csv(result.run.free_run)
    assert table["date"].tolist()[0] == "2018-09-01"
    assert result.metrics["free_run"]["segment"] == "validation"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data=cinema", "free_run.start=2018-03-16"), "2 rows are before the start"),
        (("data=cinema", "free_run.start=1999-01-01"), "no row is labelled so; the rows are 2018-03-14 to 2018-10-21"),
        (("data=cinema", "free_run.start=yesterdy"), "is no date: write it as 2018-03-14"),
        (("data=cinema", "free_run.start=now"), "is no date: write it as 2018-03-14"),
        (("data=sine", "free_run.start=1e300", "free_run.step=0.5"), "t does not grow"),
        (("data=trend", "free_run.start=1e150", "free_run.step=1e149"), "numbers beyond 1e\\+140 there"),
        (("data=sine", "free_run.start=3.5"), "no row is labelled so; the rows are 0.0 to 999.0"),
        (("data=sine", "free_run.steps=151"), "150 after it"),
        (("data=cinema", "free_run.start=7", "free_run.step=2"), "known at its own rows only"),
    ],
)
def test_a_free_run_that_cannot_be_is_refused_before_training(words, message, run_training, tmp_path):
    with pytest.raises(ConfigError, match=message):
        run_training("free_run.steps=5", *words)
    assert not (tmp_path / "outputs").exists()


def test_a_history_that_was_drawn_towards_the_target_is_refused(run_training, tmp_path):
    path = tmp_path / "gap.csv"
    days = pd.date_range("2024-01-01", periods=120, name="day")
    pd.DataFrame({"y": np.sin(np.arange(120))}, index=days).drop(days[50]).to_csv(path)
    words = (
        "data=csv",
        f"data.path={path}",
        "data.date=day",
        "data.target=y",
        "free_run.steps=3",
        "data.window_size=5",
    )
    with pytest.raises(ConfigError, match="was filled by interpolation"):
        run_training(*words, "data.missing=interpolate", f"free_run.start={days[51].date()}")
    for missing, start in (("ffill", 51), ("interpolate", 52)):
        words_here = (*words, f"data.missing={missing}", f"free_run.start={days[start].date()}", "trainer.max_epochs=1")
        assert run_training(*words_here).metrics["free_run"]["known"] == 3


def test_rows_without_a_known_truth_are_not_scored(run_training, tmp_path):
    path, output = tmp_path / "gap.csv", io.StringIO()
    days = pd.date_range("2024-01-01", periods=120, name="day")
    pd.DataFrame({"y": np.sin(np.arange(120))}, index=days).drop(days[110:112]).to_csv(path)
    words = (
        "data=csv",
        f"data.path={path}",
        "data.date=day",
        "data.target=y",
        "data.missing=ffill",
        "trainer.max_epochs=1",
    )
    start = f"free_run.start={days[110].date()}"
    found = run_training(*words, start, "free_run.steps=2", output=output).metrics["free_run"]
    assert found["known"] == 0
    assert found["models"]["best"] == {"rmse": None, "mae": None}
    assert "no truth is known there" in output.getvalue()
    assert run_training(*words, start, "free_run.steps=4").metrics["free_run"]["known"] == 2


def test_columns_that_are_not_known_ahead_stop_it(run_training, data_overrides):
    with pytest.raises(ConfigError, match="column hour is not known ahead"):
        run_training(*data_overrides("csv"), "free_run.steps=5")
