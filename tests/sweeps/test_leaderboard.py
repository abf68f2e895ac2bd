"""The leaderboard: what its numbers are, which runs are one row, what is marked, and what is never scored."""

import contextlib
import csv
import io
import itertools
import json
import os
import random
import re
import subprocess
import sys
import threading
import time

import matplotlib.image
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from scipy import stats

from conftest import ROOT, load_config
from unroll.config import plain
from unroll.errors import ConfigError, RunError
from unroll.evaluation.intervals import interval
from unroll.sweeps.board import publish
from unroll.sweeps.entries import Found, read_entries
from unroll.sweeps.files import as_csv, as_json
from unroll.sweeps.leaderboard import BEST, SAME, UNKNOWN, WORSE, leaderboard, read_leaderboard

METRICS = ("mae", "rmse", "r2", "mase", "skill")
CONFIG = plain(load_config("data=cinema", "trainer=cpu"))


def script(*arguments, columns=80, cwd=ROOT, **environment):
    """`python scripts/leaderboard.py ...` as a user runs it."""
    known = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "leaderboard.py"), *map(str, arguments)],
        cwd=cwd,
        env=known | {"COLUMNS": str(columns)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def strict(text):
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def printed(folders, output=None, columns=100, **choices):
    text = io.StringIO()
    console = Console(file=text, width=columns, markup=False)
    board = publish(folders, output, console, figures=False, **choices)
    return board, text.getvalue()


@pytest.fixture
def make(tmp_path):
    """A complete run as it lies on disk: a score, a seed, and changes of the config by dotted key."""
    number = itertools.count()

    def make(
        val=1.0, test=None, seed=0, *, folder="sweep", name=None, state=None, metrics=None, seconds=2.0, **changes
    ):
        path = tmp_path / folder / (name or f"run_{next(number)}")
        path.mkdir(parents=True)
        config = json.loads(json.dumps(CONFIG)) | {"seed": seed}
        for key, value in changes.items():
            *parents, last = key.split("__")
            part = config
            for parent in parents:
                part[parent] = part.get(parent) or {}
                part = part[parent]
            part[last] = value
        (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        about = {"status": "complete", "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:01:00+00:00"}
        (path / "run.json").write_text(json.dumps(about | {"data_sha256": None, "overrides": []} | (state or {})))
        scored = {}
        for segment, rmse in (("validation", val), ("test", val if test is None else test)):
            if rmse is not None:
                best = {"rmse": rmse, "mae": rmse / 2, "r2": 1 - rmse, "mase": rmse / 3, "skill": 1 - rmse / 2}
                base = {"rmse": 2.0, "mae": 1.0, "r2": -1.0, "mase": 0.7}
                scored[segment] = {
                    "models": {"best": best, "last": best},
                    "baselines": {"drift": base},
                    "best_baseline": "drift",
                }
        found = {"data": "cinema (simulated)", "target": "total_sales", "unit": "tickets", "parameters": 100}
        found |= {"windows": dict.fromkeys(scored, 30), "epochs": {"best": 1, "trained": 2}, "seconds": {"total": 9}}
        (path / "metrics.json").write_text(json.dumps(found | scored | (metrics or {})))
        rows = "".join(f"{epoch},1,1,1,1,{seconds / 2}\n" for epoch in (1, 2))
        (path / "history.csv").write_text("epoch,train_loss,last_batch_loss,val_loss,lr,seconds\n" + rows)
        return path

    return make


def test_real_runs_as_a_user_compares_them(run_training, tmp_path):
    runs = {}
    for model, seed in itertools.product(("rnn", "gru"), (0, 1)):
        words = ("data.points=120", "trainer=cpu", "trainer.max_epochs=1", "model.hidden_size=4", f"seed={seed}")
        runs[model.upper(), seed] = run_training(*words, f"model={model}", "data.seed=${seed}").run
    folder = tmp_path / "outputs"
    done = script(folder, columns=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    metrics = {key: json.loads(run.metrics.read_text()) for key, run in runs.items()}
    for model in ("RNN", "GRU"):
        (line,) = [line for line in done.stdout.splitlines() if f"  {model}  " in line]
        for segment in ("validation", "test"):
            values = [metrics[model, seed][segment]["models"]["best"]["rmse"] for seed in (0, 1)]
            half = stats.t.ppf(0.975, 1) * np.std(values, ddof=1) / np.sqrt(2)
            assert f"{np.mean(values):.4f} ± {half:.4f}" in line or f"{np.mean(values):.5f} ± {half:.5f}" in line
        skill = np.mean([metrics[model, seed]["test"]["models"]["best"]["skill"] for seed in (0, 1)])
        assert f"{skill:+.3f}" in line
    assert "data.seed: the same as the seed" in done.stdout
    assert "sorted by validation RMSE, the best first; report the test" in done.stdout
    assert f"written: {folder}/leaderboard.csv, .md, .json" in done.stdout

    (table,) = strict((folder / "leaderboard.json").read_text())["tables"]
    assert table["keys"] == ["model"]  # model.backbone.hidden_size is there, does not vary, and is no column
    for row in table["rows"]:
        model = row["keys"]["model"].rpartition(".")[2]
        assert row["seeds"] == [0, 1]
        for segment, metric in itertools.product(("validation", "test"), METRICS):
            values = [metrics[model, seed][segment]["models"]["best"][metric] for seed in (0, 1)]
            assert row[segment][metric]["mean"] == pytest.approx(np.mean(values))
            low, high = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
            assert row[segment][metric]["half_width"] == pytest.approx((high - low) / 2)
            assert (row[segment][metric]["lowest"], row[segment][metric]["highest"]) == (min(values), max(values))
        histories = [np.loadtxt(runs[model, seed].history, delimiter=",", skiprows=1, ndmin=2) for seed in (0, 1)]
        assert row["seconds"] == pytest.approx(np.mean([history[:, -1].sum() for history in histories]))
        assert row["parameters"] == metrics[model, 0]["parameters"]
    order = [row["validation"]["rmse"]["mean"] for row in table["rows"]]
    assert order == sorted(order)
    for name in ("main_effects", "cost"):
        assert matplotlib.image.imread(folder / "figures" / f"{name}.png").shape[2] == 4
    assert not (folder / "figures" / "heat_map.png").exists()  # one key


def test_only_the_keys_that_vary_are_columns_and_those_tied_are_one(make, tmp_path):
    for hidden, epochs in itertools.product((8, 16), (5, 9)):
        cosine = {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": epochs, "eta_min": 0.0}
        for scheduler in (None, cosine):
            make(
                model__hidden_size=hidden,
                model__backbone__hidden_size=hidden,
                trainer__max_epochs=epochs,
                scheduler=scheduler,
            )
    board, text = printed([tmp_path])
    (table,) = board.tables
    assert table.keys == ["model.hidden_size", "scheduler", "trainer.max_epochs"]
    assert re.search(r"# +hidden_size +scheduler +max_epochs +val RMSE", text)
    assert "CosineAnnealingLR" in text
    assert " none " in text


def test_two_keys_that_a_person_tied_are_both_shown(make, tmp_path):
    for size in (8, 16):
        overrides = [f"model.hidden_size={size}", f"data.batch_size={size}"]
        make(model__hidden_size=size, data__batch_size=size, state={"overrides": overrides})
    assert printed([tmp_path])[0].tables[0].keys == ["model.hidden_size", "data.batch_size"]


def test_a_key_that_some_rows_have_and_ambiguous_names(make, tmp_path):
    make(1.0, model__dropout=0.1)
    make(2.0, model__dropout=0.3, optimizer__dropout=7, model__extra=[8, 4])
    board, text = printed([tmp_path], columns=120)
    assert board.tables[0].keys == ["model.dropout", "model.extra", "optimizer.dropout"]
    assert re.search(r"model.dropout +extra +optimizer.dropout", text)
    assert re.search(r"1 +0.1 +– +– ", text)  # noqa: RUF001
    assert re.search(r"2 +0.3 +\[8,4\] +7 ", text)


def test_values_are_in_natural_order_where_scores_are_equal(make, tmp_path):
    for window in (100, 9, 20):
        make(data__window_size=window)
    assert [row.config["data.window_size"] for row in printed([tmp_path])[0].tables[0].rows] == [9, 20, 100]


def test_what_does_not_matter_to_a_result_makes_no_row(make, tmp_path):
    make(seed=0, output_dir="here", checkpoint_seconds=1, state={"data_sha256": "abc"}, data__path="/a/data.csv")
    make(seed=1, output_dir="there", checkpoint_seconds=5, state={"data_sha256": "abc"}, data__path="/b/data.csv")
    (row,) = printed([tmp_path])[0].tables[0].rows
    assert list(row.replicas) == [0, 1]


def test_the_same_config_and_seed_counts_once_the_newest(make, tmp_path):
    make(5.0, folder="first", state={"finished": "2026-02-02T00:00:00+00:00"})
    make(7.0, folder="second", state={"finished": "2026-03-03T00:00:00+00:00"})
    make(9.0, folder="second", state={"finished": "2026-01-01T00:00:00+00:00"})
    board, text = printed([tmp_path / "first", tmp_path / "second", tmp_path])  # each run is also found twice
    (row,) = board.tables[0].rows
    assert row.scores("validation", "rmse") == {0: 7.0}
    assert (board.runs, board.repeats) == (1, 2)
    assert "2 runs repeat a config and seed: the newest counts" in text


def test_runs_that_did_not_end_are_counted_and_never_scored(make, tmp_path):
    make(3.0)
    make(0.1, state={"status": "failed", "error": "boom"})
    make(0.1, state={"status": "failed", "error": "interrupted (Ctrl-C)"})
    make(0.1, state={"status": "running"})
    make(0.1, metrics={"fast_dev_run": True})
    (make(0.1, name="broken[red]\x1b[31m") / "metrics.json").write_text('{"val')
    (make(0.1, name="infinite") / "history.csv").write_text("epoch,seconds\n1,nan\n")
    make(0.1, name="words", metrics={"parameters": "many"})
    make(1e300, name="overflow")
    os.mkfifo(make(0.1, name="pipe") / "pipe")
    (tmp_path / "sweep" / "pipe" / "config.yaml").unlink()
    (tmp_path / "sweep" / "pipe" / "pipe").rename(tmp_path / "sweep" / "pipe" / "config.yaml")
    board, text = printed([tmp_path])
    assert board.runs == 1
    assert "9 runs are not in the table: 5 damaged, 1 failed, 1 fast_dev_run, 1 interrupted, 1 killed" in text
    assert "broken[red]?[31m: metrics.json is damaged" in text
    assert "\x1b" not in text
    assert {run.name.rpartition("/")[2] for run in board.left_out if run.status == "damaged"} == {
        *("broken[red]\x1b[31m", "infinite", "words", "overflow", "pipe")
    }


def test_files_that_would_fill_the_memory_are_damaged(make, tmp_path):
    make()
    merges = "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))
    (make(name="merges") / "config.yaml").write_text("a0: &a0 {x: 1}\n" + merges)
    (make(name="deep") / "config.yaml").write_text("data: " + "[" * 50_000 + "]" * 50_000)
    (make(name="environment") / "config.yaml").write_text("data: ${oc.env:HOME}\n")
    (make(name="number") / "config.yaml").write_text(yaml.safe_dump(CONFIG).replace("seed: 0", f"seed: 0x{'f' * 9000}"))
    begun = time.monotonic()
    board, _ = printed([tmp_path])
    assert time.monotonic() - begun < 3
    assert [run.status for run in board.left_out] == ["damaged"] * 4


def test_marks(make, tmp_path):
    noise = (0.3, 0.0, 0.1)
    rows = {1: [1.0, 1.1, 1.2], 2: [1.05, 1.3, 1.15], 3: [1.2, 1.3, 1.41], 4: [1.9], 5: [4.0, 4.1]}
    for window, values in rows.items():
        for seed, value in enumerate(values, start=50 if window == 5 else 0):
            make(value + (noise[seed] if window < 4 else 0), seed=seed, data__window_size=window)
    board, text = printed([tmp_path])
    (table,) = board.tables
    marks = {row.config["data.window_size"]: mark for row, mark in zip(table.rows, table.marks, strict=True)}
    assert marks == {1: BEST, 2: SAME, 3: WORSE, 4: UNKNOWN, 5: WORSE}  # 3: by pairs alone; 5: Welch's
    assert stats.ttest_rel(rows[3], rows[1]).pvalue < 0.05 < stats.ttest_rel(rows[2], rows[1]).pvalue
    assert re.search(r"^ *1 +1 +1.233 ", text, re.M)
    assert re.search(r"^ *2 ~ +2 ", text, re.M)
    assert re.search(r"^ *3 +3 ", text, re.M)
    assert re.search(r"^ *4 \? +4 +1.900 +1.900 +1 ", text, re.M)
    said = " ".join(text.split())
    for words in (
        "±: half the width",
        "~: not distinguishable",
        "?: too few seeds",
        "Welch's",
        "not corrected for the",
    ):
        assert words in said


def test_one_seed_a_row_is_said_once(make, tmp_path):
    for window in (3, 4, 5):
        make(window, data__window_size=window)
    _, text = printed([tmp_path])
    assert text.count("seed=0,1,2") == 1
    assert "±" not in text
    assert "?" not in text


@pytest.mark.parametrize(("metric", "best"), [("rmse", 1), ("mae", 1), ("mase", 1), ("r2", 1), ("skill", 1)])
def test_every_metric_has_its_best_first(make, tmp_path, metric, best):
    for window, value in ((1, 0.5), (2, 0.9), (3, 0.7)):
        make(value, data__window_size=window)
    board, text = printed([tmp_path], metric=metric)
    assert [row.config["data.window_size"] for row in board.tables[0].rows] == [best, 3, 2]
    assert f"sorted by validation {metric.upper() if metric != 'skill' else metric}" in text


def test_by_test_is_a_leak_and_says_so(make, tmp_path):
    make(1.0, 3.0, data__window_size=1)
    make(2.0, 2.0, data__window_size=2)
    board, text = printed([tmp_path], tmp_path / "out", sort="test")
    assert [row.config["data.window_size"] for row in board.tables[0].rows] == [2, 1]
    assert "Choosing by it leaks it" in text
    assert "Choosing by it leaks it" in (tmp_path / "out" / "leaderboard.md").read_text()
    assert "leaks" not in printed([tmp_path])[1]
    assert "leaks" in script("--help").stdout


def test_without_a_validation_segment(make, tmp_path):
    make(None, 3.0, data__window_size=1)
    make(None, 2.0, data__window_size=2)
    board, text = printed([tmp_path], columns=200)
    assert board.tables[0].sorted_by == "test"
    assert "no validation segment (data.validation=0): sorted by the test segment. Choosing by it leaks it" in text
    assert "val RMSE" not in text


def test_without_a_test_segment(run_training, tmp_path):
    words = ("data.points=120", "trainer=cpu", "trainer.max_epochs=1", "data.test=0", "evaluate_train=true")
    result = run_training(*words)
    board, text = printed([tmp_path / "outputs"], tmp_path / "out")
    (table,) = board.tables
    assert (table.sorted_by, table.reported) == ("validation", "train")
    assert "train RMSE" in text
    assert "seen in training" in text
    assert f"{result.metrics['train']['models']['best']['rmse']:.4f}" in text
    (line,) = csv.DictReader(io.StringIO((tmp_path / "out" / "leaderboard.csv").read_text()))
    assert float(line["train_rmse_mean"]) == result.metrics["train"]["models"]["best"]["rmse"]
    assert line["test_rmse_mean"] == ""


def test_other_targets_are_other_tables(make, tmp_path):
    for days, horizon, window, transform in itertools.product((100, 200), (1, 7), (5, 6), ("none", "standard")):
        make(data__days=days, data__horizon=horizon, data__window_size=window, data__transform=transform)
    board, text = printed([tmp_path], columns=120)
    assert [len(table.rows) for table in board.tables] == [4] * 4
    assert all(table.keys == ["data.transform", "data.window_size"] for table in board.tables)
    for words in (
        "1 step ahead; days=100",
        "7 steps ahead; days=100",
        "1 step ahead; days=200",
        "7 steps ahead; days=200",
    ):
        assert words in text
    assert "16 rows in 4 tables" in text


@pytest.mark.parametrize(
    "change",
    [
        {"data__validation": 0.3},
        {"data__test": 20},
        {"data__stride": 2},
        {"state": {"data_sha256": "b" * 64}},
        {"metrics": {"unit": "euro"}},
        {"metrics": {"target": "tickets"}},
        {"metrics": {"data": "another"}},
    ],
)
def test_what_makes_other_targets(make, tmp_path, change):
    make(state={"data_sha256": "a" * 64})
    make(**({"state": {"data_sha256": "a" * 64}} | change))
    board, _ = printed([tmp_path])
    assert len(board.tables) == 2
    assert board.repeats == 0


def test_other_numbers_of_windows_are_noted(make, tmp_path):
    for window, count in ((5, 30), (9, 28)):
        make(data__window_size=window, metrics={"windows": {"validation": 30, "test": count}})
    assert "scored on 28 to 30 test windows" in printed([tmp_path])[1]


def lines_of_table(text):
    return [line for line in text.splitlines() if re.match(r" *[0-9]+ [~? ]? ", line)]


@pytest.mark.parametrize("columns", [60, 80, 100, 160])
def test_the_table_keeps_to_the_terminal_and_no_number_is_cut(make, tmp_path, columns):
    for window, hidden, seed in itertools.product((7, 14), (16, 32), (0, 1, 2)):
        score = 12_345_678 + 1000 * window + hidden + 100 * seed
        make(score, seed=seed, data__window_size=window, model__hidden_size=hidden, model__dropout=hidden / 100)
    _, text = printed([tmp_path], tmp_path / "out", columns=columns)
    assert max(map(cell_len, text.split("written:")[0].splitlines())) <= columns
    table = lines_of_table(text)
    assert len(table) == 4
    for line in table:
        assert len(re.findall(r"12\.3[0-9]+ ± 0\.[0-9]+", line)) == 2
    assert "RMSE in 1e6 tickets" in text
    assert ("no room for" in text) == (columns < 160)


def test_a_terminal_without_unicode(make, tmp_path):
    for seed in (0, 1):
        make(1 + seed, seed=seed)
    done = script(tmp_path / "sweep", "--no-figures", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1.500 +- 6.353" in done.stdout


def test_many_rows_are_in_the_files(make, tmp_path):
    for window in range(40):
        make(window + 1, data__window_size=window + 1)
    _, text = printed([tmp_path], tmp_path / "out")
    assert "and 10 more rows" in text
    assert len((tmp_path / "out" / "leaderboard.csv").read_text().splitlines()) == 41
    assert (tmp_path / "out" / "leaderboard.md").read_text().count("\n| ") == 42


def test_files(make, tmp_path):
    for seed in (0, 1):
        make(1.0 + seed, 2.0, seed=seed, optimizer__note="a|b<i>*c*", data__window_size=5)
        make(0.5, 2.5, seed=seed, optimizer__note="plain", data__window_size=7)
    printed([tmp_path], tmp_path / "out")
    markdown = (tmp_path / "out" / "leaderboard.md").read_text()
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1  # as many cells in each line
    assert r"a\|b\<i\>\*c\*" in markdown
    first, second = csv.DictReader(io.StringIO((tmp_path / "out" / "leaderboard.csv").read_text()))
    assert (first["optimizer.note"], second["optimizer.note"]) == ("plain", "a|b<i>*c*")
    assert (first["data.window_size"], first["rank"], first["seed_list"]) == ("7", "1", "0 1")
    assert float(second["validation_rmse_half_width"]) == pytest.approx(interval([1.0, 2.0]).half_width)
    assert float(second["test_skill_mean"]) == 0.0
    make(3.0, 3.0, data__window_size=7, optimizer__lr=0.00123456789)
    printed([tmp_path], tmp_path / "out")
    assert ",0.00123456789," in (tmp_path / "out" / "leaderboard.csv").read_text()
    assert "| 0.001235 |" in (tmp_path / "out" / "leaderboard.md").read_text()  # rounded for people
    strict((tmp_path / "out" / "leaderboard.json").read_text())


def test_figures(make, tmp_path):
    for window, hidden, seed in itertools.product((7, 14, 28), (16, 32), (0, 1)):
        sizes = {"data__window_size": window, "model__hidden_size": hidden, "seconds": window * hidden}
        make(window / 7 + 1 / hidden + seed / 9, seed=seed, **sizes)
    out = tmp_path / "out"
    (out / "figures").mkdir(parents=True)
    (out / "figures" / "cost_3.png").write_text("of an earlier call")
    (out / "figures" / "mine.png").write_text("of somebody")
    publish([tmp_path / "sweep"], out, Console(file=io.StringIO()), heat=("hidden_size", "data.window_size"))
    names = {path.name for path in (out / "figures").iterdir()}
    assert names == {"main_effects.png", "heat_map.png", "cost.png", "mine.png"}
    for name in names - {"mine.png"}:
        assert matplotlib.image.imread(out / "figures" / name).std() > 0.01
    with pytest.raises(ConfigError, match=r"hiden_size: no key .*did you mean hidden_size"):
        publish([tmp_path / "sweep"], out, Console(file=io.StringIO()), heat=("hiden_size", "window_size"))


def test_figures_of_what_is_hard_to_draw(make, tmp_path):
    """Names with formulas, a search over many values, no spread at all, a single row, several tables."""
    numbers = random.Random(0)
    for place in range(30):
        make(1.0, data__days=10, optimizer__lr=10 ** numbers.uniform(-5, 0), model__name=f"$x_{{{place}$", seconds=0.0)
    make(1.0, data__days=20)
    make(1.0, data__days=30, model__dropout=0.1, seconds=1.0)
    make(9.0, data__days=30, model__dropout=0.2, seconds=100.0)
    text = io.StringIO()
    publish([tmp_path / "sweep"], tmp_path / "out", Console(file=text, width=200))
    names = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert names == {"main_effects_1.png", "cost_1.png", "main_effects_3.png", "cost_3.png"}


def test_one_row_has_no_effects_and_no_error(make, tmp_path):
    make()
    done = script(tmp_path / "sweep")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 run, 1 row" in done.stdout
    assert list((tmp_path / "sweep" / "figures").iterdir()) == []


def test_errors_in_one_line(make, tmp_path):
    make(data__window_size=5)
    make(data__window_size=6)
    make(folder="none", state={"status": "failed", "error": "boom"})
    (tmp_path / "file").write_text("")
    cases = {
        (tmp_path / "nowhere",): "does not exist",
        (tmp_path / "none",): "no complete run here: 1 failed",
        (tmp_path / "sweep", "--heat", "windows_size", "lr"): "did you mean window_size?",
        (tmp_path / "sweep", "--heat", "window_size", "data.window_size"): "are one key",
        (tmp_path / "sweep", "--output", tmp_path / "file"): "this is no folder",
    }
    for arguments, words in cases.items():
        done = script(*arguments, "--no-figures")
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_json_alone_on_standard_output_and_where_files_go(make, tmp_path):
    make(seed=0)
    make(seed=1, folder="other")
    done = script(tmp_path / "sweep", tmp_path / "other", "--json", "--no-figures", cwd=tmp_path)
    assert strict(done.stdout)["tables"][0]["rows"][0]["seeds"] == [0, 1]
    assert (tmp_path / "outputs" / "leaderboard" / "leaderboard.csv").exists()
    run = make(seed=2, folder="third", name="run")
    script(run, "--no-figures", cwd=tmp_path)
    assert not (run / "leaderboard.csv").exists()  # a run's folder is left as it is


def test_light_imports_and_links(make, tmp_path):
    make()
    (tmp_path / "sweep" / "link").symlink_to(tmp_path / "sweep", target_is_directory=True)
    code = (
        "import runpy, sys\n"
        "sys.argv = ['leaderboard.py', sys.argv[1], '--no-figures']\n"
        "runpy.run_path('scripts/leaderboard.py', run_name='__main__')\n"
        "heavy = [name for name in ('torch', 'lightning', 'pandas', 'matplotlib', 'numpy') if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "sweep")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 run, 1 row")


def test_figures_need_no_torch_either():
    code = "import sys, unroll.sweeps.figures; assert not {'torch', 'lightning', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_five_hundred_runs_are_quick(make, tmp_path):
    for window, seed in itertools.product(range(1, 101), range(5)):
        make(window + seed / 10, seed=seed, data__window_size=window)
    begun = time.monotonic()
    board, _ = printed([tmp_path], tmp_path / "out")
    assert time.monotonic() - begun < 5  # 0.7 s where nothing else runs
    assert (board.runs, board.rows) == (500, 100)


def test_two_writers_at_once(make, tmp_path):
    for window in (5, 6):
        make(window, data__window_size=window)
    out = tmp_path / "out"
    failures = []

    def write():
        try:
            for _ in range(10):
                printed([tmp_path / "sweep"], out)
                strict((out / "leaderboard.json").read_text())
                assert len((out / "leaderboard.csv").read_text().splitlines()) == 3
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert {path.name for path in out.iterdir()} == {f"leaderboard.{kind}" for kind in ("csv", "md", "json")}


@pytest.fixture
def found(make, tmp_path):
    numbers = random.Random(0)
    for window, hidden, seed in itertools.product((7, 14), (16, 32), (0, 1, 2)):
        make(1 + numbers.random(), 1 + numbers.random(), seed=seed, data__window_size=window, model__hidden_size=hidden)
    make(1.5, seed=3, data__window_size=7, model__hidden_size=16)
    make(1.1, seed=0, data__days=99)
    return read_entries([tmp_path])


def test_in_any_order_the_same_leaderboard(found):
    expected = leaderboard(found)

    @settings(max_examples=30, deadline=None)
    @given(st.permutations(found.entries))
    def check(entries):
        board = leaderboard(Found(list(entries)))
        assert as_csv(board) == as_csv(expected)
        assert as_json(board) == as_json(expected)

    check()


def test_a_further_seed_changes_its_own_row_alone(found):
    def rows(board):
        return {json.dumps(row["keys"]): row for table in strict(as_json(board))["tables"] for row in table["rows"]}

    (more,) = (entry for entry in found.entries if entry.seed == 3)
    before = rows(leaderboard(Found([entry for entry in found.entries if entry is not more])))
    after = rows(leaderboard(found))
    changed = {key for key in after if after[key]["seeds"] != before[key]["seeds"]}
    assert len(changed) == 1
    for key in after.keys() - changed:
        assert {**after[key], "rank": 0, "mark": ""} == {**before[key], "rank": 0, "mark": ""}
    (key,) = changed
    values = [*before[key]["seeds"], 3]
    assert after[key]["seeds"] == values


def test_a_run_of_several_seeds_counts_as_several(found):
    """As replicas that train together will be: one run, K seeds."""
    from dataclasses import replace

    first = found.entries[0]
    many = replace(first, replicas=[replace(first.replicas[0], seed=seed) for seed in (0, 5, 6, 7)])
    (row,) = leaderboard(Found([many])).tables[0].rows
    assert list(row.replicas) == [0, 5, 6, 7]
    assert row.over_seeds("validation", "rmse").count == 4


def test_nothing_to_read(tmp_path):
    with pytest.raises(RunError, match="no complete run here"):
        read_leaderboard([tmp_path])
    with contextlib.suppress(RunError):
        read_leaderboard([tmp_path / "nowhere"])
        pytest.fail("it does not exist")
