"""The list of runs: every run is shown as it stands, none hides another, and nothing is changed by looking."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conftest import ROOT, load_config
from unroll.config import plain
from unroll.errors import RunError
from unroll.runs.directory import LOCK, RunDirectory, is_held
from unroll.runs.files import write_json
from unroll.runs.listing import ListedRun, list_runs, natural, read_run, sort_runs

QUICK = ("data.points=120", "trainer.max_epochs=1", "trainer=cpu")
HOLD = """
import sys, json
from pathlib import Path
from unroll.runs.directory import RunDirectory
run = RunDirectory(Path(sys.argv[1]))
with run.locked(), run.recording(json.loads(sys.argv[2]), []):
    print("held", flush=True)
    sys.stdin.read()
"""


def listed(*arguments, columns=80, cwd=ROOT):
    """`python scripts/runs.py ...` as a user runs it."""
    environment = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "runs.py"), *map(str, arguments)],
        cwd=cwd,
        env=environment | {"COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def as_json(*arguments):
    """Strict JSON: NaN and Infinity are refused."""
    done = listed(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def one(path):
    return read_run(path, path.name, datetime.now(UTC))


@pytest.fixture
def config():
    return plain(load_config("model=lstm", "data=cinema", "seed=3"))


@pytest.fixture
def make(tmp_path, config):
    """A run directory that ended, as recording leaves it behind."""

    def make(name: str, error: BaseException | None = None, **state) -> Path:
        path = tmp_path / "outputs" / name
        path.mkdir(parents=True)
        run = RunDirectory(path)
        with contextlib.suppress(BaseException), run.recording(config, []):
            if error:
                raise error
        if state:
            run.set_state(**state)
        return path

    return make


def metrics_of(rmse, *, segment="test", **changes):
    best = {"mae": 1.0, "rmse": rmse, "r2": 0.5, "mase": 1, "skill": 0.1}
    scored = {"models": {"best": best, "last": best}, "baselines": {}}
    return {
        "data": "cinema film 1492",
        "unit": "tickets",
        "epochs": {"best": 4, "trained": 9},
        "seconds": {"total": 2.5},
        "validation": scored,
        segment: scored,
    } | changes


def complete(make, name, rmse=2.0, **changes):
    path = make(name)
    write_json(path / "metrics.json", metrics_of(rmse, **changes))
    return path


def test_a_real_run(run_training, tmp_path):
    result = run_training(*QUICK)
    (run,) = as_json(tmp_path / "outputs")
    best = result.metrics["test"]["models"]["best"]
    expected = {
        "status": "complete",
        "model": "GRU",
        "data": "sine (synthetic)",
        "seed": 0,
        "epochs": 1,
        "reason": None,
    }
    assert {key: run[key] for key in expected} == expected
    assert run["path"] == str(result.run.path)
    assert run["name"] == result.run.path.name
    assert run["segment"] == "test"
    assert run["scores"] == {name: best[name] for name in ("mae", "rmse", "r2", "mase", "skill")}  # not rounded
    assert run["validation"]["rmse"] == result.score
    assert run["seconds"] == result.metrics["seconds"]["total"]
    assert 0 <= run["age_seconds"] < 600
    table = listed(tmp_path / "outputs").stdout
    for words in ("GRU", "complete", f"{best['skill']:+.3f}", f"{best['r2']:.3f}"):
        assert words in table


def test_without_a_test_segment_the_training_segment_is_marked(run_training, tmp_path):
    run_training(*QUICK, "data.test=0", "data.validation=0", "evaluate_train=true")
    (run,) = as_json(tmp_path / "outputs")
    assert (run["segment"], run["validation"]) == ("train", None)
    table = listed(tmp_path / "outputs").stdout
    assert "n/a" in table
    assert "* no test segment: RMSE, R2 and skill are of the train segment" in table


def test_every_way_to_end(make, tmp_path):
    complete(make, "complete")
    make("failed", ValueError("the [bold]loss[/bold] is not finite \x1b[31m"))
    make("ctrl-c", KeyboardInterrupt())
    make("sigterm", SystemExit(143))
    make("killed", status="running", finished=None)
    (make("damaged") / "run.json").write_text('{"status": "comp')
    runs = {run["name"]: run for run in as_json(tmp_path / "outputs")}
    assert {name: run["status"] for name, run in runs.items()} == {
        "complete": "complete",
        "failed": "failed",
        "ctrl-c": "interrupted",
        "sigterm": "interrupted",
        "killed": "killed",
        "damaged": "damaged",
    }
    assert {run["model"] for run in runs.values()} == {"LSTM"}  # of a damaged one too: its config is whole
    assert {run["seed"] for run in runs.values()} == {3}
    assert runs["failed"]["data"] == "cinema"
    assert runs["damaged"]["age_seconds"] is None
    assert runs["damaged"]["reason"].startswith("run.json is damaged")
    table = listed(tmp_path / "outputs").stdout
    assert "failed: ValueError: the [bold]loss[/bold] is not finite ?[31m" in table
    assert "damaged: run.json is damaged" in table


def test_a_held_run_is_running_and_a_killed_one_killed(tmp_path, config):
    path = tmp_path / "outputs" / "x"
    path.mkdir(parents=True)
    words = [sys.executable, "-c", HOLD, str(path), json.dumps(config)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        (path / "history.csv").write_text("epoch,train_loss\n1,0.5\n2,0.4\n")
        assert is_held(path)
        (run,) = as_json(tmp_path / "outputs")
        holder.kill()
    assert (run["status"], run["epochs"], run["max_epochs"]) == ("running", 2, 100)
    assert [run["status"] for run in as_json(tmp_path / "outputs", "--status", "KILLED")] == ["killed"]


def test_two_lists_at_once_do_not_take_each_other_for_a_training(tmp_path):
    import fcntl

    assert not is_held(tmp_path)
    lock = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_SH)  # as another list does
    assert not is_held(tmp_path)
    os.close(lock)


def test_nothing_is_changed_by_looking(make, tmp_path):
    complete(make, "complete")
    make("killed", status="running")

    def state():
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(tmp_path.rglob("*"))}

    before = state()
    assert len(as_json(tmp_path / "outputs")) == 2
    assert state() == before


NO_SCORES = '{"test": {"models": {}}}'
DAMAGES = {
    "run.json": [
        "",
        "[]",
        "{}",
        "\0",
        '{"status": 3}',
        '{"status": "done"}',
        '{"status": "failed", "started": "soon"}',
    ],
    "config.yaml": ["", "a: [", "- 1", "model: 3", "data: {}", "\x00", "a: 2024-13-45", "[" * 5000],
    "metrics.json": ["", "3", "{}", NO_SCORES, '{"test": 3}', "[" * 100_000, json.dumps(metrics_of(float("nan")))]
    + [json.dumps(metrics_of(value)) for value in ("high", True, [1], 10**400)],
}


@pytest.mark.parametrize(("file", "text"), [(file, text) for file, texts in DAMAGES.items() for text in texts])
def test_a_damaged_file_is_said_and_hides_no_other_run(make, tmp_path, file, text):
    whole, path = complete(make, "whole"), complete(make, "broken")
    (path / file).write_text(text)
    runs = {run.name: run for run in list_runs([tmp_path / "outputs"], pytest.fail)}
    assert (runs["whole"].status, runs["broken"].status) == ("complete", "damaged")
    reason = runs["broken"].reason
    assert reason
    assert "\n" not in reason
    assert str(tmp_path) not in reason
    json.dumps([vars(run) for run in runs.values()], allow_nan=False)
    assert whole.is_dir()


def test_missing_bytes_and_files(make):
    path = complete(make, "a")
    (path / "config.yaml").write_bytes(b"\xff\xfe\xfa")
    assert one(path).status == "damaged"
    path = complete(make, "b")
    (path / "metrics.json").unlink()
    assert one(path).reason == "metrics.json does not exist: the run did not get so far, or the file was removed"
    (path / "metrics.json").mkdir()
    assert one(path).reason == "metrics.json is no regular file"


def test_a_run_trained_further_does_not_show_the_scores_of_its_earlier_end(make):
    path = complete(make, "a")
    RunDirectory(path).set_state(status="running")
    assert (one(path).status, one(path).scores, one(path).validation) == ("killed", None, None)


def test_the_title_of_the_series_where_only_that_was_written(run_training):
    path = run_training(*QUICK).run.path
    RunDirectory(path).set_state(status="failed", error="x")
    assert one(path).data == "sine (synthetic)"
    (path / "series.npz").write_bytes(b"PK")
    assert one(path).data == "sine"


def test_searched_however_deep_and_each_once(make, tmp_path):
    outer = complete(make, "reproduce/runs/a")
    complete(make, "reproduce/runs/a/figures/inner")  # a run is not searched
    (tmp_path / "outputs" / "multirun" / ".hydra").mkdir(parents=True)
    (tmp_path / "outputs" / "multirun" / ".hydra" / "config.yaml").write_text("")
    (tmp_path / "outputs" / "latest").symlink_to(outer)
    top = tmp_path / "outputs"
    assert [run.name for run in list_runs([top], pytest.fail)] == ["reproduce/runs/a"]
    assert [run.name for run in list_runs([top, top / "reproduce"], pytest.fail)] == [str(outer)]
    assert [run.name for run in list_runs([outer], pytest.fail)] == ["a"]
    assert len(json.loads(listed("--json", cwd=tmp_path).stdout)) == 1  # outputs/ by default


@pytest.fixture
def three(make, tmp_path):
    """Three runs, the oldest the best."""
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    for place, rmse in enumerate((1.0, 3.0, 2.0)):
        path = complete(make, f"run_{place + 8}", rmse)
        started = begun + timedelta(days=place)
        RunDirectory(path).set_state(started=started.isoformat(), finished=(started + timedelta(hours=1)).isoformat())
    RunDirectory(make("failed", ValueError("x"))).set_state(started=(begun - timedelta(days=1)).isoformat())
    return tmp_path / "outputs"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["run_10", "run_9", "run_8", "failed"]),
        (["--reverse"], ["failed", "run_8", "run_9", "run_10"]),
        (["--sort", "rmse"], ["run_8", "run_10", "run_9", "failed"]),
        (["--sort", "rmse", "--reverse"], ["run_9", "run_10", "run_8", "failed"]),  # what is missing stays last
        (["--sort", "name"], ["failed", "run_8", "run_9", "run_10"]),
        (["--sort", "skill"], ["run_10", "run_9", "run_8", "failed"]),  # equal: the newest first
        (["--limit", "2"], ["run_10", "run_9"]),
        (["--data", "CINEMA FILM"], ["run_10", "run_9", "run_8"]),
        (["--data", "cinema film 1492", "--status", "complete", "--model", "lstm", "--limit", "1"], ["run_10"]),
        (["--model", "ls", "--status", "failed"], ["failed"]),
        (["--model", "gru"], []),
    ],
)
def test_sorts_and_filters(three, arguments, expected):
    assert [run["name"] for run in as_json(three, *arguments)] == expected


@pytest.mark.parametrize("by", ["age", "model", "data", "status", "rmse", "r2", "skill", "name", "seconds"])
def test_missing_values_come_last(by):
    score = {"mae": 1.0, "rmse": 1.0, "r2": 1.0, "mase": 1.0, "skill": 1.0}
    known = ListedRun(
        *("b", "b", "complete"),
        model="GRU",
        data="sine",
        age_seconds=1.0,
        seconds=1.0,
        scores=score,
        validation=score,
    )
    unknown = ListedRun("c", "c", "damaged")
    assert sort_runs([unknown, known], by) == [known, unknown]
    if by not in ("status", "name"):  # which are never missing
        assert sort_runs([unknown, known], by, reverse=True) == [known, unknown]


def test_names_are_sorted_as_people_count():
    names = ["run_10", "Run_2", "run_1", "٣", "", "9" * 30]
    assert sorted(names, key=natural) == ["", "9" * 30, "run_1", "Run_2", "run_10", "٣"]


def test_mistakes_and_empty_results(three, tmp_path):
    for arguments, words in {
        (tmp_path / "nowhere",): "nowhere does not exist",
        (three / "failed" / "run.json",): "is no folder",
    }.items():
        done = listed(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith("error: ")
        assert words in done.stderr
    for arguments, words in {("--sort", "size"): "choose from", ("--status", "bad"): "choose from"}.items():
        done = listed(*arguments)
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert listed(three, "--limit", "0").returncode == 2
    done = listed(three, "--model", "gru", "--status", "failed")
    assert (done.returncode, done.stdout) == (0, f"none of the 4 runs under {three} is --model gru --status failed\n")
    (tmp_path / "empty").mkdir()
    done = listed(tmp_path / "empty")
    assert (done.returncode, done.stdout) == (0, f"no runs under {tmp_path / 'empty'}\n")
    assert as_json(tmp_path / "empty") == []


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_no_number_is_cut_however_narrow_the_terminal(make, tmp_path, columns):
    complete(make, "2026-11-21_22-14-02_cinema-gru", 2421168400.2187943)
    complete(make, "2026-11-21_22-14-02_cinema-gru_2", 0.0012345)
    complete(make, "2026-11-21_22-14-03_[bold]a_very-long-name-without-end-and-sense", 23322.4, segment="train")
    make("2026-11-21_22-14-04_cinema-gru", KeyboardInterrupt())
    make("2026-11-21_22-14-05_cinema-gru", RunError("word " * 60))
    done = listed(tmp_path / "outputs", columns=columns)
    assert (done.returncode, done.stderr) == (0, "")
    for number in ("2.42e+09", "0.001234", "23,322*", "0.500", "+0.100", "interrupted", "1492"):
        assert number in done.stdout
    table = done.stdout.split("\n\n")[1]
    if columns >= 80:
        assert max(map(len, table.splitlines())) <= columns
    assert "[bold]" in done.stdout.replace("\n", "")
    (reason,) = [line for line in done.stdout.splitlines() if "word" in line]
    assert len(reason) <= columns
    assert reason.endswith("...")
    assert ("no room for: epochs, seed, seconds, unit" in done.stdout) == (columns <= 80)
    assert ("tickets" in done.stdout) == (columns >= 120)


def test_two_hundred_runs_at_once_and_head(make, tmp_path):
    import time

    first = complete(make, "run_0")
    for number in range(1, 200):
        shutil.copytree(first, first.with_name(f"run_{number}"))
    begun = time.monotonic()
    done = listed(tmp_path / "outputs")
    assert time.monotonic() - begun < 5  # 0.6 s where nothing else runs
    assert done.stdout.startswith("200 runs under")
    for arguments in ("", "--json"):
        line = f"{sys.executable} scripts/runs.py {tmp_path / 'outputs'} {arguments} | head -1"
        done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.count("\n") == 1
        assert done.stderr == ""


def test_light_imports(three):
    code = (
        "import runpy, sys\n"
        "sys.argv = ['runs.py', sys.argv[1]]\n"
        "runpy.run_path('scripts/runs.py', run_name='__main__')\n"
        "heavy = [name for name in ('torch', 'lightning', 'pandas', 'matplotlib') if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code, str(three)], cwd=ROOT, check=True, capture_output=True, timeout=60)


def test_ages_and_numbers_as_people_say_them(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import runs

    said = {-5: "0 s", 59.9: "59 s", 60: "1 min", 3599: "59 min", 3600: "1 h", 47 * 3600: "47 h", 5.5 * 86400: "5 d"}
    assert {seconds: runs.age(seconds) for seconds in said} == said
    shown = {0.0: "0", 0.104932: "0.1049", 1.5: "1.500", 9999.9: "10,000", 999999.9: "1.00e+06", 1e-5: "1.00e-05"}
    assert {value: runs.number(value) for value in shown} == shown
    assert runs.ratio(-1234.5, "+") == "-1.2e+03"
    assert runs.folded("reproduce/runs/2026-11-21_22-14-02_a", 11) == "reproduce/\nruns/\n2026-11-21_\n22-14-02_a"
