"""The look of all figures. Drawn without pyplot, so that no state outlives a figure."""

import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unroll.tables import printable

# Okabe and Ito's palette, told apart also by colour-blind readers.
BLACK, BLUE, ORANGE, GREEN, GREY = "#000000", "#0072B2", "#D55E00", "#009E73", "#777777"
STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "figure.constrained_layout.use": True,
}
COLOURS = {"train": BLUE, "validation": ORANGE, "test": GREEN}
DPI = 150
LONGEST = 300  # of a title
LINE = 105  # characters of a subtitle that fit beside each other


@contextmanager
def drawing(title: str, subtitle: str, height: float, *, panels: int = 1) -> Iterator[tuple[Figure, Axes]]:
    """A figure in the style of all, with the axes of its first panel; height in inches."""
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(7.2, height))
        axes = figure.subplots(panels, squeeze=False)[0, 0]
        figure.suptitle(plain_text(title, LONGEST), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        lines = textwrap.wrap(plain_text(subtitle, LONGEST), LINE)
        axes.set_title("\n".join(lines), loc="left", fontsize=7.5, color=GREY)
        yield figure, axes


def legend(figure: Figure, *axes: Axes, columns: int = 3) -> Figure:
    """Below the axes, where it hides nothing."""
    handles: list[Any] = []
    labels: list[Any] = []
    for part in axes:
        for found, names in zip((handles, labels), part.get_legend_handles_labels(), strict=True):
            found.extend(names)
    labels = [plain_text(label) for label in labels]
    if handles:  # the figure of a series without a test segment has none
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, fontsize=8)
    return figure


def plain_text(text: str, most: int = 120) -> str:
    """A name as it is, and not too long: matplotlib takes dollar signs for formulas, and has no signs for some marks.

    What went through this once stays as it is.

    Args:
        text: of a line or several.
        most: characters.
    """
    text = text if len(text) <= most else f"{text[: most - 3]}..."
    return re.sub(r"(?<!\\)\$", r"\\$", "\n".join(map(printable, text.split("\n"))))
