"""Missing values, filled without a look ahead; and a series written to a file and read back."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unroll.data.csv import CSVData
from unroll.data.series import Series
from unroll.errors import DataError

ROWS, VALIDATION, TEST = 60, 12, 12
TRAIN = ROWS - VALIDATION - TEST


def load(folder: Path, values: np.ndarray, missing: str, columns: str = "value,other") -> CSVData:
    """(60, F) values with NaN, written to a file with daily dates and read through CSVData."""
    path = folder / "holes.csv"
    names = columns.split(",")[: values.shape[1]]
    frame = pd.DataFrame(values, columns=names, index=pd.date_range("2020-01-01", periods=len(values), name="date"))
    frame.to_csv(path)
    data = CSVData(
        path=str(path),
        date="date",
        target="value",
        covariates=names[1:],
        missing=missing,
        window_size=4,
        horizon=2,
        validation=VALIDATION,
        test=TEST,
    )
    data.setup()
    return data


def waves(width: int = 2) -> np.ndarray:
    rows = np.arange(ROWS)[:, None]
    return 10 + np.sin(rows / 3 + np.arange(width)) + rows / 10


def with_holes(holes: np.ndarray, width: int = 2) -> np.ndarray:
    values = waves(width)
    values[holes] = np.nan
    values[0] = waves(width)[0]
    return values


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("interpolate", [2.0, 3.0, 4.0, 5.0]), ("ffill", [2.0, 2.0, 2.0, 5.0]), ("zero", [2.0, 0.0, 0.0, 5.0])],
)
def test_choices(tmp_path: Path, missing: str, expected: list[float]) -> None:
    values = waves(1)
    values[5:9, 0] = [2, np.nan, np.nan, 5]
    data = load(tmp_path, values, missing)
    np.testing.assert_allclose(data.series.target[5:9], expected)
    untouched = ~np.isnan(values)
    np.testing.assert_array_equal(data.series.values[untouched], values[untouched])


def test_interpolation_ends_with_the_training_segment(tmp_path: Path) -> None:
    values = waves(1)
    values[TRAIN - 2 : TRAIN + 2] = np.nan  # over the border
    values[-5:-3] = np.nan  # in the test segment
    target = load(tmp_path, values, "interpolate").series.target
    np.testing.assert_array_equal(target[TRAIN - 2 : TRAIN + 2], values[TRAIN - 3, 0])
    np.testing.assert_array_equal(target[-5:-3], values[-6, 0])


@settings(max_examples=40, deadline=None)
@given(
    holes=st.lists(st.tuples(st.integers(1, ROWS - 1), st.integers(0, 1)), min_size=1, max_size=25),
    missing=st.sampled_from(["interpolate", "ffill", "zero"]),
)
def test_filling_never_looks_ahead(
    tmp_path_factory: pytest.TempPathFactory, holes: list[tuple[int, int]], missing: str
) -> None:
    """Filled rows are no targets; nothing in training depends on later rows; later rows only on earlier ones."""
    folder = tmp_path_factory.mktemp("holes")
    mask = np.zeros((ROWS, 2), dtype=bool)
    mask[tuple(np.array(holes).T)] = True
    values = with_holes(mask)
    try:
        data = load(folder, values, missing)
    except DataError as error:
        assert "is too short" in str(error)  # noqa: PT017
        return
    for segment in ("train", "validation", "test"):
        targets = data.origins(segment)[:, None] + np.arange(2)
        assert not mask[targets, 0].any()
        expected = [row for row in getattr(data.segments, segment) if row >= 4]
        expected = [r for r in expected if r + 1 in getattr(data.segments, segment) and not mask[r : r + 2, 0].any()]
        if missing == "interpolate" and segment == "train":  # no line that ends in the first target
            expected = [row for row in expected if not mask[row - 1].any()]
        assert data.origins(segment).tolist() == expected
    for border in (TRAIN, ROWS - TEST, ROWS - 3):
        other = values.copy()
        other[border:] = 1000 - 3 * other[border:]
        other[-1] = 7
        again = load(folder, other, missing)
        np.testing.assert_array_equal(again.series.values[:border], data.series.values[:border])
        if border == TRAIN:
            assert again.transform.description == data.transform.description


def test_no_value_to_carry_forward(tmp_path: Path) -> None:
    values = waves()
    values[:3, 1] = np.nan
    with pytest.raises(DataError, match=r"column other begins with 3 rows without a value.*remove these rows"):
        load(tmp_path, values, "interpolate")
    assert load(tmp_path, values, "zero").series.values[:3, 1].tolist() == [0, 0, 0]


def test_all_targets_of_a_segment_filled(tmp_path: Path) -> None:
    values = waves(1)
    values[-TEST:] = np.nan
    with pytest.raises(DataError, match=r"the test segment needs .* \(filled rows do not count\)"):
        load(tmp_path, values, "ffill")


def test_largest_numbers_are_not_constant() -> None:
    index = pd.RangeIndex(2)
    Series(np.array([[-1e139], [1e139]]), index, ("value",), "large").check()
    Series(np.array([[1e-138], [2e-138]]), index, ("value",), "small").check()
    with pytest.raises(DataError, match=r"beyond 1e\+140, which cannot be squared"):
        Series(np.array([[-1.7e308], [1.7e308]]), index, ("value",), "large").check()
    with pytest.raises(DataError, match="constant"):
        Series(np.array([[1e12], [1e12 + 1e-3]]), index, ("value",), "rounding").check()


@pytest.mark.parametrize("index", [pd.RangeIndex(5), pd.date_range("1650-01-01", periods=5, freq="ME", unit="us")])
def test_round_trip(tmp_path: Path, index: pd.Index) -> None:
    values = np.array([[1e12, np.nan], [1e-12, 0], [-5, 1], [np.pi, 2], [1, 3]])
    series = Series(
        values, index.rename("when"), ("größe", "b"), "näme", "€", kind="simulated", season=12, known_ahead=("b",)
    )
    series.save(tmp_path / "series.npz")
    again = Series.load(tmp_path / "series.npz")
    np.testing.assert_array_equal(again.values, values)
    assert again.index.equals(series.index)
    assert again.index.name == "when"
    for name in ("columns", "name", "unit", "kind", "season", "known_ahead", "title"):
        assert getattr(again, name) == getattr(series, name)


def saved(folder: Path) -> bytes:
    path = folder / "good.npz"
    Series(np.arange(6.0).reshape(3, 2), pd.RangeIndex(3), ("a", "b"), "good").save(path)
    return path.read_bytes()


def refusal(folder: Path, content: bytes) -> str:
    path = folder / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.npz: not a readable series file") as caught:
        Series.load(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_truncated_files(tmp_path: Path) -> None:
    good = saved(tmp_path)
    for length in range(0, len(good), 7):
        refusal(tmp_path, good[:length])
    with pytest.raises(DataError, match="not a readable series file"):
        Series.load(tmp_path / "none.npz")


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 2000), byte=st.integers(0, 255))
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, place: int, byte: int) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray(saved(folder))
    content[place % len(content)] = byte
    (folder / "bad.npz").write_bytes(content)
    try:
        series = Series.load(folder / "bad.npz")
    except DataError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        np.testing.assert_array_equal(series.values, np.arange(6.0).reshape(3, 2))  # a byte that says nothing


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was run",))


ABOUT = {
    "columns": ["a", "b"],
    "name": "x",
    "unit": "",
    "kind": "",
    "season": None,
    "known_ahead": [],
    "dates": False,
    "index_name": None,
}


@pytest.mark.parametrize(
    "change",
    [
        {"values": np.array([[Bomb(), 1], [2, 3]], dtype=object)},
        {"about": np.array(Bomb(), dtype=object)},
        {"values": np.arange(3.0)},
        {"values": np.array([["a", "b"]] * 3)},
        {"values": np.zeros((3, 2), dtype=complex)},
        {"values": np.zeros((4, 2))},
        {"values": np.zeros((3, 1))},
        {"index": np.zeros((3, 2))},
        {"index": np.array(["x", "y", "z"]), "about": np.array(json.dumps(ABOUT | {"dates": True}))},
        {"about": np.array("not json")},
        {"about": np.array("[1, 2]")},
        {"about": np.array("{}")},
        {"about": np.array(json.dumps(ABOUT | {"columns": 5}))},
        {"about": np.array(json.dumps(ABOUT | {"color": "red"}))},
    ],
)
def test_hostile_files(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    parts = {"values": np.zeros((3, 2)), "index": np.arange(3), "about": np.array(json.dumps(ABOUT))}
    file = io.BytesIO()
    np.savez(file, **parts)  # type: ignore[arg-type]
    (tmp_path / "good.npz").write_bytes(file.getvalue())
    assert Series.load(tmp_path / "good.npz").columns == ("a", "b")
    file = io.BytesIO()
    np.savez(file, **(parts | change))  # type: ignore[arg-type]
    refusal(tmp_path, file.getvalue())


def test_other_files_are_no_series(tmp_path: Path) -> None:
    array, archive = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros(3))
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("values.npy", "text")
    for content in (array.getvalue(), archive.getvalue(), pickle.dumps(Bomb()), b"date,value\n2018-01-01,1\n"):
        refusal(tmp_path, content)
