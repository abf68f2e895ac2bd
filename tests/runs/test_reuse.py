"""A run is known by its config and data, not by its name or place."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from conftest import load_config
from unroll.config import plain
from unroll.runs.reuse import data_digest, fingerprint, matching_runs
from unroll.train import train_once

QUICK = ("data.points=120", "trainer.max_epochs=2")


def print_of(*overrides: str) -> str:
    config = plain(load_config(*overrides))
    return fingerprint(config, data_digest(config))


def test_what_decides_a_result_decides_the_fingerprint(tmp_path):
    assert print_of() == print_of("model=gru", "seed=0") == print_of("output_dir=elsewhere", "checkpoint_seconds=0")
    for change in (
        "seed=1",
        "model=lstm",
        "data.window_size=5",
        "trainer.max_epochs=7",
        "threads=2",
        "optimizer.lr=0.1",
    ):
        assert print_of(change) != print_of()


def test_a_data_file_is_known_by_what_is_in_it(tmp_path):
    one, moved, changed = (tmp_path / name for name in ("one.csv", "moved.csv", "changed.csv"))
    one.write_text("y\n1\n2\n")
    shutil.copy(one, moved)
    changed.write_text("y\n1\n3\n")
    found = [print_of("data=csv", "data.target=y", f"data.path={path}") for path in (one, moved, changed)]
    assert found[0] == found[1] != found[2]


@pytest.fixture
def once(tmp_path):
    def run(*overrides: str):
        return train_once(load_config(f"output_dir={tmp_path / 'outputs'}", *overrides), overrides)

    return run


def test_the_same_config_is_trained_once(once, tmp_path):
    first = once(*QUICK)
    before = first.run.metrics.stat().st_mtime_ns
    again, other = once(*QUICK, "checkpoint_seconds=5"), once(*QUICK, "seed=1")
    assert again.run.path == first.run.path != other.run.path
    assert again.metrics == first.metrics
    assert first.run.metrics.stat().st_mtime_ns == before


def test_a_run_that_was_stopped_goes_on(once, run_training, tmp_path):
    """As after `kill -9` in the middle: the status says running, the checkpoint is that of epoch 2 of 5."""
    whole = run_training(*QUICK[:1], "trainer.max_epochs=5")
    part = run_training(*QUICK)
    config = whole.run.read_config()
    state = json.loads(part.run.state.read_text())
    state |= {"status": "running", "fingerprint": fingerprint(config, None)}
    part.run.state.write_text(json.dumps(state | {"files": {}}))
    part.run.write_config(config)
    part.run.metrics.unlink()
    shutil.rmtree(whole.run.path)
    result = once(*QUICK[:1], "trainer.max_epochs=5")
    assert result.run.path == part.run.path
    assert result.metrics["weights_sha256"] == whole.metrics["weights_sha256"]
    assert len(pd.read_csv(result.run.history)) == 5


def test_a_run_that_died_before_it_wrote_anything_starts_again(once):
    first = once(*QUICK)
    state = json.loads(first.run.state.read_text())
    first.run.state.write_text(json.dumps(state | {"status": "running"}))
    for path in (first.run.series, first.run.metrics, first.run.last_checkpoint):
        path.unlink()
    again = once(*QUICK)
    assert again.run.path == first.run.path
    assert again.metrics["weights_sha256"] == first.metrics["weights_sha256"]


def test_a_damaged_or_held_run_is_left_alone(once):
    first = once(*QUICK)
    first.run.metrics.write_text('{"half": ')
    second = once(*QUICK)
    assert second.run.path != first.run.path
    state = json.loads(second.run.state.read_text())
    second.run.state.write_text(json.dumps(state | {"status": "running"}))
    with second.run.locked():
        third = once(*QUICK)
    assert third.run.path not in (first.run.path, second.run.path)


def test_a_run_that_was_changed_half_way_is_no_run_of_its_last_config(once, run_training):
    part = once(*QUICK)
    longer = run_training(f"resume={part.run.path}", "trainer.max_epochs=4")
    assert once(QUICK[0], "trainer.max_epochs=4").run.path == longer.run.path  # as if at once
    clipped = run_training(f"resume={part.run.path}", "trainer.max_epochs=6", "trainer.gradient_clip_val=0.01")
    assert clipped.run.read_state()["fingerprint"] is None
    whole = once(QUICK[0], "trainer.max_epochs=6", "trainer.gradient_clip_val=0.01")
    assert whole.run.path != clipped.run.path
    assert whole.metrics["weights_sha256"] != clipped.metrics["weights_sha256"]


FREE = (*QUICK, "free_run.steps=5")


@pytest.fixture(scope="module")
def complete(tmp_path_factory) -> Path:
    """A folder with a run, to be copied before it is damaged."""
    outputs = tmp_path_factory.mktemp("complete") / "outputs"
    train_once(load_config(f"output_dir={outputs}", *FREE), FREE)
    return outputs


def test_a_copied_run_is_known(once, complete, tmp_path):
    """So the copies below are made again for their damage alone."""
    shutil.copytree(complete, tmp_path / "outputs")
    assert [once(*FREE).run.path] == list((tmp_path / "outputs").iterdir())


@pytest.mark.parametrize("name", ["history.csv", "config.yaml", "metrics.json", "free_run.csv", "run.json"])
@pytest.mark.parametrize("content", [None, "", "half"])
def test_a_complete_run_that_is_damaged_is_made_again(once, name, content, complete, tmp_path):
    shutil.copytree(complete, tmp_path / "outputs")
    (run,) = (tmp_path / "outputs").iterdir()
    path = run / name
    whole = path.read_text()
    path.unlink() if content is None else path.write_text("" if content == "" else whole[: len(whole) // 2])
    again = once(*FREE)
    assert again.run.path != path.parent
    assert again.run.metrics.exists()


def test_an_interrupted_run_whose_series_is_damaged_is_left_alone(once):
    first = once(*QUICK)
    state = json.loads(first.run.state.read_text())
    first.run.state.write_text(json.dumps(state | {"status": "failed"}))
    first.run.series.write_bytes(first.run.series.read_bytes()[:100])
    assert once(*QUICK).run.path != first.run.path


def test_other_things_in_the_folder_do_not_matter(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.yaml").write_text("")
    (broken / "run.json").write_text("{")
    assert list(matching_runs(tmp_path, "x")) == list(matching_runs(tmp_path / "missing", "x")) == []
