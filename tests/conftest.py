"""Shared by all tests: composing configs, training in this process, running the command line in another."""

import os

for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARGS", "VENV"):
    os.environ.pop(name, None)  # `make test` must not reach into the makes that the tests start
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test workers on two cores: more threads only get in the way

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from rich.console import Console

from processes import python
from unroll.train import Result, train

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"


def options(group: str) -> list[str]:
    """Every option of a config group: a new YAML is tested at once."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def load_config(*overrides: str) -> DictConfig:
    """The config of a command line."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("train", overrides=list(overrides))


def forge(run: Path) -> None:
    """Make run.json hold no digests, as somebody would who changed a run's files on purpose."""
    state = run / "run.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"files": {}}))


@pytest.fixture
def data_overrides(tmp_path: Path) -> Callable[[str], list[str]]:
    """What a data config needs beyond its defaults."""

    def needed(data: str) -> list[str]:
        if data != "csv":
            return [f"data={data}"]
        path = tmp_path / "series.csv"
        hours = [(day, hour) for day in range(1, 8) for hour in range(24)]
        rows = [f"2024-01-{day:02d} {hour:02d}:00,{(day * 7 + hour * hour) % 23},{hour}" for day, hour in hours]
        path.write_text("\n".join(["date,load,hour", *rows]) + "\n")
        return ["data=csv", f"data.path={path}", "data.date=date", "data.target=load", "data.covariates=[hour]"]

    return needed


@pytest.fixture
def run_training(tmp_path: Path) -> Callable[..., Result]:
    """Train in this process, into a folder of the test."""

    def run(*overrides: str, output: io.StringIO | None = None) -> Result:
        cfg = load_config(f"output_dir={tmp_path / 'outputs'}", *overrides)
        return train(cfg, overrides, Console(file=output or io.StringIO(), width=100))

    return run


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python train.py ...` as a user does, from the repository root, into a folder of the test.

    A copy of a process that has imported the libraries runs it (see processes.py), or with `real` a Python of its own.
    """

    def run(
        *arguments: str, script: str = "train.py", output_dir: bool = True, real: bool = False
    ) -> subprocess.CompletedProcess[str]:
        words = [*([sys.executable] if real else python()), str(ROOT / script), *arguments]
        if output_dir:
            words.append(f"output_dir={tmp_path / 'outputs'}")
        environment = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
        return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)

    return run
