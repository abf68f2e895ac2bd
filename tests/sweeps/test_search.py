"""Searches: their space, their settings, a study that several share, and whole searches as a user starts them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna", reason="hydra/sweeper=optuna needs Optuna")

import io
import json

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lightning import Callback
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import TrialState
from rich.console import Console

from conftest import CONF, ROOT, load_config
from hydra_plugins.unroll_sweepers.search import Search as Plugin
from unroll.errors import ConfigError, PrunedError
from unroll.runs.directory import RunDirectory
from unroll.sweeps.pruning import Pruning
from unroll.sweeps.search import objective
from unroll.sweeps.settings import Settings
from unroll.sweeps.space import Space, parse
from unroll.sweeps.study import SharedStudy, trial_of
from unroll.train import Result, train_in

TINY = ["data.points=120", "trainer.max_epochs=2", "trainer=cpu", "model.hidden_size=4"]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def space(*words: str, **params: Any) -> Space:
    return Space.read(parse(params, words))


def search_settings(*words: str, **changes: Any) -> Settings:
    cfg = OmegaConf.load(CONF / "hydra" / "sweeper" / "optuna.yaml")
    return Settings.read(OmegaConf.merge(cfg, OmegaConf.from_dotlist(list(words)), changes))


# The space


@pytest.mark.parametrize(
    ("word", "distribution"),
    [
        ("k=a,b", CategoricalDistribution(["a", "b"])),
        ("k=choice(a,b)", CategoricalDistribution(["a", "b"])),
        ("k=2,2.5,null,true", CategoricalDistribution([2, 2.5, None, True])),
        ("k=1,true", CategoricalDistribution(["1", "True"])),
        ("k=8,'8'", CategoricalDistribution([8, "'8'"])),
        ("k=[16,8],[32]", CategoricalDistribution(["[16,8]", "[32]"])),
        ("k=shuffle(3,1,2)", CategoricalDistribution([3, 1, 2])),
        ("k=range(1,5)", IntDistribution(1, 5)),
        ("k=range(8,64,step=8)", IntDistribution(8, 64, step=8)),
        ("k=range(1,8,3)", IntDistribution(1, 7, step=3)),
        ("k=range(0.1,0.5,0.1)", FloatDistribution(0.1, 0.5, step=0.1)),
        ("k=shuffle(range(1,4))", CategoricalDistribution([1, 2, 3])),
        ("k=tag(log,range(1,64))", IntDistribution(1, 64, log=True)),
        ("k=interval(0,1)", FloatDistribution(0, 1)),
        ("k=tag(log,interval(1e-4,1e-1))", FloatDistribution(1e-4, 1e-1, log=True)),
        ("k=int(interval(1,9))", IntDistribution(1, 9)),
        ("k=tag(int,interval(1,9))", IntDistribution(1, 9)),
        ("k=tag(int,log,interval(1,9))", IntDistribution(1, 9, log=True)),
        ("k=tag(log,int(interval(1,9)))", IntDistribution(1, 9, log=True)),
    ],
)
def test_the_words_of_a_space(word: str, distribution: object) -> None:
    assert space(word).distributions == {"k": distribution}


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("k=1", "nothing to search"),
        ("k=range(5,1)", "upwards"),
        ("k=range(5,1,-1)", "upwards"),
        ("k=tag(log,interval(0,1))", "low > 0"),
        ("k=tag(lgo,interval(1,2))", "did you mean log?"),
        ("k=tag(log,choice(1,2))", "for ranges and intervals"),
        ("k=tag(log,range(1,9,2))", "steps of 1"),
        ("k=interval(0,inf)", "finite"),
        ("k=interval(2,1)", "low <= high"),
    ],
)
def test_what_is_no_space(word: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint.replace("?", r"\?")):
        space(word)


def test_the_command_line_has_the_last_word() -> None:
    found = space("lr=0.1", "+model.depth=1,2", "seed=3,4", lr="interval(0,1)", seed=1, model=None)
    assert list(found.distributions) == ["model.depth", "seed"]
    assert found.fixed == ["model=null", "lr=0.1"]
    assert found.words({"model.depth": 2, "seed": 3}) == ["+model.depth=2", "seed=3"]


WORDS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=8),
    st.lists(st.one_of(st.integers(), st.floats(allow_nan=False), st.text("a,'\\ ]b", max_size=3)), max_size=3),
)


def quoted(value: Any) -> str:
    """A value as a careful user types it."""
    if isinstance(value, list):
        return f"[{','.join(map(quoted, value))}]"
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def read(word: str) -> Any:
    return OverridesParser.create().parse_override(word).value()


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, min_size=2, max_size=5))
def test_choices_come_back_as_they_were_typed(values: list[Any]) -> None:
    typed = [quoted(value) for value in values]
    found = space(f"k={','.join(typed)}")
    distribution = found.distributions["k"]
    assert isinstance(distribution, CategoricalDistribution)
    back = [read(word) for choice in distribution.choices for word in found.words({"k": choice})]
    assert [repr(value) for value in back] == list(dict.fromkeys(repr(read(f"k={word}")) for word in typed))
    stored = optuna.distributions.json_to_distribution(optuna.distributions.distribution_to_json(distribution))
    assert stored == distribution


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12), st.floats(0, 1))
def test_numbers_come_back_bit_by_bit(low: float, high: float, place: float) -> None:
    assume(low < high)
    found = space(f"k=interval({low!r},{high!r})")
    value = min(max(low + place * (high - low), low), high)
    assert read(found.words({"k": value})[0]) == value


def test_values_on_a_grid_are_those_that_people_type() -> None:
    found = space("k=range(0.1,0.5,0.1)")
    assert found.values() == {"k": [0.1, 0.2, 0.3, 0.4, 0.5]}
    assert found.words({"k": 0.1 + 0.2}) == ["k=0.3"]
    assert found.combinations() == 5


# The settings


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["objectives=test/rmse"], "leak"),
        (["objectives=validation/rmsee"], "did you mean validation/rmse?"),
        (["direction=up"], "minimize"),
        (["direction=maximize"], "larger validation/rmse is worse"),
        (["objectives=[validation/rmse,parameters]"], "one direction an objective"),
        (["n_trials=0"], "at least 1"),
        (["n_trial=3"], "did you mean n_trials?"),
        (["sampler.name=TPESample"], "did you mean TPESampler?"),
        (["sampler.name=BaseSampler"], "no such sampler"),
        (["sampler.name=MedianPruner"], "no such sampler"),
        (["sampler._target_=os.system"], "no such argument"),
        (["sampler.n_startup_trial=3"], "did you mean n_startup_trials?"),
        (["pruner.name=PatientPruner"], "refuses its arguments"),
        (["pruner.name=MedianPruner", "pruner.n_min_trials=0"], "refuses its arguments"),
        (["sampler.name=GridSampler"], "can be counted"),
        (["storage=study.db"], "cannot be opened"),
        (["storage='postgresql://me:secret@here/x'"], r"me:\*\*\*@here"),
    ],
)
def test_wrong_settings_are_told_in_a_line(words: list[str], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint.replace("?", r"\?")) as caught:
        search_settings(*words).check(space("lr=interval(0,1)"))
    assert "\n" not in str(caught.value)


def test_a_pruner_can_be_in_a_pruner() -> None:
    found = search_settings(pruner={"name": "PatientPruner", "patience": 2, "wrapped_pruner": {"name": "MedianPruner"}})
    assert isinstance(found.make_pruner(), optuna.pruners.PatientPruner)
    with pytest.raises(ConfigError, match="one objective"):
        search_settings(
            "direction=[minimize,minimize]", "objectives=[validation/rmse,seconds]", "pruner.name=MedianPruner"
        )


# The study


def shared(tmp_path: Path, *words: str, **changes: Any) -> SharedStudy:
    return SharedStudy(search_settings(**changes), space(*(words or ("x=interval(0,1)",))), tmp_path, "s")


def finish(study: SharedStudy, state: TrialState = TrialState.COMPLETE) -> list[float]:
    """Work off all that one call asks for."""
    drawn = []
    while trials := study.ask(2):
        for trial in trials:
            drawn.append(trial.params["x"])
            study.tell(trial, [trial.params["x"]] if state is TrialState.COMPLETE else None, state)
            study.failed += state is TrialState.FAIL
    return drawn


def test_a_search_goes_on_to_a_total_and_draws_nothing_twice(tmp_path: Path) -> None:
    calls = []
    for total in (3, 3, 7):
        study = shared(tmp_path, n_trials=total, sampler={"name": "RandomSampler"})
        with study.opened():
            calls.append(finish(study))
            assert study.done() == total
    assert [len(drawn) for drawn in calls] == [3, 0, 4]
    assert len({value for drawn in calls for value in drawn}) == 7
    other = shared(tmp_path / ".." / tmp_path.name, n_trials=7, sampler={"name": "RandomSampler"}, study_name="again")
    with other.opened():
        again = finish(other)
    assert again[:2] == calls[0][:2], "the same seed is the same search"


def test_failed_trials_are_tried_again_once_a_call(tmp_path: Path) -> None:
    calls = []
    for state in (TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE):
        study = shared(tmp_path, n_trials=3)
        with study.opened():
            calls.append(sorted(finish(study, state)))
            assert study.counts()["complete"] == 3 * (state is TrialState.COMPLETE)
    assert len(set(calls[0])) == 3
    assert calls[0] == calls[1] == calls[2]


def test_trials_of_a_killed_search_go_on_and_those_of_a_living_one_are_left_alone(tmp_path: Path) -> None:
    first, second = shared(tmp_path, n_trials=3), shared(tmp_path, n_trials=3)
    with second.opened():
        with first.opened():
            mine, others = first.ask(2), second.ask(2)
            assert mine is not None
            assert others is not None
            assert (len(mine), len(others)) == (2, 1), "together no more than there are to be"
            assert second.ask(2) is None, "the last ones may fail"
            second.tell(others[0], [0.0], TrialState.COMPLETE)
        taken = second.ask(2)  # the first one is gone
        assert taken is not None
        assert [trial.params for trial in taken] == [trial.params for trial in mine]
        assert second.trials()[0].user_attrs["reason"] == "its search was stopped"
        for trial in taken:
            second.tell(trial, None, TrialState.PRUNED)
        assert second.ask(2) == []
    assert second.counts() == {"complete": 1, "pruned": 2, "failed": 0}
    assert not list(tmp_path.glob(".search-*"))


def test_a_search_that_was_killed_while_it_chose_is_gone_on_with(tmp_path: Path) -> None:
    study = shared(tmp_path, n_trials=2)
    with study.opened():
        study.study.ask()  # no parameters yet, and no name of a search
    study = shared(tmp_path, n_trials=2)
    with study.opened():
        assert len(finish(study)) == 2
        assert study.counts() == {"complete": 2, "pruned": 0, "failed": 0}


@pytest.mark.parametrize("sampler", ["GridSampler", "BruteForceSampler"])
def test_all_combinations_are_enough(tmp_path: Path, sampler: str) -> None:
    words = ("x=range(1,3)", "y=a,b")
    for _ in range(2):
        study = shared(tmp_path, *words, sampler={"name": sampler, "seed": 0})
        with study.opened():
            finish(study)
            found = {(trial.params["x"], trial.params["y"]) for trial in study.trials()}
            assert (len(found), study.done()) == (6, 6)


@pytest.mark.parametrize(
    ("words", "changes", "hint"),
    [
        (["x=interval(0,1)", "z=1,2"], {}, "z is searched now"),
        (["y=1,2"], {}, "x is searched no more"),
        (["x=1,2"], {}, "x was searched over numbers from 0.0 to 1.0 before, and now over 1,2"),
        (["x=interval(0,1)", "data=trend"], {}, "data was sine before, and now trend"),
        (["x=interval(0,1)"], {"objectives": "validation/mae"}, "objectives was validation/rmse before"),
        (["x=interval(0,1)"], {"direction": "maximize", "objectives": "validation/r2"}, "direction was minimize"),
    ],
)
def test_another_search_needs_another_study(
    tmp_path: Path, words: list[str], changes: dict[str, Any], hint: str
) -> None:
    fixed = [] if any(word.startswith("data=") for word in words) else ["data=sine"]
    first = shared(tmp_path, "x=interval(0,1)", "data=sine", n_trials=1)
    with first.opened():
        finish(first)
    other = shared(tmp_path, *fixed, *words, **changes)
    with pytest.raises(ConfigError, match=f"{hint}.*another sweep.name"), other.opened():
        pass
    wider = shared(tmp_path, "data=sine", "x=interval(0,9)", "threads=2", n_trials=2)  # these compare
    with wider.opened():
        assert len(finish(wider)) == 1


def test_a_mistake_in_the_first_call_can_be_mended(tmp_path: Path) -> None:
    first = shared(tmp_path, "x=interval(0,1)", "data=sien", n_trials=2)
    with first.opened():
        finish(first, TrialState.FAIL)
    second = shared(tmp_path, "x=interval(0,1)", "data=sine", n_trials=2)
    with second.opened():
        finish(second)
        assert second.counts() == {"complete": 2, "pruned": 0, "failed": 0}
    with pytest.raises(ConfigError, match="x was searched over"), shared(tmp_path, "x=1,2", "data=sine").opened():
        pass


def test_an_objective_that_is_not_there() -> None:
    run = RunDirectory(Path("run"))
    for metrics, hint in (({}, "no validation segment"), ({"validation": {"models": {"best": {}}}}, "undefined")):
        with pytest.raises(Exception, match=hint):
            objective("validation/rmse", metrics, run)


# Pruning, in this process


class Interrupt(Callback):
    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 3:
            raise RuntimeError("killed")


def train_trial(tmp_path: Path, study: SharedStudy, *callbacks: Callback) -> Result:
    trials = study.ask(1)
    assert trials
    trial = trial_of(study.settings, tmp_path, "s", trials[0].number)
    cfg = load_config(*TINY, "trainer.max_epochs=6", "checkpoint_seconds=0", f"output_dir={tmp_path}")
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir(exist_ok=True)
    return train_in(run, cfg, [], Console(file=io.StringIO()), [Pruning(trial), *callbacks])


def losses(result: Result) -> list[float]:
    lines = result.run.history.read_text().splitlines()
    return [float(line.split(",")[lines[0].split(",").index("val_loss")]) for line in lines[1:]]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_run_that_goes_on_reports_each_epoch_once(tmp_path: Path, direction: str) -> None:
    name = "validation/rmse" if direction == "minimize" else "validation/r2"
    study = shared(tmp_path, direction=direction, objectives=name, pruner={"name": "MedianPruner"})
    with study.opened():
        with pytest.raises(RuntimeError, match="killed"):
            train_trial(tmp_path, study, Interrupt())
        result = train_trial(tmp_path, study)
        before, after = study.trials()
    sign = 1 if direction == "minimize" else -1
    reported = {epoch: sign * loss for epoch, loss in enumerate(losses(result))}
    assert after.intermediate_values == reported
    assert before.intermediate_values == {epoch: reported[epoch] for epoch in range(3)}


def test_a_pruned_run_keeps_its_history_and_says_so(tmp_path: Path) -> None:
    study = shared(tmp_path, pruner={"name": "ThresholdPruner", "upper": 1e-9, "n_warmup_steps": 2})
    with study.opened(), pytest.raises(PrunedError, match="pruned after epoch 3 of 6"):
        train_trial(tmp_path, study)
    run = RunDirectory(tmp_path / "run")
    state = run.read_state()
    assert (state["status"], state["error"]) == ("pruned", "pruned after epoch 3 of 6")
    assert len(run.history.read_text().splitlines()) == 1 + 3


# Whole searches

FRONT = """# @package _global_
sweep: {name: s}
hydra:
  sweeper:
    direction: [minimize, minimize]
    objectives: [validation/rmse, parameters]
    storage: journal
    n_trials: 4
    params: {model: "rnn,gru", model.hidden_size: "range(2, 8)", model.head_sizes: "[4],[]", seed: "0,1"}
"""


def read_trials(folder: Path) -> list[Any]:
    """As anybody's program reads them."""
    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder}/study.db").trials


def test_failed_and_pruned_are_told_apart_and_a_grid_trains_the_pruned(
    tmp_path: Path, command: Command, run_training: Callable[..., Result]
) -> None:
    words = ["-m", "sweep.name=s", *TINY, "trainer.max_epochs=3", "optimizer.lr=0.1,1e-9", "data.window_size=8,500"]
    done = command(
        *words,
        "hydra/sweeper=optuna",
        "hydra.sweeper.sampler.name=GridSampler",
        *("hydra.sweeper.pruner.name=ThresholdPruner", "+hydra.sweeper.pruner.upper=0.6"),
    )
    assert done.returncode == 1
    assert "trials: 1 complete, 1 pruned, 2 failed" in done.stdout
    assert "4 trials in" in done.stdout
    assert "which are all combinations there are" in done.stdout
    assert "best: trial" in done.stdout
    assert "data.window_size=8 optimizer.lr=0.1" in done.stdout or "optimizer.lr=0.1 data.window_size=8" in done.stdout
    errors = done.stderr.splitlines()
    assert len(errors) == 2, "one line for both, and what to do"
    assert "2 of" in errors[0]
    assert "the same command tries them again" in errors[0]
    folder = tmp_path / "outputs" / "sweeps" / "s"
    trials = {(trial.params["optimizer.lr"], trial.params["data.window_size"]): trial for trial in read_trials(folder)}
    states = {key: trial.state.name for key, trial in trials.items()}
    assert states == {(0.1, 8): "COMPLETE", (1e-9, 8): "PRUNED", (0.1, 500): "FAIL", (1e-9, 500): "FAIL"}
    assert "data.window_size" in trials[0.1, 500].user_attrs["reason"]
    pruned = RunDirectory(folder / trials[1e-9, 8].user_attrs["run"])
    assert pruned.read_state()["status"] == "pruned"
    assert pruned.history.is_file()

    grid = command("-m", "sweep.name=s", *TINY, "trainer.max_epochs=3", "optimizer.lr=0.1,1e-9", "data.window_size=8")
    assert grid.returncode == 0, grid.stderr
    assert "1 complete already" in grid.stdout
    alone = run_training(*TINY, "trainer.max_epochs=3", "optimizer.lr=1e-9", "data.window_size=8")
    metrics = json.loads(pruned.metrics.read_text())
    assert metrics["weights_sha256"] == alone.metrics["weights_sha256"], "as if it had never been pruned"


def test_a_killed_search_goes_on_to_its_total(tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "outputs" / "sweeps" / "s"
    words = ["-m", "hydra/sweeper=optuna", "sweep.name=s", *TINY, "optimizer.lr=tag(log,interval(1e-4,1e-1))"]
    words += ["hydra.sweeper.n_trials=5", f"output_dir={tmp_path / 'outputs'}"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words], cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*/metrics.json"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("*/metrics.json")}
    assert len(read_trials(folder)) < 5

    done = command(*words, output_dir=False)
    assert done.returncode == 0, done.stderr
    assert "5 of 5" in done.stdout
    trials = read_trials(folder)
    assert [trial.state for trial in trials].count(TrialState.COMPLETE) == 5
    assert all(trial.state in (TrialState.COMPLETE, TrialState.FAIL) for trial in trials)
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items()), "nothing is trained twice"
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert len({trial.params["optimizer.lr"] for trial in complete}) == 5
    assert all((folder / trial.user_attrs["run"]).is_dir() for trial in complete)

    again = command(*words, output_dir=False)
    assert again.returncode == 0, again.stderr
    assert "5 trials in" in again.stdout
    assert "5 done already" in again.stdout
    assert "val RMSE" in again.stdout, "the leaderboard"
    assert len(read_trials(folder)) == len(trials)


def test_several_directions_in_a_journal_side_by_side(tmp_path: Path, command: Command) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "front.yaml").write_text(FRONT)
    done = command(
        *("-m", "--config-dir", str(tmp_path), "sweep=front", "hydra/sweeper=optuna", "hydra/launcher=joblib"),
        *("data.points=120", "trainer.max_epochs=2", "trainer=cpu", "seed=3", "hydra.launcher.n_jobs=2"),
        real=True,  # it starts workers, which import its main module
    )
    assert done.returncode == 0, done.stderr
    assert "Pareto front" in done.stdout
    assert "model.hidden_size=" in done.stdout
    file = tmp_path / "outputs" / "sweeps" / "s" / "study.log"
    assert f"optuna-dashboard {file}" in done.stdout
    study = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(file))))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 4
    for trial in study.trials:
        metrics = json.loads((file.parent / trial.user_attrs["run"] / "metrics.json").read_text())
        assert trial.params.keys() == {"model", "model.hidden_size", "model.head_sizes"}, "the seed is fixed"
        assert trial.values == [metrics["validation"]["models"]["best"]["rmse"], metrics["parameters"]]


def test_hydra_starts_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys, hydra_plugins.unroll_sweepers.search; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    monkeypatch.setitem(Plugin.sweep.__globals__, "find_spec", lambda name: None)  # Hydra loads the module again
    with pytest.raises(ConfigError, match="pip install"):
        Plugin().sweep([])


def test_a_leak_is_refused_before_anything_is_made(tmp_path: Path, command: Command) -> None:
    done = command("-m", "hydra/sweeper=optuna", "model=rnn,gru", "hydra.sweeper.objectives=test/rmse")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "leak" in done.stderr
    assert not (tmp_path / "outputs").exists()
