"""The command: choose works, start the contenders, measure, and write what was found."""

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from fits.figures import draw_curves, draw_works
from fits.measure import Measured, run_curves, run_work, started
from fits.report import as_values, busy, curves_as_values, machine, missed, print_curves, print_work
from fits.works import CONTENDERS, WORKS, quick
from unroll.evaluation.style import DPI
from unroll.progress import many
from unroll.runs.files import replace_file, write_json

GROUPS = (*dict.fromkeys(work.group for work in WORKS), "curves")
WIDTH = 140  # where the output is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `fits` takes."""
    parser.add_argument("--only", nargs="+", choices=GROUPS, metavar="NAME", help=f"of {', '.join(map(repr, GROUPS))}")
    parser.add_argument("--alternations", type=int, default=5, help="fits of each contender, in turn (default: 5)")
    parser.add_argument("--quick", action="store_true", help="everything tiny: whether it runs")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmark"), help="a folder")
    for name in ("darts", "neuralforecast"):
        parser.add_argument(
            f"--python-{name}",
            type=Path,
            default=sys.executable,
            metavar="PATH",
            help=f"the interpreter that has {name}",
        )


def run(arguments: argparse.Namespace) -> None:
    """Measure, print, write fits.json, fits.png and curves.png."""
    console = Console(markup=False, width=None if sys.stdout.isatty() else WIDTH)
    chosen = arguments.only or GROUPS
    alternations = 1 if arguments.quick else max(1, arguments.alternations)
    about = machine()
    pythons = dict.fromkeys(CONTENDERS, Path(sys.executable)) | {
        name: Path(getattr(arguments, f"python_{name}")).absolute() for name in ("darts", "neuralforecast")
    }
    began = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    works: list[Measured] = []

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False)

    with started(pythons) as (workers, left_out):
        versions = {name: worker.versions for name, worker in workers.items()}
        for name in CONTENDERS:
            said = left_out.get(name) or ", ".join(f"{part} {number}" for part, number in versions[name].items())
            say(f"{CONTENDERS[name].title}: {said}")
        for work in WORKS:
            if work.group in chosen:
                say(f"{work.name}")
                small = replace(work, sizes=quick(work.sizes)) if arguments.quick else work
                works.append(run_work(small, workers, alternations, say))
        curves = run_curves(workers, alternations, say, small=arguments.quick) if "curves" in chosen else {}

    for measured in works:
        print_work(measured, left_out, console)
    print_curves(curves, console)
    values = {
        "began": began,
        "machine": about,
        "threads": 1,
        "alternations": alternations,
        "quick": arguments.quick,
        "contenders": {name: {"versions": found} for name, found in versions.items()}
        | {name: {"left_out": why} for name, why in left_out.items()},
        "works": [as_values(measured) for measured in works],
        "curves": curves_as_values(curves),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_json(arguments.output / "fits.json", values)
    subtitle = f"{about['processor']}; median and range of {many(alternations, 'alternation')}"
    if arguments.quick:
        subtitle += "; tiny sizes, no measurement"
    figures = {"fits.png": draw_works(works, subtitle)} if works else {}
    if curves:
        figures["curves.png"] = draw_curves(curves, subtitle)
    for name, figure in figures.items():
        replace_file(arguments.output / name, partial(figure.savefig, dpi=DPI))
    warning = busy([*works, *(measured for places in curves.values() for measured in places.values())])
    if warning:
        say(warning)
    if arguments.quick:
        say("Everything was tiny: these numbers say nothing of speed.")
    for line in [] if arguments.quick else missed(works):
        say(f"not met: {line}")
    say(f"written to {arguments.output}")
