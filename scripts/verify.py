"""Train finished runs again from their directories alone, and say whether the digest of the weights is met.

python scripts/verify.py outputs/RUN

Exit code 0 where weights, scores and predictions are the same bits; else 1, with what differs from the machine and the
versions that the run was trained with. The run directory is not changed.
"""

import unroll.early  # noqa: F401  before all others

# isort: split
import argparse
import sys
from pathlib import Path

from unroll.cli import one_line_errors
from unroll.progress import PatientConsole

CONFIG_DIR = Path(__file__).parent.parent / "conf"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN_DIR")
    arguments = parser.parse_args()
    console = PatientConsole()
    with one_line_errors(CONFIG_DIR):
        from unroll.verification import verify  # torch takes seconds; --help must not wait

        met = [verify(path, console) for path in arguments.runs]
        if not all(met):
            sys.exit(1)


if __name__ == "__main__":
    main()
