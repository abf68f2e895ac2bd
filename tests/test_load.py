"""A finished run, used again from its directory alone: scored, forecast from, and never trusted."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import unroll
from conftest import ROOT, forge
from processes import python
from unroll import load_run
from unroll.data.calendar import continued
from unroll.errors import DataError, UnrollError
from unroll.evaluation.again import evaluate_again

DAYS = pd.date_range("2024-01-01", periods=200, name="day")
SOLD = 100 + 30 * np.sin(np.arange(200) * 2 * np.pi / 7) + 5 * np.random.RandomState(0).standard_normal(200)


def write_csv(path: Path, rows: int = 160, **columns) -> Path:
    pd.DataFrame({"sold": SOLD[:rows], **columns}, index=DAYS[:rows]).to_csv(path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run on a CSV file that is gone, three steps ahead."""
    from rich.console import Console

    from conftest import load_config
    from unroll.train import train

    folder = tmp_path_factory.mktemp("trained")
    data = write_csv(folder / "sales.csv")
    words = [
        "data=csv",
        f"data.path={data}",
        "data.date=day",
        "data.target=sold",
        "data.horizon=3",
        "data.window_size=9",
    ]
    cfg = load_config(f"output_dir={folder / 'outputs'}", *words, "trainer.max_epochs=12", "optimizer.lr=0.02")
    run = train(cfg, words, Console(file=io.StringIO())).run
    data.unlink()
    return run.path


@pytest.fixture
def copied(trained, tmp_path) -> Path:
    """The same, moved elsewhere."""
    return Path(shutil.copytree(trained, tmp_path / "moved [1]"))


def script(name: str, *words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    arguments = [*python(), str(ROOT / "scripts" / f"{name}.py"), *map(str, words)]
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("segment", ["test", "validation"])
def test_scores_are_those_of_training_to_the_last_digit(segment, copied):
    loaded = load_run(copied)
    values = evaluate_again([copied], segment, None, None, unroll.progress.PatientConsole())[str(copied)]
    trained = loaded.metrics[segment]
    for name, row in values["models"].items():
        assert row == trained["models"][name]
    assert values["baselines"] == trained["baselines"]
    assert values["by_step"] == trained["by_step"]
    assert (copied / "evaluation" / f"{segment}.png").exists()
    table = pd.read_csv(copied / "evaluation" / f"{segment}.csv")
    if segment == "test":
        before = pd.read_csv(copied / "predictions.csv")
        pd.testing.assert_frame_equal(table[before.columns], before)


def test_the_script_prints_the_table_of_the_training(copied, tmp_path):
    done = script("evaluate", copied, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = load_run(copied).metrics["test"]
    assert "csv: test segment" in done.stdout or "sales: test segment" in done.stdout
    assert f"{first['models']['best']['rmse']:.4g}"[:4] in done.stdout
    assert "skill: 1 - RMSE" in done.stdout


def test_other_data_use_the_transform_and_the_times_of_the_run(copied, tmp_path):
    newer = write_csv(tmp_path / "newer.csv", 200)
    before, after = load_run(copied), load_run(copied, newer)
    assert after.datamodule.transform.description == before.datamodule.transform.description
    assert after.datamodule.segments.test.start == before.datamodule.segments.test.start
    assert len(after.datamodule.segments.test) == len(before.datamodule.segments.test) + 40
    scored = evaluate_again([copied], None, newer, tmp_path / "out", unroll.progress.PatientConsole())
    (values,) = scored.values()
    assert values["windows"] == before.metrics["test"]["windows"] + 40
    old, new = pd.read_csv(copied / "predictions.csv"), pd.read_csv(tmp_path / "out" / "test.csv")
    pd.testing.assert_frame_equal(new[old.columns].iloc[: len(old)], old)


def write_dates(path: Path, dates: pd.DatetimeIndex) -> Path:
    rows = [f"{date.isoformat()},{(row * row) % 31}" for row, date in enumerate(dates)]
    path.write_text("\n".join(["d,value", *rows]) + "\n")
    return path


def test_other_data_are_read_by_the_clock_of_the_run(run_training, tmp_path):
    """Between two changes, dates with offsets are as regular in UTC as on the wall clock: these alone cannot tell."""
    berlin, path = "Europe/Berlin", tmp_path / "dates.csv"
    words = ["data=csv", f"data.path={path}", "data.date=d", "data.window_size=4", "trainer.max_epochs=1"]
    halves = pd.date_range("2018-10-01", periods=180, freq="12h").tz_localize(berlin)
    write_dates(path, halves)
    on_the_wall = run_training(*words).run.path
    newer = write_dates(tmp_path / "winter.csv", halves[-40:])
    done = script("forecast", on_the_wall, "--data-path", newer, "--steps", 2)
    assert done.returncode == 0, done.stderr
    assert [line.partition(",")[0] for line in done.stdout.splitlines()] == [
        "d",
        "2018-12-30 00:00:00",
        "2018-12-30 12:00:00",
    ]
    in_utc = pd.date_range("2018-10-01", periods=180, freq="12h", tz="UTC").tz_convert(berlin)
    with pytest.raises(
        DataError, match=r"on a grid in UTC, and those .* wall clock: write them in the same way, or tr"
    ):
        load_run(on_the_wall, write_dates(tmp_path / "other.csv", in_utc))

    days = pd.date_range("2018-10-01", periods=90, tz="UTC").tz_convert(berlin)  # at 02:00, and then at 01:00
    write_dates(path, days)
    run = load_run(run_training(*words).run.path, write_dates(tmp_path / "december.csv", days[-20:]))
    assert run.forecast(1).index[0] == pd.Timestamp("2018-12-30")
    assert run.forecast(1).index.name == "d (UTC)"
    local = pd.date_range("2018-10-01", periods=90, tz=berlin)
    with pytest.raises(
        DataError, match=r"on a grid in the wall clock, and those .* in UTC: write them in the same way"
    ):
        load_run(run.run.path, write_dates(tmp_path / "other.csv", local))


def test_several_runs_share_a_table_and_a_figure(copied, trained, run_training, tmp_path):
    other = run_training("data=sine", "trainer.max_epochs=1").run.path
    done = script("evaluate", copied, trained, other, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "different targets: compare their skill" in done.stdout
    assert set(json.loads((tmp_path / "out" / "runs.json").read_text())) == {str(copied), str(trained), str(other)}
    assert (tmp_path / "out" / "runs.png").exists()
    assert "…" not in done.stdout


def test_the_library_in_a_few_lines(copied):
    run = load_run(str(copied))
    assert run.config.data.horizon == 3
    assert run.metrics["test"]["models"]["best"]["rmse"] > 0
    assert not run.forecaster.training
    table = run.forecast(5, levels=[80])
    assert list(table.columns) == ["step", "forecast", "low_80", "high_80"]
    assert table.index[0] == DAYS[160]


def test_a_forecast_is_direct_up_to_the_horizon_and_then_reads_itself(copied):
    run = load_run(copied)
    table = run.forecast(7)
    assert table.index.tolist() == DAYS[160:167].tolist()
    transform, values = run.datamodule.transform, run.datamodule.series.values
    window, expected = transform.apply(values[-9:])[:, 0].tolist(), []
    for _ in range(3):
        past = torch.tensor(window[-9:], dtype=torch.float32).reshape(1, 9, 1)
        with torch.no_grad():
            made = run.forecaster(past, torch.zeros(1, 3, 0))[0].tolist()
        window, expected = window + made, expected + made
    np.testing.assert_allclose(table["forecast"], transform.invert_target(np.array(expected[:7])), rtol=1e-5)


def test_a_forecast_from_earlier_data_is_what_was_predicted_there(copied, tmp_path):
    """Cut the file before a test window: the forecast past its end is that window's."""
    table = pd.read_csv(copied / "predictions.csv")
    first = table.iloc[:3]
    rows = int((pd.Timestamp(first["origin"].iloc[0]) - DAYS[0]).days) + 1
    cut = write_csv(tmp_path / "cut.csv", rows)
    found = load_run(copied, cut).forecast(3)
    assert [str(day.date()) for day in found.index] == first["day"].tolist()
    np.testing.assert_allclose(found["forecast"], first["forecast_best_epoch"], rtol=1e-6)


def test_intervals_are_the_residuals_of_validation_and_their_coverage_is_that_of_test(copied):
    run = load_run(copied)
    found = run.intervals(3, [50, 80])
    segment, module = run.trained.segments.validation, run.trained
    starts = np.arange(segment.start, segment.stop - 2)
    errors = []
    for start in starts:
        past = module.values[start - 9 : start][None]
        with torch.no_grad():
            made = run.forecaster(past, torch.zeros(1, 3, 0))[0].double().numpy()
        errors.append(np.abs(made - module.transform.apply_target(module.series.target[start : start + 3])))
    ordered, count = np.sort(np.array(errors), axis=0), len(starts)
    for level in (50, 80):
        rank = int(np.ceil((count + 1) * level / 100))
        np.testing.assert_allclose(found.calibration.moves[level], ordered[rank - 1], rtol=1e-5)
    test = pd.read_csv(copied / "predictions.csv")
    scaled = [module.transform.apply_target(test[name].to_numpy()) for name in ("truth", "forecast_best_epoch")]
    inside = np.abs(scaled[0] - scaled[1]).reshape(-1, 3) <= found.calibration.moves[80]
    assert found.coverage is not None
    assert found.coverage[80] == pytest.approx(inside.mean())
    assert found.windows == count


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_the_forecast_script_writes_files_and_a_figure(suffix, copied, tmp_path):
    output = tmp_path / f"forecast.{suffix}"
    done = script("forecast", copied, "--steps", "10", "--levels", "80", "--output", output)
    assert done.returncode == 0, done.stderr
    assert "coverage found on" in done.stderr
    assert done.stdout == ""
    rows = pd.read_csv(output).to_dict("records") if suffix == "csv" else json.loads(output.read_text())
    assert [row["day"] for row in rows] == [str(day.date()) for day in DAYS[160:170]]
    assert all(row["low_80"] < row["forecast"] < row["high_80"] for row in rows)
    assert output.with_suffix(".png").exists()


def test_the_forecast_goes_to_standard_output(copied):
    done = script("forecast", copied)
    assert done.stdout.splitlines()[0] == "day,step,forecast"
    assert len(done.stdout.splitlines()) == 4
    assert (copied / "figures" / "future.png").exists()


@pytest.mark.parametrize("freq", ["D", "h", "15min", "B", "W-WED", "MS", "ME", "QS", "YS", "37min", "10D"])
def test_dates_go_on_in_their_rhythm(freq):
    whole = pd.date_range("2023-01-04", periods=60, freq=freq, name="when")
    assert continued(whole[:40], 20).tolist() == whole[40:].tolist()
    assert continued(whole[:40], 1).name == "when"


def test_days_of_the_month_and_numbers_go_on():
    months = pd.DatetimeIndex([pd.Timestamp("2020-01-15") + pd.DateOffset(months=n) for n in range(30)])
    assert continued(months[:20], 10).tolist() == months[20:].tolist()
    assert continued(pd.RangeIndex(10), 3).tolist() == [10, 11, 12]
    np.testing.assert_allclose(continued(pd.Index(np.linspace(0, 9, 10)), 2), [10, 11])


def test_without_validation_intervals_are_refused(run_training):
    run = load_run(run_training("data.validation=0", "trainer.max_epochs=1").run.path)
    assert len(run.forecast(4)) == 4
    with pytest.raises(DataError, match="no validation segment"):
        run.forecast(4, levels=[80])


def test_too_few_windows_for_a_level_are_refused_with_the_number(copied):
    with pytest.raises(DataError, match=r"22 validation windows, and this level needs at least 99"):
        load_run(copied).forecast(3, levels=[99])


def test_columns_that_are_not_known_ahead_bound_the_steps(run_training, data_overrides):
    run = load_run(run_training(*data_overrides("csv"), "data.horizon=2", "trainer.max_epochs=1").run.path)
    assert len(run.forecast(2)) == 2
    with pytest.raises(DataError, match=r"the columns hour are not known there.*at most 2 steps"):
        run.forecast(3)


def refused(path: Path, message: str, data: Path | None = None) -> None:
    with pytest.raises(UnrollError, match=message):
        load_run(path, data)


def test_what_is_no_finished_run_is_refused(copied, tmp_path):
    refused(tmp_path / "none", "does not exist")
    refused(tmp_path, "holds no run")
    state = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps(state | {"status": "failed", "error": "interrupted (Ctrl-C)"}))
    refused(copied, r"is not complete \(failed: interrupted \(Ctrl-C\)\); to go on")


@pytest.mark.parametrize("name", ["checkpoints/best.ckpt", "series.npz", "metrics.json", "config.yaml", "history.csv"])
@pytest.mark.parametrize("content", [None, b"", "half"])
def test_missing_and_truncated_files_are_named(name, content, copied):
    path = copied / name
    whole = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(UnrollError) as error:
        load_run(copied)
    assert "\n" not in str(error.value)
    assert str(copied) in str(error.value)


def test_data_that_do_not_fit_are_refused(copied, tmp_path):
    other = pd.DataFrame({"price": SOLD}, index=DAYS)
    other.to_csv(tmp_path / "other.csv")
    refused(copied, "sold", tmp_path / "other.csv")
    refused(copied, "does not exist", tmp_path / "missing.csv")
    (tmp_path / "empty.csv").write_text("")
    refused(copied, "empty", tmp_path / "empty.csv")
    few = write_csv(tmp_path / "few.csv", 6)
    with pytest.raises(DataError, match=r"has 6 rows, and a forecast reads data\.window_size = 9"):
        load_run(copied, few).forecast(3)
    with pytest.raises(DataError, match="no window in the test segment"):
        evaluate_again([copied], None, few, tmp_path / "out", unroll.progress.PatientConsole())


def test_files_of_two_runs_are_not_mixed(copied, run_training):
    other = run_training("data=sine", "data.window_size=9", "data.horizon=3", "trainer.max_epochs=1").run
    shutil.copy(other.series, copied / "series.npz")
    refused(copied, "was one replaced")


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


HOSTILE = {
    "data._target_": ["os.system", "builtins.open", "torch.load", "unroll.train.subprocess", "unroll.data.csv.Path"],
    "model.backbone._target_": ["os.system", "torch.hub.load", "unroll.targets.importlib", "torch.nn.GRU"],
    "optimizer._target_": ["torch.load", "subprocess.run", "torch.optim.lr_scheduler.os"],
    "model.head._target_": ["builtins.exec", "../../evil.Head", "unroll..evil.Head"],
}


@pytest.mark.parametrize(("key", "target"), [(key, target) for key, targets in HOSTILE.items() for target in targets])
def test_a_config_cannot_name_code(key, target, copied):
    path = copied / "config.yaml"
    config = yaml.safe_load(path.read_text())
    node = config
    for part in key.split(".")[:-1]:
        node = node[part]
    node["_target_"] = target
    path.write_text(yaml.safe_dump(config))
    forge(copied)
    with pytest.raises(UnrollError):
        load_run(copied)


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "${oc.decode:1}", "!!python/object/apply:os.system [touch]"])
def test_a_config_cannot_read_the_environment_or_build_objects(text, copied):
    path = copied / "config.yaml"
    path.write_text(path.read_text().replace("loss: mse", f"loss: {text}"))
    forge(copied)
    with pytest.raises(UnrollError):
        load_run(copied)


def test_a_checkpoint_and_a_series_cannot_run_code(copied, tmp_path):
    marker = tmp_path / "marker"
    (copied / "checkpoints" / "best.ckpt").write_bytes(pickle.dumps(Touch(marker)))
    refused(copied, "no checkpoint that can be read safely")
    torch.save({"state_dict": Touch(marker), "epoch": 1, "unroll": {}}, copied / "checkpoints" / "best.ckpt")
    refused(copied, "no checkpoint that can be read safely")
    assert not marker.exists()


def test_a_series_with_objects_is_refused(copied, tmp_path):
    marker = tmp_path / "marker"
    values = np.array([Touch(marker)], dtype=object)
    with (copied / "series.npz").open("wb") as file:
        np.savez(file, values=values, index=values, about=values)
    refused(copied, "not a readable series file")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["evaluate", "forecast"])
def test_scripts_refuse_in_one_line(name, tmp_path):
    done = script(name, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


MISTAKES = {
    ("--steps", "0"): "--steps 0: give a whole number from 1",
    ("--levels", "120"): "--levels 120: a level is a percentage between 0 and 100",
    ("--output", "x.xlsx"): "--output x.xlsx: give a name that ends in .csv or .json",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_wrong_option_of_the_forecast_is_named(words, trained):
    done = script("forecast", trained, *words)
    assert done.returncode == 1
    assert MISTAKES[words] in done.stderr
    assert done.stderr.count("\n") == 1


def test_importing_the_package_stays_light():
    code = "import sys, unroll; assert 'torch' not in sys.modules; assert callable(unroll.load_run)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_values_of_an_evaluation_are_strict_json(copied):
    values = evaluate_again([copied], None, None, None, unroll.progress.PatientConsole())
    text = (copied / "evaluation" / "test.json").read_text()
    assert json.loads(text) == json.loads(json.dumps(values))


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_other_precisions_score_as_they_were_trained(precision, run_training, tmp_path):
    run = run_training(f"+trainer.precision={precision}", "trainer.max_epochs=2").run
    (values,) = evaluate_again([run.path], None, None, tmp_path, unroll.progress.PatientConsole()).values()
    assert values["models"]["best"] == load_run(run.path).metrics["test"]["models"]["best"]
    assert len(load_run(run.path).forecast(5, levels=[80])) == 5


def test_what_came_after_a_run_without_a_test_segment_is_test(run_training, tmp_path):
    data = write_csv(tmp_path / "sales.csv")
    words = ("data=csv", f"data.path={data}", "data.date=day", "data.target=sold", "data.window_size=9")
    run = run_training(*words, "data.test=0", "data.validation=0", "evaluate_train=true", "trainer.max_epochs=1").run
    newer = write_csv(tmp_path / "newer.csv", 200)
    (values,) = evaluate_again([run.path], None, newer, tmp_path, unroll.progress.PatientConsole()).values()
    assert (values["segment"], values["windows"]) == ("test", 40)


def test_data_of_an_earlier_time_or_another_rhythm_are_refused(copied, tmp_path):
    early = pd.DataFrame({"sold": SOLD}, index=(DAYS - pd.Timedelta(days=30)).rename("day"))
    early.to_csv(tmp_path / "early.csv")
    refused(copied, "before the run's own", tmp_path / "early.csv")
    hours = pd.DataFrame({"sold": SOLD}, index=pd.date_range(DAYS[10], periods=200, freq="h", name="day"))
    hours.to_csv(tmp_path / "hours.csv")
    refused(copied, "another rhythm", tmp_path / "hours.csv")


def test_a_short_file_goes_on_in_the_rhythm_of_the_run(run_training, tmp_path):
    days = pd.bdate_range("2024-01-01", periods=160, name="day")
    pd.DataFrame({"sold": SOLD[:160]}, index=days).to_csv(tmp_path / "work.csv")
    words = ("data=csv", f"data.path={tmp_path / 'work.csv'}", "data.date=day", "data.target=sold")
    run = run_training(*words, "data.window_size=4", "trainer.max_epochs=1").run
    pd.DataFrame({"sold": SOLD[:5]}, index=days[150:155]).to_csv(tmp_path / "week.csv")  # Monday to Friday
    assert load_run(run.path, tmp_path / "week.csv").forecast(3).index.tolist() == days[155:158].tolist()


@pytest.mark.parametrize("words", ["window_size: 9", "hidden_size: 32"])
def test_a_config_changed_by_hand_is_noticed(words, copied):
    path = copied / "config.yaml"
    key, _, value = words.partition(": ")
    path.write_text(path.read_text().replace(words, f"{key}: {int(value) + 10**9}"))
    refused(copied, "is not as the run wrote it")
    forge(copied)
    refused(copied, "was it changed by hand|too short")


def test_weights_that_are_no_numbers_forecast_nothing(copied):
    path = copied / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"] = {name: value * float("nan") for name, value in checkpoint["state_dict"].items()}
    torch.save(checkpoint, path)
    forge(copied)
    with pytest.raises(UnrollError, match="not finite"):
        load_run(copied).forecast(3)
    torch.save(checkpoint | {"state_dict": [1, 2]}, path)
    refused(copied, "does not fit the network")


@pytest.mark.parametrize("name", ["metrics.json", "history.csv", "series.npz", "checkpoints/best.ckpt"])
def test_a_pipe_in_place_of_a_file_does_not_hang(name, copied):
    (copied / name).unlink()
    os.mkfifo(copied / name)
    with pytest.raises(UnrollError):
        load_run(copied)


def test_hostile_texts_end_at_once(copied):
    forge(copied)
    config = (copied / "config.yaml").read_text()
    bomb = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    (copied / "config.yaml").write_text(config + bomb)
    refused(copied, "it holds an alias")
    (copied / "config.yaml").write_text("[" * 5000)
    refused(copied, "is damaged")
    (copied / "config.yaml").write_text(config)
    metrics = json.loads((copied / "metrics.json").read_text())
    for change in ({"epochs": [1]}, {"epochs": {"best": "1", "trained": "2"}}, {"horizon": "x"}, {"unit": 5}):
        (copied / "metrics.json").write_text(json.dumps(metrics | change))
        refused(copied, "is damaged")
    (copied / "metrics.json").write_text("[" * 100_000)
    refused(copied, "is damaged")


def test_nothing_is_written_through_a_link(copied, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (copied / "evaluation").symlink_to(victim)
    shutil.rmtree(copied / "figures")
    (copied / "figures").symlink_to(victim)
    for name in ("evaluate", "forecast"):
        done = script(name, copied)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
    assert not list(victim.iterdir())


@pytest.mark.parametrize(("steps", "levels"), [(0, []), (1.5, []), (3, [100]), (3, [-5])])
def test_steps_and_levels_are_checked_in_the_library_too(steps, levels, copied):
    with pytest.raises(UnrollError):
        load_run(copied).forecast(steps, levels=levels)


def test_dates_end_with_the_year_9999():
    months = pd.date_range("2020-01-31", periods=40, freq="ME")
    with pytest.raises(DataError, match="beyond the year 9999"):
        continued(months, 100_000)


def test_rows_without_dates_must_be_those_of_the_run(run_training, tmp_path):
    values = pd.DataFrame({"sold": SOLD})
    values[:160].to_csv(tmp_path / "rows.csv", index=False)
    words = ("data=csv", f"data.path={tmp_path / 'rows.csv'}", "data.window_size=9", "trainer.max_epochs=1")
    run = run_training(*words).run
    values.assign(price=1.0).to_csv(tmp_path / "whole.csv", index=False)  # a column more does not matter
    values[20:].to_csv(tmp_path / "later.csv", index=False)
    console = unroll.progress.PatientConsole()
    (found,) = evaluate_again([run.path], None, tmp_path / "whole.csv", tmp_path, console).values()
    assert found["windows"] == 24 + 40
    with pytest.raises(DataError, match="has no dates, and its first 160 rows are not those"):
        evaluate_again([run.path], None, tmp_path / "later.csv", tmp_path, console)
    assert len(load_run(run.path, tmp_path / "later.csv").forecast(2)) == 2


def test_a_file_that_cannot_be_written_is_named_as_it_was_asked_for(copied, tmp_path):
    (tmp_path / "taken.csv").mkdir()
    done = script("forecast", copied, "--output", tmp_path / "taken.csv")
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path / 'taken.csv'}: Is a directory\n"


def test_the_number_of_windows_that_a_level_needs_is_exact(copied):
    for level, needed in ((99, 99), (99.9, 999), (97, 33)):
        with pytest.raises(DataError, match=f"needs at least {needed}:"):
            load_run(copied).forecast(3, levels=[level])
