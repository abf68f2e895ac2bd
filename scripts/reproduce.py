"""Run the reference experiments over several seeds; write one page that holds the published figures beside ours.

python scripts/reproduce.py                                          all nine, five seeds each
python scripts/reproduce.py cinema_rnn cinema_lstm cinema_gru --seeds 16 data.path=sales.csv
python scripts/reproduce.py sine_gru --seeds 1 model.hidden_size=40  any key of the configs

Complete runs are used again, interrupted ones go on: after Ctrl-C, give the same command again.
"""

import unroll.early  # noqa: F401  before all others

# isort: split
import argparse
import re
import shlex
import sys
from pathlib import Path

from rich.console import Console

from unroll.cli import one_line_errors
from unroll.config import check_folder
from unroll.errors import ConfigError
from unroll.interrupts import INTERRUPTED, stoppable
from unroll.progress import PatientConsole, cores, many
from unroll.reproduction.jobs import Job, choose, plan
from unroll.reproduction.pool import run_all
from unroll.runs.holding import held
from unroll.tables import printable

CONFIG_DIR = Path(__file__).parent.parent / "conf"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "words", nargs="*", metavar="EXPERIMENT | KEY=VALUE", help="which (all of them); what to change"
    )
    parser.add_argument("--seeds", type=_positive, default=5, metavar="N", help="seeds 0 to N - 1 (default: 5)")
    parser.add_argument("--jobs", type=_positive, metavar="N", help="runs side by side (default: one a core)")
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"), metavar="FOLDER", help="%(default)s")
    arguments = parser.parse_intermixed_args()
    console = PatientConsole()
    with one_line_errors(CONFIG_DIR):
        sys.exit(reproduce(arguments, console))


def reproduce(arguments: argparse.Namespace, console: Console) -> int:
    """Plan, run, write. Returns the exit code."""
    names, overrides = choose(arguments.words)
    if "${" in str(arguments.output) or str(arguments.output) in ("", "."):
        raise ConfigError(f"--output {str(arguments.output)!r}: give a folder of its own, without ${{")
    folder: Path = arguments.output.expanduser().absolute()
    check_folder(folder, f"--output {arguments.output}")
    jobs, notes = plan(names, overrides, arguments.seeds, folder / "runs", CONFIG_DIR)
    workers = min(arguments.jobs or cores(), len(jobs))
    counts = f"{many(len(names), 'experiment')}, {many(arguments.seeds, 'seed')}"
    for line in (*notes, f"{many(len(jobs), 'run')} ({counts}), {workers} side by side"):
        console.print(line, soft_wrap=True, highlight=False)
    with held(folder), stoppable():  # so that the workers are stopped too
        try:
            found, failures = run_all(jobs, workers, console, folder / "workers.log")
        except KeyboardInterrupt:
            sys.stderr.write("interrupted; nothing that was finished is lost: the same command goes on\n")
            return INTERRUPTED
        if found:
            from unroll.reproduction.page import About, write

            command = shlex.join(["python", "scripts/reproduce.py", *sys.argv[1:]])
            write(found, About(command, overrides, together(failures), notes, workers), folder, console)
    for line in together(failures):
        sys.stderr.write(f"error: {printable(line)}\n")
    return 1 if failures else 0


def together(failures: dict[Job, str]) -> list[str]:
    """One line a reason: a mistake that stops all seeds of an experiment is said once."""
    jobs: dict[tuple[str, str], list[int]] = {}
    for job, reason in failures.items():
        jobs.setdefault((job.experiment, reason), []).append(job.seed)
    return [f"{name} seed {', '.join(map(str, sorted(seeds)))}: {reason}" for (name, reason), seeds in jobs.items()]


def _positive(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 to 9999")
    return int(text)


if __name__ == "__main__":
    main()
