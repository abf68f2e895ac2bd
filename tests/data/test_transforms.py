"""Chains of transforms: exactly inverted at every scale, fitted on the training rows alone, and said in one line."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_data_modules import Given, series_of

from unroll.data.sine import SineData
from unroll.data.transforms import fit_transform
from unroll.errors import ConfigError, DataError
from unroll.evaluation.conformal import calibrate, moved
from unroll.rules import POINTWISE_WORDS

CHAINS = [list(chain) for length in (1, 2, 3) for chain in itertools.permutations(POINTWISE_WORDS, length)]
WITHOUT_LOGARITHMS = [chain for chain in CHAINS if "log1p" not in chain]


def drawn(rows: int, columns: int, shape: str, power: int) -> np.ndarray:
    """Values of a kind, at a scale."""
    random = np.random.RandomState(rows * 7 + columns)
    values = {
        "noise": random.standard_normal((rows, columns)),
        "counts": random.poisson(3.0, (rows, columns)).astype(float),
        "mostly zero": np.where(
            random.random_sample((rows, columns)) < 0.85, 0.0, random.random_sample((rows, columns))
        ),
        "growth": np.exp(np.linspace(0, 8, rows))[:, None] * (1 + 0.1 * random.random_sample((rows, columns))),
        "level": 1e6 + random.standard_normal((rows, columns)),
        "constant": np.full((rows, columns), 3.7),
    }[shape]
    return values * 10.0**power


SHAPES = ("noise", "counts", "mostly zero", "growth", "level", "constant")


@given(
    st.integers(4, 60),
    st.integers(1, 3),
    st.sampled_from(WITHOUT_LOGARITHMS),
    st.sampled_from(SHAPES),
    st.integers(-120, 120),
)
def test_chains_without_logarithms_are_inverted_at_every_scale(rows, columns, chain, shape, power):
    values = drawn(rows, columns, shape, power)
    transform = fit_transform(chain, values[: rows // 2 + 2])
    scaled = transform.apply(values)
    assert np.isfinite(scaled).all()
    np.testing.assert_array_equal(scaled[:, 0], transform.apply_target(values[:, 0]))
    np.testing.assert_allclose(
        transform.invert_target(scaled[:, 0]), values[:, 0], rtol=1e-9, atol=1e-12 * np.abs(values).max()
    )


@given(st.integers(4, 60), st.sampled_from(CHAINS), st.sampled_from(SHAPES), st.integers(-3, 12))
def test_chains_with_logarithms_are_inverted(rows, chain, shape, power):
    """What is above -1 wherever a logarithm is asked of it comes back; all else is refused in words."""
    values = np.abs(drawn(rows, 2, shape, power))
    try:
        transform = fit_transform(chain, values[: rows // 2 + 2])
    except DataError as error:
        assert "log1p" in str(error)  # noqa: PT017
        return
    with np.errstate(invalid="ignore"):
        scaled = transform.apply(values)
    there = np.isfinite(scaled[:, 0])
    back = transform.invert_target(scaled[there, 0])
    # a logarithm keeps what is below 1e-16 of it no longer: the level is the size that counts
    np.testing.assert_allclose(back, values[there, 0], rtol=1e-9, atol=1e-9 * max(1.0, float(values.max())))


@given(st.integers(40, 60), st.sampled_from(CHAINS), st.sampled_from(("noise", "counts", "growth")))
def test_only_the_training_rows_are_fitted(rows, chain, shape):
    """Other values in all later rows change nothing of it."""
    values = np.abs(drawn(rows, 2, shape, 0))
    modules = []
    for later in (1.0, 90.0):
        changed = values.copy()
        changed[rows // 2 :] *= later
        data = Given(series_of(changed), window_size=3, validation=rows // 4, test=rows - rows // 2 - rows // 4)
        data.transform_kind = chain
        try:
            data.setup()
        except DataError as error:
            assert "log1p" in str(error)  # noqa: PT017
            return
        assert data.segments.train.stop == rows // 2
        modules.append(data)
    assert modules[0].transform.description == modules[1].transform.description


@given(st.sampled_from(CHAINS), st.sampled_from(("noise", "counts", "growth")))
def test_tensors_and_arrays_agree_to_the_last_bits(chain, shape):
    values = np.abs(drawn(50, 3, shape, 0))
    try:
        transform = fit_transform(chain, values)
    except DataError:
        return
    tensor = torch.from_numpy(values)
    torch.testing.assert_close(
        transform.apply(tensor), torch.from_numpy(transform.apply(values)), rtol=1e-13, atol=1e-14
    )
    scaled = transform.target_to_scaled(tensor[:, 0])
    np.testing.assert_allclose(scaled.numpy(), transform.apply_target(values[:, 0]), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(transform.target_to_units(scaled).numpy(), values[:, 0], rtol=1e-9, atol=1e-9)
    half = transform.target_to_units(transform.target_to_scaled(tensor[:, 0].float()))
    assert half.dtype == torch.float32


def test_robust_does_what_its_name_says():
    train = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [1e6, 8.0]])
    scaled = fit_transform("robust", train).apply(train)
    np.testing.assert_allclose(scaled[:4, 0], [-1, -0.5, 0, 0.5])
    np.testing.assert_allclose(scaled[:, 1], train[:, 1] / train[:, 1].std())  # no quartile apart: standard deviation


def test_a_logarithm_is_of_the_target_alone_and_before_what_follows():
    train = np.array([[0.0, 5.0], [np.e - 1, 7.0]])
    scaled = fit_transform(["log1p", "minmax"], train).apply(train)
    np.testing.assert_allclose(scaled, [[0, 0], [1, 1]])
    np.testing.assert_allclose(fit_transform("log1p", train).apply(train), [[0, 5], [1, 7]])
    words = [step["word"] for step in fit_transform(["log1p", "standard", "window_centre"], train).description]
    assert words == ["log1p", "standard"]


def test_values_without_a_logarithm_are_named(tmp_path):
    values = 5 + np.sin(np.arange(100))
    values[[90, 95]] = -1.0, -3.0
    with pytest.raises(DataError, match=r"series given: column c0 is -1 at 90, and log1p needs values above -1: mend"):
        Given(series_of(values), window_size=4, transform=["log1p", "standard"]).setup()
    values[[20, 90, 95]] = -2.5, 5, 5
    with pytest.raises(DataError, match=r"is -2\.5 at 20, and log1p"):
        Given(series_of(values), window_size=4, transform="log1p").setup()
    values[20] = 3.0
    with pytest.raises(DataError, match=r"is 4\.04\d+ \(-1\.25\d+ after standard\) at 5, and log1p"):
        Given(series_of(values), window_size=4, transform=["standard", "log1p"]).setup()


def test_a_level_whose_changes_no_logarithm_shows_is_refused():
    with pytest.raises(DataError, match="after log1p nothing is left of the changes"):
        Given(series_of(1e12 + np.sin(np.arange(100))), window_size=4, transform="log1p").setup()


def test_words_of_the_window_go_to_the_network_with_the_season():
    words = ["log1p", "standard", "difference", "seasonal_difference", "window_standard"]
    data = SineData(points=300, period=25.0, step=1.0, window_size=27, test=30, amplitude=0.5, transform=words)
    data.setup()
    assert data.shape.window_transform == ("difference", "seasonal_difference", "window_standard")
    assert (data.shape.season, data.shape.lost_rows) == (25, 26)
    assert [step["word"] for step in data.transform.description] == ["log1p", "standard"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transform": ["window_centre", "standard"]}, r"data.transform=\[standard,window_centre\]"),
        ({"transform": ["standart"]}, r"did you mean standard\?"),
        ({"transform": "difference", "window_size": 1}, "set data.window_size to at least 2"),
        ({"transform": ["seasonal_difference", "difference"], "seasonal_period": 5, "window_size": 6}, "at least 7"),
        ({"transform": "seasonal_difference"}, "seasonal_difference needs a season.*set data.seasonal_period"),
        ({"calendar": ["weekday"]}, r"series given has no dates: set data.date"),
        ({"calendar": ["weekdays"]}, r"did you mean weekday\?"),
        ({"calendar": ["weekday", "auto"]}, "calendar must be one of auto, weekday"),
        ({"calendar": ["month", "month"]}, "month stands twice"),
        ({"calendar": ["holiday"]}, "set data.holidays to a country"),
        ({"holidays": "DE"}, r"put holiday into it, such as data.calendar=\[holiday\]"),
    ],
)
def test_what_cannot_work_is_said_with_a_way_out(options, message):
    given = series_of(np.sin(np.arange(100)))
    with pytest.raises(ConfigError, match=message):
        Given(given, **({"window_size": 6} | options)).setup()


def test_a_forecast_that_falls_for_ever_has_intervals_too():
    """Undone, a logarithm far below 0 is -1 to rounding; both ways again, it is no infinite number, and no NaN."""
    transform = fit_transform(["log1p", "standard"], np.geomspace(1e6, 1, 50)[:, None])
    made = transform.invert_target(np.array([[-5.0], [-60.0], [-61.0]]))
    assert made[1:].tolist() == [[-1.0], [-1.0]]
    ends = (transform.apply_target(made),) * 2
    calibration = calibrate({50.0: ends}, transform.apply_target(np.zeros((3, 1))))
    low, high = moved(ends, calibration.moves[50.0], transform)
    assert (np.isfinite(low) & np.isfinite(high) & (low <= made) & (made <= high)).all()
