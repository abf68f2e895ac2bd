"""Checkpoints that were damaged are noticed, whatever the damage, and the one before is used."""

import io
import json
import random
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from conftest import load_config
from unroll.checkpoints import load_checkpoint
from unroll.errors import RunError
from unroll.load import load_run
from unroll.models.forecaster import Forecaster
from unroll.runs.directory import RunDirectory
from unroll.train import Result, train

WORDS = ("trainer.max_epochs=5", "checkpoint_seconds=0", "model.dropout=0.1", "scheduler=plateau", "data.points=200")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Result:
    return train(load_config(f"output_dir={tmp_path_factory.mktemp('whole')}", *WORDS), WORDS)


@pytest.fixture
def copied(whole, tmp_path) -> RunDirectory:
    return RunDirectory(Path(shutil.copytree(whole.run.path, tmp_path / "run")))


def interrupt(run: RunDirectory) -> None:
    """As if the run had been killed when its last checkpoint was there."""
    state = json.loads(run.state.read_text())
    run.state.write_text(json.dumps(state | {"status": "running"}))
    for path in (run.metrics, run.predictions, run.history, run.best_checkpoint):
        path.unlink()


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "half":
        path.write_bytes(content[: len(content) // 2])
    elif how == "one byte short":
        path.write_bytes(content[:-1])
    elif how == "one bit":
        largest = max(zipfile.ZipFile(path).infolist(), key=lambda part: part.file_size)
        place = largest.header_offset + len(largest.FileHeader()) + largest.file_size // 2
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


HOW = ["missing", "empty", "half", "one byte short", "one bit"]


@pytest.mark.parametrize("how", HOW)
def test_the_checkpoint_before_is_used(how, copied, whole, run_training):
    interrupt(copied)
    damage(copied.last_checkpoint, how)
    with pytest.raises(RunError, match=r"does not exist|can be read safely"):
        load_checkpoint(copied.last_checkpoint)
    shown = io_of(run_training, f"resume={copied.path}")
    assert "last.ckpt" in shown
    assert "the run goes on from previous.ckpt, epoch 4" in " ".join(shown.split())
    same(copied, whole)


def io_of(run_training, *words: str) -> str:
    output = io.StringIO()
    run_training(*words, output=output)
    return output.getvalue()


def same(run: RunDirectory, whole: Result) -> None:
    metrics = json.loads(run.metrics.read_text())
    assert metrics | {"seconds": 0} == whole.metrics | {"seconds": 0}
    assert run.predictions.read_bytes() == whole.run.predictions.read_bytes()
    assert not run.changed_files()
    assert len(load_run(run.path).weights) == len(load_run(whole.run.path).weights)


def test_where_none_is_whole_the_run_begins_again(copied, whole, run_training):
    interrupt(copied)
    damage(copied.last_checkpoint, "half")
    damage(copied.previous_checkpoint, "one bit")
    assert "the run begins again" in io_of(run_training, f"resume={copied.path}")
    same(copied, whole)


@pytest.mark.parametrize(
    "name", ["metrics.json", "predictions.csv", "history.csv", "figures/loss.png", "checkpoints/best.ckpt"]
)
def test_a_complete_run_that_was_damaged_is_made_whole(name, copied, whole, run_training):
    damage(copied.path / name, "half" if name != "figures/loss.png" else "missing")
    shown = io_of(run_training, f"resume={copied.path}")
    assert f"is damaged ({name}); the run goes on from last.ckpt, epoch 5" in " ".join(shown.split())
    same(copied, whole)
    assert "is complete" in io_of(run_training, f"resume={copied.path}")


def test_weights_that_are_missing_name_the_way_out(copied):
    damage(copied.best_checkpoint, "one bit")
    with pytest.raises(RunError, match=f"python train.py resume={copied.path} writes it again"):
        load_run(copied.path)


@pytest.mark.parametrize("name", ["metrics.json", "checkpoints/best.ckpt", "history.csv"])
def test_a_file_that_can_be_read_and_is_another_is_refused(name, copied, command):
    """A digit that is another one, or the checkpoint of another epoch: nothing in the file itself tells."""
    path = copied.path / name
    if path.suffix == ".ckpt":
        shutil.copy(copied.previous_checkpoint, path)
    else:
        path.write_text(re.sub(r"([:,] ?)0[.]", r"\g<1>1.", path.read_text(), count=1))
    done = command(str(copied.path), script="scripts/evaluate.py", output_dir=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {path} is not as the run wrote it"), done.stderr
    if name == "metrics.json":
        listed = command(str(copied.path), "--json", script="scripts/runs.py", output_dir=False)
        assert [row["status"] for row in json.loads(listed.stdout)] == ["damaged"]


@pytest.mark.parametrize("how", ["half", "missing"])
def test_a_complete_run_is_not_begun_again_for_more_epochs(how, copied, run_training):
    damage(copied.last_checkpoint, how)
    damage(copied.previous_checkpoint, how)
    before = {path: path.read_bytes() for path in copied.path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=r"last\.ckpt .*; start a new run"):
        run_training(f"resume={copied.path}", "trainer.max_epochs=7")
    assert {path: path.read_bytes() for path in copied.path.rglob("*") if path.is_file()} == before


def test_every_bit_counts(copied, tmp_path):
    """Any byte of a checkpoint that is another one is noticed, or changes nothing that is read."""
    content, chance = copied.best_checkpoint.read_bytes(), random.Random(0)
    weights = load_checkpoint(copied.best_checkpoint)["state_dict"]
    path, noticed = tmp_path / "flipped.ckpt", 0
    for _ in range(300):
        place = chance.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :])
        try:
            found = load_checkpoint(path)["state_dict"]
        except RunError:
            noticed += 1
            continue
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert noticed > 200


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(copied, tmp_path):
    packed = tmp_path / "packed.ckpt"
    with zipfile.ZipFile(copied.best_checkpoint) as before, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            after.writestr(name, before.read(name))
    with pytest.raises(RunError, match="can be read safely"):
        load_checkpoint(packed)


@pytest.mark.parametrize("name", ["figures", "checkpoints"])
def test_nothing_is_written_or_removed_through_a_linked_folder(name, copied, tmp_path, run_training):
    outside = tmp_path / "outside"
    shutil.move(copied.path / name, outside)
    (copied.path / name).symlink_to(outside)
    (outside / "mine.0123456789abcdef.partial.txt").write_text("mine")
    before = {path: path.read_bytes() for path in outside.iterdir()}
    with pytest.raises(RunError, match=f"{name} is a link: put the folder itself there"):
        run_training(f"resume={copied.path}", "trainer.max_epochs=7")
    assert {path: path.read_bytes() for path in outside.iterdir()} == before


def test_halves_of_files_are_removed_and_nothing_else(copied, run_training):
    half, note = copied.path / "checkpoints" / "last.0123456789abcdef.partial.ckpt", copied.path / "my.partial.notes.md"
    for path in (half, note):
        path.write_text("x")
    run_training(f"resume={copied.path}", "trainer.max_epochs=6")
    assert note.exists()
    assert not half.exists()


def test_a_fault_of_the_program_is_not_blamed_on_the_checkpoint(copied, run_training, monkeypatch):
    def faulty(*_: object) -> None:
        raise ValueError("a fault of the loss")

    monkeypatch.setattr(Forecaster, "loss", faulty)
    with pytest.raises(ValueError, match="a fault of the loss"):
        run_training(f"resume={copied.path}", "trainer.max_epochs=6")
