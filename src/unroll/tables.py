"""Tables for a terminal: columns that know how narrow they can be, numbers and names as people read them."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len

LONGEST_WORD = 300  # of what somebody typed, told again


@dataclass
class Column:
    """A column of the table.

    Args:
        heading: folded at blanks.
        cells: one a run.
        narrowest: numbers are never cut, names may be folded to this width.
        justify: numbers right.
    """

    heading: str
    cells: list[str]
    narrowest: int | None = None
    justify: Literal["left", "right"] = "right"

    def __post_init__(self) -> None:
        self.full = max(*map(cell_len, self.cells), *map(cell_len, self.heading.split()))
        least = max(self.full if self.narrowest is None else self.narrowest, *map(cell_len, self.heading.split()))
        self.width = min(self.full, least)


def number(value: float) -> str:
    """Four significant digits, never more than eight characters: runs differ in their units."""
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(float(f"{value:.3e}"))))
    return f"{value:,.{max(0, 3 - size)}f}" if -3 <= size < 6 else f"{value:.2e}"


def ratio(value: float, sign: str) -> str:
    """R2 and skill, short also where they are hopeless."""
    return f"{value:{sign}.3f}" if value > -100 else f"{value:{sign}.1e}"


def age(seconds: float) -> str:
    """A time as people say it: 40 s, 3 min, 2 h, 5 d."""
    for unit, size, most in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{max(0, int(seconds // size))} {unit}"
    return f"{int(seconds // 86400)} d"


def folded(name: str, width: int) -> str:
    """A name in lines, broken after / and _ where that can be."""
    lines = [""]
    for piece in re.findall(r"[^_/]*[_/]|[^_/]+$", name):
        if lines[-1] and cell_len(lines[-1] + piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def shortened(text: str) -> str:
    """Text whose words end where nobody would read on."""
    return re.sub(rf"(\S{{{LONGEST_WORD - 50}}})\S{{50,}}(?=\S{{20}})", r"\1...", text)


def printable(text: str) -> str:
    """Text without what would move the cursor or cannot be written."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
