"""Train a forecaster: read from `train` downwards."""

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning import Callback
from omegaconf import DictConfig
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter

from unroll.budget import check_memory
from unroll.building import build_forecaster, build_replicas, match_precision, replica_seeds
from unroll.checkpoints import newest_checkpoint
from unroll.config import plain
from unroll.data.module import WindowDataModule
from unroll.data.series import Series
from unroll.errors import ConfigError, RunError, UnrollError
from unroll.evaluation.evaluate import evaluate, fit_reference, predictions
from unroll.evaluation.free_run import Course, free_run, free_run_table, free_run_values, plan_free_run
from unroll.evaluation.report import as_values
from unroll.interrupts import settled, stoppable
from unroll.memory import keep_freed_memory
from unroll.models.forecaster import Forecaster
from unroll.progress import PatientConsole
from unroll.recorder import Recorder, continuable
from unroll.results import (
    digest,
    errors_of_writers_raised,
    essentials,
    model_name,
    print_result,
    summary,
    write_figures,
    write_hparams,
)
from unroll.runs.directory import RunDirectory
from unroll.runs.environment import environment
from unroll.runs.files import replace_file, write_json
from unroll.runs.resume import check_continuation, continued_config
from unroll.runs.reuse import (
    complete_run,
    data_digest,
    equals_uninterrupted,
    fingerprint,
    finished,
    matching_runs,
    read_result,
    validation_score,
)
from unroll.targets import build
from unroll.trainer import build_trainer, calm_libraries, check_accelerator, fit
from unroll.untrusted import check_continued, check_kinds


@dataclass(frozen=True)
class Result:
    """A finished run: its directory, and what metrics.json says."""

    run: RunDirectory
    metrics: dict[str, Any]

    @property
    def score(self) -> float:
        """What a search minimises."""
        return validation_score(self.metrics)


@dataclass(frozen=True)
class Task:
    """All that a training needs, loaded and checked; nothing is written yet.

    Args:
        course: of the free run, where one is asked for.
        checkpoint, checkpoint_path: to go on from.
        data_digest: of the data file.
        begun: time.monotonic() at the start.
        callbacks: of Lightning, beside our own.
    """

    cfg: DictConfig
    datamodule: WindowDataModule
    forecaster: Forecaster
    course: Course | None
    checkpoint: dict[str, Any] | None
    data_digest: str | None
    overrides: Sequence[str]
    console: Console
    begun: float
    callbacks: Sequence[Callback] = ()
    checkpoint_path: Path | None = None


def train(cfg: DictConfig, overrides: Sequence[str] = (), console: Console | None = None) -> Result:
    """Train one forecaster, evaluate it on the test segment beside the baselines, write its run directory.

    Nothing is written before the data are loaded and the model is built.

    Args:
        cfg: composed from conf/train.yaml and checked (unroll.config.check_config).
        overrides: of the command line, for the record.
        console: where to print.

    Raises:
        ConfigError, DataError, RunError: a mistake that the user can mend, in one line.
    """
    console = console or PatientConsole()
    if cfg.resume:
        run = RunDirectory.open(Path(cfg.resume))
        with run.locked(), _told(run):
            task = _continued(run, overrides, console)
            return _printed(_train(run, task), console) if task else _shown(run, console)
    task = _prepare(cfg, overrides, console, digest=data_digest(plain(cfg)))
    environment()  # asks git, which takes longer than to fill a new directory
    _set_whole_path(cfg)
    with stoppable(), ExitStack() as held:
        with settled():
            run = RunDirectory.create(Path(cfg.output_dir), f"{task.datamodule.series.name}_{model_name(cfg)}".lower())
            held.enter_context(run.locked())
            held.enter_context(_told(run))
        return _printed(_train(run, task), console)


def train_again(run: RunDirectory, parent: Path, console: Console) -> Result:
    """Train what a run's directory says from the beginning, on the series that lies in it, in a directory of its own.

    Args:
        run: complete.
        parent: of the new directory.
        console: for the progress.
    """
    cfg = continued_config(run, [])
    cfg.output_dir = str(parent)
    digest = run.read_state().get("data_sha256")
    task = _prepare(cfg, [], console, series=Series.load(run.series), digest=digest)
    other = RunDirectory.create(parent, run.path.name)
    with other.locked():
        return _train(other, task)


def train_once(cfg: DictConfig, overrides: Sequence[str] = (), console: Console | None = None) -> Result:
    """Train, unless a run in cfg.output_dir has the same config and data: take its result, or go on where it stopped.

    A run that cannot be gone on with (held by another process, damaged) is left alone, and a new one made. See `train`.
    """
    console = console or PatientConsole()
    config = plain(cfg)
    done = complete_run(config)
    if done:
        return Result(done, read_result(done))
    for run in matching_runs(Path(cfg.output_dir), fingerprint(config, data_digest(config))):
        with ExitStack() as held:
            try:
                if run.read_state()["status"] == "complete":
                    raise RunError(f"{run.path} is damaged")
                held.enter_context(run.locked())
                task = _continued(run, [], console)
            except UnrollError as error:
                console.print(f"{error}; a new run is made", soft_wrap=True)
                continue
            with _told(run):
                return _printed(_train(run, task), console) if task else _shown(run, console)
    return train(cfg, overrides, console)


def train_in(
    run: RunDirectory,
    cfg: DictConfig,
    overrides: Sequence[str],
    console: Console,
    callbacks: Sequence[Callback] = (),
) -> Result:
    """Train in a directory that this process holds and whose name is its config's (unroll.runs.reuse.run_name).

    Goes on where an earlier process stopped, or begins again where that cannot be. What is wrong with the config or
    the data is recorded in the directory too.

    Args:
        run: exists; may be empty.
        cfg: see `train`.
        overrides: of the command line, for the record.
        console: where to print.
        callbacks: of Lightning, beside our own.
    """
    config = plain(cfg)
    digest = data_digest(config)
    known_by = fingerprint(config, digest)
    metrics = finished(run, known_by)
    if metrics:
        return Result(run, metrics)
    task = None
    if run.last_checkpoint.exists() or run.previous_checkpoint.exists():
        try:
            other = run.read_state().get("fingerprint") != known_by
        except RunError:  # run.json is damaged
            other = False
        if other:
            raise RunError(
                f"{run.path} holds another run than its name says (it was trained further, or changed): move it to "
                "another folder"
            )
        try:
            task = _continued(run, [], console)
        except UnrollError as error:
            console.print(f"{error}; the run begins again", soft_wrap=True)
    if task is None:
        run.clear()
        _set_whole_path(cfg)
        try:
            task = _prepare(cfg, overrides, console, digest=digest)
        except Exception:
            with run.recording(plain(cfg), overrides, data_sha256=digest, fingerprint=known_by):
                raise
    return _printed(_train(run, replace(task, overrides=overrides, callbacks=callbacks)), console)


def _set_whole_path(cfg: DictConfig) -> None:
    """A run directory is read from anywhere."""
    if cfg.data.get("path"):
        cfg.data.path = str(Path(cfg.data.path).expanduser().resolve())


@contextmanager
def _told(run: RunDirectory) -> Iterator[None]:
    """Say how a run that is interrupted can be gone on with; one that has not begun is removed."""
    with stoppable():
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            there = run.last_checkpoint.exists() or run.previous_checkpoint.exists()
            if run.config.is_file() and run.state.is_file():
                kept = "to go on" if there else "no checkpoint was written yet; to start again"
                sys.stderr.write(f"interrupted; {kept}: python train.py resume={run.path}\n")
            else:
                if not there:
                    shutil.rmtree(run.path, ignore_errors=True)
                sys.stderr.write("interrupted\n")
            raise


def _shown(run: RunDirectory, console: Console) -> Result:
    """A complete run in which nothing is left to do."""
    console.print(f"{run.path} is complete; raise trainer.max_epochs to train on", soft_wrap=True)
    return _printed(Result(run, read_result(run)), console)


def _printed(result: Result, console: Console) -> Result:
    print_result(result.run, result.metrics, console)
    return result


def _continued(run: RunDirectory, overrides: Sequence[str], console: Console) -> Task | None:
    """An earlier run, to be trained further or to write again what is damaged of it; None where nothing is to do."""
    cfg = continued_config(run, overrides)
    state, as_before = run.read_state(), run.read_config() == plain(cfg)
    complete = state["status"] == "complete"
    changed = run.changed_files() if complete and as_before else []
    if complete and as_before and not changed:
        return None
    path, checkpoint, problems = newest_checkpoint(run)
    if checkpoint and not continuable(checkpoint):
        raise RunError(f"{path} is of an older version, and cannot be gone on with: start a new run")
    if checkpoint and as_before and checkpoint["unroll"].get("inside_epoch", False):
        path, checkpoint = None, {}  # it had ended, and goes on from the end of an epoch only
    if complete and not as_before and not checkpoint:
        what = problems[0] if problems else f"{run.last_checkpoint} does not exist: it was removed"
        raise RunError(f"{what}; start a new run")
    done, steps = checkpoint.get("epoch", 0), checkpoint.get("global_step", 0)
    inside = bool(checkpoint) and checkpoint["unroll"].get("inside_epoch", False)
    check_continuation(cfg, run, done, steps, inside_epoch=inside)
    problems = [*([f"{run.path} is damaged ({', '.join(changed)})"] if changed else []), *problems]
    for problem in problems:
        goes_on = f"the run goes on from {path.name}, epoch {done}" if path else "the run begins again"
        console.print(f"{problem}; {goes_on}", soft_wrap=True, highlight=False)
    series = Series.load(run.series) if run.series.exists() or checkpoint else None  # it died before it wrote any
    digest = state.get("data_sha256") if series else data_digest(plain(cfg))
    task = _prepare(cfg, overrides, console, series=series, checkpoint=checkpoint or None, digest=digest)
    if path:
        check_continued(path, checkpoint, task.forecaster.state_dict(), replica_seeds(cfg) or [cfg.seed])
        match_precision(task.forecaster, checkpoint["state_dict"])
        check_kinds(path, checkpoint["state_dict"], task.forecaster.state_dict())
        try:
            task.forecaster.on_load_checkpoint(checkpoint)  # as Lightning will
            task.forecaster.load_state_dict(checkpoint["state_dict"])
        except (RuntimeError, TypeError, AttributeError, LookupError) as error:
            raise RunError(
                f"{path} does not fit the model as its code is now: {' '.join(str(error).split())[:200]}"
            ) from error
    return replace(task, checkpoint_path=path)


def _prepare(
    cfg: DictConfig,
    overrides: Sequence[str],
    console: Console,
    *,
    digest: str | None,
    series: Series | None = None,
    checkpoint: dict[str, Any] | None = None,
) -> Task:
    """Load the data, build the model, plan the free run. Everything that can be wrong with a config is found here."""
    begun = time.monotonic()
    calm_libraries()
    torch.set_num_threads(cfg.threads)
    keep_freed_memory()
    check_accelerator(cfg.trainer.accelerator)
    datamodule = build(plain(cfg.data), WindowDataModule, "data", shuffle_seed=cfg.seed)
    datamodule.loaded = series
    datamodule.setup()
    if replica_seeds(cfg):
        datamodule.replica_seeds = replica_seeds(cfg)
    monitor = str(cfg.scheduler.get("monitor")) if cfg.scheduler else ""
    if monitor.startswith("val/") and not len(datamodule.segments.validation):
        raise ConfigError(
            f"scheduler.monitor={monitor}: data.validation={cfg.data.validation} leaves no validation rows: raise it, "
            "or set scheduler.monitor=train/loss"
        )
    asked = cfg.get("free_run")
    course = plan_free_run(datamodule, **plain(asked)) if asked and asked.steps else None
    check_memory(cfg, datamodule)
    forecaster = build_replicas(cfg, datamodule) if datamodule.replica_seeds else build_forecaster(cfg, datamodule)
    build_trainer(cfg, [])
    return Task(cfg, datamodule, forecaster, course, checkpoint, digest, overrides, console, begun)


def _train(run: RunDirectory, task: Task) -> Result:
    """Fit and evaluate inside a run directory that this process holds."""
    config = plain(task.cfg)
    as_if_at_once = task.checkpoint is None or equals_uninterrupted(run, config)
    known_by = fingerprint(config, task.data_digest) if as_if_at_once else None
    identity = {"data_sha256": task.data_digest, "fingerprint": known_by}
    with run.recording(config, task.overrides, **identity):
        assert task.datamodule.loaded is not None
        if not run.series.exists():
            replace_file(run.series, task.datamodule.loaded.save)
        metrics = _fit_and_evaluate(run, task)
    return Result(run, metrics)


def _fit_and_evaluate(run: RunDirectory, task: Task) -> dict[str, Any]:
    """Train, score, and write what a run leaves behind. Returns what metrics.json says."""
    cfg, datamodule, forecaster = task.cfg, task.datamodule, task.forecaster
    console, checkpoint = task.console, task.checkpoint
    purge = (checkpoint["epoch"] if checkpoint else 0) + 1  # the curves of a killed run end where it goes on
    segments = {name: len(datamodule.origins(name)) for name in datamodule.segments._fields}
    about = {
        "model": plain(cfg.model),
        "shape": asdict(datamodule.shape),
        "columns": list(datamodule.series.columns),
        "transform": datamodule.transform.description,
    }
    with errors_of_writers_raised(), SummaryWriter(str(run.path), purge_step=purge) as tensorboard:
        stopping = plain(cfg.early_stopping)
        seeds = replica_seeds(cfg) or [cfg.seed]
        recorder = Recorder(
            run, about, tensorboard, console, seeds=seeds, save_seconds=cfg.checkpoint_seconds, **stopping
        )
        trainer = build_trainer(cfg, [recorder, *task.callbacks], validate=segments["validation"] > 0)
        device = trainer.strategy.root_device
        counts = ", ".join(f"{count:,} {name}" for name, count in segments.items())
        console.print(f"{essentials(cfg)} on {datamodule.series.title}", highlight=False, soft_wrap=True)
        console.print(f"windows: {counts}; device {device}, threads {cfg.threads}", highlight=False, soft_wrap=True)

        loaded = time.monotonic()
        fit(trainer, forecaster, datamodule, task.checkpoint_path)
        fitted = time.monotonic()

        if not recorder.history:
            raise RunError("no epoch was trained: raise trainer.max_time or trainer.max_steps")
        recorder.finish(trainer)
        weights = recorder.weights(forecaster.state_dict())
        if len(seeds) > 1:
            forecaster = build_forecaster(cfg, datamodule)  # for one after the other
        reference = fit_reference(datamodule)
        asked = [*(["train"] if cfg.get("evaluate_train") else []), "validation", "test"]
        evaluations = {
            name: evaluate(forecaster, datamodule, name, weights, reference, device) for name in asked if segments[name]
        }
        ran = (
            free_run(forecaster, datamodule, task.course, weights, reference.regression, cfg.seed)
            if task.course
            else None
        )
        metrics = summary(cfg, datamodule, forecaster, recorder) | {
            "device": str(device),
            "weights_sha256": {name: digest(*weights.get(name, weights["best"])) for name in ("best", "last")},
        }
        for name, evaluation in evaluations.items():
            values = as_values(evaluation, cfg.seed)
            values["models"].setdefault("last", values["models"]["best"])
            metrics[name] = values
        shown = [evaluations[name] for name in ("train", "test") if name in evaluations]
        table = pd.concat([predictions(evaluation, datamodule, cfg.seed) for evaluation in shown])
        replace_file(run.predictions, lambda path: table.to_csv(path, index=False))
        if ran:
            steps = free_run_table(ran, cfg.seed)
            metrics["free_run"] = free_run_values(ran, cfg.seed)
            replace_file(run.free_run, lambda path: steps.to_csv(path, index=False))
        write_figures(run, cfg, datamodule, evaluations, ran, recorder, tensorboard, forecaster.loss_name)
        now = time.monotonic()
        seconds = {
            "data": loaded - task.begun,
            "fit": fitted - loaded,
            "evaluate": now - fitted,
            "total": now - task.begun,
        }
        metrics["seconds"] = {name: round(value, 3) for name, value in seconds.items()}
        write_hparams(run, cfg, metrics)
        tensorboard.flush()  # raises what its thread could not write
        write_json(run.metrics, metrics)
    return metrics
