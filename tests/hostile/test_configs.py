"""Config files that somebody else wrote: nothing in them runs code, sets the environment or writes elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import torch
from hydra.errors import HydraException

from conftest import ROOT
from processes import python
from unroll.errors import ConfigError
from unroll.hydra_settings import checked_hydra

QUICK = ("trainer.fast_dev_run=true",)


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def hand_over(folder: Path, text: str, group: str = "experiment") -> list[str]:
    """A folder of configs with one file; MARKER in it is a file that no code may make, LOADED code that makes it."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(Touch(folder / "marker"), folder / "evil.pt")
    path = folder / "conf" / group / "handed_over.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("MARKER", str(folder / "marker")).replace("LOADED", load(folder)))
    return ["--config-dir", str(folder / "conf"), f"{group}=handed_over"]


def load(folder: Path) -> str:
    """The attack itself, as a mapping of YAML."""
    return f"{{_target_: torch.load, f: {folder / 'evil.pt'}, weights_only: false}}"


def train(*words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    arguments = [*python(), str(ROOT / "train.py"), *map(str, words)]
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=120)


FILES = {
    "callbacks": "hydra: {callbacks: {evil: LOADED}}",
    "callbacks that open files": "hydra: {callbacks: {evil: {_target_: builtins.open, file: MARKER, mode: w}}}",
    "pickles written": "hydra: {callbacks: {evil: {_target_: hydra.experimental.callbacks.PickleJobInfoCallback}}}",
    "referred to": "evil: LOADED\nhydra: {callbacks: {evil: '${evil}'}}",
    "wholly referred to": "evil: {inner: LOADED}\nhydra: {callbacks: '${evil}'}",
    "nested in the launcher": "hydra: {launcher: {evil: LOADED}}",
    "nested in a list": "hydra: {launcher: {evil: [{deep: LOADED}]}}",
    "nested in the sweeper": "hydra: {sweeper: {params: LOADED}}",
    "referred to from the sweeper": "evil: LOADED\nhydra: {sweeper: {'a.b': '${evil}'}}",
    "partial": "hydra: {sweeper: {params: {_target_: os.system, _partial_: true}}}",
    "another sweeper": "hydra: {sweeper: {_target_: hydra._internal.core_plugins.basic_sweeper.BasicSweeper}}",
    "words of the command line": "hydra: {overrides: {hydra: ['+hydra.job.env_set.PATH=/tmp']}}",
    "a log's factory": "hydra: {hydra_logging: {handlers: {evil: {'()': torch.load, f: x}}, root: {handlers: [evil]}}}",
    "a log elsewhere": "hydra: {job_logging: {handlers: {h: {class: logging.FileHandler, filename: MARKER}}}}",
    "the environment": "hydra: {job: {env_set: {PATH: /tmp}}}",
    "a copy of the environment": "hydra: {job: {env_copy: [HOME]}}",
    "commands of a cluster": "hydra: {launcher: {setup: ['touch MARKER']}}",
    "folders": "hydra: {run: {dir: MARKER}, output_subdir: .}",
    "folders of a sweep": "hydra: {sweep: {dir: MARKER}}",
    "a database anywhere": "hydra: {sweeper: {storage: 'sqlite:///MARKER'}}",
    "another package": "hydra: {searchpath: ['pkg://antigravity']}",
}


@pytest.mark.parametrize(
    ("what", "multirun"), [*((what, ["-m"]) for what in FILES), ("callbacks", []), ("folders", [])]
)
def test_an_experiment_says_nothing_to_hydra(what, multirun, tmp_path, monkeypatch):
    """In this process: Hydra's own way from the command line, up to where it would build something."""
    words = hand_over(tmp_path, f"# @package _global_\n{FILES[what]}\n")
    monkeypatch.setattr(
        sys, "argv", ["train.py", *multirun, *words, f"output_dir={tmp_path / 'outputs'}", "sweep.name=s"]
    )
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    main = hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="train")(reached)
    with pytest.raises((ConfigError, HydraException), match="hydra"), checked_hydra():
        main()
    assert not (tmp_path / "marker").exists()
    assert not (tmp_path / "outputs").exists()


def reached(_: object) -> None:
    raise AssertionError("Hydra went on")


@pytest.mark.parametrize("what", ["callbacks", "nested in the sweeper", "the environment"])
def test_one_line_says_which_file_and_key(what, tmp_path):
    words = hand_over(tmp_path, f"# @package _global_\n{FILES[what]}\n")
    done = train("-m", *words, f"output_dir={tmp_path / 'outputs'}", "seed=0,1")
    assert done.returncode == 1, done.stdout
    assert re.match(r"error: hydra\.\S+=.*: set by a config file \(experiment=handed_over", done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "marker").exists()
    assert not (tmp_path / "outputs").exists()


def test_a_file_of_any_group_and_an_own_root_are_held_to_the_same(tmp_path):
    text = "# @package _global_\nhydra: {callbacks: {evil: LOADED}}\n"
    for group in ("data", "hydra/callbacks"):
        words = hand_over(tmp_path / group, text, group)
        done = train(*words, f"output_dir={tmp_path / 'outputs'}")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
    (tmp_path / "data/conf/root.yaml").write_text(
        f"defaults: [train, _self_]\nhydra: {{callbacks: {{a: {load(tmp_path)}}}}}\n"
    )
    done = train("--config-dir", tmp_path / "data/conf", "--config-name", "root", f"output_dir={tmp_path / 'outputs'}")
    assert done.stderr.startswith("error: hydra.callbacks.a.")
    assert not list(tmp_path.rglob("marker"))


EVIL = "{_target_:torch.load,f:evil.pt,weights_only:false}"
COMMANDS = {
    f"+hydra.callbacks.evil={EVIL}": "hydra.callbacks.evil._target_=torch.load",
    f"+hydra.launcher.evil={EVIL}": "hydra.launcher.evil._target_=torch.load",
    "hydra.launcher._target_=unroll.recorder.torch.load": "hydra.launcher._target_=unroll.recorder.torch.load",
    "--experimental-rerun=evil.pt": "--experimental-rerun reads a pickle",
    "--exp=evil.pt": "--experimental-rerun reads a pickle",
}


@pytest.mark.parametrize("word", COMMANDS)
def test_the_command_line_builds_no_more(word, tmp_path):
    hand_over(tmp_path, "{}")
    done = train("-m", word, f"output_dir={tmp_path / 'outputs'}", "seed=0,1", cwd=tmp_path)
    assert done.returncode == 1
    assert COMMANDS[word] in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "marker").exists()


def test_what_people_do_with_hydra_still_works(tmp_path):
    """Files choose what to try; the command line says where, and how much is logged."""
    text = "# @package _global_\nhydra: {sweeper: {params: {data.window_size: '6,7'}}, launcher: {n_jobs: 1}}\n"
    words = hand_over(tmp_path, text, "sweep")
    words += ["hydra/launcher=joblib", "hydra.verbose=true", "sweep.name=s", "hydra/job_logging=default"]
    words += ["+hydra.callbacks.log._target_=hydra.experimental.callbacks.LogJobReturnCallback"]
    done = train("-m", *words, *QUICK, f"hydra.sweep.dir={tmp_path / 'here'}", f"output_dir={tmp_path}")
    assert len(list(tmp_path.glob("sweeps/s/*/metrics.json"))) == 2, done.stderr
    assert list((tmp_path / "here").glob("*.log"))


def test_what_is_the_users_own_is_left_alone(tmp_path):
    """Hydra's help, and an option of a group from a folder that the command line names."""
    folder = tmp_path / "hydra" / "launcher"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("_target_: hydra._internal.core_plugins.basic_launcher.BasicLauncher\n")
    for words, shown in {
        ("--hydra-help",): "See https://hydra.cc",
        ("--config-dir", str(tmp_path), "hydra/launcher=mine", "--cfg", "job"): "window_size: 24",
    }.items():
        done = train(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert shown in done.stdout
