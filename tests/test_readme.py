"""Every command and every piece of code of the README, in a copy of the repository, as a new user has it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from conftest import ROOT
from processes import python

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, text in BLOCKS if language == "bash" for line in text.splitlines()]
TRAINING = {"train.py", "scripts/reproduce.py", "scripts/ablation.py", "scripts/backtest.py"}
MAKE = ["make", "-o", f"{sys.prefix}/.core", "-o", f"{sys.prefix}/.dev", f"VENV={sys.prefix}"]  # all is installed


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The repository without its history and runs, the README's backbone in its place, and a sales.csv."""
    folder = tmp_path_factory.mktemp("clone") / "unroll"
    ignored = shutil.ignore_patterns(".*", "outputs", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, folder, ignore=ignored)
    (folder / "outputs").mkdir()  # its .gitkeep is a name that is ignored above
    for language, text in BLOCKS:
        if language in ("python", "yaml"):
            path = re.match(r"# (\S+)\n", text)
            assert path, f"the first line of this block must name its file: {text}"
            (folder / path[1]).write_text(text, encoding="utf-8")
    ablation = folder / "conf" / "ablation" / "cinema.yaml"  # three rows: tests/test_ablation.py composes them all
    about = yaml.safe_load(ablation.read_text(encoding="utf-8"))
    about["rows"] = dict(list(about["rows"].items())[:3])
    ablation.write_text(yaml.safe_dump(about, sort_keys=False), encoding="utf-8")
    days = pd.date_range("2024-01-01", periods=200, name="day")
    sold = 100 + 30 * np.sin(np.arange(200) * 2 * np.pi / 7) + np.random.RandomState(0).standard_normal(200)
    pd.DataFrame({"sold": sold, "price": 5 + np.arange(200) % 3}, index=days).to_csv(folder / "sales.csv")
    german = pd.DataFrame(
        {"tag": days.strftime("%d.%m.%Y"), "umsatz": [f"{value:.2f}".replace(".", ",") for value in sold]}
    )
    german.to_csv(folder / "umsatz.csv", index=False, sep=";")
    pd.DataFrame({"date": days.delete(40), "tickets_sold": sold[:199]}).to_csv(folder / "cinema.csv", index=False)
    return folder


def run(words: list[str], folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_are_commands_to_test():
    assert len(COMMANDS) > 12
    assert COMMANDS[0] == "make train"


@pytest.fixture(scope="module")
def trained(clone) -> str:
    """A run with replicas, for the commands that use one."""
    words = ["train.py", "replicas=4", "trainer.max_epochs=1", "output_dir=outputs/first"]
    first = run([*python(), *words], clone)
    found = re.search(r"^run: (.*)$", first, re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("python ")])
def test_python_commands(command, clone, request):
    words = [*python(), *shlex.split(command)[1:]]
    if "--help" not in words and TRAINING & {*words}:
        words.append("trainer.max_epochs=2")
    if "train.py" in words and "-m" in words:
        words.append("seed=0")
    if "replicas=16" in words:
        words.append("replicas=3")
    if "scripts/ablation.py" in words:
        words.append("replicas=2")
    if "scripts/backtest.py" in words:
        words += ["--jobs", "1"]
    if "--seeds" in words:
        words += ["--seeds", "2"]
    if "outputs/RUN" in command:
        words = [word.replace("outputs/RUN", request.getfixturevalue("trained")) for word in words]
    if "outputs/sweeps/SWEEP" in command:
        run([*python(), "train.py", "-m", "seed=0,1", "sweep.name=readme", "trainer.max_epochs=1"], clone)
        words = [word.replace("SWEEP", "readme") for word in words]
    if "benchmark.py" in command:
        words += ["--jobs", "2", "--alternations", "1"]
    output = run(words, clone)
    if "train.py" in words and "--help" not in words:
        assert "skill: 1 - RMSE" in output


@pytest.mark.parametrize("command", sorted({command for command in COMMANDS if command.startswith("make ")}))
def test_make_targets_exist(command, clone):
    """`make test` and `make lint` are what runs this, `make tensorboard` is tested with its server."""
    run([*MAKE, "-n", *command.split()[1:]], clone)
    assert re.search(rf"^make {command.split()[1]} ", run([*MAKE, "help"], clone), re.MULTILINE)


def numbers(text: str) -> dict[str, list[float]]:
    """The rows of a printed table by their first column."""
    rows = [re.match(r" *(.*?)  +([-+\d.,]+(?: +[-+\d.,]+)*) *$", line) for line in text.splitlines()]
    return {row[1]: [float(word.replace(",", "")) for word in row[2].split()] for row in rows if row}


def test_make_train_prints_what_the_readme_shows(clone):
    """Baselines to the last digit, the GRU to what another processor may change."""
    output = run([*MAKE, "train"], clone)
    shown = next(text for language, text in BLOCKS if not language and "skill: 1" in text)
    title, expected, found = shown.splitlines()[0], numbers(shown), numbers(output)
    assert title in output
    assert shown.splitlines()[-1] in output
    assert len(expected) >= 5
    for name, row in expected.items():
        if name.startswith("GRU"):
            kind = name.partition(",")[2].split()[0]
            (other,) = [values for label, values in found.items() if label.startswith(f"GRU, {kind}")]
            np.testing.assert_allclose(row[:2], other[:2], rtol=0.1)
        else:
            assert found[name] == row


def test_a_second_make_train_sets_up_nothing(tmp_path):
    def planned() -> str:
        return subprocess.run(
            ["make", "-n", "train", f"VENV={tmp_path}"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout

    first = planned()
    assert "-m venv" in first
    assert "pip install --quiet --disable-pip-version-check -c constraints.txt -e ." in first
    for stamp in (".python", ".core"):
        (tmp_path / stamp).touch()
    assert planned().split() == [f"{tmp_path}/bin/python", "train.py", "model=gru"]


def test_the_memory_benchmark_runs(clone):
    output = run([sys.executable, "scripts/benchmark.py", "memory", "--rows", "20000", "--steps", "3"], clone)
    assert re.search(r"peak memory 0\.\d\d GB, \d+ s in all, 3 training steps", output)
