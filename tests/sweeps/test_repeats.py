"""The same config gives the same bits, whoever trains it and whatever trains beside it."""

import json
from pathlib import Path

import pytest
from test_sweeps import needs_joblib, start, sweep, wait_for

from conftest import options

WORDS = ("data.points=150", "trainer.max_epochs=4", "trainer=cpu", "model.dropout=0.1", "data.noise=0.2")
MODELS = ",".join(options("model"))


def found(folder: Path) -> dict[tuple[str, int], dict]:
    """What each run of a folder found out, by its model and seed, without what it took."""
    results = {}
    for path in folder.rglob("metrics.json"):
        metrics = json.loads(path.read_text())
        del metrics["seconds"]
        metrics["predictions"] = (path.parent / "predictions.csv").read_text()
        results[metrics["model"].lower(), metrics["seed"]] = metrics
    return results


@needs_joblib
def test_alone_in_a_sweep_and_beside_others(run_training, tmp_path):
    """Two workers, a second sweep beside them, one process for all, and each run alone: no bit differs."""
    words = (*WORDS, f"model={MODELS}", "seed=0,1")
    beside = start(tmp_path / "beside", *WORDS, "seed=range(50,150)", "sweep.name=s")
    wait_for(lambda: list((tmp_path / "beside").rglob("last.ckpt")), beside)
    sweep(tmp_path / "workers", *words, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "sweep.name=s")
    assert beside.poll() is None
    beside.terminate()
    beside.communicate(timeout=60)
    sweep(tmp_path / "one", *words, "sweep.name=s")
    in_workers, in_one = found(tmp_path / "workers"), found(tmp_path / "one")
    assert len(in_workers) == 2 * len(options("model"))
    assert in_workers == in_one
    assert len({metrics["weights_sha256"]["best"] for metrics in in_one.values()}) == len(in_one)
    alone = run_training(*WORDS, "model=lstm", "seed=1").run.path
    assert found(alone)["lstm", 1] == in_one["lstm", 1]


@pytest.mark.parametrize("threads", [1, 2])
def test_twice_with_any_number_of_threads(threads, run_training, tmp_path):
    words = (*WORDS, "data.window_size=20", "model.hidden_size=64", f"threads={threads}")
    first, second = (found(run_training(*words).run.path) for _ in range(2))
    assert first == second
