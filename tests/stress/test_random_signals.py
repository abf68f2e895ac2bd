"""Signals at random moments, one or two, to every command that trains or writes. STRESS_SECONDS for all together."""

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interrupting import SMALL, Ended, after, assert_nothing_is_held, assert_orderly, interrupt, once, to_go_on

pytestmark = pytest.mark.stress
SECONDS = float(os.environ.get("STRESS_SECONDS", "600"))
SEED = int(os.environ.get("STRESS_SEED", str(time.time_ns() % 2**32)))
INT, TERM = signal.SIGINT, signal.SIGTERM
PATTERNS = ([INT], [TERM], [INT, INT], [TERM, TERM], [INT, TERM])
SHARE = 6  # tests share the seconds


class Trials:
    """Random trials of a command, until its share of the seconds is over.

    Args:
        name: of the test; chooses the moments, with SEED.
        folder: where the command writes.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.random, self.folder = random.Random(f"{SEED} {name}"), folder
        self.name, self.codes = name, Counter[str]()
        self.whole = 0.0  # seconds of a command that is left alone
        self.began = 0.0  # of these, until it writes

    def measure(self, words: list[str], pattern: str, script: str = "train.py") -> None:
        """How long the command takes, and when it begins to write."""
        begun, seen = time.monotonic(), once(self.folder, pattern)

        def look() -> bool:
            if not self.began and seen():
                self.began = time.monotonic() - begun
            return False

        assert interrupt(words, look, [], script=script).code == 0
        self.whole = time.monotonic() - begun

    def __iter__(self) -> Iterator[int]:
        due, number = time.monotonic() + SECONDS / SHARE, 0
        while time.monotonic() < due:
            yield number
            number += 1
        print(f"\n{self.name}: {number} trials, ended with {dict(self.codes)} (STRESS_SEED={SEED})")

    def stop(self, words: list[str], pattern: str | None = None, script: str = "train.py") -> Ended:
        """Start the command, stop it at a random moment, check its end."""
        moment: Callable[[], bool]
        working = self.random.uniform(0, (self.whole - self.began) * 1.1)
        if self.random.random() < 0.2:
            moment = after(self.random.uniform(0, self.began))
        else:  # while it trains and writes
            moment = once(self.folder, pattern, working) if pattern else after(self.began + working)
        signs, gap = self.random.choice(PATTERNS), self.random.uniform(0, 0.3)
        ended = interrupt(words, moment, signs, gap, script=script)
        assert_orderly(ended, signs)
        assert_nothing_is_held(self.folder)
        self.codes[str(ended.code)] += 1
        return ended


def found(run: Path) -> tuple[object, object]:
    """What must be the same however often a run was stopped."""
    metrics = json.loads((run / "metrics.json").read_text())
    return metrics["weights_sha256"], metrics["test"]


def go_on_until_done(trials: Trials, ended: Ended, same: list[str], command: Callable) -> None:
    """Go on by the printed command, or the same one: sometimes stopped again, in the end not."""
    words = to_go_on(ended) or same
    if trials.random.random() < 0.3:
        words = to_go_on(trials.stop(words)) or words
    done = command(*words, output_dir=False)
    assert done.returncode == 0, done


@pytest.mark.parametrize("words", [SMALL, (*SMALL, "replicas=2", "early_stopping.patience=2")], ids=["run", "replicas"])
def test_a_run(words, tmp_path, run_training, command):
    reference = found(run_training(*words).run.path)
    folder = tmp_path / "stopped"
    trials = Trials(f"run {len(words)}", folder)
    typed = [*words, f"output_dir={folder}"]
    trials.measure(typed, "*")
    shutil.rmtree(folder)
    for _ in trials:
        ended = trials.stop(typed, "*")
        runs = list(folder.glob("*"))
        assert len(runs) <= 1
        if runs:
            if (runs[0] / "run.json").exists() and to_go_on(ended) is None:
                assert json.loads((runs[0] / "run.json").read_text())["status"] == "complete", ended
            go_on_until_done(trials, ended, [f"resume={runs[0]}"], command)
            assert found(runs[0]) == reference
            shutil.rmtree(folder)


def test_a_run_that_goes_on(tmp_path, run_training, command):
    reference = found(run_training(*SMALL).run.path)
    folder, first = tmp_path / "stopped", run_training(*SMALL, "trainer.max_epochs=4").run.path
    trials = Trials("resume", folder)
    words = [f"resume={folder / 'run'}", "trainer.max_epochs=12"]
    shutil.copytree(first, folder / "run")
    state = (folder / "run" / "run.json").read_bytes()

    def begun() -> bool:
        return (folder / "run" / "run.json").read_bytes() != state

    started = time.monotonic()

    def look() -> bool:
        if not trials.began and begun():
            trials.began = time.monotonic() - started
        return False

    assert interrupt(words, look, []).code == 0
    trials.whole = time.monotonic() - started
    for _ in trials:
        shutil.rmtree(folder / "run")
        shutil.copytree(first, folder / "run")
        ended = trials.stop(words)
        go_on_until_done(trials, ended, words, command)
        done = command(*words, output_dir=False)  # the printed command trains as far as the config says
        assert done.returncode == 0, done
        assert found(folder / "run") == reference


def test_a_sweep(tmp_path, run_training, command):
    references = [found(run_training(*SMALL, f"seed={seed}").run.path) for seed in (0, 1)]
    folder = tmp_path / "stopped"
    trials = Trials("sweep", folder)
    words = ["-m", *SMALL, "seed=0,1", "sweep.name=s", f"output_dir={folder}"]
    trials.measure(words, "sweeps/s/*/.lock")
    shutil.rmtree(folder)
    for _ in trials:
        ended = trials.stop(words, "sweeps/s/*/.lock")
        go_on_until_done(trials, ended, words, command)
        runs = [path.parent for path in (folder / "sweeps" / "s").glob("*/metrics.json")]
        assert sorted(map(str, map(found, runs))) == sorted(map(str, references))
        assert (folder / "sweeps" / "s" / "leaderboard.csv").exists()
        shutil.rmtree(folder)


def test_the_scripts(tmp_path, run_training):
    run = run_training(*SMALL).run.path
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    commands = [
        ("scripts/evaluate.py", [str(run)], "evaluation"),
        ("scripts/forecast.py", [str(run), "--steps", "5", "--levels", "80"], "figures/future*"),
        ("scripts/export.py", [str(run)], "export"),
        ("scripts/leaderboard.py", [str(run), "--output", str(run / "board")], "board"),
        ("scripts/runs.py", [str(run.parent)], "never"),
    ]
    trials = Trials("scripts", run)
    seconds = {}
    for script, words, _ in commands:
        begun = time.monotonic()
        assert interrupt(words, lambda: False, [], script=script).code == 0
        seconds[script] = time.monotonic() - begun
    for _ in trials:
        script, words, written = trials.random.choice(commands)
        for path in run.glob(written):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        trials.whole, trials.began = seconds[script], seconds[script] * 0.6  # of which most goes into imports
        trials.stop(words, script=script)
        assert not list(run.rglob("*.partial*"))
        assert {path: path.read_bytes() for path in before} == before
