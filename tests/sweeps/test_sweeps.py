"""Sweeps as a user starts them: named, stopped, gone on with, shared, failed; on real processes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from conftest import CONF, ROOT, load_config, options
from processes import python
from unroll.config import check_config, plain
from unroll.runs.directory import RunDirectory, is_held
from unroll.runs.reuse import data_digest, fingerprint, run_name
from unroll.sweeps.jobs import Planner, check_sweepable

QUICK = ("data.points=120", "trainer.max_epochs=2", "trainer=cpu", "sweep.name=s")
LONG = ("data.points=200", "trainer.max_epochs=60", "early_stopping.patience=null", "trainer=cpu", "sweep.name=s")
FOUR = ("data.window_size=6,8", "seed=0,1")
needs_joblib = pytest.mark.skipif(
    find_spec("hydra_plugins.hydra_joblib_launcher") is None, reason="hydra-joblib-launcher is not installed"
)


def start(output: Path, *words: str, interpreter: Sequence[str] = (sys.executable,)) -> subprocess.Popen[str]:
    """A sweep in a process group of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    return subprocess.Popen(
        [*interpreter, str(ROOT / "train.py"), "-m", *words, f"output_dir={output}"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def sweep(output: Path, *words: str, code: int = 0) -> tuple[str, str]:
    """A whole sweep: what it printed, and its errors. A launcher's workers are started by a Python of its own."""
    launched = any(word.startswith("hydra/launcher=") for word in words)
    process = start(output, *words, interpreter=[sys.executable] if launched else python())
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == code, printed + errors
    return printed, errors


def states(output: Path, name: str = "s") -> dict[str, dict]:
    """run.json by run."""
    return {path.parent.name: json.loads(path.read_text()) for path in output.glob(f"sweeps/{name}/*/run.json")}


def leaderboard(output: Path, name: str = "s") -> list[dict[str, str]]:
    """Its rows, without what the clock decides."""
    with (output / "sweeps" / name / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Until something is so; the process must be alive meanwhile."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that nobody stopped."""
    output = tmp_path_factory.mktemp("whole")
    sweep(output, *LONG, *FOUR)
    return output


def test_only_what_is_missing_is_run(tmp_path):
    words = (*QUICK, "model=rnn,gru", "seed=0,1")
    printed, _ = sweep(tmp_path, *words, "data.window_size=6")
    assert "4 runs in" in printed
    assert "4/4" in printed
    first = states(tmp_path)
    assert len(first) == 4
    assert {state["status"] for state in first.values()} == {"complete"}
    assert (tmp_path / "sweeps" / "s" / "leaderboard.md").is_file()
    assert len(leaderboard(tmp_path)) == 2

    printed, _ = sweep(tmp_path, *words, "data.window_size=6,8", "model.hidden_size=32")
    assert "8 runs in" in printed
    assert "4 complete already" in printed
    assert "4/4" in printed
    second = states(tmp_path)
    assert len(second) == 8
    assert {name: second[name] for name in first} == first
    assert len(leaderboard(tmp_path)) == 4

    for module in ("torch", "lightning"):  # what is complete needs neither
        (tmp_path / "path" / module).mkdir(parents=True)
        (tmp_path / "path" / module / "__init__.py").write_text("raise RuntimeError('imported')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path / "path"))
        printed, _ = sweep(tmp_path, *words, "data.window_size=6,8")
    assert "8 complete already" in printed
    assert states(tmp_path) == second

    printed, _ = sweep(tmp_path, *words, "data.window_size=6", "optimizer.lr=0.004")
    assert "complete already" not in printed  # another config
    assert len(states(tmp_path)) == 12


@pytest.mark.parametrize(
    ("launcher", "sign"),
    [
        ("basic", signal.SIGKILL),
        pytest.param("joblib", signal.SIGINT, marks=needs_joblib),
    ],
)
def test_a_stopped_sweep_goes_on_and_ends_as_an_uninterrupted_one(launcher, sign, tmp_path, uninterrupted):
    words = (*LONG, "checkpoint_seconds=0", *FOUR, f"hydra/launcher={launcher}")
    broken = tmp_path / "broken"
    process = start(broken, *words)

    def in_the_middle() -> bool:
        found = states(broken)
        complete = [name for name, state in found.items() if state["status"] == "complete"]
        saved = list(broken.glob("sweeps/s/*/checkpoints/last.ckpt"))
        return bool(complete) and len(saved) > len(complete)

    wait_for(in_the_middle, process)
    (os.kill if sign is signal.SIGKILL else os.killpg)(process.pid, sign)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == (130 if sign is signal.SIGINT else -9)
    if sign is signal.SIGINT:
        assert errors == "interrupted; what was done is kept: the same command goes on\n"
    wait_for(lambda: not any(is_held(path.parent) for path in broken.glob("sweeps/s/*/run.json")))
    found = states(broken)
    before = {name: state for name, state in found.items() if state["status"] == "complete"}
    half = {path.parent.parent.name for path in broken.glob("sweeps/s/*/checkpoints/last.ckpt")} - before.keys()

    sweep(broken, *words)
    after = states(broken)
    assert {name: after[name] for name in before} == before  # nothing is done twice
    assert half == {name for name, state in after.items() if state["resumed"]}  # these went on from their checkpoints
    assert {state["status"] for state in after.values()} == {"complete"}

    assert leaderboard(broken) == leaderboard(uninterrupted)
    for path in broken.glob("sweeps/s/*/metrics.json"):
        one, other = (json.loads(file.read_text()) for file in (path, uninterrupted / path.relative_to(broken)))
        assert one["weights_sha256"] == other["weights_sha256"]


def test_two_processes_share_a_sweep(tmp_path):
    words = (*LONG, "data.window_size=4,5,6,7", "seed=0,1")
    both = [start(tmp_path, *words) for _ in range(2)]
    printed = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    found = states(tmp_path)
    assert len(found) == 8
    assert {state["status"] for state in found.values()} == {"complete"}
    assert not any(state["resumed"] for state in found.values())  # each was begun once
    assert {state["process"] for state in found.values()} == {process.pid for process in both}
    for words_printed, _ in printed:
        assert "8/8" in words_printed


def test_failed_jobs_stop_no_other_and_are_tried_again(tmp_path):
    words = (*QUICK, "data.window_size=4,5000,6", "model.dropout=0,1.5")
    printed, errors = sweep(tmp_path, *words, code=1)
    assert "Traceback" not in errors
    lines = errors.splitlines()
    assert lines[0] == "error: 4 of 6 runs failed; mend the command; what is complete stays so"
    assert sum("model.dropout must be a number at least 0 and less than 1" in line for line in lines) == 1
    assert sum("series sine (synthetic) is too short" in line for line in lines) == 1
    assert "data.window_size=4 model.dropout=1.5; " in errors
    assert " and 1 more: " in errors
    found = {state["status"]: state for state in states(tmp_path).values()}
    assert found.keys() == {"complete", "failed"}
    assert "too short" in found["failed"]["error"]
    assert len(leaderboard(tmp_path)) == 2
    assert "1 failed" in printed

    time.sleep(1)  # the times in run.json are whole seconds
    _, errors = sweep(tmp_path, *words, code=1)
    assert errors.splitlines() == lines
    (again,) = (state for state in states(tmp_path).values() if state["status"] == "failed")
    assert again["started"] > found["failed"]["started"]


def test_sweeps_that_start_together_do_not_touch_each_other(tmp_path):
    words = ("data.points=120", "data.window_size=6", "trainer.max_epochs=1", "trainer=cpu")
    eight = [start(tmp_path, *words, f"seed={seed}", interpreter=python()) for seed in range(8)]
    for process in eight:
        printed, errors = process.communicate(timeout=300)
        assert process.returncode == 0, printed + errors
    folders = list((tmp_path / "sweeps").iterdir())
    assert len(folders) == 8
    seeds = []
    for folder in folders:
        (run,) = folder.glob("*/metrics.json")
        seeds.append(json.loads(run.read_text())["seed"])
    assert sorted(seeds) == list(range(8))


def test_hydras_own_sweeper_works_with_a_name(tmp_path):
    words = ("hydra/sweeper=basic", *QUICK[:-1], "data.window_size=4,6")
    _, errors = sweep(tmp_path, *words, code=1)
    assert "hydra/sweeper=basic needs a name: add sweep.name=NAME" in errors
    assert "Traceback" not in errors
    sweep(tmp_path, *words, "sweep.name=s")
    assert len(states(tmp_path)) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sweep.name=../x",), "sweep.name=../x: sweep.name must be a name of letters"),
        (("sweep.name=a,b",), "sweep.name=a,b: a sweep has one sweep.name"),
        (("sweep=window_size,backbones",), "one study at a time"),
        (("hydra.job.chdir=true",), "a sweep's runs have folders of their own already"),
        (("+trainer.strategy=DDP",), "each of them would start the whole sweep again"),
        (("resume=outputs/x",), "a sweep goes on by the same command with the same sweep.name"),
        (("sweep=window_sizes",), "there is no such option (did you mean window_size?)"),
        (("+trainer.strategy=ddp",), "each of them would start the whole sweep again"),
        (("+trainer.num_nodes=2",), "each of them would start the whole sweep again"),
        (("model.hiden_size=8,16",), "there is no key model.hiden_size (did you mean model.hidden_size?)"),
        (("model.hidden_size=interval(1,2)",), "for a search of an interval add hydra/sweeper=optuna"),
        (("hydra/launcher=jobllib",), "hydra/launcher=jobllib: there is no such option"),
        (("+hydra.sweeper.n_trials=3",), "for a search, add hydra/sweeper=optuna to the command line"),
        (
            ("hydra.sweeper.batches=3",),
            "hydra/sweeper=grid has no key batches (for a search, add hydra/sweeper=optuna)",
        ),
        (("hydra.launcher.n_jobs=2",), "hydra/launcher=basic has no key n_jobs (hydra/launcher=joblib, ray or slurm"),
        (("+hydra.sweeper.params.seed=[0,1]",), "hydra.sweeper.params.seed: write its values as on the command line"),
        (("sweep.trial=3",), "it is set by a search alone"),
    ],
)
def test_what_cannot_be_swept_is_refused_in_a_line(words, message, tmp_path):
    _, errors = sweep(tmp_path, *words, code=1)
    assert message in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.rglob("run.json"))
    assert not list(tmp_path.glob("sweeps/*/*"))


def test_nothing_to_rank_is_no_failure(tmp_path):
    printed, _ = sweep(tmp_path, *QUICK, "trainer.fast_dev_run=true")
    assert "no leaderboard: " in printed


def test_a_study_without_m_is_refused(command):
    done = command("sweep=window_size")
    assert done.returncode == 1
    assert done.stderr == "error: sweep=window_size is a sweep: add -m (python train.py -m sweep=window_size)\n"


def test_a_study_takes_the_command_lines_values(tmp_path):
    words = ("data.window_size=7", "seed=0,1", "trainer.max_epochs=1", "trainer=cpu")
    printed, _ = sweep(tmp_path, "sweep=window_size", *words)
    assert "2 runs in" in printed
    assert len(states(tmp_path, "window_size")) == 2


@pytest.mark.parametrize("study", options("sweep"))
def test_every_study_is_on_cinema_sales_and_can_be_composed(study):
    cfg = load_config(f"sweep={study}")
    assert cfg.sweep.name == study
    assert cfg.data._target_ == "unroll.data.cinema.CinemaData"
    import yaml

    params = yaml.safe_load((CONF / "sweep" / f"{study}.yaml").read_text())["hydra"]["sweeper"]["params"]
    parser = OverridesParser.create()
    swept = parser.parse_overrides([f"{key}={value}" for key, value in params.items()])
    assert all(word.is_discrete_sweep() for word in swept)
    for word in swept:
        for value in word.sweep_string_iterator():
            check_config(load_config(f"sweep={study}", f"{word.get_key_element()}={value}"))


def test_a_study_that_names_no_group_is_named(tmp_path):
    folder = tmp_path / "more" / "sweep"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# @package _global_\ndefaults: [override /dta: cinema]\n")
    _, errors = sweep(tmp_path, "-cd", str(tmp_path / "more"), "sweep=mine", code=1)
    assert (
        errors == "error: sweep/mine.yaml: its defaults choose dta, and there is no such group (did you mean data?)\n"
    )


def test_a_run_is_known_by_what_it_is(tmp_path):
    def name(*words: str) -> str:
        config = plain(load_config(f"output_dir={tmp_path}", *words))
        return run_name(config, fingerprint(config, None))

    assert name("model=lstm") == name("model=lstm", "output_dir=elsewhere", "sweep.name=x", "checkpoint_seconds=1")
    assert name("model=lstm").startswith("sine_lstm_window24_hidden32_dropout0_seed0_")
    assert name("model.dropout=0.0") == name("model.dropout=0") == name()  # for all who read it, it is the same
    assert name("trainer.limit_train_batches=1") != name("trainer.limit_train_batches=1.0")
    assert len({name(), name("seed=1"), name("optimizer.lr=0.1"), name("trainer.max_epochs=7")}) == 4


def test_a_training_of_many_processes_is_refused_in_a_sweep_only():
    check_sweepable(load_config())
    cfg = load_config("+trainer.strategy=auto")
    check_sweepable(cfg)


def test_a_run_that_was_trained_further_is_not_thrown_away(tmp_path, run_training):
    sweep(tmp_path, *QUICK, "data.window_size=6")
    (run,) = map(RunDirectory, tmp_path.glob("sweeps/s/sine*"))
    run_training(f"resume={run.path}", "trainer.max_epochs=4")
    metrics = run.metrics.read_bytes()
    _, errors = sweep(tmp_path, *QUICK, "data.window_size=6,8", code=1)
    assert "holds another run than its name says (it was trained further, or changed): move it" in errors
    assert run.metrics.read_bytes() == metrics
    assert len(states(tmp_path)) == 2


def test_damaged_runs_are_made_again_and_stop_no_other(tmp_path):
    words = (*QUICK, "data.window_size=4,5,6,7,8")
    sweep(tmp_path, *words)
    rows = leaderboard(tmp_path)
    first, second, third, fourth, fifth = (RunDirectory(path) for path in sorted(tmp_path.glob("sweeps/s/sine*")))
    first.config.write_text("2020-01-01: 1\n")
    second.metrics.write_text("{")
    third.state.unlink()
    fourth.set_state(status="failed")
    fourth.last_checkpoint.write_bytes(fourth.last_checkpoint.read_bytes()[:-100])
    fifth.set_state(overrides=5)
    sweep(tmp_path, *words)
    assert leaderboard(tmp_path) == rows
    assert {state["status"] for state in states(tmp_path).values()} == {"complete"}


def test_a_link_in_the_place_of_a_run_is_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    config = plain(load_config(f"output_dir={tmp_path}", *QUICK, "data.window_size=6"))
    folder = tmp_path / "sweeps" / "s"
    folder.mkdir(parents=True)
    (folder / run_name(config, fingerprint(config, None))).symlink_to(precious)
    _, errors = sweep(tmp_path, *QUICK, "data.window_size=6,8", code=1)
    assert "is a link: remove it" in errors
    assert [path.name for path in precious.iterdir()] == ["thesis.txt"]
    assert len(states(tmp_path)) == 1


@needs_joblib
def test_a_job_whose_process_always_dies_takes_no_other_along(tmp_path, monkeypatch):
    """As one does for which there is no memory."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, threading, time\n"
        "def watch():\n"
        "    while True:\n"
        "        module = sys.modules.get('unroll.train')\n"
        "        if module and hasattr(module, 'build_forecaster'):\n"
        "            build = module.build_forecaster\n"
        "            def guarded(cfg, datamodule):\n"
        "                if cfg.seed == 1 and sys.modules['multiprocessing'].parent_process():\n"
        "                    time.sleep(1)\n"
        "                    os._exit(9)\n"
        "                return build(cfg, datamodule)\n"
        "            module.build_forecaster = guarded\n"
        "            return\n"
        "        time.sleep(0.001)\n"
        "threading.Thread(target=watch, daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    _, errors = sweep(tmp_path, *QUICK, "seed=0,1,2,3,4,5", "hydra/launcher=joblib", code=1)
    assert "error: 1 of 6 runs failed" in errors
    assert "error: seed=1: its process died (killed, or no memory left)" in errors
    assert sum(state["status"] == "complete" for state in states(tmp_path).values()) == 5


def test_a_plan_is_composed_as_hydra_does(tmp_path):
    loader = ConfigLoaderImpl(create_automatic_config_search_path(None, None, str(CONF)))
    first = (f"output_dir={tmp_path}", "sweep.name=s")
    master = loader.load_configuration("train", [*first, "hydra.mode=MULTIRUN"], RunMode.MULTIRUN)
    planner = Planner(master, loader, CONF)
    lines = [
        ("model=rnn", "data.window_size=3", "seed=1"),
        ("model=rnn", "data.window_size=4", "seed=2", "model.head_sizes=[16,8]"),
        ("data.window_size=4", "model=lstm", "trainer.gradient_clip_val=0.5", "early_stopping.patience=null"),
        ("experiment=cinema_gru", "data.test=0.2", "+trainer.accumulate_grad_batches=2"),
        ("experiment=cinema_gru", "data.validation=20", "scheduler=step", "scheduler.gamma=0.5"),
        ("data=csv", f"data.path={ROOT / 'pyproject.toml'}", "data.target='a b'", "data.covariates=[x,y]"),
        ("scheduler=cosine", "trainer.max_epochs=7", "data.seed=${seed}", "seed=3"),
    ]
    for line in lines * 2:
        job = planner.job([*first, *line])
        assert not job.problem, job.problem
        cfg = load_config(*first, *line)
        assert job.fingerprint == fingerprint(plain(cfg), data_digest(plain(cfg)))
    assert "did you mean model.hidden_size?" in str(planner.job([*first, "model.hiden_size=3"]).problem)


def test_a_pool_that_waits_for_ever_does_not_keep_the_process(tmp_path):
    """As loky's, whose worker was stopped in the middle of a message."""
    script = tmp_path / "waits.py"
    lines = ["import os, signal, sys, time", "from unroll import interrupts", "interrupts.POOL_SECONDS = 0.5"]
    lines += ["with interrupts.workers_stop_first(lambda: sys.stderr.write('said\\n') and sys.stderr.flush()):"]
    lines += [
        "    try:",
        "        os.kill(os.getpid(), signal.SIGTERM)",
        "        time.sleep(5)",
        "    finally:",
        "        time.sleep(60)",
    ]
    script.write_text("\n".join(lines))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (143, "said\n")
