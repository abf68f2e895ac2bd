"""Nothing that is fitted, chosen, calibrated or forecast may know a row from its origin on.

A series is changed from a row inside of its test segment on, and all that came before must stay, bit by bit.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unroll.checkpoints import load_checkpoint
from unroll.evaluation.evaluate import evaluate
from unroll.load import LoadedRun, load_run

ROWS, TEST, CHANGED = 150, 30, 125  # the test segment begins at row 120
DAYS = pd.date_range("2023-11-06", periods=ROWS, name="day")
COMMON = ["data=csv", "data.date=day", "data.target=sold", f"data.test={TEST}", "data.validation=45"]
COMMON += ["trainer.max_epochs=2", "model.hidden_size=3", "data.window_size=9", "data.seasonal_period=7"]
FREE = ["free_run.steps=20"]  # from the 120th row on, over the changed ones; only one step ahead
KNOWN = ["data.known_ahead=[plan]", "data.holidays=feast", "data.calendar=[weekday,holiday]"]

CASES = {
    "points": [
        "data.transform=[asinh,standard,window_median,window_clip,window_magnify]",
        "model.skip=linear",
        "model.combine=linear",
        *KNOWN,
        *FREE,
    ],
    "points of replicas": ["replicas=2", "data.transform=[log1p,robust,difference]", "model.loss=huber", *FREE],
    "past columns": [
        "data.covariates=[past]",
        *KNOWN,
        "data.transform=[minmax,window_standard]",
        "model/head=gaussian",
    ],
    "quantiles": ["model/head=quantile", "data.transform=[log1p,standard,window_centre]", "replicas=2", *KNOWN, *FREE],
    "normal": [
        "model/head=gaussian",
        "data.transform=[standard,difference,window_standard]",
        "model.residual=seasonal_naive",
        *FREE,
    ],
    "student": [
        "model/head=student_t",
        "data.transform=[robust,seasonal_difference]",
        "data.window_size=16",
        *KNOWN,
        "data.calendar_encoding=cyclic",
    ],
    "counts": [
        "model/head=negative_binomial",
        "data.transform=[asinh,minmax]",
        "model.skip=linear",
        "replicas=2",
        *FREE,
    ],
    "gaps": ["data.missing=interpolate", "model/head=quantile", "data.transform=[standard,window_median]", *KNOWN],
}


def write(path: Path, *, changed: bool, gaps: bool) -> Path:
    """Counts, a column that is known at its own row only, a plan, and days of feast."""
    random = np.random.RandomState(3)
    plan, feast = random.randint(0, 4, ROWS), np.arange(ROWS) % 31 == 0
    sold = random.poisson(20 + 8 * np.sin(np.arange(ROWS) * 2 * np.pi / 7) + 3 * plan + 5 * feast).astype(float)
    past = sold + random.standard_normal(ROWS)
    if changed:
        sold[CHANGED:], past[CHANGED:] = sold[CHANGED:][::-1] * 3 + 50, past[CHANGED:] * -7
    if gaps:  # the last rows that training, validation and the first origins know, and the first after them
        sold[[40, 41, 73, 74, 75, 119, 120, CHANGED - 1, CHANGED, 140]] = np.nan
    columns = {"sold": sold, "past": past, "plan": plan, "feast": feast.astype(int)}
    pd.DataFrame(columns, index=DAYS).to_csv(path)
    return path


def same_before(one: pd.DataFrame, other: pd.DataFrame, known: pd.Series) -> None:
    """Every forecast, and every end of an interval, of the rows that are known is the same; other forecasts are not."""
    names = [name for name in one if name not in ("day", "origin", "step", "segment", "truth")]
    assert known.any()
    pd.testing.assert_frame_equal(one.loc[known, names], other.loc[known, names], check_exact=True)
    if not known.all():
        points = [name for name in names if not name.startswith(("low_", "high_"))]
        assert all(not np.array_equal(one.loc[~known, name], other.loc[~known, name]) for name in points)


def moves(loaded: LoadedRun, steps: int) -> list[list[float]]:
    found = loaded.intervals(steps, [50, 80]).calibration
    assert found.moves
    return [by.tolist() for by in found.moves.values()]


@pytest.mark.parametrize("case", CASES)
def test_what_comes_later_changes_nothing_before(case, run_training, tmp_path):
    words = CASES[case]
    paths = [write(tmp_path / f"{word}.csv", changed=word == "other", gaps=case == "gaps") for word in ("one", "other")]
    horizon = 1 if FREE[0] in words else 2
    words = [*COMMON, f"data.horizon={horizon}", *words]
    one, other = results = [run_training(*words, f"data.path={path}") for path in paths]
    for key in ("weights_sha256", "epochs", "loss", "validation"):
        assert one.metrics[key] == other.metrics[key]
    assert one.metrics["test"] != other.metrics["test"]
    states = [load_checkpoint(result.run.best_checkpoint)["unroll"] for result in results]
    assert states[0] == states[1]

    tables = [pd.read_csv(result.run.predictions, parse_dates=["day"]) for result in results]
    first = tables[0]["day"] - pd.to_timedelta(tables[0]["step"] - 1, unit="D")  # the row that begins the forecast
    known = first <= DAYS[CHANGED]
    pd.testing.assert_series_equal(tables[0]["day"], tables[1]["day"])
    assert {"low_80", "linear autoregression", "seasonal naive (7)"} <= set(tables[0])
    assert "linear autoregression, same inputs" in tables[0]
    same_before(*tables, known)
    if FREE[0] in words:
        runs = [pd.read_csv(result.run.path / "free_run.csv") for result in results]
        assert not runs[0]["truth"].equals(runs[1]["truth"])
        same_before(*runs, runs[0]["step"] > 0)

    loaded = [load_run(result.run.path) for result in results]
    steps = horizon if case == "past columns" else horizon + 1  # beyond the horizon distributions are sampled
    assert moves(loaded[0], steps) == moves(loaded[1], steps)

    found = [  # a run beside newer data, which are other from a row on
        evaluate(run.forecaster, run.datamodule, "test", run.weights, run.reference, trained=run.trained)
        for run in (load_run(one.run.path), load_run(one.run.path, paths[1]))
    ]
    early = found[0].origins <= CHANGED
    for name, made in (found[0].models | found[0].baselines).items():
        np.testing.assert_array_equal(made[early], (found[1].models | found[1].baselines)[name][early])
    for name, levels in found[0].intervals.items():
        for level, ends in levels.items():
            for mine, theirs in zip(ends, found[1].intervals[name][level], strict=True):
                np.testing.assert_array_equal(mine[early], theirs[early])
