"""Ctrl-C and SIGTERM at any moment: an end in order, nothing lost, and a run that goes on to the same weights."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from interrupting import SMALL, after, assert_nothing_is_held, assert_orderly, interrupt, once, to_go_on

INT, TERM = signal.SIGINT, signal.SIGTERM


@pytest.mark.parametrize(
    ("seconds", "pattern", "signs"),
    [
        (0.0, None, [INT]),
        (0.1, None, [INT]),
        (1.0, None, [TERM]),
        (0.0, "*/.lock", [INT]),
        (0.0, "*/run.json", [TERM, TERM]),
        (0.1, "*/checkpoints/last.ckpt", [INT, INT]),
        (0.0, "*/predictions.csv", [INT, TERM]),
    ],
)
def test_a_run_that_is_stopped_is_as_if_it_never_was(seconds, pattern, signs, tmp_path, run_training, command):
    folder = tmp_path / "stopped"
    moment = once(folder, pattern, seconds) if pattern else after(seconds)
    ended = interrupt([*SMALL, f"output_dir={folder}"], moment, signs, 0.05)
    assert_orderly(ended, signs)
    assert_nothing_is_held(tmp_path)
    runs = list(folder.glob("*"))
    if pattern is None or not runs:
        assert not runs
        return
    assert to_go_on(ended) == [f"resume={runs[0]}"]
    command(*to_go_on(ended), output_dir=False).check_returncode()
    whole = run_training(*SMALL)
    metrics = json.loads((runs[0] / "metrics.json").read_text())
    assert metrics["weights_sha256"] == whole.metrics["weights_sha256"]
    assert metrics["test"] == whole.metrics["test"]


@pytest.mark.parametrize("words", [("scripts/leaderboard.py", "outputs"), ("train.py", "--help")])
def test_ctrl_c_while_modules_are_imported_leaves_no_traceback(words):
    """An import hook makes the moment certain."""
    script, *rest = words
    code = (
        "import importlib.abc, os, runpy, signal, sys\n"
        "class Halt(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'omegaconf':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Halt())\n"
        f"sys.argv = {[script, *rest]!r}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stderr) == (-INT, "")


def test_an_ignored_ctrl_c_stays_ignored(tmp_path):
    """As in a background job of a shell."""
    words = [sys.executable, str(ROOT / "train.py"), *SMALL, f"output_dir={tmp_path}"]
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    moments = [after(0.3), once(tmp_path, "*/run.json")]
    while process.poll() is None:
        if moments and moments[0]():
            moments.pop(0)
            process.send_signal(INT)
    assert process.returncode == 0
    assert not moments
    assert list(Path(tmp_path).glob("*/metrics.json"))
