"""Measure what the README says of speed and memory.

python scripts/benchmark.py start                      seconds of --help, of a config error, of the default training
python scripts/benchmark.py memory --rows 10000000     peak memory of training on a long CSV file
python scripts/benchmark.py sweep                      jobs a minute of hydra/launcher=joblib and of the basic launcher
python scripts/benchmark.py fits                       whole fits beside a plain loop, Lightning, darts, neuralforecast

`fits` needs `pip install -c constraints.txt -e '.[benchmark]'` for the last two, which are left out where they are not
installed; --python-darts and --python-neuralforecast take interpreters of environments of their own. What is measured
is said in scripts/fits/works.py and, contender by contender, in scripts/fits/contenders.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fits import command as fits
from unroll.progress import cores

ROOT = Path(__file__).parent.parent
CHUNK_ROWS = 1_000_000


@dataclass(frozen=True)
class Measured:
    """One finished process: wall seconds, and peak resident memory in bytes."""

    seconds: float
    peak: int
    output: str


def measure(arguments: list[str], *, expected: int = 0) -> Measured:
    """Run `python train.py ARGUMENTS` to its end.

    Args:
        arguments: of the command line.
        expected: the exit code that it should have.
    """
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *arguments], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)  # the system's own count of this process alone
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begun
        output.seek(0)
        text = output.read()
    if process.returncode != expected:
        sys.exit(f"train.py {' '.join(arguments)} ended with {process.returncode}:\n{text}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(seconds, usage.ru_maxrss * unit, text)


def start(runs: int) -> None:
    """Print the median seconds of quick answers and of the default training."""
    with tempfile.TemporaryDirectory() as folder:
        commands: list[tuple[list[str], int]] = [
            (["--help"], 0),
            (["model.hiden_size=3"], 1),
            (["model=gru", f"output_dir={folder}"], 0),
        ]
        for arguments, expected in commands:
            found = [measure(arguments, expected=expected).seconds for _ in range(runs)]
            shown = " ".join(word for word in arguments if not word.startswith("output_dir"))
            print(
                f"python train.py {shown:<20} median {statistics.median(found):6.2f} s "
                f"(of {runs}: {min(found):.2f} to {max(found):.2f})"
            )


def memory(rows: int, steps: int, replicas: int) -> None:
    """Print peak memory and seconds of training a few steps on a CSV with dates and `rows` rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.csv"
        write_csv(path, rows)
        print(f"{rows:,} rows, {path.stat().st_size / 1e6:.0f} MB of CSV with dates", flush=True)
        done = measure(
            [
                *("data=csv", f"data.path={path}", "data.date=date", "data.target=value", "data.batch_size=256"),
                *("trainer.max_epochs=1", f"trainer.limit_train_batches={steps}", f"output_dir={folder}"),
                f"replicas={replicas}",
            ]
        )
        print(done.output.strip())
        print(f"peak memory {done.peak / 1e9:.2f} GB, {done.seconds:.0f} s in all, {steps} training steps")


def sweep(jobs: int, alternations: int) -> None:
    """Print how many jobs a minute a sweep does with each launcher, whole commands, one after the other."""
    words = ["-m", "data=cinema", f"seed=range({jobs})", "early_stopping.patience=null", "trainer=cpu"]
    print(f"{jobs} jobs of 100 epochs, {cores()} cores, {alternations} alternations", flush=True)
    ratios = []
    for _ in range(alternations):
        rates = {}
        for launcher in ("basic", "joblib"):
            with tempfile.TemporaryDirectory() as folder:
                found = measure([*words, f"hydra/launcher={launcher}", f"output_dir={folder}"])
            rates[launcher] = 60 * jobs / found.seconds
        ratios.append(rates["joblib"] / rates["basic"])
        shown = ", ".join(f"{launcher} {rate:.1f}" for launcher, rate in rates.items())
        print(f"jobs a minute: {shown}; ratio {ratios[-1]:.2f}", flush=True)
    print(f"ratio: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def write_csv(path: Path, rows: int) -> None:
    """A series by the second: two sines and noise."""
    random = np.random.RandomState(0)
    begin = np.datetime64("2020-01-01T00:00:00")
    with path.open("w") as file:
        file.write("date,value\n")
        for first in range(0, rows, CHUNK_ROWS):
            step = np.arange(first, min(first + CHUNK_ROWS, rows))
            values = np.sin(step / 50) + np.sin(step / 3600) + 0.1 * random.standard_normal(len(step))
            stamps = np.datetime_as_string(begin + step)
            file.writelines(f"{stamp},{value:.4f}\n" for stamp, value in zip(stamps, values, strict=True))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("start", help="seconds of quick answers and of the default training")
    starting.add_argument("--runs", type=int, default=5)
    long = commands.add_parser("memory", help="peak memory of training on a long CSV file")
    long.add_argument("--rows", type=int, default=10_000_000)
    long.add_argument("--steps", type=int, default=20)
    long.add_argument("--replicas", type=int, default=1)
    sweeping = commands.add_parser("sweep", help="jobs a minute of the basic launcher and of joblib")
    sweeping.add_argument("--jobs", type=int, default=96)
    sweeping.add_argument("--alternations", type=int, default=3)
    fits.add_arguments(commands.add_parser("fits", help="whole fits, beside others"))
    arguments = parser.parse_args()
    if arguments.command == "start":
        start(arguments.runs)
    elif arguments.command == "fits":
        fits.run(arguments)
    elif arguments.command == "sweep":
        sweep(arguments.jobs, arguments.alternations)
    else:
        memory(arguments.rows, arguments.steps, arguments.replicas)


if __name__ == "__main__":
    main()
