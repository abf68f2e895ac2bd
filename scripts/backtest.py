"""Rolling-origin evaluation: forecast the last rows of a series from many origins, beside all baselines.

python scripts/backtest.py experiment=cinema_gru data.path=cinema.csv --rows 90 --refit 15
python scripts/backtest.py data=csv data.path=sales.csv data.date=day data.target=sold data.horizon=14 --rows 90
python scripts/backtest.py data=cinema replicas=16 --rows 60 --step 7

Takes the overrides of train.py. Each fold is trained on the rows before its first origin alone and forecasts from all
of its origins. The trainings are ordinary run directories in OUTPUT_DIR/backtests/NAME; after Ctrl-C, give the same
command again: complete ones are used, half-done ones go on.
"""

import unroll.early  # noqa: F401  before all others

# isort: split
import argparse
import os
import shlex
import sys
from pathlib import Path

from rich.console import Console

from unroll.backtest.options import Options, check_options, compose_config, folder_of
from unroll.cli import one_line_errors
from unroll.errors import ConfigError
from unroll.interrupts import INTERRUPTED, stoppable
from unroll.progress import PatientConsole, cores, many
from unroll.runs.holding import held
from unroll.tables import printable

CONFIG_DIR = Path(__file__).parent.parent / "conf"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the config, as for train.py")
    parser.add_argument("--rows", type=int, metavar="N", help="the last N rows are forecast (default: data.test)")
    parser.add_argument("--refit", type=int, default=0, metavar="N", help="train again every N rows (default: once)")
    parser.add_argument("--step", type=int, default=1, metavar="N", help="rows between origins (default: 1)")
    parser.add_argument("--name", metavar="NAME", help="of the folder (default: made from the config)")
    parser.add_argument("--jobs", type=int, metavar="N", help="trainings side by side (default: one a core)")
    arguments = parser.parse_intermixed_args()
    console = PatientConsole()
    with one_line_errors(CONFIG_DIR):
        sys.exit(backtest(arguments, console))


def backtest(arguments: argparse.Namespace, console: Console) -> int:
    """Plan, train, report. Returns the exit code."""
    options = Options(arguments.rows, arguments.refit, arguments.step, tuple(arguments.overrides))
    check_options(options)
    if arguments.jobs is not None and arguments.jobs < 1:
        raise ConfigError(f"--jobs {arguments.jobs}: give at least 1")
    cfg = compose_config(options, CONFIG_DIR)
    folder = folder_of(cfg, options, arguments.name)

    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(cfg.threads))  # NumPy reads it when it is imported
    from unroll.backtest.folds import plan_folds  # torch takes seconds: a wrong word must not wait for it
    from unroll.backtest.report import About, report
    from unroll.backtest.trainings import train_all

    plan = plan_folds(cfg, options, folder)
    count, workers = len(plan.folds), min(arguments.jobs or cores(), len(plan.folds))
    origins = sum(len(fold.origins) for fold in plan.folds)
    console.print(f"{many(origins, 'origin')}, {many(count, 'training')}, {workers} side by side", highlight=False)
    with held(folder, "--name"), stoppable():  # so that the workers are stopped too
        try:
            runs, failures = train_all(plan.folds, workers, console, folder / "workers.log")
            failed = [f"{fold.name}: {reason}" for fold, reason in failures.items()]
            command = shlex.join(["python", "scripts/backtest.py", *sys.argv[1:]])
            broken = report(plan, runs, About(command, options, failed), folder, console) if runs else []
        except KeyboardInterrupt:
            sys.stderr.write("interrupted; nothing that was finished is lost: the same command goes on\n")
            return INTERRUPTED
    for line in (*failed, *broken):
        sys.stderr.write(f"error: {printable(line)}\n")
    return 1 if failed or broken else 0


if __name__ == "__main__":
    main()
