"""The reference experiments over seeds, as a user runs them: real processes, real interruptions, real pages."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from conftest import ROOT
from processes import python

SCRIPT = str(ROOT / "scripts" / "reproduce.py")


def reproduce(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    jobs = [] if "--jobs" in words else ["--jobs", "1"]  # each has to import torch
    arguments = [*python(), SCRIPT, "--output", str(folder), *jobs, *words]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300)


def runs_of(folder: Path) -> list[Path]:
    return sorted((folder / "runs").iterdir())


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """All nine experiments, two seeds, three epochs."""
    folder = tmp_path_factory.mktemp("reproduce")
    return folder, reproduce("--seeds", "2", "--jobs", "2", "trainer.max_epochs=3", folder=folder)


def test_the_page_the_table_and_the_figures_are_there(done):
    folder, process = done
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert "18 runs (9 experiments, 2 seeds), 2 side by side" in process.stdout
    assert re.search(r"^18/18  \w+ seed \d: done; all done$", process.stdout, re.MULTILINE)
    page = (folder / "reproduction.md").read_text()
    assert "**Changed from the published experiments by `trainer.max_epochs=3`: trend_gru, sine_gru_two_layer" in page
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert len(pictures) == len(list((folder / "figures").iterdir())) > 15
    for name in pictures:
        assert imread(folder / name).std() > 0.03
    shown = {path.stem for path in (folder / "figures").iterdir()}
    assert {"cinema_r2", "trend_loss", "sine_losses", "sine_free_runs", "relative_rmse"} < shown
    assert {"trend_gru_overlay", "sine_gru_free_run", "noisy_sine_gru_overlay"} < shown
    assert "cinema (simulated)" in page
    assert "in test R2 on cinema sales" not in page  # changed: nothing published is judged
    assert "noisy_sine_gru is scored on the data it was trained on" in page


def test_the_numbers_are_those_of_the_runs(done):
    folder, _ = done
    metrics: dict[str, list[dict]] = {}
    histories: dict[str, list[pd.DataFrame]] = {}
    for path in runs_of(folder):
        overrides = json.loads((path / "run.json").read_text())["overrides"]
        name = overrides[0].removeprefix("experiment=")
        metrics.setdefault(name, []).append(json.loads((path / "metrics.json").read_text()))
        histories.setdefault(name, []).append(pd.read_csv(path / "history.csv"))
    table = pd.read_csv(folder / "reproduction.csv").set_index(["experiment", "forecast", "quantity"])
    assert len(metrics) == 9

    def check(row: tuple[str, str, str], values: list[float]) -> None:
        found = table.loc[row]
        assert found["seeds"] == len(values) == 2
        expected = [np.mean(values), np.std(values, ddof=1), min(values), max(values)]
        np.testing.assert_allclose(found[["mean", "sd", "min", "max"]].astype(float), expected, rtol=1e-9, atol=1e-15)

    for name, found in metrics.items():
        segment = "train" if name == "noisy_sine_gru" else "test"
        model = found[0]["model"]
        check((name, model, f"{segment} rmse"), [one[segment]["models"]["best"]["rmse"] for one in found])
        check((name, model, "parameters"), [one["parameters"] for one in found])
        check((name, model, "fit seconds"), [one["seconds"].sum() for one in histories[name]])
        for baseline in found[0][segment]["baselines"]:
            check((name, baseline, f"{segment} mae"), [one[segment]["baselines"][baseline]["mae"] for one in found])
    check(("cinema_gru", "GRU", "test R2"), [one["test"]["models"]["best"]["r2"] for one in metrics["cinema_gru"]])
    check(
        ("sine_rnn", "RNN", "RMSE of the free run"),
        [one["free_run"]["models"]["best"]["rmse"] for one in metrics["sine_rnn"]],
    )
    assert table.loc[("cinema_gru", "GRU", "test R2"), "published"] == 0.62
    assert table.loc[("trend_gru", "GRU", "loss of the last batch, epoch 100"), "published"] == 0.1231
    assert table.loc[("trend_gru", "GRU", "loss of the last batch, epoch 100"), "seeds"] == 0  # three epochs


def test_complete_runs_are_used_again_and_only_what_is_new_is_run(done):
    folder, _ = done
    before = runs_of(folder)
    again = reproduce("trend_gru", "cinema_rnn", "--seeds", "2", "trainer.max_epochs=3", folder=folder)
    assert again.returncode == 0
    assert again.stdout.count("complete before") == 4
    assert runs_of(folder) == before
    more = reproduce("cinema_rnn", "--seeds", "3", "trainer.max_epochs=3", folder=folder)
    assert more.stdout.count("complete before") == 2
    assert len(runs_of(folder)) == len(before) + 1
    other = reproduce("cinema_rnn", "--seeds", "1", "trainer.max_epochs=2", folder=folder)
    assert "complete before" not in other.stdout


def test_a_damaged_run_is_made_again(tmp_path):
    words = ("noisy_sine_gru", "--seeds", "1", "trainer.max_epochs=2")
    assert reproduce(*words, folder=tmp_path).returncode == 0
    path = runs_of(tmp_path)[0] / "history.csv"
    path.write_text(path.read_text()[:30])
    again = reproduce(*words, folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(runs_of(tmp_path)) == 2
    assert "complete before" not in again.stdout


def test_a_killed_worker_costs_its_runs_and_not_the_page(tmp_path):
    assert reproduce("noisy_sine_gru", "--seeds", "1", folder=tmp_path).returncode == 0
    for path in tmp_path.glob("runs/*/checkpoints/last.ckpt"):
        path.unlink()  # `start` waits for a new one
    process = start(tmp_path, "cinema_rnn", "--jobs", "1", "checkpoint_seconds=0", "trainer.max_epochs=2000")
    for worker in children_of(process.pid):
        if "spawn_main" in Path(f"/proc/{worker}/cmdline").read_text():
            os.kill(worker, signal.SIGKILL)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "a worker process died" in errors
    assert "cinema_rnn seed 0, 1: a worker process died" in errors


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """A long reproduction in its own process group, once a run of it has a checkpoint."""
    arguments = [sys.executable, SCRIPT, "--output", str(folder), "--seeds", "2", "noisy_sine_gru", *words]
    process = subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("runs/*/checkpoints/last.ckpt")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_after_an_interruption_the_same_command_goes_on(sign, tmp_path):
    words = ("trainer.max_epochs=300", "checkpoint_seconds=0")
    process = start(tmp_path, *words, "--jobs", "1")
    workers = children_of(process.pid)
    if sign is signal.SIGINT:
        os.killpg(process.pid, sign)  # as a terminal does: to everybody
        errors = process.communicate(timeout=60)[1]
        assert process.returncode == 130
        assert errors == "interrupted; nothing that was finished is lost: the same command goes on\n"
        assert json.loads((runs_of(tmp_path)[0] / "run.json").read_text())["status"] == "failed"
    else:
        os.kill(process.pid, sign)  # the parent alone
        process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.1)
    (first,) = runs_of(tmp_path)
    assert not (first / "metrics.json").exists()
    half = len(pd.read_csv(first / "history.csv"))
    assert 0 < half < 300
    again = reproduce("--seeds", "2", "noisy_sine_gru", "trainer.max_epochs=300", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert runs_of(tmp_path)[0] == first
    assert len(runs_of(tmp_path)) == 2
    assert len(pd.read_csv(first / "history.csv")) == 300
    assert len(json.loads((first / "run.json").read_text())["resumed"]) == 1


def test_two_at_once_in_one_folder_are_refused(tmp_path):
    process = start(tmp_path, "trainer.max_epochs=3000", "checkpoint_seconds=0")
    second = reproduce("noisy_sine_gru", folder=tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert second.returncode == 1
    assert second.stderr.startswith(f"error: {tmp_path} is in use by another of these commands")
    assert second.stderr.count("\n") == 1


def test_a_run_that_fails_does_not_stop_the_others_and_is_named(tmp_path):
    path = tmp_path / "gaps.csv"
    days = pd.date_range("2024-01-01", periods=100, name="date").delete(50)
    pd.DataFrame({"tickets_sold": np.arange(99.0) % 7}, index=days).to_csv(path)
    folder = tmp_path / "out"
    words = ("cinema_gru", "noisy_sine_gru", "--seeds", "1", "trainer.max_epochs=2", f"data.path={path}")
    process = reproduce(*words, folder=folder)
    assert process.returncode == 1
    assert re.fullmatch(r"error: cinema_gru seed 0: .*2024-02-19.*data\.missing=.*\n", process.stderr)
    assert f"data.path={path} goes to cinema_gru; the other experiments have no key data.path" in process.stdout
    page = (folder / "reproduction.md").read_text()
    assert "**Failed, and missing below:** cinema_gru seed 0" in page
    assert "| noisy_sine_gru |" in page
    mended = reproduce(*words, "data.missing=interpolate", folder=folder)
    assert mended.returncode == 0, mended.stderr
    page = (folder / "reproduction.md").read_text()
    assert "| cinema | window, then split |" in page  # not simulated


MISTAKES = {
    "cinema_gur": "there is no such reference experiment (did you mean cinema_gru?)",
    "cinema_week": "there is no such reference experiment",
    "model.hiden_size=3": "there is no key model.hiden_size (did you mean model.hidden_size?)",
    "data.window_size=0": "data.window_size must be an integer of at least 1",
    "data.path=missing.csv cinema_rnn": "data.path=missing.csv: this file does not exist",
    "optimizer=adma": "optimizer=adma: there is no such option (did you mean adam?)",
    "model=lstm": "model=lstm: it cannot be set here; give other experiments",
    "seed=3": "seed=3: it cannot be set here; give --seeds N",
    "=3": "=3: write KEY=VALUE",
    "trainer.max_epochs": "to change a key, write KEY=VALUE",
    "+trainer.foo=1": "keys can be set here (KEY=VALUE), not added or removed",
    "--seeds 0": "0 is no whole number from 1 to 9999",
    "--jobs x": "x is no whole number from 1 to 9999",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_gets_one_line_and_leaves_nothing(words, tmp_path):
    process = reproduce(*words.split(), folder=tmp_path / "out")
    assert process.returncode != 0
    assert MISTAKES[words] in process.stderr
    assert "Traceback" not in process.stderr
    assert process.stderr.splitlines()[-1].count("error: ") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    process = reproduce("noisy_sine_gru", folder=tmp_path / "file" / "out")
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert "no run directory can be made here" in process.stderr or "cannot be made" in process.stderr
