"""Names that reach for other folders, the terminal or the figures: of columns, files, runs and what they say."""

import contextlib
import io
import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, forge, load_config
from processes import python
from unroll.errors import UnrollError
from unroll.evaluation.again import evaluate_again
from unroll.evaluation.style import plain_text
from unroll.progress import PatientConsole
from unroll.rules import RULES
from unroll.train import train

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
COLUMN = f"../../up/{ESCAPE}\u202e[red]$\\frac{{$\u0085|<b>"
DANGEROUS = ("\x1b", "\x07", "\u202e", "\u0085")


def script(name: str, *words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    path = ROOT / ("train.py" if name == "train" else f"scripts/{name}.py")
    arguments = [*python(), str(path), *map(str, words)]
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=120)


def is_quiet(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether nothing printed moves the cursor or turns the text."""
    return not any(mark in done.stdout + done.stderr for mark in DANGEROUS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run on a file whose column, index and unit are named to do harm. Warnings, as of figures, are errors here."""
    folder = tmp_path_factory.mktemp("inner") / "deep"
    folder.mkdir()
    rows = [f"2024-{1 + day // 28:02d}-{1 + day % 28:02d},{10 + math.sin(day)}" for day in range(112)]
    data = folder / f"{ESCAPE}..$x^{{$.csv".replace("/", "")
    data.write_text("\n".join([f'"day{ESCAPE}","{COLUMN}"', *rows]) + "\n")
    words = ["data=csv", "data.window_size=4", "trainer.max_epochs=1", "data.missing=interpolate"]
    cfg = load_config(f"output_dir={folder / 'outputs'}", *words, "data.path=x")
    cfg.data.path, cfg.data.date, cfg.data.target, cfg.data.unit = str(data), f"day{ESCAPE}", COLUMN, f"${ESCAPE}"
    run = train(cfg, words, PatientConsole()).run.path
    assert {path.name for path in folder.iterdir()} == {data.name, "outputs"}
    assert {path.name for path in folder.parent.iterdir()} == {"deep"}
    assert run.name.isprintable()
    return run


@pytest.fixture
def copied(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "inner" / "outputs" / "run"))


def test_names_of_columns_and_files_stay_names(copied, tmp_path):
    for name, words in (("evaluate", [copied]), ("forecast", [copied]), ("runs", [copied.parent])):
        done = script(name, *words)
        assert done.returncode == 0, done.stderr
        assert is_quiet(done)
        assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"inner"}
    assert {path.name for path in (tmp_path / "inner").iterdir()} == {"outputs"}


def test_what_a_run_says_of_itself_stays_text(copied, tmp_path):
    """Model, title and reasons in metrics.json and run.json."""
    metrics = json.loads((copied / "metrics.json").read_text())
    metrics |= {"model": f"$\\frac{{${ESCAPE}", "data": f"../../{COLUMN}\n\n", "unit": ESCAPE}
    (copied / "metrics.json").write_text(json.dumps(metrics))
    forge(copied)
    board = script("leaderboard", copied.parent, "--output", tmp_path / "board")
    for done in (script("evaluate", copied), script("forecast", copied), script("runs", copied.parent), board):
        assert done.returncode == 0, done.stderr
        assert is_quiet(done)
    written = {path.name for path in (tmp_path / "board").iterdir()}
    assert {"leaderboard.csv", "leaderboard.md", "leaderboard.json"} <= written
    assert not any(mark in (tmp_path / "board" / "leaderboard.md").read_text() for mark in DANGEROUS)
    state = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps(state | {"status": "failed", "error": f"x\n{ESCAPE}\u202e"}))
    for done in (script("evaluate", copied), script("runs", copied.parent)):
        assert is_quiet(done)
    assert script("evaluate", copied).stderr.count("\n") == 1


@pytest.mark.parametrize(
    "place", ["/etc/passwd", "../../../up", "~root/x", "n" * 5000, "a\nb", "${oc.env:HOME}", f"x{ESCAPE}", "/dev/zero"]
)
def test_places_in_a_config_are_neither_read_nor_written(place, copied, tmp_path):
    """A run is read from its own directory alone, whatever it says of where its data and outputs were."""
    path = copied / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["data"]["path"], config["output_dir"], config["resume"] = place, place, place
    path.write_text(yaml.safe_dump(config))
    before, console = sorted(tmp_path.rglob("*")), PatientConsole()
    console.file = io.StringIO()
    with contextlib.suppress(UnrollError):
        evaluate_again([copied], None, None, None, console)
    assert not any(mark in console.file.getvalue() for mark in DANGEROUS)
    new = set(tmp_path.rglob("*")) - set(before)
    assert all(made.is_relative_to(copied / "evaluation") for made in new)


@pytest.mark.parametrize("name", ["../up", "/tmp/x", "a/b", ".", "..", "x\n", "n" * 81, "'x y'", "-x", "a\x1bb"])
def test_a_sweep_is_a_folder_of_its_parent(name):
    assert RULES["sweep.name"](name)


def test_outputs_with_strange_names_are_refused_in_a_line(copied, tmp_path):
    for output in ("n" * 300 + ".csv", "x\ny.exe", f"{ESCAPE}.txt"):
        done = script("forecast", copied, "--output", tmp_path / output)
        assert done.returncode == 1
        assert is_quiet(done)
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "model.hidden_size=choice(3)", "sweep.name=s")
SEARCH += ("trainer.max_epochs=1", "data.points=80", "data.window_size=4")


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> str:
    """The name of the run directory that a search makes."""
    pytest.importorskip("optuna")
    folder = tmp_path_factory.mktemp("searched")
    assert script("train", *SEARCH, f"output_dir={folder}").returncode == 0
    (state,) = folder.glob("sweeps/s/*/run.json")
    return state.parent.name


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
@pytest.mark.parametrize("names", [("study.db",), ("output.log", "run.json", "config.yaml")])
def test_strange_files_in_a_sweeps_folder_are_not_followed(kind, names, searched, tmp_path):
    """Somebody else prepared the folder of a sweep: what the search or a job would open is a link, a folder, a pipe."""
    folder = tmp_path / "sweeps" / "s" / (searched if len(names) > 1 else "")
    folder.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in names:
        place = folder / name
        {"link": lambda: place.symlink_to(victim), "folder": place.mkdir, "pipe": lambda: os.mkfifo(place)}[kind]()  # noqa: B023
    done = script("train", *SEARCH, f"output_dir={tmp_path}")
    assert "Traceback" not in done.stderr
    assert victim.read_text() == "precious"
    assert done.returncode in (0, 1)


def test_marks_of_figures_and_terminals():
    assert plain_text("a$b\x1b\n$") == "a\\$b?\n\\$"
    assert plain_text(plain_text("$x$")) == plain_text("$x$") == "\\$x\\$"
    assert len(plain_text("n" * 999)) == 120
    console = PatientConsole()
    console.file = io.StringIO()
    console.print(f"a\nb [red]{ESCAPE}\u202e")
    assert console.file.getvalue() == "a\nb [red]?]0;owned?[2J?\n"  # rich leaves the bell away
