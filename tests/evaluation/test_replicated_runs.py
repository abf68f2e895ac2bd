"""Runs with replicas, from training to the leaderboard: each is the run of its seed, and the ensemble is their mean."""

import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats

from conftest import ROOT, load_config
from unroll import load_run
from unroll.errors import ConfigError, RunError
from unroll.evaluation.again import evaluate_again
from unroll.evaluation.evaluate import evaluate, fit_reference
from unroll.evaluation.replicas import mean_by_step, mean_scores, spread, with_seeds
from unroll.results import print_scores
from unroll.sweeps.leaderboard import read_leaderboard
from unroll.train import train

K = 3
WORDS = ("data.points=160", "model.hidden_size=6", "trainer.max_epochs=6", "early_stopping.patience=2", "trainer=cpu")
WORDS = (*WORDS, "optimizer.lr=0.1", "data.batch_size=16", "free_run.steps=8", "evaluate_train=true", "seed=4")
METRICS = ("mae", "rmse", "r2", "mase", "skill", "loss")


@pytest.fixture
def script(monkeypatch, capsys):
    """A script in this process, which has loaded torch: its exit code and what it printed."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # as the script sets it
    monkeypatch.setattr("unroll.cli.SHOW_ALL", False)

    def run(name: str, *words: object) -> SimpleNamespace:
        code = 0
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        try:
            runpy.run_path(str(ROOT / "scripts" / name), run_name="__main__")
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=printed.out, stderr=printed.err)

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SimpleNamespace:
    """A run of three replicas from the command line, and the three runs of their seeds."""
    folder = tmp_path_factory.mktemp("replicas")
    words = [sys.executable, "train.py", *WORDS, f"replicas={K}", f"output_dir={folder / 'together'}"]
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    singles = []
    for number in range(K):
        cfg = load_config(*WORDS, f"seed={4 + number}", f"output_dir={folder / 'apart'}")
        singles.append(train(cfg, (), Console(file=io.StringIO(), width=100)))
    (path,) = (folder / "together").iterdir()
    metrics = json.loads((path / "metrics.json").read_text(), parse_constant=pytest.fail)
    return SimpleNamespace(folder=folder, path=path, printed=done.stdout, metrics=metrics, singles=singles)


@pytest.fixture
def copied(made, tmp_path) -> Path:
    return Path(shutil.copytree(made.path, tmp_path / "moved"))


def close(one, other):
    """Equal but for the roundings that training together brings."""
    return one == other if one is None or other is None else one == pytest.approx(other, rel=2e-3, abs=2e-4)


@given(st.lists(st.floats(-1e3, 1e3).map(lambda value: round(value, 3)), min_size=2, max_size=20))
def test_mean_and_interval_are_those_of_numpy_and_scipy(values):
    rows = [{"rmse": value, "r2": None if number else value} for number, value in enumerate(values)]
    assert mean_scores(rows)["rmse"] == pytest.approx(np.mean(values), abs=1e-9)
    found = spread(rows)
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    assert found["rmse"]["high"] - found["rmse"]["low"] == pytest.approx(2 * half, abs=1e-8)
    assert (found["rmse"]["min"], found["rmse"]["max"]) == (min(values), max(values))
    assert mean_scores(rows)["r2"] is None  # one replica has none
    assert set(found["r2"].values()) == {None}


def test_small_parts_keep_order_and_names():
    assert with_seeds([{"rmse": 1.0}, {"rmse": 2.0}], 7) == [{"seed": 7, "rmse": 1.0}, {"seed": 8, "rmse": 2.0}]
    assert mean_by_step([{"mae": [1.0, 2.0]}, {"mae": [3.0, 6.0]}]) == {"mae": [2.0, 4.0]}


def test_each_replica_scores_as_the_run_of_its_seed(made):
    for number, single in enumerate(made.singles):
        epochs = {key: single.metrics["epochs"][key] for key in ("best", "trained", "stopped_early")}
        assert made.metrics["epochs"]["replicas"][number] == {"seed": 4 + number, **epochs}
        for segment in ("train", "validation", "test"):
            for name, rows in made.metrics[segment]["replicas"].items():
                assert rows[number]["seed"] == 4 + number
                alone = single.metrics[segment]["models"][name]
                assert all(close(rows[number][metric], alone[metric]) for metric in METRICS), (segment, name, number)
        for name, rows in made.metrics["free_run"]["replicas"].items():
            alone = single.metrics["free_run"]["models"]
            assert close(rows[number]["rmse"], alone.get(name, alone["best"])["rmse"])


def test_metrics_hold_means_intervals_and_the_ensemble(made):
    assert made.metrics["replicas"] == K
    predictions = pd.read_csv(made.path / "predictions.csv")
    columns = [f"forecast_best_epoch_seed{seed}" for seed in (4, 5, 6)]
    np.testing.assert_allclose(predictions["forecast_ensemble"], predictions[columns].mean(axis=1), rtol=1e-12)
    for segment in ("train", "test"):
        scored = made.metrics[segment]
        rows = predictions[predictions["segment"] == segment]
        for column, values in zip(
            ["forecast_ensemble", *columns], [scored["models"]["ensemble"], *scored["replicas"]["best"]], strict=True
        ):
            error = rows[column] - rows["truth"]
            assert values["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-9)
            assert values["mae"] == pytest.approx(error.abs().mean(), rel=1e-9)
        for name in ("best", "last"):
            for metric in METRICS:
                values = [row[metric] for row in scored["replicas"][name]]
                assert scored["models"][name][metric] == pytest.approx(np.mean(values), rel=1e-12)
                ends = scored["spread"][name][metric]
                low, high = stats.t.interval(0.95, K - 1, np.mean(values), stats.sem(values))
                assert (ends["low"], ends["high"]) == (pytest.approx(low), pytest.approx(high))
                assert (ends["min"], ends["max"]) == (min(values), max(values))
        members = [row["rmse"] for row in scored["replicas"]["best"]]
        assert scored["models"]["ensemble"]["rmse"] <= np.sqrt(np.mean(np.square(members)))
        best = scored["baselines"][scored["best_baseline"]]["rmse"]
        assert scored["models"]["ensemble"]["skill"] == pytest.approx(1 - scored["models"]["ensemble"]["rmse"] / best)
    steps = pd.read_csv(made.path / "free_run.csv")
    np.testing.assert_allclose(steps["forecast_ensemble"], steps[columns].mean(axis=1), rtol=1e-12)
    error = steps["forecast_ensemble"] - steps["truth"]
    assert made.metrics["free_run"]["models"]["ensemble"]["rmse"] == pytest.approx(np.sqrt((error**2).mean()))


def test_single_runs_hold_nothing_of_replicas(made):
    single = made.singles[0]
    assert "replicas" not in single.metrics
    assert not {"replicas", "spread"} & single.metrics["test"].keys()
    assert set(single.metrics["test"]["models"]) == {"best", "last"}
    columns = set(pd.read_csv(single.run.predictions).columns)
    assert "forecast_best_epoch" in columns
    assert not any("seed" in column for column in columns)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_shows_mean_interval_and_ensemble(made, width):
    text = io.StringIO()
    print_scores("test", made.metrics, Console(file=text, width=width))
    scored, lines = made.metrics["test"], text.getvalue().splitlines()
    assert "…" not in text.getvalue()
    if width >= 80:
        assert all(len(line.rstrip()) <= width for line in lines if not line.startswith((" sk", "sk", "±")))
    for name in ("GRU, mean of 3 seeds", "lowest", "highest", "GRU, ensemble of 3", "linear autoregression", "drift"):
        assert name in text.getvalue()
    rmse = scored["models"]["best"]["rmse"]
    half = (scored["spread"]["best"]["rmse"]["high"] - scored["spread"]["best"]["rmse"]["low"]) / 2
    assert f"{rmse:.4f}" in text.getvalue()
    assert (f"{rmse:.4f} ± {half:.4f}" in text.getvalue()) == (width == 120)
    assert f"± {half:.4f}" in text.getvalue()
    assert "seeds 4 to 6: " in made.printed


def test_evaluation_prints_the_table_of_the_training_again(made, copied):
    text = io.StringIO()
    (values,) = evaluate_again([copied], None, None, None, Console(file=text, width=80)).values()
    for key in ("models", "replicas", "spread", "baselines"):
        assert values[key] == made.metrics["test"][key]
    table = [line.rstrip() for line in text.getvalue().splitlines() if re.search(r"\d\.\d\d", line)]
    assert len(table) > 8
    assert [line for line in table if line not in made.printed] == []
    before, after = pd.read_csv(copied / "predictions.csv"), pd.read_csv(copied / "evaluation" / "test.csv")
    before = before[before["segment"] == "test"].reset_index(drop=True)
    pd.testing.assert_frame_equal(after[before.columns], before)


def test_one_replica_is_evaluated_as_the_run_of_its_seed(made, copied, tmp_path):
    for number, single in enumerate(made.singles):
        text = io.StringIO()
        console = Console(file=text, width=80)
        (values,) = evaluate_again([copied], "test", None, tmp_path, console, number).values()
        best = {key: value for key, value in made.metrics["test"]["replicas"]["best"][number].items() if key != "seed"}
        assert values["models"]["best"] == best
        assert f"replica {number}, which is seed {4 + number}" in text.getvalue()
        epochs = single.metrics["epochs"]
        named = f"GRU, best epoch {epochs['best']}"
        assert (named if epochs["best"] != epochs["trained"] else "(best = last)") in text.getvalue()
        assert (tmp_path / f"test_replica{number}.png").exists()


def test_several_runs_show_the_ensemble_of_one_with_replicas(made, copied, script, tmp_path):
    done = script("evaluate.py", copied, made.singles[0].run.path, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ensemble of 3" in " ".join(done.stdout.split())
    frame = pd.read_csv(tmp_path / "runs.csv")
    assert {"forecast_ensemble", "forecast_best_epoch"} <= set(frame.columns)


def test_forecasts_are_those_of_the_replicas_and_their_mean(made):
    run = load_run(made.path)
    assert run.replicas == K
    each = [run.forecast(5, [50], replica=number) for number in range(K)]
    for number, single in enumerate(made.singles):
        alone = load_run(single.run.path).forecast(5, [50])
        assert list(each[number].columns) == list(alone.columns) == ["step", "forecast", "low_50", "high_50"]
        np.testing.assert_allclose(each[number], alone, rtol=2e-3, atol=5e-3)
    made_of = np.stack([table["forecast"] for table in each])
    together = run.forecast(5, [50])
    assert list(together.columns) == ["step", "forecast", "lowest", "highest", "low_50", "high_50"]
    np.testing.assert_allclose(together["forecast"], made_of.mean(axis=0))
    np.testing.assert_allclose(together["lowest"], made_of.min(axis=0))
    np.testing.assert_allclose(together["highest"], made_of.max(axis=0))
    module, half = run.trained, (together["high_50"] - together["low_50"]).iloc[0] / 2
    found = evaluate(run.forecaster, module, "validation", run.weights, fit_reference(module))
    errors = np.sort(np.abs(found.models["ensemble"] - found.truth)[: len(found.truth) - 4, 0])  # windows of 5 steps
    assert half == pytest.approx(errors[int(np.ceil((len(errors) + 1) * 0.5)) - 1], rel=1e-5)


def test_one_replica_loads_as_a_run(made):
    run = load_run(made.path)
    one = run.single(1)
    assert (one.config.seed, one.replicas, one.metrics["seed"], one.label) == (5, 1, 5, "GRU, seed 5")
    assert one.metrics["epochs"] == made.singles[1].metrics["epochs"]
    assert not {"replicas", "spread"} & one.metrics["test"].keys()
    assert run.label == "GRU, ensemble of 3"
    for number in (-1, K, True):
        with pytest.raises(ConfigError, match=r"has the replicas 0 to 2, seeds 4 to 6"):
            run.single(number)
    with pytest.raises(ConfigError, match="has no replicas"):
        load_run(made.singles[0].run.path).forecast(2, replica=0)


def test_the_scripts_take_a_replica(made, copied, script, tmp_path):
    done = script("forecast.py", copied, "--replica", 2, "--output", tmp_path / "one.csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "one.csv")
    assert list(table.columns)[1:] == ["step", "forecast"]
    assert (tmp_path / "one.png").exists()
    assert table["forecast"].tolist() == pytest.approx(load_run(copied).forecast(1, replica=2)["forecast"].tolist())
    done = script("export.py", copied, "--replica", 3)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "has the replicas 0 to 2" in done.stderr
    done = script("evaluate.py", made.singles[0].run.path, "--replica", 0)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "has no replicas" in done.stderr


def test_the_leaderboard_counts_replicas_as_seeds(made, tmp_path):
    together, apart = (read_leaderboard([made.folder / name]) for name in ("together", "apart"))
    (one,), (other,) = (board.tables[0].rows for board in (together, apart))
    assert list(one.replicas) == list(other.replicas) == [4, 5, 6]
    for metric in ("rmse", "mae", "skill"):
        for segment in ("validation", "test"):
            first, second = one.over_seeds(segment, metric), other.over_seeds(segment, metric)
            assert first.count == second.count == K
            assert close(first.mean, second.mean)
            assert first.half_width == pytest.approx(second.half_width, rel=0.05, abs=1e-3)
    history = pd.read_csv(made.path / "history.csv")
    assert one.seconds == pytest.approx(history["seconds"].sum() / K)
    both = read_leaderboard([made.folder])
    assert [len(row.replicas) for row in both.tables[0].rows] == [K]  # the same seeds, once


@pytest.mark.parametrize("wrong", ["none", "number", "short", "nan", "seeds", "text", "epochs", "count"])
def test_damaged_replicas_are_damage(wrong, copied):
    file = copied / "metrics.json"
    metrics = json.loads(file.read_text())
    rows = metrics["test"]["replicas"]["best"]
    if wrong == "none":
        del metrics["test"]["replicas"]
    elif wrong == "number":
        metrics["test"]["replicas"] = 3
    elif wrong == "short":
        rows.pop()
    elif wrong == "nan":
        rows[1]["rmse"] = float("nan")
    elif wrong == "seeds":
        rows[1]["seed"] = rows[0]["seed"]
    elif wrong == "text":
        rows[1] = "0.1"
    elif wrong == "epochs":
        metrics["epochs"]["replicas"] = [None] * K
    else:
        metrics["replicas"] = 2
    file.write_text(json.dumps(metrics))
    with pytest.raises(RunError) as error:
        load_run(copied)
    assert "\n" not in str(error.value)
    with pytest.raises(RunError, match="1 damaged"):
        read_leaderboard([copied])


@pytest.mark.parametrize("name", ["best", "last"])
def test_checkpoints_of_another_number_of_replicas_are_refused(name, copied):
    path = copied / "checkpoints" / f"{name}.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    key = "state_dict" if name == "best" else "last"
    checkpoint[key] = {tensor: value[:2] for tensor, value in checkpoint[key].items()}
    torch.save(checkpoint, path)
    with pytest.raises(RunError, match=rf"{name}\.ckpt does not hold the weights of 3 replicas"):
        load_run(copied)
    del checkpoint[key]
    torch.save(checkpoint, path)
    with pytest.raises(RunError):
        load_run(copied)
