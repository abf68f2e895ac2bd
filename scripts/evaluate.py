"""Score finished runs again, knowing nothing but their directories: the same table as training printed, and figures.

python scripts/evaluate.py outputs/RUN
python scripts/evaluate.py outputs/RUN --segment validation
python scripts/evaluate.py outputs/RUN --data-path newer.csv
python scripts/evaluate.py outputs/RUN --replica 2           of a run with replicas, only the one that is counted so
python scripts/evaluate.py outputs/RUN outputs/OTHER         one table and one figure of all

With another file, what lies in the time that was trained on stays training; the baselines are those of the run's own.
"""

import unroll.early  # noqa: F401  before all others

# isort: split
import argparse
from pathlib import Path

from unroll.cli import one_line_errors
from unroll.progress import PatientConsole

CONFIG_DIR = Path(__file__).parent.parent / "conf"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN_DIR")
    parser.add_argument("--segment", choices=("test", "validation", "train"), help="default: test (train without one)")
    parser.add_argument("--data-path", type=Path, metavar="FILE", help="another file with the same columns")
    parser.add_argument("--replica", type=int, metavar="K", help="only this replica, from 0 (default: all, ensemble)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: RUN_DIR/evaluation, of the first run")
    arguments = parser.parse_args()
    console = PatientConsole()
    with one_line_errors(CONFIG_DIR):
        from unroll.evaluation.again import evaluate_again  # torch takes seconds; --help must not wait

        asked = (arguments.segment, arguments.data_path, arguments.output)
        evaluate_again(arguments.runs, *asked, console, arguments.replica)


if __name__ == "__main__":
    main()
