"""Run the reference experiments over several seeds; write one page that holds the published figures beside ours.

python scripts/reproduce.py                                          all nine, five seeds each
python scripts/reproduce.py cinema_rnn cinema_lstm cinema_gru --seeds 16 data.path=sales.csv
python scripts/reproduce.py sine_gru --seeds 1 model.hidden_size=40  any key of the configs

Complete runs are used again, interrupted ones go on: after Ctrl-C, give the same command again.
"""

import argparse
import fcntl
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from unroll.cli import INTERRUPTED, one_line_errors
from unroll.errors import RunError
from unroll.progress import PatientConsole
from unroll.reproduction.jobs import choose, plan
from unroll.reproduction.pool import run_all

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
    folder: Path = arguments.output.expanduser().absolute()
    jobs, notes = plan(names, overrides, arguments.seeds, folder / "runs", CONFIG_DIR)
    workers = min(arguments.jobs or _cores(), len(jobs))
    for line in (
        *notes,
        f"{len(jobs)} runs ({len(names)} experiments, {arguments.seeds} seeds), {workers} side by side",
    ):
        console.print(line, soft_wrap=True, highlight=False)
    with held(folder):
        try:
            found, failures = run_all(jobs, workers, console, folder / "workers.log")
        except KeyboardInterrupt:
            sys.stderr.write("interrupted; nothing that was finished is lost: the same command goes on\n")
            return INTERRUPTED
        if found:
            from unroll.reproduction.page import About, write

            command = shlex.join(["python", "scripts/reproduce.py", *sys.argv[1:]])
            write(found, About(command, overrides, failures, notes, workers), folder, console)
    for line in failures:
        sys.stderr.write(f"error: {line}\n")
    return 1 if failures else 0


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder: two of these commands in it would do the same runs twice."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise RunError(f"--output {folder}: this folder cannot be made ({error.strerror})") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise RunError(f"{folder} is in use by another of these commands: wait for it, or give --output") from error
    finally:
        os.close(lock)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    main()
