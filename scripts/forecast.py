"""Forecast past the end of the series with a finished run, knowing nothing but its directory.

python scripts/forecast.py outputs/RUN --steps 30
python scripts/forecast.py outputs/RUN --steps 30 --levels 80 95 --output forecast.csv
python scripts/forecast.py outputs/RUN --data-path newer.csv --output forecast.json
python scripts/forecast.py outputs/RUN --replica 2           of a run with replicas, only the one that is counted so

Up to the run's horizon the forecast is direct; beyond it, it reads the forecasts before it. Of a head that makes
distributions it has the 80 % and 95 % intervals without being asked, and beyond the horizon those of many paths, each
of which reads its own draws. Without --output the table goes to standard output, everything else to standard error. The
figure lies beside the output, or in RUN/figures.
"""

import unroll.early  # noqa: F401  before all others

# isort: split
import argparse
import functools
import json
import sys
from pathlib import Path

from unroll.cli import one_line_errors
from unroll.errors import ConfigError, RunError

CONFIG_DIR = Path(__file__).parent.parent / "conf"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN_DIR")
    parser.add_argument("--steps", type=int, metavar="N", help="how many (default: the run's horizon)")
    parser.add_argument("--data-path", type=Path, metavar="FILE", help="a newer file with the same columns")
    parser.add_argument("--levels", type=float, nargs="+", default=[], metavar="PERCENT", help="prediction intervals")
    parser.add_argument("--replica", type=int, metavar="K", help="only this replica, from 0 (default: the ensemble)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a .csv or .json file (default: standard output)")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="where to draw it, a .png file")
    arguments = parser.parse_args()
    with one_line_errors(CONFIG_DIR):
        forecast(arguments)


def forecast(arguments: argparse.Namespace) -> None:
    """Load, forecast, write."""
    if arguments.steps is not None and not 0 < arguments.steps <= 100_000:
        raise ConfigError(f"--steps {arguments.steps}: give a whole number from 1 to 100,000")
    wrong = [level for level in arguments.levels if not 0 < level < 100]
    if wrong:
        raise ConfigError(f"--levels {wrong[0]:g}: a level is a percentage between 0 and 100, such as 80 or 95")
    output: Path | None = arguments.output
    if output and output.suffix not in (".csv", ".json"):
        raise ConfigError(f"--output {output}: give a name that ends in .csv or .json")
    if arguments.figure and arguments.figure.suffix != ".png":
        raise ConfigError(f"--figure {arguments.figure}: give a name that ends in .png")
    for path in (output, arguments.figure):
        if path and not path.parent.is_dir():
            raise ConfigError(f"{path}: the folder {path.parent} does not exist")
    import pandas as pd

    from unroll.evaluation.figures import draw_future
    from unroll.evaluation.style import DPI
    from unroll.load import load_run
    from unroll.results import essentials
    from unroll.runs.files import replace_file, write_text
    from unroll.tables import printable

    loaded = load_run(arguments.run, arguments.data_path)
    if arguments.replica is not None:
        loaded = loaded.single(arguments.replica)
    steps = arguments.steps or loaded.datamodule.horizon
    levels = sorted(set(arguments.levels)) or loaded.levels
    found = loaded.intervals(steps, levels) if levels else None
    table = loaded.forecast(steps, levels, found)
    name = printable(str(table.index.name or "row"))
    table = table.rename_axis(f"{name} (index)" if name in table.columns else name)
    text, dates = table.to_csv(), isinstance(loaded.datamodule.series.index, pd.DatetimeIndex)
    if output and output.suffix == ".json":
        labels = [str(label).removesuffix(" 00:00:00") if dates else label for label in table.index.tolist()]
        rows = [{table.index.name: label, **row} for label, row in zip(labels, table.to_dict("records"), strict=True)]
        text = json.dumps(rows, indent=2, allow_nan=False) + "\n"
    if output:
        write_text(output, text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    if not (arguments.figure or output) and (loaded.run.figures.is_symlink() or not loaded.run.figures.is_dir()):
        raise RunError(f"{loaded.run.figures} is no folder of this run: give --figure FILE.png")
    one = "" if loaded.number is None else f"_replica{loaded.number}"
    picture = arguments.figure or (output.with_suffix(".png") if output else loaded.run.figures / f"future{one}.png")
    figure = draw_future(loaded.datamodule, table, levels, label=loaded.label, subtitle=essentials(loaded.config))
    replace_file(picture, functools.partial(figure.savefig, dpi=DPI))
    for line in [
        *([] if found is None else found.lines(steps)),
        *([f"forecast: {output}"] if output else []),
        f"figure: {picture}",
    ]:
        sys.stderr.write(f"{printable(line)}\n")


if __name__ == "__main__":
    main()
