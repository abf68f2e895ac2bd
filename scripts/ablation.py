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
from pathlib import Path

from rich.console import Console

from unroll.cli import one_line_errors
from unroll.config import check_folder
from unroll.progress import PatientConsole, many

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
        ablate(arguments)


def ablate(arguments: argparse.Namespace) -> None:
    """Plan, run, write."""
    from unroll.ablation import as_values, draw, markdown, plan, print_rows, row_of
    from unroll.evaluation.report import writer

    folder = (arguments.output or Path("outputs/ablation") / arguments.name).expanduser().absolute()
    check_folder(folder, f"--output {folder}")
    variants = plan(arguments.name, arguments.overrides, folder / "runs", CONFIG_DIR)
    import pandas as pd

    from unroll.evaluation.style import DPI
    from unroll.runs.files import replace_file, write_text
    from unroll.train import train_once

    console, rows = PatientConsole(), []
    for number, variant in enumerate(variants, 1):
        console.print(f"{number} of {len(variants)}: {variant.name}", highlight=False, soft_wrap=True)
        quiet = Console(file=io.StringIO())
        result = train_once(variant.cfg, variant.overrides, quiet)
        rows.append(row_of(variant.name, result.metrics, arguments.score))
    metrics = result.metrics
    score = arguments.score
    seeds = many(len(rows[0].seeds), "seed")
    title = f"{arguments.name}: {metrics['data']}, {metrics['test']['windows']} test windows, {seeds}"
    known = [value for row in as_values(rows, score) for value in row.values() if isinstance(value, float)]
    write = writer(known, ratio=score in ("r2", "mase"))
    print_rows(rows, score, write, console)
    write_text(folder / "ablation.md", markdown(rows, score, write, title))
    table = pd.DataFrame(as_values(rows, score))
    replace_file(folder / "ablation.csv", lambda path: table.to_csv(path, index=False))
    replace_file(folder / "ablation.png", functools.partial(draw(rows, score, title).savefig, dpi=DPI))
    console.print(f"{folder}: ablation.md, ablation.csv, ablation.png", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
