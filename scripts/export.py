"""Write a finished run as one file that forecasts in the series' units without this package, and check it.

python scripts/export.py outputs/RUN                       export/model.pt2 in it, for torch.export.load
python scripts/export.py outputs/RUN --format onnx         export/model.onnx (pip install onnx onnxscript onnxruntime)
python scripts/export.py outputs/RUN --output model.pt2
python scripts/export.py outputs/RUN --replica 2           of a run with replicas, only the one that is counted so

Of a run with replicas the file holds all of them, and its forecast is their mean.

The file is loaded again and must forecast the test windows as the run does, or it is not written. Load a .pt2 only from
somebody you trust: torch.export.load unpickles. src/unroll/export.py says how to use both.
"""

import unroll.early  # noqa: F401  before all others

# isort: split
import argparse
from pathlib import Path

from unroll.cli import one_line_errors

CONFIG_DIR = Path(__file__).parent.parent / "conf"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="a directory under outputs/")
    parser.add_argument("--format", choices=("torch-export", "onnx"), default="torch-export", help="%(default)s")
    parser.add_argument("--output", type=Path, metavar="FILE", help="RUN_DIR/export/model.pt2 or .onnx; is replaced")
    parser.add_argument("--replica", type=int, metavar="K", help="only this replica, from 0 (default: the ensemble)")
    arguments = parser.parse_args()
    with one_line_errors(CONFIG_DIR):
        export(arguments.run, arguments.format, arguments.output, arguments.replica)


def export(run: Path, kind: str, output: Path | None, replica: int | None) -> None:
    """Load, write, say what was written."""
    from unroll.export import check_output, export_run
    from unroll.load import load_run

    if output is not None:
        output = output.expanduser()
    check_output(kind, output)
    loaded = load_run(run)
    if replica is not None:
        loaded = loaded.single(replica)
    made = export_run(loaded, kind, output)
    epoch, horizon = f"best epoch {loaded.metrics['epochs']['best']}", loaded.trained.horizon
    if loaded.replicas > 1:
        epoch = f"the mean of {loaded.replicas} networks, each at its best epoch"
    elif loaded.number is not None:
        epoch = f"seed {loaded.config.seed}, {epoch}"
    inputs = ", ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in made.inputs.items())
    sizes = [str(size) for size in made.batch_sizes]
    listed = f"{', '.join(sizes[:-1])} and {sizes[-1]}" if len(sizes) > 1 else sizes[0]
    windows = f"{made.windows} {made.segment} window{'s' if made.windows > 1 else ''}"
    print(f"{made.path} ({made.path.stat().st_size / 1000:.0f} kB, {epoch})")
    print(f"{inputs} to forecast (B, {horizon}), float64, in the series' units; any B")
    if not loaded.forecaster.network.points:
        kind = "mean" if loaded.forecaster.network.counts else "median"
        print(f"of its distributions, the file holds the {kind} alone")
    print(
        f"forecasts as the run does: {windows} in batches of {listed} differ by at most "
        f"{made.difference:.2g} ({made.relative:.1g} of the target's standard deviation)"
    )


if __name__ == "__main__":
    main()
