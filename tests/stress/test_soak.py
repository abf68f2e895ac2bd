"""Hundreds of runs in one process: neither memory nor file handles nor threads grow."""

import io
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from conftest import ROOT, load_config
from unroll import load_run
from unroll.train import train

pytestmark = pytest.mark.stress
SWEEP, CALLS = 300, 100  # runs
WARM = 50  # by then all is imported, and the allocator has what it needs
SMALL = ("data.points=60", "data.window_size=6", "trainer.max_epochs=1", "trainer=cpu")
MODELS = ("rnn", "lstm", "gru")
MEGABYTES = 30  # from warm to the last of 300 runs: measured 0, on the way 17; when each lost its config it was 90
HANDLES = 3  # a sample may come while a run writes its files


@dataclass(frozen=True)
class Sample:
    """A process at one moment.

    Args:
        megabytes: resident.
    """

    seconds: float
    megabytes: float
    handles: int
    threads: int


def sample(process: int | str = "self") -> Sample:
    folder = Path("/proc") / str(process)
    lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    counts = [len(list((folder / kind).iterdir())) for kind in ("fd", "task")]
    return Sample(time.monotonic(), int(lines["VmRSS"].split()[0]) / 1024, *counts)


def assert_constant(samples: list[Sample], shown: tuple[int, ...]) -> None:
    """After the first WARM runs nothing grows; prints what there was.

    Args:
        samples: after each run.
        shown: numbers of runs to print.
    """
    for number in shown:
        now, before = samples[number - 1], samples[max(0, number - 26)]
        each = (now.seconds - before.seconds) / max(1, min(25, number - 1))
        held = f"{now.megabytes:.0f} MB, {now.handles} handles, {now.threads} threads"
        print(f"\nafter {number} runs: {held}, {each:.2f} s a run", end="")
    warm, rest = samples[WARM - 25 : WARM], samples[WARM:]
    assert min(one.handles for one in rest[-25:]) <= min(one.handles for one in warm)
    assert max(one.handles for one in rest) <= max(one.handles for one in warm) + HANDLES
    assert max(one.threads for one in rest) <= max(one.threads for one in warm) + 1
    assert min(one.threads for one in rest[-25:]) <= min(one.threads for one in warm)
    assert rest[-1].megabytes <= max(one.megabytes for one in warm) + MEGABYTES


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at a process through /proc")
def test_a_sweep_of_hundreds_of_runs(tmp_path):
    words = ["-m", *SMALL, f"model={','.join(MODELS)}", f"seed=range({SWEEP // len(MODELS)})", "sweep.name=soak"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words, f"output_dir={tmp_path}"], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    samples: list[Sample] = []
    while process.poll() is None:
        done = len(list(tmp_path.glob("sweeps/soak/*/metrics.json")))
        while len(samples) < min(done, SWEEP - 1) and process.poll() is None:  # the last one may end the process
            samples.append(sample(process.pid))
        time.sleep(0.05)
    assert process.returncode == 0
    assert len(list(tmp_path.glob("sweeps/soak/*/metrics.json"))) == SWEEP
    assert_constant(samples, (WARM, 100, 200, SWEEP - 1))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at a process through /proc")
def test_training_and_loading_in_one_python(tmp_path):
    trained: list[Sample] = []
    runs = []
    for number in range(CALLS):
        words = [f"output_dir={tmp_path}", *SMALL, f"model={MODELS[number % 3]}", f"seed={number}"]
        runs.append(train(load_config(*words), words, Console(file=io.StringIO())).run.path)
        trained.append(sample())
    assert_constant(trained, (WARM, CALLS))
    loaded: list[Sample] = []
    for path in runs:
        assert len(load_run(path).forecast(3)) == 3
        loaded.append(sample())
    assert_constant(loaded, (WARM, CALLS))
