"""Figures of a sweep: the effect of each swept key, two of them together, and what quality costs."""

import functools
import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unroll.evaluation.style import BLACK, BLUE, DPI, GREEN, GREY, ORANGE, drawing, legend, plain_text
from unroll.runs.files import replace_file
from unroll.sweeps.cells import measured_in, title
from unroll.sweeps.effects import Effects, Group, Point
from unroll.sweeps.keys import headings
from unroll.sweeps.leaderboard import LARGEST_IS_BEST, Leaderboard

COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", GREY)  # Okabe and Ito's too
TABLES = 6  # drawn at most: figures take long
PANELS, ACROSS = 12, 3  # of main effects: those with the largest; side by side
VALUES = 12  # of a key; more of them are drawn on an axis of numbers
CELLS = 24  # of a heat map, in each direction
GOLDEN = 0.618034  # of its multiples, the fractions lie evenly: dots side by side
LINE = 110  # letters of a subtitle
LABEL = 60  # letters of a point in a legend
NAME = 14  # letters of a value
OURS = re.compile(r"(main_effects|heat_map|cost)(_[0-9]+)?\.png")


def write_figures(board: Leaderboard, folder: Path, heat: tuple[str, str] | None = None) -> list[str]:
    """Draw what the tables allow, and take away figures of an earlier call that are no longer drawn.

    Args:
        board: each table with at least two scored rows is drawn, TABLES of them at most.
        folder: to write to.
        heat: dotted keys for the heat map; None, or where a table has them not: those with the largest effects.

    Returns:
        The names of the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [(place, table, Effects(table)) for place, table in enumerate(board.tables, 1) if len(table.rows) > 1]
    names = []
    for place, table, effects in [part for part in parts if len(part[2].points) > 1][:TABLES]:
        suffix = f"_{place}" if len(board.tables) > 1 else ""
        subtitle = plain_text(title(board, table).removesuffix(f"; {measured_in(table)}"))
        for name, figure in draw(effects, subtitle, heat).items():
            names.append(f"{name}{suffix}.png")
            replace_file(folder / names[-1], functools.partial(figure.savefig, dpi=DPI))
    for path in folder.iterdir():
        if OURS.fullmatch(path.name) and path.name not in names:
            path.unlink(missing_ok=True)
    return sorted(names)


def draw(effects: Effects, subtitle: str, heat: tuple[str, str] | None = None) -> dict[str, Figure]:
    """The figures of a table, by name."""
    figures = {"main_effects": draw_main_effects(effects, subtitle)} if effects.largest(1) else {}
    pair = heat if heat and set(heat) <= effects.groups.keys() else effects.largest(2, CELLS)
    if len(pair) == 2:
        figures["heat_map"] = draw_heat_map(effects, subtitle, *pair)
    return figures | {"cost": draw_cost(effects, subtitle)}


def draw_main_effects(effects: Effects, subtitle: str) -> Figure:
    """A panel for each swept key: the mean over all runs with a value, whatever else they have."""
    chosen = effects.largest(PANELS)
    keys = [key for key in effects.groups if key in chosen]
    across = min(ACROSS, len(keys))
    down = math.ceil(len(keys) / across)
    note = "" if effects.is_grid else "\nnot all combinations were run: an effect may be another key's"
    about = f"{subtitle}\na faint dot a run, the mean of all runs with the value, its 95 % t interval{note}"
    with drawing("Main effect of each swept key", "", 0.9 + 2.2 * down) as (figure, only):
        only.remove()
        axes = figure.subplots(down, across, squeeze=False, sharey=True)
        _subtitle(axes[0, 0], about)
        for place, panel in enumerate(axes.flat):
            if place >= len(keys):
                panel.remove()
                continue
            panel.set_xlabel(plain_text(headings(effects.table.keys)[keys[place]]))
            if place % across == 0:
                panel.set_ylabel(plain_text(effects.name))
            _draw_effect(panel, effects.groups[keys[place]])
        _limit(axes[0, 0], [score for point in effects.points for score in point.scores])
        return figure


def _draw_effect(panel: Axes, groups: Sequence[Group]) -> None:
    numbers = [group.number for group in groups if group.number is not None]
    all_numbers, many = len(numbers) == len(groups), len(groups) > VALUES
    places = numbers if many and all_numbers else [float(place) for place in range(len(groups))]
    faint = max(0.12, min(0.3, 9 / max(len(group.scores) for group in groups)))
    width = 0.0 if many and all_numbers else 0.25
    for place, group in zip(places, groups, strict=True):
        beside = [place + width * (at * GOLDEN % 1 - 0.5) for at in range(len(group.scores))]
        panel.plot(beside, group.scores, "o", color=BLUE, alpha=faint, markersize=3.5, markeredgewidth=0)
    if many and all_numbers:
        if min(places) > 0 and max(places) / min(places) > 50:
            panel.set_xscale("log")
        return  # a mean of one or two runs says nothing
    step = math.ceil(len(groups) / VALUES)
    names = [plain_text(group.name, NAME) for group in groups[::step]]
    long = sum(map(len, names)) > 24
    panel.set_xticks(places[::step], names, rotation=30 if long else 0, ha="right" if long else "center")
    panel.set_xlim(-0.6, len(groups) - 0.4)
    found = [group.over_runs for group in groups]
    style = {"color": BLACK, "marker": "o", "markersize": 4, "elinewidth": 0.8, "capsize": 3}
    style["linestyle"] = "-" if all_numbers else ""
    panel.errorbar(places, [one.mean for one in found], [one.half_width or 0.0 for one in found], **style)  # type: ignore[arg-type]


def draw_heat_map(effects: Effects, subtitle: str, first: str, second: str) -> Figure:
    """The mean score for each two values of two keys, over everything else and all seeds."""
    if len(effects.groups[first]) > len(effects.groups[second]):
        first, second = second, first  # the one with more values across
    rows, columns = effects.groups[first], effects.groups[second]
    cells = np.array([[np.mean(cell) if cell else np.nan for cell in row] for row in effects.table_of(first, second)])
    names = {key: plain_text(name) for key, name in headings(effects.table.keys).items()}
    height = 1.6 + 0.36 * min(len(rows), CELLS)
    with drawing(f"{names[first]} and {names[second]}", "", height) as (figure, axes):
        _subtitle(axes, f"{subtitle}; the mean over all other keys and seeds, empty where nothing was run")
        axes.grid(visible=False)
        colours = colormaps["cividis" if effects.table.metric in LARGEST_IS_BEST else "cividis_r"]
        image = axes.imshow(cells, cmap=colours, aspect="auto")
        for axis, key, groups in ((axes.xaxis, second, columns), (axes.yaxis, first, rows)):
            step = math.ceil(len(groups) / CELLS)
            axis.set_ticks(range(0, len(groups), step), [plain_text(group.name, NAME) for group in groups[::step]])
            axis.set_label_text(names[key])
        if sum(len(group.name) for group in columns[:CELLS]) > 60:
            axes.tick_params(axis="x", rotation=45)
        if len(columns) <= VALUES and len(rows) <= CELLS:
            for (down, right), value in np.ndenumerate(cells):
                if np.isfinite(value):
                    red, green, blue, _ = colours(image.norm(value))
                    colour = "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "black"
                    text = effects.write(value * 10.0**effects.scale)
                    axes.text(right, down, text, ha="center", va="center", fontsize=7.5, color=colour)
        figure.colorbar(image, label=plain_text(effects.name))
        return figure


def draw_cost(effects: Effects, subtitle: str) -> Figure:
    """Seconds of training against the score, one dot a row; no quicker row is as good as one of the Pareto front."""
    by = "model" if "model" in effects.groups else next(iter(effects.groups), "")
    groups = effects.groups.get(by, [])
    if not 1 < len(groups) <= len(COLOURS):
        groups = [Group("", None, effects.points)]
    prefix = "" if by == "model" else f"{headings(effects.table.keys).get(by, by)}="
    with drawing("Cost against quality", "", 3.8) as (figure, axes):
        _subtitle(axes, f"{subtitle}; a dot a row, with the 95 % t interval over seeds")
        for colour, group in zip(COLOURS, groups, strict=False):
            axes.errorbar(
                [point.row.seconds for point in group.points],
                [point.over_seeds.mean for point in group.points],
                [point.over_seeds.half_width or 0.0 for point in group.points],
                label=plain_text(f"{prefix}{group.name}", 2 * NAME) if group.name else None,
                **{"color": colour, "marker": "o", "markersize": 4, "linestyle": "", "elinewidth": 0.5, "alpha": 0.7},  # type: ignore[arg-type]
            )
        front = [(point.row.seconds, point.over_seeds.mean) for point in effects.front()]
        axes.plot(*zip(*front, strict=True), color=BLACK, drawstyle="steps-post", linestyle=":", linewidth=0.9)
        ring = {"markersize": 8, "markerfacecolor": "none", "markeredgecolor": BLACK, "label": "Pareto front"}
        axes.plot(*zip(*front, strict=True), marker="o", linestyle="", **ring)  # type: ignore[arg-type]
        seconds = [point.row.seconds for point in effects.points]
        if min(seconds) > 0 and max(seconds) / min(seconds) > 10:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "25" else "")
        _limit(axes, [point.over_seeds.mean for point in effects.points])
        labels = _labels(effects.points[:3])
        for point, words, name, offset in zip(effects.points, labels, "123", ((6, -9), (6, 4), (-10, 4)), strict=False):
            place = (point.row.seconds, point.over_seeds.mean)
            axes.annotate(name, place, xytext=offset, textcoords="offset points", fontsize=8, fontweight="bold")
            axes.plot([], [], " ", label=plain_text(f"{name}: {words}", LABEL))
        axes.set_xlabel("seconds of training")
        axes.set_ylabel(plain_text(effects.name))
        longest = max(map(len, [*labels, *(group.name for group in groups)]))
        return legend(figure, axes, columns=2 if longest > 34 else 3)


def _labels(points: Sequence[Point]) -> list[str]:
    """What sets some points apart from each other, in words."""
    every = [set(point.words) for point in points]
    common = set.intersection(*every) if len(every) > 1 else set()
    return [", ".join(word for word in point.words if word not in common) for point in points]


def _limit(axes: Axes, values: Sequence[float]) -> None:
    """Show all values, and intervals as far as they leave these to be seen: of two seeds they are very wide."""
    margin = 0.4 * (max(values) - min(values)) or 0.05 * abs(values[0]) or 1.0
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, min(values) - margin), min(high, max(values) + margin))


def _subtitle(axes: Axes, text: str) -> None:
    """Above the first panel, over the next ones where it is long: the layout would make room for it beside."""
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, LINE)]
    axes.set_title("\n".join(" " for _ in lines), fontsize=7.5)  # the room
    style = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 7.5, "color": GREY}
    axes.annotate("\n".join(lines), (0, 1), xytext=(0, 6), **style).set_in_layout(False)  # type: ignore[arg-type]
