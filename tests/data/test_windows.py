"""Windows: every target exactly once, never across a boundary, whatever the window, horizon and stride."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unroll.data.windows import EpochSampler, WindowLoader, Windows, origins, split, split_windows
from unroll.errors import DataError

SIZES = {"window": st.integers(1, 12), "horizon": st.integers(1, 6), "stride": st.integers(1, 7)}


@given(rows=st.integers(1, 200), start=st.integers(0, 150), length=st.integers(0, 120), **SIZES)
def test_origins_are_all_and_only_those_that_fit(rows, start, length, window, horizon, stride):
    segment = range(min(start, rows), min(start + length, rows))
    found = origins(segment, window, horizon, stride)
    fits = [row for row in segment if row >= window and row + horizon <= segment.stop]
    assert found.tolist() == fits[::stride]


@given(rows=st.integers(30, 200), **SIZES)
def test_every_target_exactly_once_when_the_stride_is_the_horizon(rows, window, horizon, stride):
    for segment in split(rows, 0.2, 0.2):
        found = origins(segment, window, horizon, stride=horizon)
        targets = (found[:, None] + np.arange(horizon)).ravel().tolist()
        possible = [row for row in segment if row >= window]
        assert targets == possible[: len(possible) // horizon * horizon]


@given(
    rows=st.integers(20, 120),
    features=st.integers(1, 3),
    validation=st.sampled_from([0, 7, 0.2]),
    skipped=st.lists(st.integers(0, 119), max_size=5),
    **SIZES,
)
def test_batches_hold_the_rows_that_their_origins_say(rows, features, validation, skipped, window, horizon, stride):
    values = torch.arange(rows * features, dtype=torch.float32).reshape(rows, features)
    skip = np.zeros(rows, dtype=bool)
    skip[[row for row in skipped if row < rows]] = True
    segments = split(rows, validation, 0.2)
    seen: list[int] = []
    for segment in segments:
        found = origins(segment, window, horizon, stride, skip)
        if not len(found):
            continue
        windows = Windows(values, torch.from_numpy(found), window, horizon, [features - 1])
        for number, batch in enumerate(WindowLoader(windows, batch_size=4)):
            for offset, (past, future, target) in enumerate(zip(*batch, strict=True)):
                origin = int(found[number * 4 + offset])
                assert torch.equal(past, values[origin - window : origin])
                assert torch.equal(future, values[origin : origin + horizon, [features - 1]])
                assert torch.equal(target, values[origin : origin + horizon, 0])
                assert segment.start <= origin
                assert origin + horizon <= segment.stop
                assert not skip[origin : origin + horizon].any()
                seen.append(origin)
    assert len(seen) == len(set(seen))


def test_windows_are_views_of_one_tensor():
    values = torch.zeros(1000, 2)
    windows = Windows(values, torch.arange(100, 900), window_size=100, horizon=1)
    assert windows.all_windows.untyped_storage().data_ptr() == values.untyped_storage().data_ptr()


@given(length=st.integers(1, 50), batch_size=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_shuffled_epochs_hold_every_window_once(length, batch_size, seed):
    values = torch.arange(length + 2, dtype=torch.float32)[:, None]
    loader = WindowLoader(Windows(values, torch.arange(2, length + 2), 2, 1), batch_size, shuffle=True, seeds=seed)
    batches = list(loader)
    assert len(batches) == len(loader)
    assert sorted(torch.cat([batch.target for batch in batches]).flatten().tolist()) == list(range(2, length + 2))


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(50, shuffle=True, seeds=seed)
        sampler.set_epoch(epoch)
        torch.manual_seed(epoch + 17)  # whatever else was drawn
        return sampler.order().tolist()

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)


@given(rows=st.integers(1, 300), validation=st.one_of(st.integers(0, 40), st.floats(0, 0.6)), test=st.integers(1, 40))
@settings(max_examples=200)
def test_split_is_in_time_order_and_whole(rows, validation, test):
    taken = test + (round(validation * rows) if isinstance(validation, float) else validation)
    if taken >= rows:
        with pytest.raises(DataError, match=f"{rows} rows"):
            split(rows, validation, test)
        return
    segments = split(rows, validation, test)
    assert [row for segment in segments for row in segment] == list(range(rows))
    assert len(segments.train) >= 1
    assert len(segments.test) == test


@given(
    rows=st.integers(1, 300),
    validation=st.sampled_from([0, 3, 0.1, 0.4]),
    test=st.sampled_from([0, 5, 0.15, 0.5]),
    **SIZES,
)
@settings(max_examples=300)
def test_split_windows_is_the_split_of_the_list_of_all_windows(rows, validation, test, window, horizon, stride):
    every = list(range(window, rows - horizon + 1, stride))  # what the tutorials cut, by first target
    counts = [round(part * len(every)) if isinstance(part, float) else part for part in (validation, test)]
    sizes = {"window_size": window, "horizon": horizon, "stride": stride}
    if sum(counts) >= len(every):
        with pytest.raises(DataError, match=f"{len(every)} windows of {window}"):
            split_windows(rows, validation, test, **sizes)
        return
    segments = split_windows(rows, validation, test, **sizes)
    begin_test = len(every) - counts[1]
    begin_validation = begin_test - counts[0]
    parts = [every[:begin_validation], every[begin_validation:begin_test], every[begin_test:]]
    assert [row for segment in segments for row in segment] == list(range(rows))
    for segment, expected, later in zip(segments, parts, [parts[1] + parts[2], parts[2], []], strict=True):
        found = origins(segment, window, horizon, stride).tolist()
        limit = later[0] if later else rows
        assert found == [origin for origin in expected if origin + horizon <= limit]  # no target in two segments
        if horizon == 1:
            assert found == expected


@given(rows=st.integers(30, 200), test=st.integers(1, 30), **SIZES)
def test_without_history_windows_are_those_of_the_segment_alone(rows, test, window, horizon, stride):
    segment = range(rows - test, rows)
    found = origins(segment, window, horizon, stride, history=False)
    alone = origins(range(test), window, horizon, stride)
    assert found.tolist() == (alone + segment.start).tolist()


def test_split_counts_and_fractions():
    assert [len(part) for part in split(222, 0.15, 32)] == [157, 33, 32]
    assert [len(part) for part in split(100, 0, 0.1)] == [90, 0, 10]
    with pytest.raises(DataError, match="leave none to train on"):
        split(10, 5, 5)
