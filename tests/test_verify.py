"""scripts/verify.py trains a run again and says whether the same bits come out."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from conftest import ROOT, load_config
from processes import python
from unroll.train import train


def verify(run: Path) -> subprocess.CompletedProcess[str]:
    words = [*python(), str(ROOT / "scripts" / "verify.py"), str(run)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)


def content(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    words = ["model=lstm", "model.dropout=0.1", "trainer.max_epochs=4", "optimizer.lr=0.03", "data.points=200"]
    return train(load_config(f"output_dir={tmp_path_factory.mktemp('verify')}", *words), words).run.path


@pytest.fixture
def copied(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "moved"))


def test_a_run_is_repeated_and_left_as_it_is(copied):
    before = content(copied)
    done = verify(copied)
    assert (done.returncode, done.stderr) == (0, "")
    assert "verified: the same weights, scores and predictions, bit for bit" in done.stdout
    digest = json.loads((copied / "metrics.json").read_text())["weights_sha256"]["best"]
    (row,) = (line for line in done.stdout.splitlines() if line.strip().startswith("best weights"))
    assert row.split() == ["best", "weights", digest[:16], digest[:16], "same"]
    assert content(copied) == before


def test_replicas_a_file_that_is_gone_and_a_longer_run(run_training, tmp_path, data_overrides):
    words = [*data_overrides("csv"), "replicas=2", "scheduler=plateau", "data.window_size=5"]
    run = run_training(*words, "trainer.max_epochs=2").run.path
    run_training(f"resume={run}", "trainer.max_epochs=4")
    (tmp_path / "series.csv").unlink()
    done = verify(run)
    assert (done.returncode, done.stderr) == (0, "")
    assert "verified" in done.stdout


def test_what_differs_is_named(copied):
    state = json.loads((copied / "run.json").read_text())
    state["environment"]["packages"]["torch"] = "1.0"
    state["environment"]["git_commit"] = "a" * 40
    (copied / "run.json").write_text(json.dumps(state))
    metrics = json.loads((copied / "metrics.json").read_text())
    metrics["test"]["models"]["best"]["rmse"] /= 2
    metrics["weights_sha256"]["best"] = "0" * 64
    (copied / "metrics.json").write_text(json.dumps(metrics))
    done = verify(copied)
    assert (done.returncode, done.stderr) == (1, "")
    assert "best weights      0000000000000000" in done.stdout
    assert f"torch: then 1.0, now {torch.__version__}" in done.stdout
    assert "code: then commit aaaaaaaaaaaa" in done.stdout
    assert "test.models.best.rmse: then" in done.stdout
    assert "not as the run wrote them: metrics.json" in done.stdout
    assert "other weights than metrics.json says in: best.ckpt" in done.stdout


def test_weights_that_were_exchanged_are_noticed(copied):
    path = copied / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    next(iter(checkpoint["state_dict"].values())).add_(1e-3)
    torch.save(checkpoint, path)
    done = verify(copied)
    assert done.returncode == 1
    assert "not as the run wrote them: checkpoints/best.ckpt" in done.stdout
    assert "not verified: the training is repeated bit for bit, and these files are not those" in done.stdout


def test_a_file_that_was_changed_is_noticed_though_nothing_reads_it(copied):
    """The last epoch is the best one here, and its weights lie in best.ckpt."""
    (copied / "checkpoints" / "last.ckpt").write_bytes(b"")
    done = verify(copied)
    assert done.returncode == 1
    assert "not as the run wrote them: checkpoints/last.ckpt" in done.stdout


def test_what_cannot_be_repeated_is_refused_in_a_line(copied, run_training, tmp_path):
    state = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps(state | {"status": "failed"}))
    further = run_training("trainer.max_epochs=2").run.path
    run_training(f"resume={further}", "trainer.max_epochs=3", "trainer.gradient_clip_val=0.01")
    for run, message in {
        copied: "is not complete (failed)",
        further: "was trained further with other settings than it began with",
        tmp_path / "none": "does not exist",
    }.items():
        done = verify(run)
        assert done.returncode == 1
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
