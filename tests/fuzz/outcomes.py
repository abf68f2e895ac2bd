"""What a command may leave behind: one whole run, or one line that says what is wrong. All else is a defect."""

import csv
import json
import math
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

LONGEST_LINE = 600
RATIOS = ("r2", "mase", "skill")  # may be undefined


class OutcomeError(AssertionError):
    """Something that a command must not do."""


def judge(done: subprocess.CompletedProcess[str], outputs: Path, *, refusals: Sequence[int] = (1,)) -> Path | None:
    """The directory of the run that a training made, or None where it was refused in one line.

    Args:
        done: a `python train.py ... output_dir=OUTPUTS`, or a script that makes runs there.
        outputs: of this command alone; may be missing.
        refusals: exit codes of a refusal; 2 is that of a script's wrong words.

    Raises:
        OutcomeError: says what else happened.
    """
    about = f"exit code {done.returncode}\nstdout: {done.stdout[-2000:]}\nstderr: {done.stderr[-4000:]}"
    for text in (done.stdout, done.stderr):
        expect("Traceback" not in text, f"a traceback: {about}")
    left = [path.name for path in outputs.rglob("*.partial*")]
    expect(not left, f"unfinished files: {left}")
    runs = [path for path in outputs.rglob("run.json") if "sweeps" not in path.parts]
    states = [strict_json(path)["status"] for path in runs]
    if done.returncode == 0:
        expect(not done.stderr, f"a word on standard error: {about}")
        expect(states == ["complete"], f"runs {states}: {about}")
        judge_run(runs[0].parent)
        return runs[0].parent
    expect(done.returncode in refusals, about)
    judge_line(done.stderr, usage=done.returncode == 2)
    expect(not {"complete", "running"} & {*states}, f"refused, with runs {states}: {about}")
    return None


def judge_line(stderr: str, *, usage: bool = False) -> None:
    """A refusal says one line, fit to be read; with `usage` that line follows argparse's own."""
    lines = stderr.splitlines()
    if usage:
        expect(bool(lines) and ": error: " in lines[-1], f"no error line: {stderr[-2000:]}")
        return
    expect(len(lines) == 1 and stderr.endswith("\n"), f"{len(lines)} lines of error: {stderr[-3000:]!r}")
    (line,) = lines
    expect(line.startswith("error: "), f"no error: {line!r}")
    expect(len(line) < LONGEST_LINE, f"{len(line)} characters: {line!r}")
    expect(line.isprintable(), f"unprintable: {line!r}")


def judge_run(run: Path) -> None:
    """A complete run has finite scores and a forecast for each window."""
    metrics = strict_json(run / "metrics.json")
    windows, horizon = metrics["windows"], metrics["horizon"]
    scored = [segment for segment in ("train", "validation", "test") if segment in metrics]
    expect("test" in scored or "train" in scored, f"no segment is scored: {scored}")
    for segment in scored:
        expect(metrics[segment]["windows"] == windows[segment], f"{segment}: {windows}")
        for kind in ("models", "baselines"):
            for name, row in metrics[segment][kind].items():
                undefined = [key for key, value in row.items() if value is None and key not in RATIOS]
                expect(not undefined, f"{segment}: {name} has no {undefined}")
                expect(row["rmse"] >= row["mae"] * (1 - 1e-9) >= 0, f"{segment}: {name}: {row}")
    endless = [place for place, value in _numbers(metrics) if not math.isfinite(value)]
    expect(not endless, f"not finite: {endless}")
    written = [segment for segment in ("train", "test") if segment in scored]
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    expect(len(rows) == horizon * sum(windows[segment] for segment in written), f"{len(rows)} predictions: {windows}")
    expect(all(len(row) == len(header) and row[0] for row in rows), "predictions.csv is ragged or without labels")
    truth, segment = header.index("truth"), header.index("segment")
    for row in rows:
        for name, cell in zip(header[truth:], row[truth:], strict=True):
            absent = name not in metrics[row[segment]]["baselines"] and not name.startswith(("truth", "forecast_"))
            expect((absent and not cell) or math.isfinite(float(cell or "nan")), f"predictions.csv: {name} is {cell!r}")
    for name in ("config.yaml", "series.npz", "history.csv", "checkpoints/best.ckpt", "figures/forecast.png"):
        expect((run / name).is_file(), f"{name} is missing")


def strict_json(path: Path) -> Any:
    """A JSON file without NaN and the like."""

    def refuse(word: str) -> None:
        raise OutcomeError(f"{path.name} holds {word}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def expect(holds: bool, message: str) -> None:
    """Raise OutcomeError where something does not hold."""
    if not holds:
        raise OutcomeError(message)


def _numbers(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of plain values, and where they stand."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _numbers(part, f"{place}.{key}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _numbers(part, f"{place}[{number}]")
    elif isinstance(value, float | int):
        yield place, value
