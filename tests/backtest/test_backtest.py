"""Rolling origins as a user runs them: real trainings, real files, and nothing known before its time."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from conftest import ROOT
from processes import python
from unroll.data.series import Series

SCRIPT = str(ROOT / "scripts" / "backtest.py")
ROWS = 150
SMALL = ["model.hidden_size=3", "data.window_size=5", "trainer.max_epochs=3", "--jobs", "1"]


def write_series(path: Path, changed_from: int = ROWS, factor: float = 3.0) -> None:
    days = np.arange(ROWS)
    values = 20 * np.sin(days * 2 * np.pi / 7) + 3 * np.random.RandomState(0).standard_normal(ROWS)
    values[changed_from:] *= factor
    index = pd.date_range("2024-01-01", periods=ROWS, name="day")
    pd.DataFrame({"sold": values}, index=index).to_csv(path)


def words_for(folder: Path, *words: str) -> list[str]:
    data = ["data=csv", f"data.path={folder / 'sales.csv'}", "data.date=day"]
    return [*data, *SMALL, *words, f"output_dir={folder / 'outputs'}"]


def backtest(folder: Path, *words: str, changed_from: int = ROWS) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    write_series(folder / "sales.csv", changed_from)
    return run(words_for(folder, *words))


def run(words: list[str], *before: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*python(), *before, SCRIPT, *words], cwd=ROOT, capture_output=True, text=True, timeout=300)


def report_of(folder: Path) -> tuple[dict, pd.DataFrame]:
    (found,) = (folder / "outputs" / "backtests").iterdir()
    return json.loads((found / "backtest.json").read_text()), pd.read_csv(found / "predictions.csv")


WORDS = ("--rows", "30", "--refit", "12", "--step", "2", "data.horizon=3", "replicas=2", "data.validation=8")


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """28 rows of origins, every second one, three steps ahead, three folds of two replicas."""
    folder = tmp_path_factory.mktemp("backtest")
    return folder, backtest(folder, *WORDS)


def test_the_report_is_there_and_says_what_was_done(done):
    folder, process = done
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    values, _ = report_of(folder)
    (found,) = (folder / "outputs" / "backtests").iterdir()
    assert values["title"] == "sales: backtest of 14 origins, 3 steps ahead, 3 trainings"
    assert values["title"] in process.stdout
    page = (found / "backtest.md").read_text()
    names = [
        "GRU, ensemble of 2",
        "GRU, mean of 2 seeds",
        "linear autoregression",
        "seasonal naive (7)",
        "ETS",
        "Theta",
    ]
    names += ["linear autoregression (train + validation)", "persistence", "drift"]
    for name in names:
        assert f"| {name} |" in page
        assert name.split(" (")[0] in process.stdout
    assert imread(found / "backtest.png").std() > 0.03
    assert set(values["baselines"]) == set(names[2:])
    for line in values["notes"]:
        assert line in process.stdout
    assert "No intervals of the differences can be had: 14 origins are fewer than 4 blocks of 4." in values["notes"][0]


def test_each_fold_is_a_run_that_knows_only_what_came_before(done):
    folder, _ = done
    (found,) = (folder / "outputs" / "backtests").iterdir()
    values, table = report_of(folder)
    assert [row["rows_before"] for row in values["folds"]] == [120, 132, 144]
    assert [row["origins"] for row in values["folds"]] == [6, 6, 2]
    for row in values["folds"]:
        run_folder = found / row["run"]
        series = Series.load(run_folder / "series.npz")
        mine = table[table["fold"] == row["fold"]]
        assert str(series.index[-1].date()) == mine["day"].max()
        metrics = json.loads((run_folder / "metrics.json").read_text())
        assert metrics["replicas"] == 2
        tested = pd.read_csv(run_folder / "predictions.csv")
        both = mine.merge(tested, on=["day", "origin", "step"])
        assert len(both) == len(mine)  # every origin of the backtest is one of the run's own test windows
        np.testing.assert_array_equal(both["forecast_ensemble_x"], both["forecast_ensemble_y"])
        np.testing.assert_array_equal(both["linear autoregression_x"], both["linear autoregression_y"])


def test_the_numbers_are_those_of_the_predictions(done):
    folder, _ = done
    values, table = report_of(folder)
    (found,) = (folder / "outputs" / "backtests").iterdir()
    summary = pd.read_csv(found / "backtest.csv").set_index("forecast")
    truth, written = table["truth"], pd.read_csv(folder / "sales.csv").set_index("day")["sold"]
    np.testing.assert_array_equal(truth, written.loc[table["day"]])
    assert len(table) == 14 * 3
    scale = np.abs(written.to_numpy()[7:120] - written.to_numpy()[:113]).mean()
    assert values["mase_scale"] == pytest.approx(scale, rel=1e-12)
    columns = {name: name for name in values["baselines"]} | {"ensemble": "forecast_ensemble"}
    for name, column in columns.items():
        error = table[column] - truth
        row = (values["models"] | values["baselines"])[name]
        assert row["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-9)
        assert row["mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-9)
        assert row["mase"] == pytest.approx(np.mean(np.abs(error)) / scale, rel=1e-9)
        assert summary.loc[name, "rmse"] == pytest.approx(row["rmse"])
        by_step = np.sqrt((error**2).groupby(table["step"]).mean())
        np.testing.assert_allclose(values["by_step"][name]["rmse"], by_step, rtol=1e-9)
    seeds = [np.sqrt(np.mean((table[f"forecast_best_epoch_seed{seed}"] - truth) ** 2)) for seed in (0, 1)]
    assert values["models"]["best"]["rmse"] == pytest.approx(np.mean(seeds), rel=1e-9)
    np.testing.assert_array_equal(table["persistence"], written.loc[table["origin"]])
    best = values["best_baseline"]
    ensemble = values["models"]["ensemble"]
    assert ensemble["skill"] == pytest.approx(1 - ensemble["rmse"] / values["baselines"][best]["rmse"])
    for name, gap in values["comparison"]["with"].items():
        difference = ensemble["rmse"] - values["baselines"][name]["rmse"]
        assert gap["rmse"]["value"] == pytest.approx(difference, rel=1e-9)
        assert summary.loc[name, "rmse_difference"] == pytest.approx(difference, rel=1e-9)
        assert gap["rmse"]["low"] is None  # of 14 origins none can be had
        assert gap["rmse"]["why"] == "14 origins are fewer than 4 blocks of 4"
        test = gap["mae"]["diebold_mariano"]
        assert 0 <= test["p_value"] <= 1 if test["p_value"] is not None else "not positive" in test["why"]
    assert set(values["intervals"]) == {"ensemble", "ensemble, rolling"}
    assert "no 95 % intervals: 6 validation windows, and this level needs at least 19 (fold 1, 2, 3)" in values["notes"]
    for name, end in (("ensemble", ""), ("ensemble, rolling", "_rolling")):
        inside = (table[f"low_80{end}"] <= truth) & (truth <= table[f"high_80{end}"])
        assert values["intervals"][name]["80"]["coverage"] == pytest.approx(inside.mean())
        width = (table[f"high_80{end}"] - table[f"low_80{end}"]).mean()
        assert values["intervals"][name]["80"]["width"] == pytest.approx(width)
    first = table.iloc[0]  # the first step of the first fold's first origin: nothing is known but validation
    assert first["low_80"] == first["low_80_rolling"]
    page = (found / "backtest.md").read_text()
    assert "| n/a | n/a |" in page  # no interval, and no verdict of it
    assert "| not told |" not in page


def test_the_same_command_uses_what_is_complete_and_gives_the_same_numbers(done):
    folder, _ = done
    values, table = report_of(folder)
    again = run(words_for(folder, *WORDS))
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("complete before") == 3
    values_again, table_again = report_of(folder)
    pd.testing.assert_frame_equal(table_again, table, check_exact=True)
    assert values_again["comparison"] == values["comparison"]


def test_no_forecast_knows_a_row_from_its_origin_on(done, tmp_path):
    """Rows from the 134th on are others: what is before them stays, bit by bit, and so does every earlier fit."""
    folder, _ = done
    changed = backtest(tmp_path / "changed", *WORDS, changed_from=134)
    assert changed.returncode == 0, changed.stderr
    values, table = report_of(folder)
    others, other = report_of(tmp_path / "changed")
    origin = pd.to_datetime(table["day"]) - pd.to_timedelta(table["step"] - 1, unit="D")
    known = origin < pd.Timestamp("2024-01-01") + pd.Timedelta(days=135)  # the 134th row (from 0) is their first target
    assert (known.sum(), (~known).sum()) == (8 * 3, 6 * 3)
    forecasts = [name for name in table if name not in ("truth",)]
    pd.testing.assert_frame_equal(other.loc[known, forecasts], table.loc[known, forecasts], check_exact=True)
    for name in set(forecasts) - {"day", "origin", "step", "fold"}:
        assert not np.array_equal(other.loc[~known, name], table.loc[~known, name])
    hashes = []
    for where, found in ((folder, values), (tmp_path / "changed", others)):
        (backtests,) = (where / "outputs" / "backtests").iterdir()
        metrics = [json.loads((backtests / row["run"] / "metrics.json").read_text()) for row in found["folds"]]
        hashes.append([one["weights_sha256"]["best"] for one in metrics])
    assert [one == two for one, two in zip(*hashes, strict=True)] == [True, True, False]


def test_after_kill_9_the_same_command_goes_on_and_ends_the_same(done, tmp_path):
    folder, _ = done
    write_series(tmp_path / "sales.csv")
    words = words_for(tmp_path, *WORDS, "checkpoint_seconds=0")
    killed = [sys.executable, str(ROOT / "tests" / "killed.py"), "40", str(tmp_path / "outputs"), SCRIPT, *words]
    assert subprocess.run(killed, cwd=ROOT, capture_output=True, timeout=300).returncode == -9
    (found,) = (tmp_path / "outputs" / "backtests").iterdir()
    states = [json.loads(path.read_text())["status"] for path in found.glob("*/run.json")]
    assert "running" in states
    went_on = run(words)
    assert went_on.returncode == 0, went_on.stderr
    assert len(list(found.glob("*/run.json"))) == 3  # the half-done one went on
    pd.testing.assert_frame_equal(report_of(tmp_path)[1], report_of(folder)[1], check_exact=True)


def test_a_fold_that_fails_is_named_and_the_others_are_reported(tmp_path):
    folder = tmp_path / "spike"
    folder.mkdir()
    write_series(folder / "sales.csv", changed_from=140, factor=1e60)  # beyond what the network's numbers can hold
    failed = run(words_for(folder, "--rows", "30", "--refit", "15", "--name", "spike"))
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert line.startswith("error: fold 2, from 2024-05-15: series sales: column sold is ")
    values, table = report_of(folder)
    assert set(table["fold"]) == {1}
    assert values["config"]["data"]["validation"] == round(120 * 0.15 / 0.85)  # as large as beside the whole series
    assert values["failed"] == [line.removeprefix("error: ")]
    assert f"missing: {values['failed'][0]}" in failed.stdout


def test_without_validation_and_with_gaps(tmp_path):
    """A recipe that splits windows, with a row missing: no refitted regression, no intervals, fewer origins."""
    write_series(tmp_path / "sales.csv")
    lines = (tmp_path / "sales.csv").read_text().splitlines(keepends=True)
    (tmp_path / "sales.csv").write_text("".join(lines[:131] + lines[132:]))
    extra = ["data.missing=interpolate", "data.order=window_then_split", "data.validation=0", "data.horizon=2"]
    process = run(words_for(tmp_path, *extra, "--rows", "40", "data.stride=3"))
    assert process.returncode == 0, process.stderr
    values, table = report_of(tmp_path)
    assert values["folds"][0]["rows_before"] == 110
    assert values["origins"] == 39 - 2
    assert table["truth"].notna().all()
    assert values["intervals"] == {}
    assert "linear autoregression (train + validation)" not in values["baselines"]
    assert "2 of 39 origins are left away: a target has no value (1 rows)" in process.stdout
    gap = values["comparison"]["with"]["persistence"]["rmse"]
    assert gap["low"] < gap["value"] < gap["high"]
    said = values["notes"][0].partition("By the 95 % intervals of the differences, ")[2]
    for name, rows in values["comparison"]["with"].items():
        (sentence,) = [
            part for part in said.removesuffix(".").split(". ") if name in re.split("; | than | from ", part)
        ]
        assert re.match(f"[iI]t (is )?{rows['rmse']['verdict']} ", sentence)


MISTAKES = {
    "--rows 0": "--rows 0: give at least 1, the last rows, which are forecast",
    "--rows 145": "--rows 145: the series has 150 rows, and the first fold needs more than data.window_size = 5",
    "--rows 144": "--rows 144 leaves 6 rows before the first origin: series sales is too short: 150 rows are",
    "--rows 10 data.horizon=11": "data.horizon=11 is longer than the 10 rows to forecast (--rows 10): raise --rows",
    "--rows 10 --refit -1": "--refit -1: give the rows from one training to the next, or 0 to train once",
    "--rows 10 --step 0": "--step 0: give at least 1, the rows from one origin to the next",
    "--rows 10 --jobs 0": "--jobs 0: give at least 1",
    "--rows 10 --name ../up": "--name ../up: give a name of letters, digits",
    "--rows 10 data.test=5": "data.test=5: it cannot be set here; give --rows N",
    "--rows 10 resume=x": "resume=x: it cannot be set here; give nothing: the same command goes on by itself",
    "--rows 10 model": "model: write KEY=VALUE, as for train.py",
    "--rows 10 data.windowsize=3": "there is no key data.windowsize (did you mean data.window_size?)",
    "--rows 10 data.end=2023-01-01": "data.end=2023-01-01: series sales goes from 2024-01-01 to 2024-05-29",
    "--rows 10 data.target=x": "sales.csv has no column x",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_are_told_in_a_line(words, tmp_path):
    done = backtest(tmp_path, *words.split())
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert MISTAKES[words] in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_without_statsmodels_the_rows_are_left_away(done, tmp_path, monkeypatch, capsys):
    folder, _ = done
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.setitem(sys.modules, "statsmodels", None)  # as where it is not installed
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # the script changes it, and this process starts others
    monkeypatch.chdir(ROOT)
    words = words_for(folder, *WORDS)
    words[-1] = f"output_dir={tmp_path / 'copy' / 'outputs'}"
    monkeypatch.setattr(sys, "argv", [SCRIPT, *words])
    about = importlib.util.spec_from_file_location("backtest_script", SCRIPT)
    script = importlib.util.module_from_spec(about)
    about.loader.exec_module(script)
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0
    values, table = report_of(tmp_path / "copy")
    assert "ETS" not in values["baselines"]
    assert "Theta" not in table
    said = "ETS and Theta are left away: they need pip install -c constraints.txt -e '.[classical]'"
    assert said in values["notes"]
    assert said in capsys.readouterr().out
