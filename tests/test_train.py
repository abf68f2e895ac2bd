"""Training as a user does it: from a config to a run directory."""

import io
import json
import math
import re

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from lightning import Callback
from matplotlib.image import imread
from rich.console import Console
from sklearn.metrics import r2_score, root_mean_squared_error
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import forge, load_config, options
from unroll.building import build_forecaster
from unroll.checkpoints import load_checkpoint
from unroll.config import plain
from unroll.data.module import WindowDataModule
from unroll.data.series import Series
from unroll.errors import RunError
from unroll.loop import StepLoop
from unroll.runs.directory import RunDirectory
from unroll.targets import build
from unroll.train import train_in

FULL = ("model.num_layers=2", "model.dropout=0.3", "trainer.gradient_clip_val=0.5", "data.window_size=6")


@pytest.mark.parametrize("model", options("model"))
@pytest.mark.parametrize("data", options("data"))
@pytest.mark.parametrize("trainer", ["auto", "cpu"])
def test_every_combination(model, data, trainer, data_overrides, run_training):
    result = run_training(*data_overrides(data), f"model={model}", f"trainer={trainer}", "trainer.max_epochs=1")
    assert result.metrics["model"].lower() == model
    assert math.isfinite(result.metrics["test"]["models"]["best"]["rmse"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One ordinary run, for several tests to look at."""
    outputs, output = tmp_path_factory.mktemp("outputs"), io.StringIO()
    from rich.console import Console

    from unroll.train import train

    overrides = ["data=cinema", "data.target=tickets_sold", "early_stopping.patience=15", "data.horizon=2"]
    cfg = load_config(f"output_dir={outputs}", *overrides)
    return train(cfg, overrides, Console(file=output, width=100)), output.getvalue()


def test_the_run_directory_holds_everything(finished):
    run = finished[0].run
    state = run.read_state()
    assert state["status"] == "complete"
    assert state["overrides"][0] == "data=cinema"
    assert {"torch", "lightning"} <= set(state["environment"]["packages"])
    config = yaml.safe_load(run.config.read_text())
    assert config["data"]["window_size"] == 14
    assert config["model"]["backbone"]["hidden_size"] == 32  # resolved
    assert len(Series.load(run.series).values) == 222
    assert list(run.path.glob("events.out.tfevents.*"))
    for name in ("series", "forecast", "loss"):
        image = imread(run.figures / f"{name}.png")
        assert image.shape[1] >= 1000
        assert image.std() > 0.05  # something is drawn
    assert not list(run.path.rglob("*.partial"))


def test_the_scores_are_those_of_the_predictions_file(finished):
    result = finished[0]
    table = pd.read_csv(result.run.predictions, parse_dates=["date", "origin"])
    test = result.metrics["test"]
    assert len(table) == 2 * test["windows"]
    assert (table["date"] - table["origin"]).dt.days.tolist() == table["step"].tolist()
    assert table["origin"].min() == pd.Timestamp("2018-03-14") + pd.Timedelta(days=222 - 33 - 1)
    columns = {"forecast_best_epoch": test["models"]["best"], "forecast_last_epoch": test["models"]["last"]}
    columns |= test["baselines"]
    for column, found in columns.items():
        assert found["rmse"] == pytest.approx(root_mean_squared_error(table["truth"], table[column]))
        assert found["r2"] == pytest.approx(r2_score(table["truth"], table[column]))
        assert found["mae"] == pytest.approx((table["truth"] - table[column]).abs().mean())
    best = min(test["baselines"].values(), key=lambda row: row["rmse"])
    assert test["baselines"][test["best_baseline"]] == best
    for row in test["models"].values():
        assert row["skill"] == pytest.approx(1 - row["rmse"] / best["rmse"])
    steps = test["by_step"]["best"]["rmse"]
    assert np.sqrt(np.mean(np.square(steps))) == pytest.approx(test["models"]["best"]["rmse"])


def test_best_and_last_epoch_are_told_apart(finished):
    result = finished[0]
    history = pd.read_csv(result.run.history)
    epochs = result.metrics["epochs"]
    assert epochs["trained"] == len(history) == epochs["best"] + 15 < epochs["most"]
    assert epochs["best"] == history["val_loss"].idxmin() + 1
    assert result.metrics["loss"]["val_best"] == pytest.approx(history["val_loss"].min())
    assert result.metrics["loss"]["val_last"] == pytest.approx(history["val_loss"].iloc[-1])
    digests = result.metrics["weights_sha256"]
    assert digests["best"] != digests["last"]
    assert result.metrics["test"]["models"]["best"] != result.metrics["test"]["models"]["last"]


def test_what_is_printed(finished):
    output = finished[1]
    assert "cinema (simulated): test segment, 32 windows, 2 steps ahead; MAE and RMSE in tickets" in output
    for words in ("best epoch", "last epoch", "persistence", "seasonal naive (7)", "drift", "linear autoregression"):
        assert words in output
    assert len([line for line in output.splitlines() if line.startswith("epoch ")]) <= 13  # quiet in a log file
    assert "\x1b" not in output
    assert str(finished[0].run.path) in output


def test_the_checkpoint_rebuilds_the_network(finished):
    """With what it holds itself, and without running any code it holds."""
    run = finished[0].run
    checkpoint = load_checkpoint(run.best_checkpoint)
    assert checkpoint["epoch"] == finished[0].metrics["epochs"]["best"]
    assert checkpoint["unroll"]["shape"] == {
        "window_size": 14,
        "horizon": 2,
        "features": 1,
        "future_features": 0,
        "season": 7,
        "window_transform": (),
        "future_columns": (),
    }
    cfg = load_config("data=cinema", "data.target=tickets_sold", "data.horizon=2")
    datamodule = build(plain(cfg.data), WindowDataModule, "data")
    datamodule.setup()
    forecaster = build_forecaster(cfg, datamodule)
    forecaster.load_state_dict(checkpoint["state_dict"])
    losses = L.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False).test(
        forecaster, datamodule, verbose=False
    )
    table = pd.read_csv(run.predictions)
    error = (table["truth"] - table["forecast_best_epoch"]) / checkpoint["unroll"]["transform"][0]["scale"][0]
    assert losses[0]["test/loss"] == pytest.approx((error**2).mean(), rel=1e-4)


def test_metrics_are_strict_json_and_say_simulated(finished):
    def refuse(name):
        raise AssertionError(name)

    text = finished[0].run.metrics.read_text()
    found = json.loads(text, parse_constant=refuse)
    assert found["data"] == "cinema (simulated)"
    assert found["kind"] == "simulated"


def same(one, other):
    """Equal to the last bit in everything but time and place."""
    left, right = one.metrics | {"seconds": None}, other.metrics | {"seconds": None}
    assert left == right
    assert one.run.predictions.read_bytes() == other.run.predictions.read_bytes()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_repeats_exactly_also_the_second_run_of_a_process(seed, run_training):
    first = run_training(*FULL, "trainer.max_epochs=3", f"seed={seed}")
    other = run_training(*FULL, "trainer.max_epochs=2", "seed=5")
    again = run_training(*FULL, "trainer.max_epochs=3", f"seed={seed}")
    same(first, again)
    assert other.metrics["weights_sha256"] != first.metrics["weights_sha256"]


def test_a_seed_repeats_exactly_in_another_process(run_training, command, tmp_path):
    first = run_training(*FULL, "trainer.max_epochs=2", "seed=0")
    done = command(*FULL, "trainer.max_epochs=2", "seed=0", real=True)
    assert done.returncode == 0, done.stderr
    newest = max((tmp_path / "outputs").iterdir(), key=lambda path: path.stat().st_mtime)
    found = json.loads((newest / "metrics.json").read_text())
    assert newest != first.run.path
    assert found["weights_sha256"] == first.metrics["weights_sha256"]
    assert found["test"] == first.metrics["test"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("scheduler=plateau", "scheduler.patience=0"),
        ("scheduler=step", "scheduler.step_size=2", "model=lstm"),
        ("scheduler=cosine", "scheduler.interval=step", "scheduler.T_max=50", "model=rnn", "data.horizon=2"),
        ("+trainer.accumulate_grad_batches=3", "scheduler=plateau", "scheduler.frequency=2"),
        ("data.validation=0",),
        ("data.validation=0", "scheduler=plateau", "scheduler.monitor=train/loss"),
        ("data.shuffle=false", "early_stopping.patience=1", "optimizer.lr=0.05"),
        ("+trainer.precision=64-true", "optimizer=sgd"),
    ],
)
def test_a_continued_run_equals_an_uninterrupted_one(overrides, run_training):
    common = [*FULL, *overrides]
    whole = run_training(*common, "trainer.max_epochs=7")
    part = run_training(*common, "trainer.max_epochs=3")
    continued = run_training(f"resume={part.run.path}", "trainer.max_epochs=7")
    assert continued.run.path == part.run.path
    same(whole, continued)
    columns = ["epoch", "train_loss", "val_loss", "lr"]
    histories = [pd.read_csv(result.run.history)[columns] for result in (whole, continued)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


def test_a_run_that_stopped_early_goes_on_only_with_more_patience(run_training):
    part = run_training("early_stopping.patience=1", "optimizer.lr=0.05", "trainer.max_epochs=30")
    epochs = part.metrics["epochs"]
    assert epochs["stopped_early"]
    stays = run_training(f"resume={part.run.path}", "trainer.max_epochs=40")
    assert stays.metrics["epochs"]["trained"] == epochs["trained"]
    more = run_training(f"resume={part.run.path}", "early_stopping.patience=3")
    whole = run_training("early_stopping.patience=3", "optimizer.lr=0.05", "trainer.max_epochs=40")
    assert more.metrics["epochs"]["trained"] > epochs["trained"]
    same(whole, more)


def test_a_complete_run_is_not_trained_again(run_training):
    output = io.StringIO()
    first = run_training("trainer.max_epochs=2")
    again = run_training(f"resume={first.run.path}", output=output)
    assert again.metrics == first.metrics
    assert "is complete; raise trainer.max_epochs" in output.getvalue()


def test_no_weight_epoch_or_choice_depends_on_the_test_segment(run_training, tmp_path):
    """The same series with another test segment: everything fitted is the same, bit by bit."""
    values = np.sin(np.arange(200) / 3) + np.random.RandomState(0).standard_normal(200) * 0.3
    results = []
    for name, end in {"one": values[170:], "other": values[170:][::-1] * 50 + 7}.items():
        path = tmp_path / f"{name}.csv"
        pd.DataFrame({"y": np.concatenate([values[:170], end])}).to_csv(path, index=False)
        results.append(
            run_training("data=csv", f"data.path={path}", *FULL, "early_stopping.patience=3", "scheduler=plateau")
        )
    one, other = results
    for key in ("weights_sha256", "epochs", "loss"):
        assert one.metrics[key] == other.metrics[key]
    assert one.metrics["validation"] == other.metrics["validation"]
    assert one.metrics["test"] != other.metrics["test"]
    states = [load_checkpoint(result.run.best_checkpoint)["unroll"] for result in results]
    assert states[0] == states[1]


def test_without_validation_the_last_epoch_is_evaluated_and_said(run_training):
    output = io.StringIO()
    result = run_training("data.validation=0", "trainer.max_epochs=4", output=output)
    assert result.metrics["epochs"] == {"best": 4, "trained": 4, "most": 4, "stopped_early": False}
    assert result.metrics["loss"]["val_best"] is None
    assert "validation" not in result.metrics
    assert "last epoch 4 (no validation)" in output.getvalue()
    assert result.score == result.metrics["loss"]["train_last"]


def test_fast_dev_run_tries_everything_and_says_what_it_is_worth(run_training):
    output = io.StringIO()
    result = run_training("trainer.fast_dev_run=true", output=output)
    assert result.metrics["epochs"]["trained"] == 1
    assert "the scores mean nothing" in output.getvalue()
    assert result.run.predictions.exists()


def test_training_learns(run_training):
    """A sine with noise 0.1: a forecast cannot be better than the noise, and comes close to it."""
    result = run_training("early_stopping.patience=10")
    assert 0.09 < result.metrics["test"]["models"]["best"]["rmse"] < 0.12
    assert (
        result.metrics["test"]["models"]["best"]["rmse"]
        < 0.8 * result.metrics["test"]["baselines"]["persistence"]["rmse"]
    )


def test_a_clean_sine_is_no_division_by_nothing(run_training):
    output = io.StringIO()
    result = run_training("data.noise=0", "trainer.max_epochs=2", output=output)
    assert result.metrics["test"]["models"]["best"]["skill"] is None
    assert "linear autoregression is exact here" in output.getvalue()


def test_epochs_without_validation_have_no_validation_loss(run_training):
    result = run_training("+trainer.check_val_every_n_epoch=3", "trainer.max_epochs=7", "early_stopping.patience=4")
    losses = pd.read_csv(result.run.history)["val_loss"]
    assert losses.notna().tolist() == [False, False, True, False, False, True, False]
    assert result.metrics["epochs"]["best"] in (3, 6)
    assert result.metrics["epochs"]["trained"] == 7  # patience counts validations
    events = EventAccumulator(str(result.run.path)).Reload()
    assert [event.step for event in events.Scalars("val/loss")] == [3, 6]


def test_other_precisions_are_evaluated_too(run_training):
    for precision in ("64-true", "bf16-true"):
        result = run_training(f"+trainer.precision={precision}", "trainer.max_epochs=2")
    assert math.isfinite(result.metrics["test"]["models"]["best"]["rmse"])


def test_a_run_needs_its_data_file_no_more(run_training, tmp_path, data_overrides):
    overrides = data_overrides("csv")
    first = run_training(*overrides, "trainer.max_epochs=1")
    (tmp_path / "series.csv").unlink()
    again = run_training(f"resume={first.run.path}", "trainer.max_epochs=2")
    assert again.metrics["epochs"]["trained"] == 2


def test_the_score_of_a_search_does_not_depend_on_the_transform(run_training):
    for transform in ("standard", "minmax"):
        result = run_training(f"data.transform={transform}", "trainer.max_epochs=2")
        assert result.score == result.metrics["validation"]["models"]["best"]["rmse"]


def test_weights_that_blow_up_in_the_last_step_fail_the_run(run_training, tmp_path):
    overrides = ["data.validation=0", "data.batch_size=10000", "model.head_sizes=[8]", "trainer.max_epochs=1"]
    with pytest.raises(RunError, match="forecast numbers that are not finite"):
        run_training(*overrides, "optimizer=sgd", "optimizer.lr=1e38")
    (run,) = (tmp_path / "outputs").iterdir()
    assert json.loads((run / "run.json").read_text())["status"] == "failed"
    assert not (run / "predictions.csv").exists()


def test_a_file_that_is_replaced_is_never_followed(run_training, tmp_path):
    """A hostile run directory must not make a continued run write elsewhere, or read the environment."""
    run = run_training("trainer.max_epochs=1").run
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for path in (run.predictions, run.metrics, run.history, run.figures / "loss.png", run.best_checkpoint):
        path.unlink()
        path.symlink_to(victim)
    run_training(f"resume={run.path}", "trainer.max_epochs=2")
    assert victim.read_text() == "precious"
    run.config.write_text(run.config.read_text() + "note: ${oc.env:HOME}\n")
    forge(run.path)
    with pytest.raises(RunError, match="it holds an interpolation"):
        run_training(f"resume={run.path}", "trainer.max_epochs=3")
    run.config.write_text(run.config.read_text().replace("note: ${oc.env:HOME}\n", ""))
    torch.save({"state_dict": {}}, run.last_checkpoint)
    torch.save({"state_dict": {}}, run.previous_checkpoint)
    with pytest.raises(RunError, match="it holds no epoch, unroll"):
        run_training(f"resume={run.path}", "trainer.max_epochs=3")
    run.state.write_text("{}")
    with pytest.raises(RunError, match=r"run\.json is damaged: it holds no status"):
        run_training(f"resume={run.path}", "trainer.max_epochs=3")


def test_a_loss_that_becomes_nan_fails_the_run_and_names_the_epoch(run_training, tmp_path):
    with pytest.raises(RunError, match=r"loss became (nan|inf) in epoch \d+: lower optimizer\.lr"):
        run_training("optimizer=sgd", "optimizer.lr=1e20", "model.head_sizes=[8]")
    (run,) = (tmp_path / "outputs").iterdir()
    state = json.loads((run / "run.json").read_text())
    assert state["status"] == "failed"
    assert re.search(r"in epoch \d+", state["error"])
    assert not (run / "metrics.json").exists()


def test_clipping_and_layout_reach_the_training(run_training):
    base = run_training("trainer.max_epochs=2")
    clipped = run_training("trainer.max_epochs=2", "trainer.gradient_clip_val=0.001")
    flat = run_training("trainer.max_epochs=2", "model.input_layout=features")
    digests = {result.metrics["weights_sha256"]["last"] for result in (base, clipped, flat)}
    assert len(digests) == 3
    assert flat.metrics["parameters"] == base.metrics["parameters"] + 3 * 32 * (24 - 1)


def test_the_scheduler_changes_the_rate_that_is_logged(run_training):
    result = run_training("scheduler=step", "scheduler.step_size=2", "scheduler.gamma=0.1", "trainer.max_epochs=5")
    rates = pd.read_csv(result.run.history)["lr"]
    np.testing.assert_allclose(rates, [0.005, 0.005, 0.0005, 0.0005, 0.00005])


def test_one_thread_by_default(run_training):
    torch.set_num_threads(2)
    run_training("trainer.max_epochs=1")
    assert torch.get_num_threads() == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_trains_from_resident_data(run_training):
    result = run_training("trainer=gpu", "trainer.max_epochs=3")
    cpu = run_training("trainer=cpu", "trainer.max_epochs=3")
    assert result.metrics["device"].startswith("cuda")
    scores = [r.metrics["test"]["models"]["best"]["rmse"] for r in (result, cpu)]
    assert scores[0] == pytest.approx(scores[1], rel=0.05)


def test_the_training_segment_is_scored_where_asked_for(run_training):
    output = io.StringIO()
    result = run_training("evaluate_train=true", "data.horizon=2", "trainer.max_epochs=3", output=output)
    table = pd.read_csv(result.run.predictions)
    assert list(table["segment"].unique()) == ["train", "test"]
    for segment, part in table.groupby("segment"):
        found = result.metrics[segment]["models"]["best"]
        assert found["rmse"] == pytest.approx(root_mean_squared_error(part["truth"], part["forecast_best_epoch"]))
        scale = load_checkpoint(result.run.best_checkpoint)["unroll"]["transform"][0]["scale"][0]
        assert found["loss"] == pytest.approx((found["rmse"] / scale) ** 2, rel=1e-4)
    assert (result.run.figures / "overlay.png").exists()
    loss = result.metrics["validation"]["models"]["best"]["loss"]
    assert loss == pytest.approx(result.metrics["loss"]["val_best"], rel=1e-4)
    assert re.search(
        rf"MSE loss in scaled units, epoch 3: train \S+, validation {loss:.4g}, test \S+", output.getvalue()
    )
    assert "test segment, 149 windows" in output.getvalue()


def test_without_a_test_segment_the_training_segment_stands_for_the_run_and_it_is_said(run_training):
    output = io.StringIO()
    overrides = ["experiment=noisy_sine_gru", "trainer.max_epochs=2"]
    result = run_training(*overrides, output=output)
    assert "test" not in result.metrics
    assert (
        "train segment, 190 windows, 1 step ahead (all seen in training: no forecast of anything new)"
        in output.getvalue()
    )
    assert pd.read_csv(result.run.predictions)["segment"].unique().tolist() == ["train"]
    again = io.StringIO()
    run_training(f"resume={result.run.path}", output=again)
    assert "is complete" in again.getvalue()
    assert "train segment, 190 windows" in again.getvalue()


@pytest.mark.parametrize("experiment", ["trend_gru", "sine_gru", "cinema_lstm"])
def test_a_continued_experiment_equals_an_uninterrupted_one(experiment, run_training):
    whole = run_training(f"experiment={experiment}", "trainer.max_epochs=4")
    part = run_training(f"experiment={experiment}", "trainer.max_epochs=2")
    continued = run_training(f"resume={part.run.path}", "trainer.max_epochs=4")
    same(whole, continued)
    assert continued.run.read_state()["fingerprint"] == whole.run.read_state()["fingerprint"]
    columns = ["epoch", "train_loss", "last_batch_loss"]
    histories = [pd.read_csv(result.run.history)[columns] for result in (whole, continued)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    if experiment == "sine_gru":
        assert whole.run.free_run.read_bytes() == continued.run.free_run.read_bytes()


@pytest.mark.parametrize(
    "extra", [["trainer.gradient_clip_val=0.1", "replicas=2", "scheduler=plateau"], ["scheduler=cosine"]]
)
def test_the_short_way_of_a_step_gives_the_bits_of_lightnings_own(extra, run_training, monkeypatch):
    """And is taken, unless a callback asks for what it leaves out."""
    words = ["trainer=cpu", "trainer.max_epochs=3", "data.points=300", "model.dropout=0.2", *extra]
    ways = []
    plain_step = StepLoop.advance
    is_plain = StepLoop._is_plain.func
    monkeypatch.setattr(
        StepLoop, "advance", lambda loop, data: (ways.append(loop._is_plain), plain_step(loop, data))[1]
    )
    short = run_training(*words)
    assert all(ways)
    monkeypatch.setattr(StepLoop, "_is_plain", property(lambda loop: is_plain(loop) and False))
    own = run_training(*words)
    assert not ways[-1]
    assert own.metrics["weights_sha256"] == short.metrics["weights_sha256"]
    assert own.metrics["test"] == short.metrics["test"]


def test_a_callback_inside_the_step_is_called(tmp_path):
    seen = []

    class Watching(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
            seen.append(float(optimizer.param_groups[0]["params"][0].grad.norm()))

    cfg = load_config(f"output_dir={tmp_path}", "trainer=cpu", "trainer.max_epochs=1", "data.points=200")
    run = RunDirectory.create(tmp_path, "watched")
    with run.locked():
        train_in(run, cfg, [], Console(file=io.StringIO()), [Watching()])
    assert len(seen) > 2
    assert min(seen) > 0


def test_a_checkpoint_of_an_older_version_is_not_gone_on_with(run_training):
    run = run_training("trainer=cpu", "trainer.max_epochs=1", "data.points=200").run
    checkpoint = torch.load(run.last_checkpoint, weights_only=True)
    del checkpoint["callbacks"]["Recorder"]["tracks"]
    torch.save(checkpoint, run.last_checkpoint)
    with pytest.raises(
        RunError, match=r"last.ckpt is of an older version, and cannot be gone on with: start a new run"
    ):
        run_training(f"resume={run.path}", "trainer.max_epochs=2")
