"""What each ingredient of a recipe contributes: train it with one thing changed at a time, over 16 replicas.

python scripts/ablation.py cinema data.path=cinema.csv
python scripts/ablation.py cinema data.path=cinema.csv data.horizon=14 --score mase --output outputs/ablation/fortnight

The rows are in conf/ablation/NAME.yaml. Writes ablation.md, .csv and .png. Complete runs are used again,
interrupted ones go on: after Ctrl-C, give the same command again.
"""

import unroll.early  # noqa: F401  before all others

# isort: split
import argparse
import functools
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from unroll.cli import explain, one_line_errors
from unroll.config import check_folder
from unroll.errors import ConfigError, UnrollError
from unroll.interrupts import INTERRUPTED, stoppable
from unroll.progress import PatientConsole
from unroll.runs.holding import held
from unroll.tables import printable

if TYPE_CHECKING:
    from unroll.ablation import Row

CONFIG_DIR = Path(__file__).parent.parent / "conf"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help="of a file in conf/ablation")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for all rows")
    parser.add_argument("--score", choices=("r2", "rmse", "mae", "mase"), default="r2", help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="(default: outputs/ablation/NAME)")
    arguments = parser.parse_intermixed_args()
    with one_line_errors(CONFIG_DIR):
        sys.exit(ablate(arguments))


def ablate(arguments: argparse.Namespace) -> int:
    """Plan, run, write. Returns the exit code."""
    if "${" in str(arguments.output) or str(arguments.output) in ("", "."):
        raise ConfigError(f"--output {str(arguments.output)!r}: give a folder of its own, without ${{")
    folder = (arguments.output or Path("outputs/ablation") / arguments.name).expanduser().absolute()
    check_folder(folder, f"--output {folder}")
    from unroll.ablation import plan  # torch takes seconds: a wrong option must not wait for it

    variants = plan(arguments.name, arguments.overrides, folder / "runs", CONFIG_DIR)
    from unroll.ablation import Row, row_of
    from unroll.train import train_once

    console, quiet = PatientConsole(), Console(file=io.StringIO())
    rows: list[Row] = []
    failures, metrics, recipe = [], {}, None
    with held(folder), stoppable():
        try:
            for number, variant in enumerate(variants, 1):
                console.print(f"{number} of {len(variants)}: {variant.name}", highlight=False, soft_wrap=True)
                try:
                    metrics = train_once(variant.cfg, variant.overrides, quiet).metrics
                except (UnrollError, OSError) as error:
                    failures.append(f"{variant.name}: {explain(error, CONFIG_DIR)}")
                    continue
                rows.append(row_of(variant.name, metrics, arguments.score))
                recipe = rows[0] if number == 1 else recipe
        except KeyboardInterrupt:
            sys.stderr.write("interrupted; nothing that was finished is lost: the same command goes on\n")
            return INTERRUPTED
        if rows:
            title = f"{arguments.name}: {metrics['data']}, {metrics['test']['windows']} test windows"
            write(rows, recipe, arguments.score, [title, *(f"missing: {line}" for line in failures)], folder, console)
    for line in failures:
        sys.stderr.write(f"error: {printable(line)}\n")
    return 1 if failures else 0


def write(
    rows: Sequence["Row"],
    recipe: "Row | None",
    score: str,
    lines: Sequence[str],
    folder: Path,
    console: Console,
) -> None:
    """Print the table, and write it and the figure.

    Args:
        rows, recipe, score: see unroll.ablation.as_values.
        lines: a title, and which rows are missing.
        folder: for the files.
        console: where to print.
    """
    import pandas as pd

    from unroll.ablation import as_values, draw, markdown, print_rows
    from unroll.evaluation.style import DPI
    from unroll.runs.files import replace_file, write_text

    console.print(f"\n{lines[0]}: {score.upper()}", highlight=False, soft_wrap=True)
    print_rows(rows, recipe, score, console)
    if not rows[0].seeds:
        console.print(f"{score.upper()} is not defined on these test rows: give another --score", soft_wrap=True)
    words = "change: from the recipe (the first row), seed by seed, and half of the 95 % interval of its mean."
    console.print(words, style="dim", soft_wrap=True)
    write_text(folder / "ablation.md", markdown(rows, recipe, score, lines))
    table = pd.DataFrame(as_values(rows, recipe, score))
    replace_file(folder / "ablation.csv", lambda path: table.to_csv(path, index=False))
    replace_file(folder / "ablation.png", functools.partial(draw(rows, recipe, score, lines[0]).savefig, dpi=DPI))
    console.print(f"{folder}: ablation.md, ablation.csv, ablation.png", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
