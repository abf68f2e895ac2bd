"""Contract of every data config in conf/data, and that nothing fitted sees the test segment."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT, load_config, options
from unroll.config import plain
from unroll.data.module import WindowDataModule
from unroll.data.series import Series
from unroll.data.sine import SineData
from unroll.data.transforms import fit_transform
from unroll.data.trend import TrendData
from unroll.errors import ConfigError, DataError
from unroll.evaluation.baselines import LinearAutoregression
from unroll.targets import build

PARTS = ("train", "validation", "test")


def make(cfg) -> WindowDataModule:
    datamodule = build(plain(cfg.data), WindowDataModule, "data")
    datamodule.setup()
    return datamodule


@pytest.mark.parametrize("data", options("data"))
@pytest.mark.parametrize("horizon", [1, 3])
def test_shapes_and_dtypes(data, horizon, data_overrides):
    datamodule = make(load_config(*data_overrides(data), f"data.horizon={horizon}", "data.window_size=6"))
    shape, rows = datamodule.shape, len(datamodule.series.values)
    assert datamodule.values.dtype == torch.float32
    assert datamodule.values.shape == (rows, shape.features)
    for name in ("train", "validation", "test"):
        past, future, target = next(iter(datamodule.loader(name)))
        count = min(1024, len(datamodule.origins(name)))
        assert past.shape == (count, 6, shape.features)
        assert future.shape == (count, horizon, shape.future_features)
        assert target.shape == (count, horizon)
        assert past.dtype == target.dtype == torch.float32
        back = datamodule.transform.invert_target(target.numpy().astype(np.float64))
        np.testing.assert_allclose(back, datamodule.targets(name)[:count], rtol=1e-5, atol=1e-4 * back.std())


@pytest.mark.parametrize("data", options("data"))
def test_the_same_config_gives_the_same_series(data, data_overrides):
    overrides = data_overrides(data)
    first, second = (make(load_config(*overrides)).series.values for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("data", options("data"))
@pytest.mark.parametrize("transform", ["minmax", "standard"])
def test_nothing_fitted_sees_the_test_segment(data, transform, data_overrides):
    cfg = load_config(*data_overrides(data), f"data.transform={transform}", "data.window_size=6")
    honest = make(cfg)
    assert honest.loaded is not None
    changed_values = honest.loaded.values.copy()
    begin = honest.segments.test.start
    changed_values[begin:] = changed_values[begin:] * -3 + 1e3
    changed = build(plain(cfg.data), WindowDataModule, "data")
    changed.loaded = replace(honest.loaded, values=changed_values)
    changed.setup()
    assert honest.transform.description == changed.transform.description
    assert torch.equal(honest.values[:begin], changed.values[:begin])
    for segment in ("train", "validation"):
        for one, other in zip(honest.loader(segment), changed.loader(segment), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    weights = [LinearAutoregression(m.series.values, m.origins("train"), 6, 1).weights for m in (honest, changed)]
    assert np.array_equal(*weights)


@pytest.mark.parametrize("order", ["split_then_window", "window_then_split"])
@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("horizon", [1, 4])
def test_no_order_of_splitting_lets_a_target_into_training(order, history, horizon):
    """No row that is forecast in a segment is read, or is a target, in the training of an earlier one."""
    series = series_of(np.random.RandomState(0).standard_normal(120))
    sizes = {"window_size": 7, "horizon": horizon, "validation": 0.2, "test": 0.2}
    if order == "window_then_split" and not history:
        with pytest.raises(ConfigError, match="contradict each other"):
            Given(series, order=order, history=history, **sizes)
        return
    given = Given(series, order=order, history=history, **sizes)
    given.setup()
    forecast = {name: set((given.origins(name)[:, None] + np.arange(horizon)).ravel()) for name in PARTS}
    read = {name: set((given.origins(name)[:, None] - 1 - np.arange(7)).ravel()) for name in PARTS}
    assert all(forecast.values())
    for number, later in enumerate(PARTS[1:], start=1):
        for earlier in PARTS[:number]:
            assert not forecast[later] & (forecast[earlier] | read[earlier])
        if not history:
            assert not read[later] & (forecast[PARTS[number - 1]] | read[PARTS[number - 1]])
    assert len(given.origins("test")) == {"split_then_window": 24, "window_then_split": round(0.2 * (114 - horizon))}[
        order
    ] - (0 if order == "window_then_split" else horizon - 1) - (0 if history else 7)


def test_segments_may_be_empty_and_a_batch_may_hold_all_windows():
    given = Given(series_of(np.random.RandomState(0).standard_normal(50)), window_size=5, validation=0, test=0)
    given.batch_size = None
    given.setup()
    (batch,) = given.loader("train", train=True)
    assert len(batch.target) == 45
    assert given.val_dataloader() == given.test_dataloader() == []


def test_sine_is_what_its_keys_say():
    sizes = {"window_size": 5, "test": 20}
    by_step = SineData(points=100, period=20.0, step=0.5, amplitude=2.0, phase=0.3, **sizes).load()
    t = np.arange(100) * 0.5
    np.testing.assert_allclose(by_step.target, 2 * np.sin(2 * np.pi * t / 20 + 0.3))
    assert by_step.season == 40
    by_span = SineData(points=1000, period=2 * np.pi, span=100.0, **sizes).load()
    np.testing.assert_allclose(by_span.target, np.sin(np.linspace(0, 100, 1000)), atol=1e-12)
    assert by_span.season is None
    noisy = SineData(points=5000, period=20.0, step=1.0, noise=0.5, **sizes).load()
    clean = SineData(points=5000, period=20.0, step=1.0, **sizes).load()
    assert 0.47 < (noisy.target - clean.target).std() < 0.53
    other = SineData(points=5000, period=20.0, step=1.0, noise=0.5, seed=1, **sizes).load()
    assert not np.array_equal(noisy.target, other.target)
    with pytest.raises(ConfigError, match=r"data\.step=1\.0 and data\.span=2\.0: give one"):
        SineData(points=10, period=2.0, step=1.0, span=2.0, **sizes)


def test_trend_is_the_published_series_by_default():
    datamodule = make(load_config("data=trend"))
    t = np.arange(850)
    rest = datamodule.series.target - np.sin(0.03 * t) - t / 300
    assert rest.min() >= -1e-12
    assert 1.15 < rest.max() <= 1.2
    assert datamodule.segments.test == range(720, 850)
    flat = TrendData(points=10, frequency=0.0, slope=1.0, window_size=1, test=2).load()
    np.testing.assert_allclose(flat.target, t[:10])


@given(st.integers(2, 60), st.integers(1, 3), st.sampled_from(["none", "minmax", "standard"]), st.integers(-12, 12))
def test_transforms_are_inverted_exactly(rows, columns, kind, power):
    values = np.random.RandomState(rows).standard_normal((rows, columns)) * 10.0**power
    transform = fit_transform(kind, values[: rows // 2 + 1])
    back = transform.invert_target(transform.apply(values)[:, 0])
    np.testing.assert_allclose(back, values[:, 0], rtol=1e-9, atol=1e-12 * np.abs(values).max())


def test_transforms_do_what_their_names_say():
    train = np.array([[1.0, 5.0], [3.0, 5.0], [2.0, 5.0]])
    scaled = fit_transform("minmax", train).apply(train)
    np.testing.assert_allclose(scaled, [[0, 0], [1, 0], [0.5, 0]])
    scaled = fit_transform("standard", train).apply(train)
    np.testing.assert_allclose(scaled[:, 0].mean(), 0, atol=1e-15)
    np.testing.assert_allclose(scaled[:, 0].std(), 1)


def series_of(values, **about) -> Series:
    values = np.asarray(values, dtype=float).reshape(len(values), -1)
    index = about.pop("index", None)
    columns = tuple(f"c{number}" for number in range(values.shape[1]))
    return Series(values, pd.RangeIndex(len(values)) if index is None else index, columns, "given", **about)


class Given(WindowDataModule):
    def __init__(self, series: Series, **windowing):
        super().__init__(**windowing)
        self.given = series

    def load(self) -> Series:
        return self.given


@pytest.mark.parametrize(
    ("rows", "window", "horizon", "validation", "test", "segment", "need"),
    [
        (20, 20, 1, 0.15, 0.15, "train", "window_size + horizon = 20 + 1"),
        (100, 4, 16, 0.15, 0.2, "validation", "horizon = 16"),
        (100, 4, 16, 0.2, 0.1, "test", "horizon = 16"),
    ],
)
def test_a_short_series_is_refused_with_the_numbers(rows, window, horizon, validation, test, segment, need):
    series = series_of(np.random.RandomState(0).standard_normal(rows))
    given = Given(series, window_size=window, horizon=horizon, validation=validation, test=test)
    with pytest.raises(DataError) as error:
        given.setup()
    assert f"{rows} rows" in str(error.value)
    assert f"the {segment} segment needs at least {need}" in str(error.value)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_interpolation_tells_no_training_window_its_target(share):
    """On a random walk, least squares beats the walk's own steps only by reading the target."""
    random = np.random.RandomState(0)
    walk = random.standard_normal(4000).cumsum()
    walk[random.random_sample(4000) < share] = np.nan
    walk[0] = 0.0
    given = Given(series_of(walk), window_size=5)
    given.missing = "interpolate"
    given.setup()
    train, values = given.origins("train"), given.series.values
    fitted = LinearAutoregression(values, train, 5, 1).forecast(values, train) - given.targets("train")
    steps = values[train - 1] - given.targets("train")  # the best forecast of a random walk is its last value
    assert np.sqrt(np.square(fitted).mean()) > 0.99 * np.sqrt(np.square(steps).mean())


def test_known_ahead_columns_reach_the_batch():
    values = np.random.RandomState(0).standard_normal((60, 3))
    given = Given(series_of(values, known_ahead=("c2",)), window_size=4, horizon=2, transform="none")
    given.setup()
    assert given.shape.future_features == 1
    batch = next(iter(given.loader("test")))
    begin = given.segments.test.start
    np.testing.assert_allclose(batch.future[0, :, 0], values[begin : begin + 2, 2], rtol=1e-6)


def test_a_constant_training_segment_is_refused():
    values = np.concatenate([np.ones(80), np.arange(20)])
    with pytest.raises(DataError, match=r"constant .* in the 70 rows of the training segment"):
        Given(series_of(values), window_size=4).setup()


def test_a_large_level_keeps_its_small_changes():
    """1e9 + sin(t) has no float32: the series is float64 until it is scaled."""
    t = np.arange(400)
    given = Given(series_of(1e9 + np.sin(t / 5)), window_size=4)
    given.setup()
    low = Given(series_of(np.sin(t / 5)), window_size=4)
    low.setup()
    np.testing.assert_allclose(given.values, low.values, atol=1e-5)


def test_memory_is_that_of_the_series_not_of_its_windows():
    """400,000 rows with windows of 500 would be 800 MB if they were copied."""
    code = (
        "import resource, sys, numpy as np\n"
        f"sys.path.insert(0, {str(ROOT / 'tests' / 'data')!r}); sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "from test_data_modules import Given, series_of\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "given = Given(series_of(np.sin(np.arange(400_000))), window_size=500)\n"
        "given.setup(); batches = sum(1 for _ in given.loader('train', train=True))\n"
        "print(batches, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    batches, megabytes = map(int, done.stdout.split())
    assert batches == (280_000 - 500) // 32 + 1
    assert megabytes < 80
