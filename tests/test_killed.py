"""A run that is killed at any change of a file, and gone on with, ends with the bits of one that was left alone."""

import functools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from conftest import ROOT, options
from processes import python

KILLED = Path(__file__).parent / "killed.py"
COMMON = ("data.points=90", "data.noise=0.1", "trainer.max_epochs=6", "checkpoint_seconds=0", "model.dropout=0.2")
PLATEAU = ("scheduler=plateau", "scheduler.patience=0", "early_stopping.patience=2", "optimizer.lr=0.02")
SETTINGS = {
    "layers": ("model.num_layers=2", *PLATEAU),
    "replicas": ("replicas=3", *PLATEAU),
    "cosine": ("scheduler=cosine", "scheduler.interval=step", "+trainer.accumulate_grad_batches=2", "data.horizon=3"),
    "max_steps": ("trainer.max_steps=7", "data.batch_size=16"),  # ends inside an epoch
}


def command(*words: object) -> subprocess.CompletedProcess[str]:
    arguments = [*python(), *map(str, words)]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120)


def killed(moment: int, outputs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return command(KILLED, moment, outputs, ROOT / "train.py", *words)


def results(run: Path) -> dict[str, Any]:
    """All that a run found out, without what it took."""
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["seconds"]
    histories = {path.name: pd.read_csv(path).drop(columns="seconds", errors="ignore") for path in run.glob("hist*")}
    return {
        "metrics": metrics,
        "predictions": (run / "predictions.csv").read_text(),
        "histories": {name: table.to_csv() for name, table in histories.items()},
        "config": (run / "config.yaml").read_text().partition("output_dir")[0],
        "state": json.loads((run / "run.json").read_text())["fingerprint"],
    }


def ended(outputs: Path, words: tuple[str, ...]) -> Path:
    """The run that was killed, at its end: gone on with, or where it had not begun, made by the same command."""
    runs = [path for path in sorted(outputs.glob("*")) if (path / "run.json").exists()]
    if not runs:
        done = command(ROOT / "train.py", f"output_dir={outputs}", *words)
    else:
        (run,) = runs
        done = command(ROOT / "train.py", f"resume={run}")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (run,) = (path for path in outputs.glob("*") if (path / "run.json").exists())
    assert json.loads((run / "run.json").read_text())["status"] == "complete"
    assert not list(run.rglob("*.partial*"))
    return run


@functools.cache
def left_alone(outputs: Path, words: tuple[str, ...]) -> tuple[dict[str, Any], int]:
    """What the command finds out where nobody kills it, and how often it changes a file."""
    done = killed(0, outputs, f"output_dir={outputs}", *words)
    assert done.returncode == 0, done.stderr
    (run,) = outputs.iterdir()
    return results(run), int(re.findall(r"changes: (\d+)", done.stderr)[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("left alone")


def check(model: str, setting: str, part: float, folder: Path, outputs: Path, parts: tuple[float, ...] = ()) -> None:
    """Kill at a part of the way, and again at parts of what is left; the end must be the same."""
    words = (f"model={model}", *COMMON, *SETTINGS[setting])
    whole, changes = left_alone(folder / f"{model}_{setting}", words)
    moment = 1 + int(part * changes)
    assert killed(moment, outputs, f"output_dir={outputs}", *words).returncode == -signal.SIGKILL
    for later in parts:
        runs = [path for path in outputs.glob("*") if (path / "run.json").exists()]
        if runs:
            again = killed(1 + int(later * (changes - moment)), outputs, f"resume={runs[0]}")
            assert again.returncode == -signal.SIGKILL
    assert results(ended(outputs, words)) == whole


QUICK = [(model, setting) for model in options("model") for setting in ("layers", "replicas")]


@pytest.mark.parametrize(("model", "setting"), [*QUICK, ("gru", "cosine"), ("gru", "max_steps")])
def test_a_killed_run_ends_the_same(model, setting, folder, tmp_path):
    part = random.Random(f"{model} {setting}").random()
    check(model, setting, part, folder, tmp_path / "outputs", parts=(0.3,))


@pytest.mark.stress
def test_killed_at_every_change_of_a_file(folder, tmp_path):
    """In a random order, as long as there is time."""
    configs = [(model, setting) for model in options("model") for setting in SETTINGS]
    moments = []
    for model, setting in configs:
        changes = left_alone(folder / f"{model}_{setting}", (f"model={model}", *COMMON, *SETTINGS[setting]))[1]
        moments += [(model, setting, moment / changes) for moment in range(changes)]
    random.Random(time.time()).shuffle(moments)
    until, cases = time.monotonic() + seconds(), 0
    for model, setting, part in moments:
        if time.monotonic() > until:
            break
        check(model, setting, part, folder, tmp_path / str(cases))
        shutil.rmtree(tmp_path / str(cases))
        cases += 1
    print(f"killed: {cases} of {len(moments)} moments of {len(configs)} configs, all ended the same")


@pytest.mark.stress
def test_killed_at_random_times(folder, tmp_path):
    """Also inside of a write: the weights take some milliseconds of each epoch to be written."""
    words = ("model=gru", *COMMON, *PLATEAU, "model.hidden_size=256", "trainer.max_epochs=12")
    whole = left_alone(folder / "large", words)[0]
    chance, until, cases, halves = random.Random(0), time.monotonic() + seconds(), 0, 0
    while time.monotonic() < until:
        outputs = tmp_path / str(cases)
        arguments = [sys.executable, str(ROOT / "train.py"), f"output_dir={outputs}", *words]
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and not list(outputs.glob("*/checkpoints")):
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 3))
            process.kill()
        halves += bool(list(outputs.rglob("*.partial*")))
        assert results(ended(outputs, words)) == whole
        shutil.rmtree(outputs)
        cases += 1
    print(f"killed: {cases} random times, {halves} of them inside of a write, all ended the same")


def seconds() -> float:
    """For tests that go on as long as there is time."""
    return float(os.environ.get("STRESS_SECONDS", "120"))
