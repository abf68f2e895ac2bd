"""Run directories: never shared, always whole."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unroll.errors import RunError
from unroll.runs.directory import RunDirectory
from unroll.runs.files import write_json


def test_eight_starts_in_the_same_second_give_eight_directories(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from unroll.runs.directory import RunDirectory\n"
        "sys.stdin.read(1)\n"  # all begin at one word
        "print(RunDirectory.create(Path(sys.argv[1]), 'sine_gru').path)\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    starts = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    for start in starts:
        assert start.stdin
        start.stdin.write("x")
        start.stdin.flush()
    paths = {start.communicate(timeout=60)[0].strip() for start in starts}
    assert len(paths) == 8
    assert all(Path(path).is_dir() for path in paths)
    assert len({Path(path).name[:19] for path in paths}) <= 2  # they did start together


@given(st.text(max_size=300))
def test_any_name_gives_a_plain_folder_inside_its_parent(name):
    import tempfile

    with tempfile.TemporaryDirectory() as parent:
        path = RunDirectory.create(Path(parent), name).path
        assert path.parent == Path(parent)
        assert len(path.name) < 100


def test_status(tmp_path):
    run = RunDirectory.create(tmp_path, "x")
    with run.recording({}, ["a=1"]):
        assert run.read_state()["status"] == "running"
    assert run.read_state()["status"] == "complete"
    with pytest.raises(ValueError, match="what went wrong"), run.recording({}, []):
        raise ValueError("what went wrong\nand more")
    state = run.read_state()
    assert state["status"] == "failed"
    assert state["error"] == "ValueError: what went wrong"
    assert len(state["resumed"]) == 1


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="no run directory can be made here"):
        RunDirectory.create(tmp_path / "file" / "outputs", "x")


def test_damaged_files_are_named(tmp_path):
    run = RunDirectory.create(tmp_path, "x")
    run.config.write_text("a: [1")
    run.state.write_text('{"status":')
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        run.read_state()
    with pytest.raises(RunError, match=r"config\.yaml is damaged"):
        run.read_config()


def test_json_is_written_whole_and_without_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]
