"""What a run took from its own data, and how other data are used with it."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from unroll.data.known import Calendar
from unroll.data.transforms import Transform
from unroll.data.windows import Segments
from unroll.errors import DataError


@dataclass(frozen=True)
class Fitted:
    """What a run took from its own data, to be used on other data: nothing is fitted again.

    Args:
        transform: fitted on the training segment.
        calendar: columns made from the dates.
        season: rows in one season; None: there is none.
        rhythm: the last labels, to see by how they go on.
        first, last: labels of the first and the last row.
        validation, test: labels of the first rows of these segments; None where the segment is empty.
        index_name: of all labels; it says the clock of dates (see `read_table`).
    """

    transform: Transform
    calendar: Calendar
    season: int | None
    rhythm: pd.Index
    first: Any
    last: Any
    validation: Any
    test: Any
    index_name: Any

    def segments(self, index: pd.Index) -> Segments:
        """The segments of another series by time: what was trained on stays training, what came after the run is test.

        Raises:
            DataError: where the labels are of another kind (dates, numbers), or begin before the run's own.
        """
        try:
            if index[0] < self.first:
                raise DataError(f"its rows begin at {index[0]}, before the run's own ({self.first}): leave those away")
            after = int(index.searchsorted(self.last, side="right"))
            test = after if self.test is None else int(index.searchsorted(self.test))
            validation = min(test, after if self.validation is None else int(index.searchsorted(self.validation)))
        except TypeError as error:
            raise DataError(
                f"its rows are labelled {index[0]} to {index[-1]}, the run's own {self.first} to {self.last}: give "
                "data with the same kind of index"
            ) from error
        return Segments(range(validation), range(validation, test), range(test, len(index)))
