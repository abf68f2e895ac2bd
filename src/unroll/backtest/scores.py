"""The scores of a backtest as plain values: what backtest.json says."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from unroll.backtest.forecasts import ROLLING, Forecasts
from unroll.data.series import FloatArray
from unroll.evaluation.comparison import RESAMPLES, Measure, block_length, diebold_mariano, difference
from unroll.evaluation.evaluate import forecast_column
from unroll.evaluation.metrics import best_by, scores, skill
from unroll.evaluation.replicas import ENSEMBLE, MIXTURE, mean_scores, spread, with_seeds

POWERS: Mapping[Measure, Any] = {"rmse": 2, "mae": 1}  # the losses that the test compares
OWN = ("fold", "origin", "step", "truth")  # columns of predictions.csv


def score(found: Forecasts, scale: float, seed: int, step: int) -> dict[str, Any]:
    """All scores, on the same targets.

    Args:
        found: of all folds together.
        scale: of MASE, the same for all: the seasonal naive error before the first origin.
        seed: of the first replica; of the bootstrap too.
        step: rows from one origin to the next.
    """
    truth = found.truth
    baselines = {name: scores(truth, made, scale) for name, made in found.baselines.items()}
    best = best_by("rmse", baselines)

    def with_skill(made: FloatArray) -> dict[str, float | None]:
        row = scores(truth, made, scale)
        return row | {"skill": skill(row["rmse"], baselines[best]["rmse"], truth)}

    models = {name: with_skill(made) | found.extra[name] for name, made in found.models.items()}
    members = [with_skill(made) for made in found.members]
    replicated = {}
    if members:
        models["best"] = mean_scores(members)
        replicated = {"replicas": {"best": with_seeds(members, seed)}, "spread": {"best": spread(members)}}
    errors = found.models[found.main] - truth
    others = {name: made - truth for name, made in found.baselines.items()}
    return {
        "main": found.main,
        "models": models,
        **replicated,
        "baselines": baselines,
        "best_baseline": best,
        "comparison": {
            "of": found.main,
            "block": block_length(len(truth), truth.shape[1], step),
            "resamples": RESAMPLES,
            "seed": seed,
            "with": {name: compared(errors, other, seed, step) for name, other in others.items()},
        },
        "by_step": _by_step(found, errors, others, step),
        "intervals": {
            name: {f"{level:g}": _coverage(truth, *ends) for level, ends in levels.items()}
            for name, levels in found.intervals.items()
        },
    }


def compared(errors: FloatArray, other: FloatArray, seed: int, step: int) -> dict[str, Any]:
    """The difference to one baseline, by RMSE and by MAE, each with its interval and its test.

    Args:
        errors, other: (n, H) of the model and of the baseline.
        seed: of the bootstrap.
        step: rows from one origin to the next.
    """
    found: dict[str, Any] = {}
    for measure, power in POWERS.items():
        gap = difference(errors, other, measure, step=step, seed=seed)
        test = diebold_mariano(errors, other, power, step=step)
        values = asdict(gap) | {"verdict": gap.verdict}
        values["diebold_mariano"] = asdict(test)
        found[measure] = values
    return found


def _by_step(
    found: Forecasts, errors: FloatArray, others: Mapping[str, FloatArray], step: int
) -> dict[str, dict[str, Sequence[float | None]]]:
    """RMSE and MAE of each step ahead, and for baselines the p-value of the test on squared errors of that step."""
    table: dict[str, dict[str, Sequence[float | None]]] = {}
    for name, made in (*((name, made - found.truth) for name, made in found.models.items()), *others.items()):
        table[name] = {
            "rmse": np.sqrt(np.square(made).mean(axis=0)).tolist(),
            "mae": np.abs(made).mean(axis=0).tolist(),
        }
        if name in others:
            table[name]["p_value"] = [
                diebold_mariano(errors[:, [at]], made[:, [at]], 2, horizon=at + 1, step=step).p_value
                for at in range(made.shape[1])
            ]
    return table


def _coverage(truth: FloatArray, low: FloatArray, high: FloatArray) -> dict[str, Any]:
    """The share of targets inside, and the mean width, of all steps and of each."""
    inside, width = (low <= truth) & (truth <= high), high - low
    return {
        "coverage": float(inside.mean()),
        "width": float(width.mean()),
        "by_step": {"coverage": inside.mean(axis=0).tolist(), "width": width.mean(axis=0).tolist()},
    }


def verdicts(values: Mapping[str, Any], label: str) -> list[str]:
    """What may be said of the model beside the baselines, in words.

    Args:
        values: from `score`.
        label: what to call the model.
    """
    own, others = values["models"][values["main"]], values["baselines"]
    lines = []
    for measure in POWERS:
        above = sum(own[measure] < row[measure] for row in others.values())
        count = "all" if above == len(others) else f"{above or 'none'} of"
        words = f"a lower {measure.upper()} than {count} {len(others)} baselines"
        groups: dict[str, list[str]] = {}
        gaps = {name: rows[measure] for name, rows in values["comparison"]["with"].items()}
        for name in sorted(others, key=lambda name: others[name][measure]):
            groups.setdefault(gaps[name]["verdict"], []).append(name)
        said = ". It ".join(
            f"{'' if verdict.startswith('cannot') else 'is '}{verdict} {'; '.join(names)}"
            for verdict, names in groups.items()
        )
        why = next((gap["why"] for gap in gaps.values() if gap["why"]), None)
        means = f"By the 95 % intervals of the differences, it {said}."
        lines.append(f"{label} has {words}. {f'No intervals of the differences can be had: {why}.' if why else means}")
    return lines


def summary_table(values: Mapping[str, Any]) -> pd.DataFrame:
    """One row a forecast: backtest.csv."""
    rows = []
    for kind in ("models", "baselines"):
        for name, found in values[kind].items():
            row: dict[str, Any] = {"forecast": name, "kind": kind.rstrip("s"), **found}
            for measure, gap in values["comparison"]["with"].get(name, {}).items():
                row |= {f"{measure}_difference": gap["value"], f"{measure}_low": gap["low"]}
                row |= {f"{measure}_high": gap["high"], f"{measure}_p_value": gap["diebold_mariano"]["p_value"]}
            rows.append(row)
    return pd.DataFrame(rows)


def predictions_table(found: Forecasts, index: pd.Index, seed: int) -> pd.DataFrame:
    """One row an origin and step, with every forecast of it: predictions.csv.

    Args:
        found: of all folds together.
        index: of the series.
        seed: of the first replica.
    """
    count, horizon = found.truth.shape
    rows = found.origins[:, None] + np.arange(horizon)
    name = str(index.name or "row")
    columns = {
        f"{name} (index)" if name in OWN else name: index[rows.ravel()],
        "origin": np.repeat(index[found.origins - 1], horizon),
        "step": np.tile(np.arange(1, horizon + 1), count),
        "fold": np.repeat(found.folds, horizon),
        "truth": found.truth.ravel(),
    }
    columns |= {forecast_column(name): made.ravel() for name, made in found.models.items()}
    columns |= {forecast_column("best", seed + number): made.ravel() for number, made in enumerate(found.members)}
    for model, levels in found.intervals.items():
        suffix = model.removeprefix(found.main).replace(", ", "_")
        suffix = f"_{suffix}" if suffix and not suffix.startswith("_") else suffix
        for level, ends in levels.items():
            sides = zip(("low", "high"), ends, strict=True)
            columns |= {f"{side}_{level:g}{suffix}": end.ravel() for side, end in sides}
    return pd.DataFrame(columns | {name: made.ravel() for name, made in found.baselines.items()})


def labels(model: str, replicas: int) -> dict[str, str]:
    """What to call each model.

    Args:
        model: the backbone's name.
        replicas: how many; 1 for a run without.
    """
    found = {"best": model}
    if replicas > 1:
        found = {"best": f"{model}, mean of {replicas} seeds", ENSEMBLE: f"{model}, ensemble of {replicas}"}
        found |= {MIXTURE: f"{model}, mixture of {replicas}"}
    return found | {f"{name}{ROLLING}": f"{label}{ROLLING}" for name, label in found.items()}
