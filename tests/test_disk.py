"""A disk that fills up, a folder that goes away or cannot be written: one line, nothing lost, and a way on."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT, load_config
from unroll.train import train

COMMAND = [sys.executable, str(ROOT / "train.py")]
WORDS = ["data.points=90", "checkpoint_seconds=0", "trainer.max_epochs=6", "model.dropout=0.1"]
ON_A_SMALL_DISK = """
mount -t tmpfs -o size="$1"k none "$2" || exit 90
disk=$2; shift 2
"$@" output_dir="$disk"/runs >/dev/null 2>"$disk".full
echo $? >"$disk".code
cp -r "$disk" "$disk".then
mount -o remount,size=50m "$disk"
"$1" "$2" resume="$(ls -d "$disk"/runs/*)" >"$disk".on 2>&1
cp -r "$disk"/runs "$disk".end
"""


def can_mount(tmp_path_factory: pytest.TempPathFactory) -> bool:
    if not shutil.which("unshare"):
        return False
    words = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path_factory.mktemp("mount"))]
    return subprocess.run(words, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("whole")
    train(load_config(f"output_dir={folder}", *WORDS), WORDS)
    return scores(folder)


def scores(folder: Path) -> dict:
    (run,) = (path for path in folder.iterdir() if path.is_dir())
    assert json.loads((run / "run.json").read_text())["status"] == "complete"
    assert not list(run.rglob("*.partial*"))
    metrics = json.loads((run / "metrics.json").read_text())
    return {key: metrics[key] for key in ("weights_sha256", "test", "validation")}


@pytest.mark.parametrize("size", [100, 280])  # kB: full in the training, in the evaluation
def test_a_disk_that_is_full(size, whole, tmp_path, tmp_path_factory):
    if not can_mount(tmp_path_factory):
        pytest.skip("this system lets nobody mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["unshare", "-rm", "sh", "-c", ON_A_SMALL_DISK, "sh", str(size), str(disk), *COMMAND, *WORDS]
    subprocess.run(words, cwd=ROOT, check=True, timeout=120)
    errors = Path(f"{disk}.full").read_text()
    assert Path(f"{disk}.code").read_text() == "1\n"
    assert errors.startswith("error: ")
    assert "No space left on device; what was written is kept: mend this, then python train.py resume=" in errors
    assert errors.count("\n") == 1
    (run,) = Path(f"{disk}.then", "runs").iterdir()
    assert json.loads((run / "run.json").read_text())["status"] in ("running", "failed")
    history = run / "history.csv"
    epochs = len(history.read_text().splitlines()) - 1 if history.exists() else 0
    assert epochs == 6 if size == 280 else epochs < 6
    assert scores(Path(f"{disk}.end")) == whole


def started(tmp_path: Path, *words: str) -> tuple[subprocess.Popen[str], Path]:
    """A long training that has written a checkpoint, and its folder."""
    arguments = [*COMMAND, f"output_dir={tmp_path / 'outputs'}", *WORDS, "trainer.max_epochs=5000", *words]
    arguments.append("early_stopping.patience=null")
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("outputs/*/checkpoints/previous.ckpt")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    (run,) = (tmp_path / "outputs").iterdir()
    return process, run


@pytest.mark.parametrize("what", ["", "checkpoints"])
def test_a_run_directory_that_is_removed(what, tmp_path):
    process, run = started(tmp_path)
    while (run / what).exists():  # it is being written
        shutil.rmtree(run / what, ignore_errors=True)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    if what:
        assert f"python train.py resume={run}" in errors
    else:
        assert "was removed while it was being trained, or its disk is gone: start a new run" in errors


def test_a_limit_on_the_size_of_files(tmp_path):
    """As quotas are; it does not ask who is root."""
    words = ["sh", "-c", 'ulimit -f 40; exec "$@"', "sh", *COMMAND, f"output_dir={tmp_path / 'outputs'}", *WORDS]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    (run,) = (tmp_path / "outputs").iterdir()
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"File too large; what was written is kept: mend this, then python train.py resume={run}" in done.stderr
    assert json.loads((run / "run.json").read_text())["status"] == "failed"
    assert not list(run.rglob("*.partial*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_becomes_read_only(tmp_path):
    process, run = started(tmp_path)
    (run / "checkpoints").chmod(0o500)
    errors = process.communicate(timeout=60)[1]
    (run / "checkpoints").chmod(0o700)
    assert process.returncode == 1
    assert f"Permission denied; what was written is kept: mend this, then python train.py resume={run}" in errors
