"""The command line: fast answers, and one clear line for each mistake. Real processes."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from conftest import CONF, ROOT, load_config, options
from unroll.config import RULES, leaves

HEAVY = ("torch", "lightning", "pandas", "matplotlib")


def imported(*arguments: str) -> set[str]:
    """The top-level modules that a command line imports."""
    words = [sys.executable, "-X", "importtime", str(ROOT / "train.py"), *arguments]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--cfg", "job"),
        ("model.hiden_size=3",),
        ("model=gruu",),
        ("model.hidden_size=0",),
        ("optimizer._target_=os.system",),
        ("data=csv", "data.path=missing.csv"),
        ("resume=missing",),
    ],
)
def test_quick_answers_import_nothing_heavy(arguments):
    found = imported(*arguments)
    assert "hydra" in found  # the list is a real one
    assert not found & set(HEAVY)


def test_help_is_written_for_people(command):
    text = command("--help", output_dir=False).stdout
    assert sum(line.startswith("  python train.py") for line in text.splitlines()) >= 5
    for group in ("data", "model", "model/head", "optimizer", "scheduler", "trainer", "experiment"):
        (listed,) = re.findall(rf"^  {group}  +(\S.*(?:\n {{12,}}\S.*)*)", text, flags=re.MULTILINE)
        assert sorted(listed.replace("|", " ").split()) == options(group)


def test_cfg_job_prints_the_config(command):
    text = command("--cfg", "job", "model=lstm").stdout
    assert yaml.safe_load(text)["model"]["backbone"]["_target_"] == "unroll.models.backbones.lstm.LSTM"


MISTAKES = {
    "model.hiden_size=3": "there is no key model.hiden_size (did you mean model.hidden_size?)",
    "modle=gru": "there is no key modle (did you mean model?)",
    "model=gruu": "model=gruu: there is no such option (did you mean gru?); choose from: gru, lstm, rnn",
    "experiment=none_such": "experiment=none_such: there is no such option",
    "data.test=0": "data.test=0: a run needs a test segment: give a fraction or a count, or set evaluate_train=true",
    "data.order=windows": "data.order must be one of split_then_window, window_then_split",
    "data.order=window_then_split data.history=false": "contradict each other",
    "data.history=no_thanks": "data.history must be true or false",
    "data.batch_size=0": "data.batch_size must be an integer of at least 1, or null",
    "free_run.steps=5 data.horizon=2": "free_run.steps=5 reads its own forecasts one by one: it needs data.horizon=1",
    "free_run.steps=-1": "free_run.steps must be an integer of at least 0",
    "free_run.step=0.5": "free_run.step=0.5 needs free_run.start, the t of the first forecast",
    "free_run=null": "free_run is missing or no mapping: set its keys (steps, start, step)",
    "experiment=trend_gru data=cinema": "experiment=trend_gru sets data.seed, and data=cinema has no such key",
    "+free_run.stop=5": "there is no key free_run.stop (did you mean step?)",
    "model.hidden_size=0": "model.hidden_size must be an integer of at least 1",
    "model.hidden_size=2.5": "model.hidden_size must be an integer of at least 1",
    "model.hidden_size=many": "model.hidden_size must be an integer of at least 1",
    "model.hidden_size=true": "model.hidden_size must be an integer of at least 1",
    "model.hidden_size=null": "model.hidden_size=null: model.hidden_size must be an integer of at least 1",
    "model.dropout=1.5": "model.dropout must be a number at least 0 and less than 1",
    "data.window_size=-3": "data.window_size must be an integer of at least 1",
    "data.window_size=100000000000000000000": "data.window_size must be an integer of at most 9223372036854775807",
    "data.horizon=9223372036854775807": "window_size + horizon = 24 + 9223372036854775807 rows",
    "model.head_sizes=[16,0]": "model.head_sizes must be a list of positive integers",
    "model.head_sizes=[16": "cannot read the override 'model.head_sizes=[16'",
    "model.loss=mes": "model.loss must be one of mse, mae, huber (did you mean mse?)",
    "foo": "cannot read the override 'foo'",
    "data=csv": "data.path is not set",
    "data=csv data.path=missing.csv": "data.path=missing.csv: this file does not exist",
    "data=csv data.path=conf": "data.path=conf: this file is a directory",
    "data.validation=0.6 data.test=0.5": "leave no rows to train on",
    "data.validation=0 scheduler=plateau": "scheduler.monitor=val/loss needs a validation segment",
    "seed=-1": "seed must be an integer from 0 to 4294967295",
    "optimizer.lr=0": "optimizer.lr must be a number greater than 0",
    "optimizer._target_=os.system": "optimizer._target_=os.system is not allowed",
    "trainer.max_epochs=0": "trainer.max_epochs must be an integer of at least 1",
    "trainer.devices=2": "trainer.devices must be 1 (a run trains on one device)",
    "trainer.limit_train_batches=0": "trainer.limit_train_batches must be an integer of at least 1",
    "scheduler=null": "a group takes one of its options (scheduler=none for no scheduler)",
    "~model.head": "model.head is missing",
    "early_stopping=null": "early_stopping is missing",
    "~optimizer._target_": "optimizer._target_ is missing",
    "resume=[1]": "resume must be a text",
    "resume=": "resume must be a text",
    "+foo=3": "there is no key foo",
    "+experiment=cinema_wek": "there is no such option (did you mean cinema_week?)",
    "+model.bidirectional=true": "model.bidirectional: nothing in this model reads it",
    "+early_stopping.foo=1": "there is no key early_stopping.foo",
    "scheduler=plateau scheduler.monitor=val_loss": "scheduler.monitor must be one of val/loss, train/loss",
    "scheduler=plateau scheduler.interval=step": "val/loss is known at the end of an epoch only",
    "scheduler=plateau ~scheduler.monitor": "scheduler.monitor is missing",
    "scheduler=plateau +trainer.check_val_every_n_epoch=3": "needs a validation at each of its steps",
    "scheduler=plateau scheduler.patience=abc": "scheduler.patience must be an integer of at least 0",
    "scheduler=step scheduler.step_size=0": "scheduler.step_size must be an integer of at least 1",
    "scheduler=cosine scheduler.frequency=0": "scheduler.frequency must be an integer of at least 1",
    "model.head_sizes=16,8": "write 'KEY=[16,8]' for a list, or add -m to sweep",
    "data.path=~/x.csv": "quote a value with blanks",
    "data=csv data.path=/dev/null": "this file is no regular file",
    "data=csv data.path=conf data.covariates=price": "a list of column names, such as [] or [price]",
    "model=": "model=: there is no such option; choose from: gru, lstm, rnn",
    "output_dir=/dev/null/outputs": "no run directory can be made here",
    "resume=conf": "conf holds no run",
    "resume=missing": "missing does not exist",
    "data.step=${nowhere}": "data.step: cannot be resolved: Interpolation key 'nowhere' not found",
}


def assert_refused(done: subprocess.CompletedProcess[str], message: str, tmp_path: Path) -> None:
    """One line on standard error, an exit code, and nothing written."""
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("words", MISTAKES, ids=lambda words: words.replace(" ", ","))
def test_a_mistake_gets_one_clear_line(words, command, tmp_path):
    done = command(*words.split(), output_dir="output_dir" not in words)
    assert done.stdout == ""
    assert_refused(done, MISTAKES[words], tmp_path)


LATE_MISTAKES = {  # these need torch or the data to be seen
    "+data.foo=1": "unexpected keyword argument 'foo'",
    "+model.backbone.foo=1": "model.backbone.foo: GRU has no such argument",
    "+trainer.max_epoch=1": "lightning.Trainer has no such argument (did you mean max_epochs?)",
    "model.backbone._target_=unroll.models.backbones.gru.GRUU": "defines no class GRUU (did you mean GRU?)",
    "model.backbone._target_=unroll.train.sys": "defines no class sys",
    "data.order=window_then_split data.stride=400": "data.test=0.15 of it is not one window: raise data.test",
    "data.test=0.0001": "data.test=0.0001 of it is not one window: raise data.test, give it as a count",
    "data.points=9223372036854775807": "a series so long needs at least 221,360,928",
    "data.window_size=900": "the train segment needs at least window_size + horizon = 900 + 1 rows",
    "data.amplitude=0 data.noise=0": "is constant",
    "data.order=window_then_split data.window_size=999 data.test=1": "1 windows of 999 + 1 rows, less 0 for validation",
    "data.history=false data.window_size=150": "the validation segment needs at least window_size + horizon = 150 + 1",
    "free_run.steps=151": "free_run.start=null, free_run.steps=151: 850 rows are before the start and 150 after it",
    "scheduler=plateau data.validation=0.0001": "leaves no validation rows",
    "+trainer.logger=true": "trainer.logger is set by this program",
    "+optimizer.params=3": "optimizer.params comes from the program",
    "data.seasonal_period=900": "is not shorter than the 700 rows of the training segment",
    "data.noise=1e300": "which cannot be squared",
    "data.amplitude=1e39 data.transform=none": "too large for the network",
    "data.points=100000000000": "a series so long needs at least 2,400.0 GB, and ",
}


@pytest.mark.parametrize("words", LATE_MISTAKES, ids=lambda words: words.replace(" ", ","))
def test_a_mistake_seen_late_leaves_nothing_behind(words, command, tmp_path):
    assert_refused(command(*words.split()), LATE_MISTAKES[words], tmp_path)


def test_trainer_gpu_without_a_gpu_says_so(command, tmp_path):
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("there is a GPU here")
    done = command("trainer=gpu")
    assert done.returncode == 1
    assert "trainer.accelerator=gpu: no such device was found" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_an_experiment_file_holds_only_what_differs_and_is_checked(command, tmp_path):
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "good.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /model: rnn\nmodel:\n  hidden_size: 5\n"
    )
    (folder / "bad.yaml").write_text("# @package _global_\nmodel:\n  hiden_size: 5\n")
    found = yaml.safe_load(command("--config-dir", str(folder.parent), "--cfg", "job", "experiment=good").stdout)
    assert found["model"]["hidden_size"] == 5
    assert found["model"]["backbone"]["_target_"].endswith("RNN")
    done = command("--config-dir", str(folder.parent), "experiment=bad")
    assert done.returncode == 1
    (folder / "bare.yaml").write_text("model:\n  hidden_size: 5\n")
    bare = command("--config-dir", str(folder.parent), "experiment=bare")
    assert bare.stderr == "error: experiment=bare: its first line must be: # @package _global_\n"
    assert done.stderr.startswith("error: experiment=bad: there is no key model.hiden_size (did you mean model.hidden")


def test_every_key_of_the_configs_has_a_rule():
    """A key without a rule would take any value. What torch and lightning check themselves is listed here."""
    theirs = {
        "_target_",
        "scheduler",
        "scheduler.patience",
        "momentum",
        "factor",
        "frequency",
        "T_max",
        "eta_min",
        "step_size",
        "gamma",
    }
    groups = [
        (group, option) for group in ("data", "model", "optimizer", "scheduler", "trainer") for option in options(group)
    ]
    for group, option in groups:
        for path, _, key in leaves(load_config(f"{group}={option}")):
            assert theirs & {path, key} or RULES.keys() & {path, key}, path


def test_configs_are_short():
    for path in CONF.rglob("*.yaml"):
        if path.name != "train.yaml":
            assert len(path.read_text().splitlines()) <= 20, path


def start(tmp_path, *arguments: str) -> subprocess.Popen[str]:
    """A long training in another process, once it is in its epochs."""
    words = [sys.executable, str(ROOT / "train.py"), f"output_dir={tmp_path / 'outputs'}", "checkpoint_seconds=0"]
    words += ["trainer.max_epochs=3000", "early_stopping.patience=null", "data.points=300", *arguments]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("outputs/*/checkpoints/last.ckpt")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_stopped_run_goes_on_where_it_was_and_ends_the_same(sign, code, tmp_path, run_training):
    process = start(tmp_path)
    time.sleep(0.5)
    os.kill(process.pid, sign)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == code
    (run,) = (tmp_path / "outputs").iterdir()
    state = yaml.safe_load((run / "run.json").read_text())
    if sign is not signal.SIGKILL:
        assert errors == f"interrupted; to go on: python train.py resume={run}\n"
        assert state["status"] == "failed"
        assert state["error"] == {signal.SIGINT: "interrupted (Ctrl-C)", signal.SIGTERM: "stopped (SIGTERM)"}[sign]
    else:
        assert state["status"] == "running"  # nobody was left to say otherwise
    import torch

    done = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"]
    continued = run_training(f"resume={run}", f"trainer.max_epochs={done + 5}")
    whole = run_training("early_stopping.patience=null", "data.points=300", f"trainer.max_epochs={done + 5}")
    assert continued.metrics["weights_sha256"] == whole.metrics["weights_sha256"]
    assert continued.metrics["test"] == whole.metrics["test"]
    assert yaml.safe_load((run / "run.json").read_text())["status"] == "complete"


def test_a_run_that_is_being_trained_is_not_trained_twice(tmp_path, command):
    process = start(tmp_path)
    (run,) = (tmp_path / "outputs").iterdir()
    config = (run / "config.yaml").read_bytes()
    done = command(f"resume={run}", "trainer.max_epochs=7", output_dir=False)
    process.kill()
    process.communicate()
    assert (run / "config.yaml").read_bytes() == config
    assert done.returncode == 1
    assert "is being trained by another process" in done.stderr


def test_resume_changes_the_trainer_only(tmp_path, run_training, command):
    run = run_training("trainer.max_epochs=1").run.path
    for words, message in {
        "model.hidden_size=8": "only trainer.KEY=VALUE and early_stopping.KEY=VALUE can be changed",
        "trainer.max_epoch=8": "there is no key trainer.max_epoch (did you mean trainer.max_epochs?)",
        "trainer.max_epochs=0": "trainer.max_epochs must be an integer of at least 1",
    }.items():
        done = command(f"resume={run}", words, output_dir=False)
        assert done.returncode == 1
        assert message in done.stderr
    (run / "checkpoints" / "last.ckpt").write_bytes(b"PK\x03\x04 half a file")
    done = command(f"resume={run}", "trainer.max_epochs=3", output_dir=False)
    assert done.returncode == 1
    assert "last.ckpt is no checkpoint that can be read safely" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_complete_run_is_left_alone_where_it_cannot_be_continued(run_training, command):
    run = run_training("trainer.max_epochs=3", "scheduler=cosine").run.path
    inside = run_training("trainer.max_epochs=3", "trainer.max_steps=30").run.path
    for folder, words, message in [
        (run, "trainer.fast_dev_run=true", "is a real run"),
        (run, "trainer.max_steps=5", "has made 66 steps already"),
        (run, "trainer.max_epochs=2", "has trained 3 epochs already: ask for more"),
        (run, "trainer.max_epochs=6", "scheduler.T_max=3 is tied to trainer.max_epochs"),
        (inside, "trainer.max_steps=60", "ended inside epoch 2"),
    ]:
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        done = command(f"resume={folder}", words, output_dir=False)
        assert done.returncode == 1
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_reader_that_leaves_does_not_cost_the_training(tmp_path):
    words = [sys.executable, str(ROOT / "train.py"), "trainer.max_epochs=30", f"output_dir={tmp_path / 'outputs'}"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()  # as `| head -1` does
        assert process.wait(timeout=120) == 0
    (run,) = (tmp_path / "outputs").iterdir()
    assert yaml.safe_load((run / "run.json").read_text())["status"] == "complete"


def test_a_terminal_gets_a_bar_with_the_time_left(tmp_path):
    """On a real pseudo-terminal: one bar that is gone at the end, and a table that fits 80 columns."""
    words = [sys.executable, str(ROOT / "train.py"), "trainer.max_epochs=60", f"output_dir={tmp_path / 'outputs'}"]
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(words, cwd=ROOT, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 4096)
            except OSError:  # the terminal was closed
                break
            if not part:
                break
            shown += part
        assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "epoch 30/60" in text or "epoch 29/60" in text or "epoch 31/60" in text
    assert "left" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "linear autoregression" in plain
    assert "…" not in plain.partition("test segment")[2]
