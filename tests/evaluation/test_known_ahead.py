"""Runs with a chain of transforms, a calendar and columns known ahead: through train.py and forecast.py."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from conftest import forge, load_config
from unroll.data.module import WindowDataModule
from unroll.errors import DataError
from unroll.evaluation.ahead import forecast_from, intervals
from unroll.export import FORMATS, export_run, raw_windows
from unroll.load import LoadedRun, load_run

ROWS, AHEAD = 120, 10
DAYS = pd.date_range("2024-01-01", periods=ROWS + AHEAD, name="day")
PRICE = 1.0 + np.random.RandomState(0).randint(0, 4, ROWS + AHEAD)
FORECAST = {"script": "scripts/forecast.py", "output_dir": False}
CHAIN = "data.transform=[log1p,standard,window_centre]"


def write(path: Path, rows: int = ROWS, ahead: int = AHEAD, price: np.ndarray = PRICE) -> Path:
    """What is sold on a day follows its price and its weekday."""
    sold = np.round(40 - 8 * PRICE + 20 * (DAYS.day_of_week >= 5) + np.arange(ROWS + AHEAD) % 3).astype(float)
    sold[rows:] = np.nan
    frame = pd.DataFrame({"sold": sold, "price": price, "seen": np.cos(np.arange(ROWS + AHEAD))}, index=DAYS)
    frame.loc[DAYS[rows] :, "seen"] = np.nan
    frame[: rows + ahead].to_csv(path)
    return path


def words(path: Path, *more: str) -> list[str]:
    return [
        *("data=csv", f"data.path={path}", "data.date=day", "data.target=sold", "data.known_ahead=[price]"),
        *("data.calendar=auto", CHAIN, "data.window_size=7", "trainer=cpu", "model.hidden_size=8", *more),
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run with a horizon of 2, after 30 epochs: enough to see prices and weekdays."""
    from unroll.progress import PatientConsole
    from unroll.train import train

    folder = tmp_path_factory.mktemp("known")
    path = write(folder / "sales.csv")
    overrides = words(path, "data.horizon=2", "trainer.max_epochs=30", "optimizer.lr=0.02")
    cfg = load_config(f"output_dir={folder / 'outputs'}", *overrides)
    run = train(cfg, overrides, PatientConsole()).run.path
    path.unlink()
    return run


def made(run: LoadedRun, module: WindowDataModule, row: int, steps: int) -> np.ndarray:
    return forecast_from(run.forecaster, run.weights["best"], module, np.array([row]), steps)[0, 0]


def changed(run: LoadedRun, row: int, column: str, rows: int) -> WindowDataModule:
    """The run's data with other values from a row on, in the series' units."""
    module = run.datamodule
    values = module.series.values.copy()
    values[row : row + rows, module.series.columns.index(column)] += 1.0
    again = WindowDataModule.__new__(type(module))
    again.__dict__.update(module.__dict__)
    again.series = replace(module.series, values=values)
    again.values = torch.from_numpy(module.transform.apply(values)).float()
    return again


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_forecast_knows_the_columns_known_ahead_and_no_target(trained, steps):
    run = load_run(trained)
    row = 90
    honest = made(run, run.datamodule, row, steps)
    np.testing.assert_array_equal(made(run, changed(run, row, "sold", ROWS), row, steps), honest)
    for column in ("price", "calendar:weekday_1"):
        other = made(run, changed(run, row + steps - 1, column, 1), row, steps)
        assert other[-1] != honest[-1]
    before = made(run, changed(run, row - 1, "sold", 1), row, steps)
    assert (before != honest).all()
    after = changed(run, row + -(-steps // 2) * 2, "price", ROWS)  # behind what is read in whole horizons
    np.testing.assert_array_equal(made(run, after, row, steps), honest)


def test_the_forecast_goes_on_with_prices_and_weekdays(trained, command, tmp_path):
    output = tmp_path / "forecast.csv"
    done = command(
        str(trained),
        "--steps",
        "9",
        "--levels",
        "80",
        "--output",
        str(output),
        script="scripts/forecast.py",
        output_dir=False,
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(output)
    assert table["day"].tolist() == [str(day.date()) for day in DAYS[ROWS : ROWS + 9]]
    np.testing.assert_allclose(table["forecast"], load_run(trained).forecast(9)["forecast"], rtol=1e-6)
    weekend = DAYS[ROWS : ROWS + 9].day_of_week >= 5
    expected = 41 - 8 * PRICE[ROWS : ROWS + 9] + 20 * weekend
    assert np.corrcoef(table["forecast"], expected)[0, 1] > 0.7  # of another price or weekday it would not be
    assert (table["low_80"] < table["high_80"]).all()


def test_beyond_what_the_file_knows_it_stops_in_a_line(trained, command, tmp_path):
    asked = [str(trained), "--steps", "11", "--figure", str(tmp_path / "x.png")]
    done = command(*asked, **FORECAST)
    assert done.returncode == 1
    assert done.stderr == (
        "error: price must be known in 12 rows after the end of series sales (a forecast reads those of its 2 rows), "
        "and the data give 10 rows: ask for at most 10 steps, or append rows to the file, with the target empty and "
        "these columns filled\n"
    )
    newer = write(tmp_path / "sales.csv", ahead=0)
    done = command(*asked, "--data-path", str(newer), **FORECAST)
    assert done.stderr.startswith(
        "error: price must be known in 12 rows after the end of series sales (a forecast reads those of its 2 rows), "
        "and the data give none: append rows"
    )
    assert done.stderr.count("\n") == 1


def test_other_prices_give_another_forecast_of_the_same_run(trained, tmp_path):
    path = write(tmp_path / "sales.csv", price=np.where(np.arange(ROWS + AHEAD) < ROWS, PRICE, PRICE[::-1]))
    same = load_run(trained, write(tmp_path / "same.csv")).forecast(4)["forecast"]
    np.testing.assert_allclose(same, load_run(trained).forecast(4)["forecast"])
    other = load_run(trained, path).forecast(4)["forecast"]
    assert (PRICE[::-1][ROWS : ROWS + 4] != PRICE[ROWS : ROWS + 4]).any()
    assert not np.allclose(other, same)


def test_intervals_leave_out_windows_whose_prices_are_not_known(trained, tmp_path):
    """Three steps read the prices of four rows; of the last window of a segment at the end, one is missing."""
    run = load_run(trained, write(tmp_path / "sales.csv", ahead=0))
    found = intervals(run.forecaster, run.weights["best"], run.datamodule, 3, [50])
    assert found.test_windows == len(run.datamodule.segments.test) - 3
    known = load_run(trained)
    assert known.intervals(3, [50]).test_windows == len(known.datamodule.segments.test) - 2


def test_a_past_covariate_bounds_the_steps_as_ever(run_training, tmp_path):
    path = write(tmp_path / "sales.csv")
    run = load_run(run_training(*words(path, "data.covariates=[seen]", "trainer.max_epochs=1")).run.path)
    assert run.datamodule.series.columns[:3] == ("sold", "seen", "price")
    assert len(run.forecast(1)) == 1
    with pytest.raises(DataError, match=r"2 steps ahead: the columns seen are not known there.*at most 1 step"):
        run.forecast(2)


@pytest.mark.parametrize("kind", ["torch-export"])
def test_the_exported_file_holds_the_chain_and_says_how_to_make_the_calendar(trained, kind, tmp_path):
    run = load_run(trained)
    exported = export_run(run, kind, tmp_path / f"model{FORMATS[kind].suffix}")
    columns = run.datamodule.shape.features
    assert exported.inputs == {"past": ("B", 7, columns), "future": ("B", 2, columns - 1)}
    extra = {"unroll.json": ""}
    torch.export.load(exported.path, extra_files=extra)
    about = json.loads(extra["unroll.json"])
    assert about["future"] == ["price", *about["calendar"]]
    assert about["calendar"]["calendar:weekday_1"].startswith("1 where the weekday")
    origins = run.datamodule.origins("test")[:3]
    found = FORMATS[kind].open(exported.path)(raw_windows(run.datamodule, origins))
    np.testing.assert_allclose(found, [made(run, run.datamodule, row, 2) for row in origins], rtol=1e-5)


def test_a_calendar_needs_nothing_of_the_file(run_training, command, tmp_path):
    """Beyond the horizon, with free runs, for hours: they go on by themselves."""
    path = tmp_path / "load.csv"
    hours = pd.date_range("2024-01-01", periods=300, freq="h", name="time")
    pd.DataFrame({"load": 5 + np.sin(hours.hour / 4)}, index=hours).to_csv(path)
    result = run_training(
        *("data=csv", f"data.path={path}", "data.date=time", "data.calendar=auto", "data.calendar_encoding=cyclic"),
        *("data.window_size=6", "trainer.max_epochs=1", "free_run.steps=30", "trainer=cpu"),
    )
    assert result.metrics["free_run"]["steps"] == 30
    config = yaml.safe_load((result.run.path / "config.yaml").read_text())
    assert config["data"]["calendar"] == "auto"
    done = command(str(result.run.path), "--steps", "100", **FORECAST)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("2024-01-17 15:00:00,100,")


def test_a_sweep_over_chains_reads_well(command, tmp_path):
    done = command(
        *("-m", "data=cinema", "data.transform=standard,[log1p,standard]", "sweep.name=chains", "trainer.max_epochs=1"),
        *("trainer=cpu", "data.calendar=[],[weekday]"),
    )
    assert done.returncode == 0, done.stderr
    board = (tmp_path / "outputs" / "sweeps" / "chains" / "leaderboard.csv").read_text()
    assert '"[log1p,standard]"' in board
    assert board.count("\n") == 5
    assert "data.transform=[log1p,standard]" in done.stdout


def test_runs_from_before_there_were_chains_still_load(run_training):
    """Their checkpoints say the offset and the scale of the one word, their configs nothing of a calendar."""
    run = run_training("data=cinema", "trainer.max_epochs=1").run
    checkpoint = torch.load(run.best_checkpoint, weights_only=True)
    (step,) = checkpoint["unroll"].pop("transform")
    assert step.pop("word") == "standard"
    checkpoint["unroll"] |= step
    checkpoint["unroll"]["shape"] = {
        name: checkpoint["unroll"]["shape"][name] for name in ("window_size", "horizon", "features", "future_features")
    }
    torch.save(checkpoint, run.best_checkpoint)
    config = yaml.safe_load(run.config.read_text())
    for key in ("calendar", "calendar_encoding", "holidays", "known_ahead", "end"):
        del config["data"][key]
    run.config.write_text(yaml.safe_dump(config, sort_keys=False))
    forge(run.path)
    loaded = load_run(run.path, as_written=False)
    assert len(loaded.forecast(3)) == 3
    other = shutil.copytree(run.path, run.path.with_name("other"))
    checkpoint["unroll"]["scale"] = [1.0]
    torch.save(checkpoint, other / "checkpoints" / "best.ckpt")
    with pytest.raises(Exception, match="was one replaced"):
        load_run(other, as_written=False)
