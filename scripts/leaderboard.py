"""The leaderboard of a sweep: runs that differ only by their seed are one row, with mean and 95 % interval.

python scripts/leaderboard.py outputs/SWEEP
python scripts/leaderboard.py outputs/SWEEP outputs/OTHER --metric mae --output outputs/both
python scripts/leaderboard.py outputs/SWEEP --heat window_size hidden_size
python scripts/leaderboard.py outputs/SWEEP --json --no-figures

Rows are sorted by the validation segment. To sort by the test segment is to choose by it, which leaks it.
Prints a table; writes leaderboard.csv, .md, .json and figures/ to the folder, or to outputs/leaderboard where there
are several.
"""

import unroll.early  # noqa: F401  before all others

# isort: split
import argparse
from pathlib import Path

from rich.console import Console

from unroll.cli import one_line_errors
from unroll.errors import ConfigError
from unroll.progress import PatientConsole
from unroll.sweeps.board import publish
from unroll.sweeps.leaderboard import METRICS, SORTS

CONFIG_DIR = Path(__file__).parent.parent / "conf"
SEVERAL = Path("outputs/leaderboard")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="SWEEP_DIR", help="searched for runs, however deep")
    parser.add_argument("--metric", type=str.lower, choices=METRICS, default="rmse", help="default: rmse")
    parser.add_argument(
        "--sort",
        type=str.lower,
        choices=SORTS,
        default="validation",
        help="segment to sort by (default: validation). Choosing by test leaks it: scores chosen so are too good",
    )
    parser.add_argument("--heat", nargs=2, metavar="KEY", help="keys of the heat map (default: the largest effects)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where to write (default: see above)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--no-figures", dest="figures", action="store_false", help="draw none: quicker")
    arguments = parser.parse_intermixed_args()
    with one_line_errors(CONFIG_DIR):
        show(arguments, PatientConsole())


def show(arguments: argparse.Namespace, console: Console) -> None:
    """Print and write the leaderboard."""
    folders = [folder.expanduser() for folder in arguments.folders]
    is_sweep = len(folders) == 1 and not (folders[0] / "run.json").exists()  # a run's folder is left as it is
    output = arguments.output.expanduser() if arguments.output else folders[0] if is_sweep else SEVERAL
    if output.exists() and not output.is_dir():
        raise ConfigError(f"--output {output}: this is no folder")
    publish(
        folders,
        output,
        console,
        metric=arguments.metric,
        sort=arguments.sort,
        heat=tuple(arguments.heat) if arguments.heat else None,
        figures=arguments.figures,
        json=arguments.json,
    )


if __name__ == "__main__":
    main()
