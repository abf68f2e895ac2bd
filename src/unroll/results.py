"""What a finished training writes: scores, predictions, figures, TensorBoard's HPARAMS and images."""

import functools
import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.image
import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from unroll.config import leaves
from unroll.data.module import WindowDataModule
from unroll.evaluation.evaluate import Evaluation
from unroll.evaluation.figures import (
    ahead,
    draw_forecast,
    draw_free_run,
    draw_losses,
    draw_overlay,
    draw_series,
)
from unroll.evaluation.free_run import FreeRun
from unroll.evaluation.metrics import METRICS
from unroll.evaluation.probabilistic import LEVELS
from unroll.evaluation.replicas import ENSEMBLE, MIXTURE
from unroll.evaluation.report import print_table, show
from unroll.evaluation.style import DPI
from unroll.interrupts import settled
from unroll.models.forecaster import Forecaster
from unroll.recorder import Recorder
from unroll.runs.directory import RunDirectory, main_segment
from unroll.runs.files import replace_file
from unroll.tracks import mean_of

SWEPT = ("seed", "replicas", "data", "model", "optimizer", "scheduler", "trainer", "early_stopping")
HPARAMS_SUFFIX = ".hparams"
DESCRIBED = ("_target_", "path", "date", "date_format", "separator", "decimal", "encoding", "unit", "fast_dev_run")


def model_name(cfg: DictConfig) -> str:
    """The backbone's class, as people call it."""
    return str(cfg.model.backbone._target_).rpartition(".")[2]


def essentials(cfg: DictConfig) -> str:
    """The config in one line, for figures and tables."""
    model, data = cfg.model, cfg.data
    kind = str(model.head._target_).rpartition(".")[2].removesuffix("Head")
    sizes = "-".join(map(str, model.head_sizes))
    head = "" if kind == "MLP" and not sizes else f", head {sizes if kind == 'MLP' else f'{kind} {sizes}'.strip()}"
    layout = "" if model.input_layout == "sequence" else f", layout {model.input_layout}"
    layers = f", layers {model.num_layers}" if "num_layers" in model else ""  # a backbone need not have any
    seeds = _seeds(cfg.seed, cfg.get("replicas", 1))
    chain = _joined(data.transform) or "none"
    calendar = f", calendar {_joined(data.calendar)}" if data.get("calendar") else ""
    usual = {"skip": "none", "residual": "none", "combine": "none"} | (
        {"loss": "mse"} if kind == "MLP" else {}
    )  # a run may lack them
    changed = [f", {key} {model[key]}" for key, word in usual.items() if model.get(key, word) != word]
    return (
        f"{model_name(cfg)}, window {data.window_size}, horizon {data.horizon}, hidden {model.hidden_size}{layers}, "
        f"dropout {model.dropout:g}{head}{layout}{''.join(changed)}, transform {chain}{calendar}, {seeds}"
    )


def _joined(words: str | Sequence[str]) -> str:
    """One word, or several in order, where commas would end them."""
    return words if isinstance(words, str) else " + ".join(words)


def _seeds(first: int, replicas: int) -> str:
    return f"seeds {first} to {first + replicas - 1}" if replicas > 1 else f"seed {first}"


def digest(*weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of all weights, replica by replica: equal for two runs only where every bit of them is."""
    found = hashlib.sha256()
    for state in weights:
        for name in sorted(state):
            found.update(name.encode())
            found.update(state[name].detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def summary(
    cfg: DictConfig, datamodule: WindowDataModule, forecaster: Forecaster, recorder: Recorder
) -> dict[str, Any]:
    """What metrics.json says of a run beside its scores: data, model, epochs, losses (means over replicas), sizes.

    Args:
        cfg: of the run.
        datamodule: after setup.
        forecaster: of a single replica.
        recorder: after the fit.
    """
    series, tracks = datamodule.series, recorder.tracks
    first = tracks[0]
    at_best = [track.history[track.evaluated_epoch - 1] for track in tracks]
    at_last = [track.history[-1] for track in tracks]
    epochs: dict[str, Any] = {
        "best": recorder.evaluated_epoch,
        "trained": len(recorder.history),
        "most": cfg.trainer.max_epochs,
        "stopped_early": recorder.stopped_early,
    }
    if len(tracks) > 1:
        epochs["replicas"] = [
            {
                "seed": track.seed,
                "best": track.evaluated_epoch,
                "trained": len(track.history),
                "stopped_early": track.has_stopped(recorder.patience),
            }
            for track in tracks
        ]
    return {
        "data": series.title,
        "kind": series.kind or "real",
        "target": series.columns[0],
        "unit": series.unit,
        "model": model_name(cfg),
        "seed": first.seed,
        **({"replicas": len(tracks)} if len(tracks) > 1 else {}),
        "window_size": datamodule.window_size,
        "horizon": datamodule.horizon,
        "seasonal_period": datamodule.seasonal_period,
        "fast_dev_run": cfg.trainer.fast_dev_run,
        "windows": {name: len(datamodule.origins(name)) for name in datamodule.segments._fields},
        "parameters": sum(parameter.numel() for parameter in forecaster.network.parameters()),
        "epochs": epochs,
        "loss": {
            "name": forecaster.loss_name,
            "train_best": mean_of(at_best, "train_loss"),
            "train_last": mean_of(at_last, "train_loss"),
            "last_batch": mean_of(at_last, "last_batch_loss"),
            "val_best": mean_of(at_best, "val_loss"),
            "val_last": mean_of(at_last, "val_loss"),
        },
    }


def write_figures(
    run: RunDirectory,
    cfg: DictConfig,
    datamodule: WindowDataModule,
    evaluations: Mapping[str, Evaluation],
    free_run: FreeRun | None,
    recorder: Recorder,
    tensorboard: SummaryWriter,
    loss: str,
) -> None:
    """Draw the figures to the run directory and to TensorBoard.

    The series, the forecast and the losses; where the training segment was evaluated, all forecasts over the series;
    and the free run. `loss` is the name of the training's.
    """
    series, subtitle, name = datamodule.series, essentials(cfg), model_name(cfg)
    figures: dict[str, Figure] = {
        "series": draw_series(datamodule, subtitle=subtitle),
        "forecast": draw_forecast(datamodule, evaluations[main_segment(evaluations)], label=name, subtitle=subtitle),
        "loss": draw_losses(
            recorder.history,
            recorder.evaluated_epoch,
            replicas=[track.history for track in recorder.tracks],
            loss=loss.upper(),
            title=f"{name} on {series.title}",
            subtitle=subtitle,
        ),
    }
    if "train" in evaluations:
        drawn = [evaluations[segment] for segment in ("train", "test") if segment in evaluations]
        figures["overlay"] = draw_overlay(datamodule, drawn, label=name, subtitle=subtitle)
    if free_run:
        figures["free_run"] = draw_free_run(series, free_run, label=name, subtitle=subtitle)
    for key, figure in figures.items():
        path: Path = run.figures / f"{key}.png"
        replace_file(path, functools.partial(figure.savefig, dpi=DPI))
        with settled():
            tensorboard.add_image(f"figures/{key}", matplotlib.image.imread(path)[:, :, :3], dataformats="HWC")


@contextmanager
def errors_of_writers_raised() -> Iterator[None]:
    """TensorBoard writes in a thread, and raises what it cannot write at the next write or flush: the thread need
    not print it.
    """
    printed = threading.excepthook
    threading.excepthook = lambda error: None if issubclass(error.exc_type, OSError) else printed(error)
    try:
        yield
    finally:
        threading.excepthook = printed


def write_hparams(run: RunDirectory, cfg: DictConfig, metrics: Mapping[str, Any]) -> None:
    """Write the config and the final scores to TensorBoard's HPARAMS tab.

    They have an event file of their own: TensorBoard believes the first that it finds, so the file of an earlier part
    of a continued run is removed. The list of all keys and metrics ("experiment"), of which it believes the first too,
    is left away: then it is made from all runs, and the keys that differ between them come first.
    """
    for earlier in run.path.glob(f"events.out.tfevents.*{HPARAMS_SUFFIX}"):
        earlier.unlink()
    flat: dict[str, Any] = {}
    for path, parent, key in leaves(cfg):
        if path.partition(".")[0] in SWEPT and key not in DESCRIBED and parent[key] is not None:
            value = parent[key]
            flat[path] = value if isinstance(value, bool | int | float | str) else str(value)
    for path in [path for path in flat if path.startswith(("model.backbone.", "model.head."))]:
        key = path.rpartition(".")[2]
        if flat[path] in (flat.get(f"model.{key}"), flat.get(f"model.head_{key}")):  # the same, where a user sets it
            del flat[path]
    flat |= {"model": metrics["model"], "data": metrics["data"]}
    final: dict[str, float] = {}
    # TensorBoard sorts by name and shows the first few: those to choose by come before those to report.
    for segment, group in {"validation": "best/val", "test": "held_out/test", "train": "seen/train"}.items():
        if segment in metrics:
            models = metrics[segment]["models"]
            best = models["best"]
            final |= {f"{group}_{name}": best[name] for name in (*METRICS, "skill") if best[name] is not None}
            if ENSEMBLE in models:
                final[f"{group}_{ENSEMBLE}_rmse"] = models[ENSEMBLE]["rmse"]
    with settled(), SummaryWriter(str(run.path), filename_suffix=HPARAMS_SUFFIX) as tensorboard:
        for name, value in final.items():
            tensorboard.add_scalar(name, value, metrics["epochs"]["best"])
        for part in hparams(flat, final)[1:]:
            tensorboard._get_file_writer().add_summary(part)
        tensorboard.flush()


def print_scores(segment: str, metrics: Mapping[str, Any], console: Console) -> None:
    """Print the table of a segment's scores, from what metrics.json says."""
    scored, epochs, model = metrics[segment], metrics["epochs"], metrics["model"]
    labels = {"best": f"{model}, best epoch {epochs['best']}", "last": f"{model}, last epoch {epochs['trained']}"}
    replicas = metrics.get("replicas", 1)
    if replicas == 1 and epochs["best"] == epochs["trained"]:
        labels["best"] = f"{model}, epoch {epochs['best']} (best = last)"
        scored = scored | {"models": {"best": scored["models"]["best"]}}
    if metrics["loss"]["val_best"] is None:
        labels["best"] = f"{model}, last epoch {epochs['trained']} (no validation)"
    if replicas > 1:
        labels = {"best": f"{model}, mean of {replicas} seeds", ENSEMBLE: f"{model}, ensemble of {replicas}"}
        labels |= {MIXTURE: f"{model}, mixture of {replicas}"}
        if any(row["best"] != row["trained"] for row in epochs["replicas"]):
            labels["last"] = f"{model}, last epochs, mean"
    title = f"{metrics['data']}: {segment} segment, {scored['windows']} windows, {ahead(metrics['horizon'])}"
    if segment == "train":
        title += " (all seen in training: no forecast of anything new)"
    if metrics["fast_dev_run"]:
        title += " (fast_dev_run: one training batch, the scores mean nothing)"
    console.print()
    print_table(scored, title=title, labels=labels, unit=metrics["unit"], console=console)
    said = interval_line(scored)
    if said:
        console.print(said, style="dim", soft_wrap=True)
    if replicas > 1:
        sign = "±" if console.encoding.lower().startswith("utf") else "+-"
        mixed = "; mixture: all their distributions as one" if MIXTURE in scored["models"] else ""
        epoch = "last epoch (no validation)" if metrics["loss"]["val_best"] is None else "best epoch"
        console.print(
            f"{sign}: half of the 95 % interval of the mean over seeds, each at its {epoch}; lowest, highest: of each "
            f"score; ensemble: the mean of their forecasts{mixed}.",
            style="dim",
            soft_wrap=True,
        )


def interval_line(scored: Mapping[str, Any]) -> str | None:
    """What the intervals of the main model are worth, and the score of its distribution; None where there is neither.

    Args:
        scored: what metrics.json says of a segment.
    """
    name = next(name for name in (ENSEMBLE, "best") if name in scored["models"])
    parts, scores = [], scored["models"][name]
    for level, about in scored.get("intervals", {}).get(name, {}).items():
        if "coverage" in about:
            parts.append(f"{level} % interval: {about['coverage']:.1%} inside")
        else:
            raw = f"{about['raw_coverage']:.1%} inside, not calibrated" if "raw_coverage" in about else "none"
            parts.append(f"{level} % interval: {raw} ({about['missing']})")
    if "crps" in scores and "intervals" not in scored:
        parts = [
            f"{level:g} % interval: {scores[f'coverage_{level:g}']:.1%} inside, not calibrated" for level in LEVELS
        ]
    if scores.get("crps") is not None:
        parts.append(f"CRPS {show(scores['crps'])}")
    return "; ".join(parts) or None


def print_result(run: RunDirectory, metrics: Mapping[str, Any], console: Console) -> None:
    """Print the table of scores and where everything is, from what metrics.json says."""
    print_scores(main_segment(metrics), metrics, console)
    console.print(f"\n{_effort(metrics)}", style="dim", soft_wrap=True)
    for words in _asked_lines(metrics):
        console.print(words, style="dim", soft_wrap=True)
    console.print(f"run: {run.path}", soft_wrap=True, highlight=False)


def _effort(metrics: Mapping[str, Any]) -> str:
    """Epochs, seconds, parameters."""
    epochs, seconds, parameters = metrics["epochs"], metrics["seconds"]["fit"], f"{metrics['parameters']:,} parameters"
    reason = " (no better validation loss)"
    if "replicas" not in epochs:
        stopped = f", stopped early{reason}" if epochs["stopped_early"] else ""
        return f"{epochs['trained']} epochs in {seconds:.1f} s{stopped}, {parameters}"
    rows = epochs["replicas"]
    stopped = sum(row["stopped_early"] for row in rows)
    said = f", {'all' if stopped == len(rows) else stopped} stopped early{reason}" if stopped else ""
    trained, best = (_range([row[key] for row in rows]) for key in ("trained", "best"))
    seeds = _seeds(rows[0]["seed"], len(rows))
    return f"{seeds}: {trained} epochs, the best {best}, in {seconds:.1f} s{said}, {parameters} each"


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _asked_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What a config asked for beyond the table: the training segment, a free run."""
    lines = []
    if "train" in metrics:
        losses = [
            f"{segment} {metrics[segment]['models']['best']['loss']:.4g}"
            for segment in ("train", "validation", "test")
            if segment in metrics
        ]
        name = metrics["loss"]["name"].upper()
        epoch = f"epoch {metrics['epochs']['best']}"
        if metrics.get("replicas", 1) > 1:
            epoch = f"mean of {metrics['replicas']} seeds"
        lines.append(f"{name} loss in scaled units, {epoch}: {', '.join(losses)}")
    if "free_run" in metrics:
        run = metrics["free_run"]
        model, models = metrics["model"], run["models"]
        scores = {model: models["best"]}
        if ENSEMBLE in models:
            scores = {f"{model} mean over seeds": models["best"], f"{model} ensemble": models[ENSEMBLE]}
        errors = [
            f"{name} {'not finite' if row['rmse'] is None else show(row['rmse'])}"
            for name, row in (scores | run["baselines"]).items()
        ]
        said = f"RMSE: {', '.join(errors)}" if run["known"] else "no truth is known there"
        lines.append(f"free run of {run['steps']} steps from {run['start']} ({run['segment']} segment), {said}")
    return lines
