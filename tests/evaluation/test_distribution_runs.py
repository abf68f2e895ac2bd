"""Runs with heads that make distributions, from train.py to forecast.py, and heads of points where these differ."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import load_config, options
from unroll import load_run
from unroll.config import plain
from unroll.data.windows import WindowShape
from unroll.errors import ConfigError, DataError
from unroll.evaluation.evaluate import evaluate
from unroll.export import export_run
from unroll.models.forecaster import Forecaster
from unroll.models.network import build_network
from unroll.runs.listing import list_runs
from unroll.sweeps.leaderboard import read_leaderboard

HEADS = [head for head in options("model/head") if head != "mlp"]
SMALL = ("trainer=cpu", "model.hidden_size=8", "trainer.max_epochs=3", "optimizer.lr=0.02", "data.window_size=8")
ADDED = {"crps", "pinball", "coverage_80", "width_80", "coverage_95", "width_95"}


def counts_file(folder: Path, rows: int = 260) -> Path:
    """Poisson counts with a week; the future is not in it."""
    days = pd.date_range("2022-01-03", periods=rows)
    mean = 6 + 4 * np.sin(2 * np.pi * np.arange(rows) / 7)
    sold = np.random.default_rng(0).poisson(mean)
    pd.DataFrame({"day": days, "sold": sold}).to_csv(folder / "counts.csv", index=False)
    return folder / "counts.csv"


def of_counts(folder: Path) -> tuple[str, ...]:
    return ("data=csv", f"data.path={counts_file(folder)}", "data.date=day", "data.target=sold")


def read(path: Path) -> dict:
    return json.loads(path.read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("head", HEADS)
def test_a_run_of_each_head(head, tmp_path, run_training, command):
    """Replicas, several steps ahead, after a logarithm: all that a run writes, and all that reads it."""
    words = (*of_counts(tmp_path), *SMALL, f"model/head={head}", "data.horizon=2", "replicas=2")
    result = run_training(*words, "data.transform=[log1p,standard]")
    path, found = result.run.path, read(result.run.metrics)
    scored = found["test"]
    assert scored["models"]["best"].keys() >= ADDED
    assert list(scored["intervals"]) == ["ensemble", "mixture"]
    assert found["loss"]["name"] == ("pinball" if head == "quantile" else "nll")
    assert {"crps", "coverage_95"} <= scored["by_step"]["mixture"].keys()
    table = pd.read_csv(result.run.predictions)
    ends = table[["low_95", "low_80", "high_80", "high_95"]].to_numpy()
    assert (np.diff(ends) >= 0).all()
    assert (ends > -1).all()
    inside = (table["low_80"] <= table["truth"]) & (table["truth"] <= table["high_80"])
    about = scored["intervals"]["ensemble"]["80"]
    assert about["coverage"] == pytest.approx(inside.mean())
    assert about["coverage_by_step"] == pytest.approx(inside.to_numpy().reshape(-1, 2).mean(axis=0))
    members = table.filter(like="_seed").mean(axis=1)
    np.testing.assert_allclose(table["forecast_ensemble"], members, rtol=1e-9)

    loaded = load_run(path)
    again = evaluate(loaded.forecaster, loaded.datamodule, "test", loaded.weights, loaded.reference)
    assert again.scores["mixture"]["crps"] == pytest.approx(scored["models"]["mixture"]["crps"])
    np.testing.assert_allclose(again.intervals["ensemble"][95.0][0].ravel(), table["low_95"], rtol=1e-9)
    one = loaded.single(1)
    assert one.metrics["test"]["models"]["best"]["crps"] == scored["replicas"]["best"][1]["crps"]
    alone = evaluate(one.forecaster, one.datamodule, "test", one.weights, one.reference)
    assert alone.scores["best"]["crps"] == pytest.approx(scored["replicas"]["best"][1]["crps"])
    assert list_runs([path.parent], pytest.fail)[0].status == "complete"
    assert len(read_leaderboard([path.parent]).tables) == 1

    for steps in (2, 5):  # direct, and sampled
        ahead = loaded.forecast(steps)
        assert list(ahead)[4:] == ["low_80", "high_80", "low_95", "high_95"]
        ends = ahead[["low_95", "low_80", "high_80", "high_95"]].to_numpy()
        assert (np.diff(ends) >= 0).all()
        pd.testing.assert_frame_equal(ahead, load_run(path).forecast(steps))
    done = command(str(path), "--steps", "3", script="scripts/forecast.py", output_dir=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "day,step,forecast,lowest,highest,low_80,high_80,low_95,high_95"
    assert "validation windows of 3 steps; coverage found on" in done.stderr
    made = export_run(loaded, path=tmp_path / "model.pt2")
    assert made.relative < 1e-4


def test_the_table_has_one_line_on_intervals(run_training):
    output = io.StringIO()
    run_training(*SMALL, "data.points=200", output=output)
    (line,) = [line for line in output.getvalue().splitlines() if "% interval" in line]
    assert "CRPS" not in line
    assert line.startswith("80 % interval: ")
    output = io.StringIO()
    result = run_training(*SMALL, "data.points=100", "data.validation=6", "model/head=gaussian", output=output)
    (line,) = [line for line in output.getvalue().splitlines() if "% interval" in line]
    assert "not calibrated (6 validation windows, and this level needs at least 19)" in line
    assert "CRPS" in line
    assert "low_95" not in pd.read_csv(result.run.predictions)
    assert "missing" in read(result.run.metrics)["test"]["intervals"]["best"]["95"]


def test_without_a_validation_segment_distributions_say_what_they_are(run_training, command):
    words = (*SMALL, "data.points=120", "data.validation=0", "model/head=student_t", "free_run.steps=10")
    result = run_training(*words)
    done = command(str(result.run.path), "--steps", "4", script="scripts/forecast.py", output_dir=False)
    assert done.returncode == 0, done.stderr
    assert "the 80 % interval is that of the distribution, not calibrated: no validation window" in done.stderr
    rows = pd.read_csv(result.run.free_run)
    assert (rows["low_95"] < rows["low_80"]).all()
    assert (rows["low_80"] < rows["forecast_best_epoch"]).all()
    assert read(result.run.metrics)["free_run"]["paths"] == 1000


@pytest.mark.parametrize(
    ("value", "message"), [("-1", "sold is -1 at 2022-01-13"), ("2.5", "sold is 2.5 at 2022-01-13")]
)
def test_what_is_no_count_is_refused(value, message, tmp_path, command):
    words, path = of_counts(tmp_path), tmp_path / "counts.csv"
    lines = path.read_text().splitlines()
    lines[11] = lines[11].split(",")[0] + f",{value}"
    path.write_text("\n".join(lines) + "\n")
    done = command(*words, "model/head=negative_binomial", "trainer=cpu")
    assert done.returncode == 1
    assert message in done.stderr
    assert "choose another model/head" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_levels_of_a_quantile_head_are_checked(command):
    for levels in ("[0.1,0.9]", "[0.1,0.4,0.9]", "[0,0.5,1]", "[0.9,0.5,0.1]"):
        done = command("model/head=quantile", f"model.head.levels={levels}")
        assert done.returncode == 1
        assert done.stderr.startswith("error: model.head.levels=")
        assert done.stderr.count("\n") == 1


def test_noise_of_a_known_spread_is_found_again(run_training):
    """An autoregression with Gaussian noise: coverage before any calibration near nominal, and CRPS near its least."""
    words = ("data.points=3000", "data.amplitude=0", "data.noise=2", "data.batch_size=256", "trainer=cpu")
    result = run_training(
        *words, "data.window_size=4", "model/head=gaussian", "trainer.max_epochs=6", "optimizer.lr=0.01"
    )
    scores = read(result.run.metrics)["test"]["models"]["best"]
    assert scores["coverage_80"] == pytest.approx(0.80, abs=0.05)
    assert scores["coverage_95"] == pytest.approx(0.95, abs=0.03)
    assert scores["crps"] == pytest.approx(2 / np.sqrt(np.pi), rel=0.05)  # of the normal distribution with spread 2
    assert scores["width_80"] == pytest.approx(2 * 1.2816 * 2, rel=0.08)


def forecaster_of(head: str, **sizes: int) -> Forecaster:
    torch.manual_seed(0)
    cfg = load_config(f"model/head={head}", "model.hidden_size=6")
    network = build_network(
        plain(cfg.model), WindowShape(**{"window_size": 5, "horizon": 1, "features": 1, "future_features": 0} | sizes)
    )
    return Forecaster(network, loss="mse", optimizer={"_target_": "torch.optim.Adam"}).eval()


@pytest.mark.parametrize("head", HEADS)
def test_paths_read_their_own_draws_and_repeat_with_their_seed(head):
    forecaster = forecaster_of(head)
    history = torch.rand(2, 7, 1)
    state = torch.get_rng_state()
    paths = forecaster.free_run(history, 4, samples=3000, seed=1)
    assert paths.shape == (3000, 2, 4)
    assert torch.equal(paths, forecaster.free_run(history, 4, samples=3000, seed=1))
    assert not torch.equal(paths, forecaster.free_run(history, 4, samples=3000, seed=2))
    assert torch.equal(state, torch.get_rng_state())
    levels = torch.tensor([0.1, 0.5, 0.9])
    first = forecaster.network.head.quantiles(
        forecaster.network.distribution(history[:, -5:], torch.zeros(2, 1, 0)), levels
    )[:, 0].detach()
    share = (paths[:, :, 0, None] <= first + 1e-4).float().mean(0)
    if head != "negative_binomial":
        torch.testing.assert_close(share, levels.expand(2, 3), atol=0.03, rtol=0)
    rows = torch.cat([history[:1, -4:].expand(3000, -1, -1), paths[:, :1, :1]], dim=1)  # what the second step reads
    after = forecaster.network.head.quantiles(forecaster.network.distribution(rows, torch.zeros(3000, 1, 0)), levels)[
        :, 0
    ].detach()
    share = (paths[:, 0, 1, None] <= after + 1e-4).float().mean(0)
    assert (share > levels - 0.03).all()
    if head != "negative_binomial":
        torch.testing.assert_close(share, levels, atol=0.03, rtol=0)


def test_a_random_walk_widens_with_the_root_of_the_steps():
    """What is fed back is a draw and no mean: the spread of the sums of independent steps."""
    forecaster = forecaster_of("gaussian")
    forecaster.network.distribution = lambda past, future: torch.stack(
        [past[..., -1, :1], torch.ones_like(past[..., -1, :1])], dim=-1
    )
    paths = forecaster.free_run(torch.zeros(1, 5, 1), 9, samples=20_000)
    np.testing.assert_allclose(paths[:, 0].std(dim=0), np.sqrt(np.arange(1, 10)), rtol=0.03)


def test_points_have_no_paths():
    with pytest.raises(ConfigError, match="no distribution to draw from"):
        forecaster_of("mlp").free_run(torch.zeros(1, 5, 1), 3, samples=4)


def test_the_ensemble_is_the_mean_in_the_units_of_the_series(tmp_path, run_training):
    """Also where the transform is none that a mean passes through."""
    words = (*of_counts(tmp_path), *SMALL, "data.transform=[log1p,standard]", "replicas=3", "seed=3")
    result = run_training(*words)
    table = pd.read_csv(result.run.predictions)
    np.testing.assert_allclose(table["forecast_ensemble"], table.filter(like="_seed").mean(axis=1), rtol=1e-12)
    loaded = load_run(result.run.path)
    scaled = [loaded.trained.transform.apply_target(table[name].to_numpy()) for name in ("forecast_ensemble", "truth")]
    loss = read(result.run.metrics)["test"]["models"]["ensemble"]["loss"]
    assert loss == pytest.approx(np.square(scaled[0] - scaled[1]).mean(), rel=1e-5)
    middle = np.log1p(table["forecast_ensemble"])
    assert (np.log1p(table["high_80"]) - middle).to_numpy() == pytest.approx(middle - np.log1p(table["low_80"]))
    assert export_run(loaded, path=tmp_path / "model.pt2").relative < 1e-5


def test_intervals_of_points_still_need_a_validation_segment(run_training):
    loaded = load_run(run_training(*SMALL, "data.points=120", "data.validation=0").run.path)
    with pytest.raises(DataError, match="no validation segment"):
        loaded.forecast(2, [80])
