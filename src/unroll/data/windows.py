"""Windows: where they may begin, and how a batch of them is gathered.

A window is named by its origin, the first row that it forecasts: it reads the `window_size` rows before the
origin and its targets are the `horizon` rows from the origin on.

    row       0 1 2 3 4 5 6 7 8 9
    past          [- - -]            window_size 3
    target               [+ +]       horizon 2, origin 5
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unroll.errors import DataError
from unroll.seeding import SHUFFLE, derive_seed


class Batch(NamedTuple):
    """B windows in scaled units, float32.

    past (B, W, F), future (B, H, C) the columns known ahead (C may be 0), target (B, H).
    """

    past: Tensor
    future: Tensor
    target: Tensor


@dataclass(frozen=True)
class WindowShape:
    """What a model is sized from: W, H, F and C of its batches, and what is to be done inside of each window.

    Args:
        window_size, horizon: W, H.
        features, future_features: F, C.
        season: rows in one season; None: there is none.
        window_transform: words of data.transform that work inside of a window, in order.
        future_columns: C of the F columns, those that are known ahead, in the order in which batches have them.
    """

    window_size: int
    horizon: int
    features: int
    future_features: int
    season: int | None = None
    window_transform: tuple[str, ...] = ()
    future_columns: tuple[int, ...] = ()

    @property
    def lost_rows(self) -> int:
        """How many of the W rows differencing takes."""
        lags = {"difference": 1, "seasonal_difference": self.season or 0}
        return sum(lags.get(word, 0) for word in self.window_transform)


class Segments(NamedTuple):
    """Rows of the series, in time order."""

    train: range
    validation: range
    test: range


def split(rows: int, validation: int | float, test: int | float, unit: str = "rows") -> Segments:
    """Split rows by time into train, validation and test.

    Args:
        rows: N.
        validation, test: a count of rows (int) or a fraction of all rows (float); may be 0.
        unit: what is counted, for the error message.

    Raises:
        DataError: where nothing is left to train on.
    """
    counts = [round(part * rows) if isinstance(part, float) else part for part in (validation, test)]
    begin_test = rows - counts[1]
    begin_validation = begin_test - counts[0]
    if begin_validation < 1:
        raise DataError(
            f"{rows} {unit}, less {counts[0]} for validation and {counts[1]} for test, leave none to train on: "
            "lower data.validation or data.test"
        )
    return Segments(range(begin_validation), range(begin_validation, begin_test), range(begin_test, rows))


def split_windows(
    rows: int, validation: int | float, test: int | float, *, window_size: int, horizon: int, stride: int
) -> Segments:
    """Split the windows of the whole series by time, where `split` splits its rows.

    A segment begins with the first target of its first window. With a horizon above 1, the last windows of the segment
    before it have targets beyond that row; they are left out (`origins`), so that no target is in two segments.

    Args:
        rows: N.
        validation, test: a count of windows (int) or a fraction of all windows (float); may be 0.
        window_size, horizon, stride: in rows.

    Returns:
        rows of each segment; the first `window_size` rows, which are no targets, belong to train.

    Raises:
        DataError: where nothing is left to train on.
    """
    begins = [*origins(range(rows), window_size, horizon, stride).tolist(), rows]
    parts = split(len(begins) - 1, validation, test, f"windows of {window_size} + {horizon} rows")
    begin_validation, begin_test = begins[parts.validation.start], begins[parts.test.start]
    return Segments(range(begin_validation), range(begin_validation, begin_test), range(begin_test, rows))


def origins(
    segment: range,
    window_size: int,
    horizon: int,
    stride: int,
    skip: npt.NDArray[np.bool_] | None = None,
    *,
    history: bool = True,
) -> npt.NDArray[np.int64]:
    """The origins of all windows whose targets lie inside a segment.

    Targets never cross a segment's end. The past of a window may: it may read history from before the segment,
    never from before the series (the first origin is `window_size`).

    Args:
        segment: rows of the segment.
        window_size, horizon, stride: in rows.
        skip: (N,) rows that may be no target, because their value was filled in.
        history: False: the past too lies inside the segment.

    Returns:
        (n,) increasing rows; empty where no window fits.
    """
    first = max(segment.start, window_size) if history else segment.start + window_size
    found = np.arange(first, segment.stop - horizon + 1, stride, dtype=np.int64)
    if skip is not None and skip.any():
        skipped_before = np.concatenate([[0], np.cumsum(skip)])  # skipped rows before each row
        found = found[skipped_before[found + horizon] == skipped_before[found]]
    return found


class Windows:
    """The windows of one segment, as views of one resident tensor: memory is O(N), never O(N x W).

    Args:
        values: (N, F) float32, contiguous, scaled; the target is column 0. All segments share it.
        origins: (n,) int64 rows.
        window_size, horizon: in rows.
        future_columns: columns that are known ahead.
    """

    def __init__(
        self, values: Tensor, origins: Tensor, window_size: int, horizon: int, future_columns: list[int] | None = None
    ) -> None:
        rows, features = values.shape
        length = window_size + horizon
        self.window_size, self.horizon = window_size, horizon
        self.future_columns = torch.tensor(future_columns or [], dtype=torch.int64, device=values.device)
        self.begins = origins - window_size
        self.all_windows = values.as_strided((rows - length + 1, length, features), (features, features, 1))

    def __len__(self) -> int:
        return len(self.begins)

    def batch(self, chosen: Tensor) -> Batch:
        """Gather the windows of some numbers (B,) or (K, B), on the device of the values, in one index operation."""
        return self.beginning(self.begins[chosen])

    def beginning(self, rows: Tensor) -> Batch:
        """Gather the windows that begin with some rows (B,) or (K, B)."""
        found = self.all_windows[rows]  # (B, W + H, F)
        past, ahead = found.split((self.window_size, self.horizon), dim=-2)
        known = ahead.index_select(-1, self.future_columns) if len(self.future_columns) else ahead[..., :0]
        return Batch(past, known, ahead[..., 0])


class EpochSampler:
    """The order of the windows in each epoch: in time, or shuffled by (seed, epoch) alone.

    Lightning calls `set_epoch` before each epoch, also after a resume.

    Args:
        length: n, how many windows there are.
        shuffle: draw an order an epoch.
        seeds: one; or a list, one a replica, which may become shorter between two epochs.
    """

    def __init__(self, length: int, *, shuffle: bool, seeds: int | Sequence[int]) -> None:
        self.length, self.shuffle, self.seeds, self.epoch = length, shuffle, seeds, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def order(self) -> Tensor:
        """(n,) window numbers, or (K, n), on the CPU, so that every device trains in the same order."""
        if isinstance(self.seeds, int):
            return self._drawn(self.seeds)
        return torch.stack([self._drawn(seed) for seed in self.seeds])

    def _drawn(self, seed: int) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.length)
        generator = torch.Generator().manual_seed(derive_seed(seed, SHUFFLE, self.epoch))
        return torch.randperm(self.length, generator=generator)


class WindowLoader:
    """Yields batches of one segment; what a DataLoader would do, without per-sample Python.

    Args:
        windows: on the device that trains.
        batch_size: B; the last batch may be smaller.
        shuffle, seeds: see EpochSampler. With a list of K seeds, batches have K before B: one batch a replica.
    """

    def __init__(
        self, windows: Windows, batch_size: int, *, shuffle: bool = False, seeds: int | Sequence[int] = 0
    ) -> None:
        self.windows, self.batch_size = windows, batch_size
        self.sampler = EpochSampler(len(windows), shuffle=shuffle, seeds=seeds)
        self.batch_sampler = None  # Lightning asks every loader that has a sampler for both

    def __len__(self) -> int:
        return -(-len(self.windows) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = self.sampler.order().to(self.windows.begins.device)  # one copy an epoch, none a batch
        for rows in self.windows.begins[order].split(self.batch_size, dim=-1):
            yield self.windows.beginning(rows)
