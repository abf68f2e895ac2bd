"""Series of any size and shape: scores follow the unit, what is undefined is said to be, and nothing is NaN."""

import dataclasses
import functools
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from rich.console import Console

from conftest import load_config
from unroll import load_run
from unroll.backtest.figures import draw_backtest
from unroll.backtest.forecasts import Forecasts
from unroll.backtest.scores import score
from unroll.data.csv import CSVData
from unroll.data.module import WindowDataModule
from unroll.data.series import Series
from unroll.errors import DataError
from unroll.evaluation.baselines import LinearAutoregression, baselines
from unroll.evaluation.evaluate import evaluate, fit_reference
from unroll.evaluation.figures import draw_losses, draw_series
from unroll.evaluation.metrics import naive_error
from unroll.results import essentials
from unroll.sweeps.cells import numbers
from unroll.sweeps.leaderboard import read_leaderboard
from unroll.train import build_forecaster, train

ROWS = 120
WAVE = np.sin(np.arange(ROWS) / 4) + 0.1 * np.random.RandomState(0).standard_normal(ROWS)


class Given(WindowDataModule):
    """A series as it is given."""

    def __init__(self, values: np.ndarray, **windowing: object) -> None:
        super().__init__(**windowing)  # type: ignore[arg-type]
        self.given = values.reshape(len(values), -1)

    def load(self) -> Series:
        dates = pd.date_range("2020-01-01", periods=len(self.given), unit="us")
        names = tuple(f"column{number}" for number in range(self.given.shape[1]))
        return Series(self.given, dates, names, "given", season=7)


def write(folder: Path, values: np.ndarray) -> Path:
    path = folder / "series.csv"
    path.write_text("value\n" + "\n".join(map(repr, values.tolist())) + "\n")
    return path


def trained(folder: Path, values: np.ndarray, *overrides: str) -> tuple[dict, str, Path]:
    """metrics.json, what was printed, and the run directory."""
    words = ["data=csv", f"data.path={write(folder, values)}", "trainer.max_epochs=2", "data.window_size=6"]
    words += ["data.horizon=2", "data.seasonal_period=7", f"output_dir={folder}", *overrides]
    printed = io.StringIO()
    result = train(load_config(*words), words, Console(file=printed, width=120))
    read = json.loads(
        result.run.metrics.read_text(), parse_constant=lambda word: pytest.fail(f"{word} in metrics.json")
    )
    return read, printed.getvalue(), result.run.path


@pytest.fixture(scope="module")
def of_one(tmp_path_factory) -> dict:
    return trained(tmp_path_factory.mktemp("one"), WAVE)[0]


@pytest.mark.parametrize("power", [-100, -12, 12, 100])
def test_scores_follow_the_unit(tmp_path, of_one, power) -> None:
    unit = 10.0**power
    found, printed, run = trained(tmp_path, WAVE * unit)
    for segment in ("validation", "test"):
        for kind in ("models", "baselines"):
            for name, row in of_one[segment][kind].items():
                other = found[segment][kind][name]
                for metric in ("mae", "rmse"):
                    assert other[metric] == pytest.approx(row[metric] * unit, rel=1e-3)
                for metric in set(row) - {"mae", "rmse"}:
                    assert other[metric] == pytest.approx(row[metric], rel=1e-3, abs=1e-3)
        assert found[segment]["best_baseline"] == of_one[segment]["best_baseline"]
    assert f"{found['test']['models']['best']['rmse']:.3e}" in printed
    table = load_run(run).forecast(3, [80])
    assert np.isfinite(table.to_numpy()).all()
    assert (table["high_80"] - table["low_80"] > 1e-3 * unit).all()


def test_a_constant_test_segment(tmp_path) -> None:
    """R2 and skill are undefined: null in files, n/a in the table; the runs stay in their leaderboard."""
    values = WAVE.copy()
    values[-20:] = values[-21]
    found, printed, run = trained(tmp_path, values)
    scores = found["test"]["models"]["best"]
    assert scores["r2"] is None
    assert scores["skill"] is None
    assert scores["rmse"] > 0
    assert "persistence is exact here" in printed
    assert found["validation"]["models"]["best"]["r2"] is not None
    ours = load_run(run).intervals(2, [80])
    assert ours.coverage is not None
    (table,) = read_leaderboard([run.parent]).tables
    assert len(table.rows) == 1


@pytest.mark.parametrize("segment", ["validation", "train"])
def test_another_constant_segment(tmp_path, segment) -> None:
    values = WAVE.copy()
    if segment == "train":
        values[:84] = 3.0
        with pytest.raises(DataError, match=r"constant \(3\) in the 84 rows of the training segment"):
            trained(tmp_path, values)
        return
    values[83:103] = 3.0
    found, _, _ = trained(tmp_path, values)
    assert found["validation"]["models"]["best"]["r2"] is None
    assert found["test"]["models"]["best"]["r2"] is not None


@functools.cache
def small_config() -> DictConfig:
    return load_config("data.window_size=5", "data.horizon=2", "model.hidden_size=4")


SHAPES: dict[str, Callable[[np.random.RandomState], np.ndarray]] = {
    "noise": lambda random: random.standard_normal(ROWS),
    "walk": lambda random: random.standard_normal(ROWS).cumsum(),
    "negative": lambda random: -np.abs(random.standard_normal(ROWS)) - 3,
    "mostly zeros": lambda random: np.where(random.uniform(size=ROWS) < 0.9, 0, random.uniform(size=ROWS)),
    "counts": lambda random: random.poisson(2, ROWS).astype(float),
    "constant stretches": lambda random: np.repeat(random.standard_normal(ROWS // 10), 10),
    "constant end": lambda random: np.append(random.standard_normal(ROWS - 40), np.full(40, 0.1)),
    "constant test": lambda random: np.append(random.standard_normal(ROWS - 18), np.full(18, 0.1)),
    "spike": lambda random: np.where(np.arange(ROWS) == random.randint(ROWS), 1e6, random.standard_normal(ROWS)),
    "on a level": lambda random: 1e9 + random.standard_normal(ROWS),
    "exact season": lambda random: np.tile(random.standard_normal(7), ROWS)[:ROWS],
    "line": lambda random: np.arange(ROWS) * 0.1,
}


CHAINS = [["standard"], ["minmax"], ["robust"], ["log1p", "standard"], ["minmax", "log1p", "robust"]]
CHAINS += [["standard", "window_standard"], ["robust", "difference"], ["log1p", "minmax", "window_centre"]]


@settings(max_examples=100, deadline=None)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    power=st.sampled_from([-120, -12, 0, 12, 120]),
    transform=st.sampled_from(CHAINS),
    seed=st.integers(0, 1000),
)
def test_nothing_is_nan_without_a_word(shape: str, power: int, transform: list[str], seed: int) -> None:
    """Scores of untrained weights and baselines are finite, or null where their definition divides by nothing."""
    values = SHAPES[shape](np.random.RandomState(seed)) * 10.0**power
    data = Given(values, window_size=5, horizon=2, transform=transform)
    try:
        data.setup()
    except DataError as error:
        assert "constant" in str(error) or ("log1p" in transform and "log1p" in str(error))  # noqa: PT017
        return
    forecaster = build_forecaster(small_config(), data)
    reference = fit_reference(data)
    for segment in ("train", "validation", "test"):
        found = evaluate(forecaster, data, segment, {"best": [forecaster.state_dict()]}, reference)
        truth = data.targets(segment)
        for row in found.scores.values():
            assert all(value is None or np.isfinite(value) for value in row.values())
            assert row["mae"] is not None
            assert row["rmse"] is not None
            assert row["rmse"] >= row["mae"] * (1 - 1e-12)
            assert (row["r2"] is None) == (np.ptp(truth) <= 1e-12 * np.abs(truth).max())
        exact = found.scores[found.best_baseline]["rmse"] <= 1e-6 * truth.std() + 1e-14 * np.abs(truth).max()
        gain = found.skill["best"]
        assert exact or (gain is not None and np.isfinite(gain))


@settings(max_examples=80, deadline=None)
@given(
    shape=st.sampled_from(sorted(set(SHAPES) - {"on a level"})),
    unit=st.floats(1e-12, 1e12),
    level=st.floats(-100, 100),
    seed=st.integers(0, 1000),
)
def test_baselines_follow_unit_and_level(shape: str, unit: float, level: float, seed: int) -> None:
    values = SHAPES[shape](np.random.RandomState(seed))[:, None]
    size = np.abs(values).max()
    rows, train_rows = np.arange(90, ROWS - 2), np.arange(5, 84)

    def made(series: np.ndarray) -> dict[str, np.ndarray]:
        return baselines(series, LinearAutoregression(series, train_rows, 5, 2), rows, 7)

    ours, others = made(values), made((values + level * size) * unit)
    if np.ptp(values[:86]) > 0:  # of a constant training segment nothing is learned
        for name, forecast in ours.items():
            largest = max(size, np.abs(forecast).max()) * (1 + abs(level))
            np.testing.assert_allclose(
                others[name] / unit - level * size, forecast, rtol=0, atol=1e-6 * largest, err_msg=name
            )
    train_part = values[:84, 0]
    scaled = naive_error(train_part * unit, 7) / unit
    assert scaled == pytest.approx(naive_error(train_part, 7), rel=1e-6, abs=1e-12 * size)


def test_what_is_left_of_an_error_of_zero_is_no_scale() -> None:
    """sin(2 pi t / 7) repeats itself to the rounding of its argument: MASE would be 1e14."""
    wave = np.sin(2 * np.pi * np.arange(200) / 7)
    assert naive_error(wave, 7) == 0
    assert naive_error(wave + 1e6, 7) == 0
    assert naive_error(wave, 1) > 0.1
    assert naive_error(1e9 + 1e-3 * wave, 1) == pytest.approx(1e-3 * naive_error(wave, 1), rel=1e-2)
    assert naive_error(np.arange(1e7), 1) == 1


def test_a_covariate_that_changes_after_the_training_segment() -> None:
    """0.1 is constant to rounding only, and the rounding must not become its unit."""
    covariate = np.where(np.arange(ROWS) < 90, 0.1, 1.0)
    values = np.stack([WAVE, covariate], axis=1)
    regression = LinearAutoregression(values, np.arange(5, 84), 5, 1)
    made = regression.forecast(values, np.arange(95, ROWS))
    assert np.abs(made).max() < 2


def test_a_number_too_large_beside_the_training_segment_is_named(tmp_path) -> None:
    values = WAVE.copy()
    values[110] = 1e60
    data = CSVData(path=str(write(tmp_path, values)), window_size=5)
    with pytest.raises(DataError, match=r"column value is 1e\+60 at 110, too large for the network"):
        data.setup()


def test_a_leaderboard_of_errors_of_very_different_sizes(tmp_path) -> None:
    """Without a transform, a network can be 1e10 times worse; both numbers have their digits."""
    for transform in ("standard", "none"):
        trained(tmp_path, WAVE * 1e-12, f"data.transform={transform}")
    (table,) = read_leaderboard([tmp_path]).tables
    _, write_number = numbers(table)
    shown = [write_number(row.over_seeds("test", "rmse").mean) for row in table.rows]
    assert all(float(text) > 0 for text in shown)


@pytest.mark.parametrize("text", [r"$\frac$", "$a$", "x" * 300, "a\nb"])
def test_names_and_units_are_no_formulas(tmp_path, text) -> None:
    data = Given(WAVE, window_size=5)
    data.setup()
    names = {"columns": (text,), "name": text, "unit": text, "index": data.series.index.rename(text)}
    data.series = dataclasses.replace(data.series, **names)
    figure = draw_series(data, subtitle="")
    figure.draw_without_rendering()
    assert len(figure.axes[0].get_ylabel()) < 250


@pytest.mark.parametrize("losses", [[9.999999e17, 9.999994e17, 9.99999e17], [1e-20, 1e-21, 1e-22], [0.5, 0.499, 0.498]])
def test_the_axis_of_losses_has_numbers(losses) -> None:
    history = [{"epoch": n + 1, "train_loss": loss, "val_loss": loss} for n, loss in enumerate(losses)]
    figure = draw_losses(history, 1, loss="MSE", title="x", subtitle="y")
    figure.draw_without_rendering()
    axis = figure.axes[0].yaxis
    low, high = figure.axes[0].get_ylim()
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    assert [tick for tick in ticks if low <= tick.get_loc() <= high and tick.label1.get_text()]


def test_a_long_config_is_read_to_its_end_in_figures(tmp_path) -> None:
    data = Given(WAVE, window_size=5)
    data.setup()
    words = ["data.transform=[asinh,standard,window_median]", "model.skip=linear", "model.residual=seasonal_naive"]
    subtitle = essentials(load_config(*words, "model.loss=huber", "data.calendar=[weekday,month]", "replicas=16"))
    assert all(word in subtitle for word in ("skip linear", "residual seasonal_naive", "loss huber"))
    figure = draw_series(data, subtitle=subtitle)
    figure.draw_without_rendering()
    (title,) = [text for text in (figure.axes[0].title, figure.axes[0]._left_title) if text.get_text()]
    assert title.get_text().replace("\n", " ") == subtitle
    assert title.get_window_extent().x1 < figure.bbox.x1


def test_steps_of_a_backtest_are_whole_numbers() -> None:
    truth = np.arange(60.0).reshape(20, 3)
    other = {"persistence": truth + 2}
    found = Forecasts(
        np.arange(20) + 10, np.ones(20, int), truth, {"best": truth + 1}, truth[None], other, {}, {"best": {}}
    )
    values = {"title": "x", "horizon": 3, **score(found, 1.0, 0, 1)}
    figure = draw_backtest(
        Series(np.arange(40.0)[:, None], pd.RangeIndex(40), ("y",), "x"), found, values, {"best": "GRU"}, ""
    )
    figure.draw_without_rendering()
    upper, lower = figure.axes
    assert all(float(tick).is_integer() for tick in lower.get_xticks())
    legend = upper.get_legend().get_window_extent().transformed(upper.transData.inverted())
    assert legend.y0 > max(line.get_ydata().max() for line in upper.lines)
