"""Print a leaderboard, as much of it as a terminal has room for, and write all of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from unroll.sweeps.cells import Field, counts, fields, legend, notes, title, warnings
from unroll.sweeps.files import as_json, write_leaderboard
from unroll.sweeps.keys import resolve
from unroll.sweeps.leaderboard import BEST, Leaderboard, Table, read_leaderboard
from unroll.tables import Column, folded, printable

ROWS = 30  # printed of a table; the files hold all
WORD = 14  # longer words may be folded
CONFIG = 16  # the least width for all keys in one column
REASONS = 5  # of damaged runs
EN_DASH = "\N{EN DASH}"
ASCII = str.maketrans({"±": "+-", EN_DASH: "-"})  # for a terminal that is not UTF-8


def publish(
    folders: Sequence[Path],
    output: Path | None,
    console: Console,
    *,
    metric: str = "rmse",
    sort: str = "validation",
    heat: tuple[str, str] | None = None,
    figures: bool = True,
    json: bool = False,
) -> Leaderboard:
    """Print the leaderboard of all complete runs in some folders, and write it to a folder.

    Args:
        folders: of runs, however deep.
        output: gets leaderboard.csv, .md, .json and figures/; None: nothing is written.
        console: where to print.
        metric: one of leaderboard.METRICS.
        sort: the segment to sort by: validation, or test, which is a leak.
        heat: two keys for the heat map; None: those with the largest effects.
        figures: whether to draw, which takes longer than all else.
        json: print JSON in place of the tables.

    Raises:
        RunError: where a folder does not exist, or none holds a complete run.
        ConfigError: where a key of `heat` does not differ between runs.
        OSError: where the output cannot be written; the tables are printed by then.
    """
    board = read_leaderboard(folders, metric=metric, sort=sort)
    keys = resolve(heat, [table.keys for table in board.tables]) if heat else None
    if json:
        console.out(as_json(board), highlight=False)
    else:
        print_leaderboard(board, console, whole=output is None)
    if output:
        write_leaderboard(board, output)
        say = _printer(Console(file=StringIO()) if json else console, wrap=False)
        say("")
        say(f"written: {output}/leaderboard.csv, .md, .json")
        if figures:
            from unroll.sweeps.figures import write_figures  # only here: matplotlib takes longer than all else

            names = write_figures(board, output / "figures", keys)
            if names:
                say(f"figures: {output}/figures/{', '.join(names)}")
    return board


def print_leaderboard(board: Leaderboard, console: Console, *, whole: bool = False) -> None:
    """Print the tables and their legend.

    Args:
        board: to print.
        console: whose width the tables keep to.
        whole: also the rows after the first ROWS.
    """
    say = _printer(console)
    rows = f"{board.rows} row{'s' * (board.rows != 1)}"
    tables = f" in {len(board.tables)} tables, one for each kind of targets" if len(board.tables) > 1 else ""
    say(f"{board.runs} run{'s' * (board.runs != 1)}, {rows}{tables}")
    for table in board.tables:
        say("")
        say(title(board, table), "bold")
        for line in warnings(board, table):
            say(line, "yellow")
        _print_table(table, console, len(table.rows) if whole else ROWS)
        for line in notes(table):
            say(line, "dim")
    say("")
    for line in legend(board):
        say(line, "dim")
    for line in counts(board):
        say(line)
    damaged = [run for run in board.left_out if run.status == "damaged"]
    for run in damaged[:REASONS]:
        say(printable(f"{run.name}: {run.reason}"), "red")
    if len(damaged) > REASONS:
        say(f"and {len(damaged) - REASONS} more are damaged", "red")


def _print_table(table: Table, console: Console, most: int) -> None:
    """One table, in as many columns as there is room for."""
    columns, gap, missing = _layout(table, console, most)
    grid = Grid(box=SIMPLE_HEAD, show_edge=False, padding=(0, gap, 0, 0), pad_edge=False)
    for column in columns:
        grid.add_column(Text(column.heading), justify=column.justify, width=column.width, overflow="fold")
    for place, mark in enumerate(table.marks[:most]):
        grid.add_row(*(Text(column.cells[place]) for column in columns), style="bold" if mark == BEST else "")
    width = console.width
    console.width = max(width, _total(columns, gap))  # print(width=...) would keep to the terminal's, and cut
    console.print(grid)
    console.width = width
    say = _printer(console)
    if len(table.rows) > most:
        say(f"and {len(table.rows) - most} more rows: leaderboard.md has all", "dim")
    if missing:
        say(f"no room for: {', '.join(missing)} (a wider terminal or leaderboard.md shows them)", "dim")


def _layout(table: Table, console: Console, most: int) -> tuple[list[Column], int, list[str]]:
    """The columns there is room for, the blanks between them, and the headings of those left out.

    Where the keys take too much room, their headings are folded, then all of them go into one column.
    """
    known = fields(table)
    write = _encodable(console)

    def column(field: Field) -> Column:
        cells = [write(cell) for cell in field.cells[:most]]
        narrowest = min(WORD, max(map(cell_len, cells))) if field.words else None
        heading = "\n".join(map(write, field.heading.split("\n")))
        made = Column(heading, cells, narrowest, "left" if field.words else "right")
        made.full = max(made.full, *map(cell_len, heading.split("\n")))  # in one line, where there is room
        return made

    rank, scores = column(known.rank), [column(field) for field in known.scores]
    plain = [column(field) for field in known.keys]
    narrow = [column(replace(field, heading=folded(field.heading, 1))) for field in known.keys]
    for keys, gap in ((plain, 1), (narrow, 1), (narrow, 0)):
        columns = [rank, *keys, *scores]
        if _total(columns, gap) <= console.width:
            break
    else:
        gap = 1 if _total([rank, *scores], 1) + 2 + CONFIG <= console.width else 0
        width = max(CONFIG, console.width - _total([rank, *scores], gap) - gap - 1)
        texts = [
            [f"{write(field.heading)}={write(field.cells[place])}" for field in known.keys]
            for place in range(min(most, len(table.rows)))
        ]
        together = Column("config", [_packed(words, width) for words in texts], CONFIG, "left")
        together.width = together.full = min(
            width, max(cell_len(line) for cell in together.cells for line in cell.split("\n"))
        )
        columns = [rank, together, *scores]
    extras = [[column(field) for field in group] for group in known.extras]
    while extras and _total([*columns, *extras[0]], gap) <= console.width:
        columns += extras.pop(0)
    for one in columns:  # widen folded words
        one.width += max(0, min(console.width - _total(columns, gap), one.full - one.width))
    return columns, gap, [one.heading for group in extras for one in group]


def _total(columns: Sequence[Column], gap: int) -> int:
    return sum(column.width for column in columns) + (gap + 1) * (len(columns) - 1)  # the divider is a blank too


def _packed(words: Sequence[str], width: int) -> str:
    """Words in lines of a width, broken between them."""
    lines = [""]
    for word in words:
        if lines[-1] and cell_len(f"{lines[-1]} {word}") > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _printer(console: Console, *, wrap: bool = True) -> Callable[..., None]:
    """Print a line as it is: names may hold brackets and worse. Paths are not wrapped: they are copied."""
    write = _encodable(console)

    def say(line: str, style: str = "") -> None:
        console.print(Text(write(line), style=style), soft_wrap=not wrap, highlight=False)

    return say


def _encodable(console: Console) -> Callable[[str], str]:
    """Text that the terminal can write, and that moves nothing on it."""
    encoding = console.encoding

    def write(text: str) -> str:
        text = printable(text)
        if not encoding.lower().startswith("utf"):
            text = text.translate(ASCII)
        return text.encode(encoding, "replace").decode(encoding)

    return write
