"""Train a forecaster: read from `train` downwards."""

import inspect
import logging
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter

from unroll.config import plain
from unroll.data.module import WindowDataModule
from unroll.data.series import Series
from unroll.errors import ConfigError, RunError, nearest
from unroll.evaluation.evaluate import evaluate, predictions
from unroll.evaluation.report import as_values
from unroll.models.forecaster import Forecaster
from unroll.models.network import build_network
from unroll.recorder import Recorder, load_checkpoint
from unroll.results import digest, essentials, model_name, print_result, write_figures, write_hparams
from unroll.runs.directory import TERMINATED, RunDirectory, read_json, replace_file, write_json
from unroll.runs.resume import check_continuation, continued_config
from unroll.seeding import WEIGHTS, derive_seed
from unroll.targets import build

OPTIMIZERS_FOLDER = Path(torch.optim.__file__).parent
OWN_TRAINER_KEYS = (
    *("callbacks", "default_root_dir", "enable_checkpointing", "logger", "enable_progress_bar"),
    *("enable_model_summary", "num_sanity_val_steps", "log_every_n_steps"),
)


@dataclass(frozen=True)
class Result:
    """A finished run: its directory, and what metrics.json says."""

    run: RunDirectory
    metrics: dict[str, Any]

    @property
    def score(self) -> float:
        """What a search minimises: the validation RMSE of the best epoch, in the series' units.

        Not the validation loss, which changes with the transform and the kind of loss. Without a validation segment,
        the last training loss.
        """
        if "validation" in self.metrics:
            return float(self.metrics["validation"]["models"]["best"]["rmse"])
        return float(self.metrics["loss"]["train_last"])


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
    begun = time.monotonic()
    _calm_libraries()
    if cfg.resume:
        run = RunDirectory.open(Path(cfg.resume))
        with run.locked():
            return _continue(run, overrides, console, begun)
    datamodule, forecaster = _prepare(cfg)
    run = RunDirectory.create(Path(cfg.output_dir), f"{datamodule.series.name}_{model_name(cfg)}".lower())
    with run.locked():
        if cfg.data.get("path"):
            cfg.data.path = str(Path(cfg.data.path).expanduser().resolve())
        return _train(cfg, run, datamodule, forecaster, None, overrides, console, begun)


def _continue(run: RunDirectory, overrides: Sequence[str], console: Console, begun: float) -> Result:
    """Train an earlier run further, or show it where there is nothing left to do."""
    cfg = continued_config(run, overrides)
    if run.read_state()["status"] == "complete" and run.read_config() == plain(cfg):
        console.print(f"{run.path} is complete; raise trainer.max_epochs to train on", soft_wrap=True)
        metrics = read_json(run.metrics)
        if "test" not in metrics:
            raise RunError(f"{run.metrics} is damaged: it holds no test scores")
        print_result(run, metrics, console)
        return Result(run, metrics)
    never_saved = run.read_state()["status"] != "complete" and not run.last_checkpoint.exists()
    checkpoint = None if never_saved else load_checkpoint(run.last_checkpoint)
    if checkpoint:
        check_continuation(cfg, run, checkpoint["epoch"], inside_epoch=checkpoint["unroll"]["inside_epoch"])
    datamodule, forecaster = _prepare(cfg, Series.load(run.series))
    return _train(cfg, run, datamodule, forecaster, checkpoint, overrides, console, begun)


def _prepare(cfg: DictConfig, series: Series | None = None) -> tuple[WindowDataModule, Forecaster]:
    """Load the data and build the model. Everything that can be wrong with a config is found here."""
    torch.set_num_threads(cfg.threads)
    _check_accelerator(cfg.trainer.accelerator)
    datamodule = build(plain(cfg.data), WindowDataModule, "data", shuffle_seed=cfg.seed)
    datamodule.loaded = series
    datamodule.setup()
    monitor = str(cfg.scheduler.get("monitor")) if cfg.scheduler else ""
    if monitor.startswith("val/") and not len(datamodule.segments.validation):
        raise ConfigError(
            f"scheduler.monitor={monitor}: data.validation={cfg.data.validation} leaves no validation rows: raise it, "
            "or set scheduler.monitor=train/loss"
        )
    forecaster = build_forecaster(cfg, datamodule)
    _build_trainer(cfg, [])
    return datamodule, forecaster


def _train(
    cfg: DictConfig,
    run: RunDirectory,
    datamodule: WindowDataModule,
    forecaster: Forecaster,
    checkpoint: dict[str, Any] | None,
    overrides: Sequence[str],
    console: Console,
    begun: float,
) -> Result:
    """Fit and evaluate inside a run directory that this process holds."""
    try:
        with run.recording(overrides):
            run.write_config(plain(cfg))
            assert datamodule.loaded is not None
            if not run.series.exists():
                replace_file(run.series, datamodule.loaded.save)
            metrics = _fit_and_evaluate(cfg, run, datamodule, forecaster, checkpoint, console, begun)
    except (KeyboardInterrupt, SystemExit):
        kept = "to go on" if run.last_checkpoint.exists() else "no checkpoint was written yet; to start again"
        sys.stderr.write(f"interrupted; {kept}: python train.py resume={run.path}\n")
        raise
    print_result(run, metrics, console)
    return Result(run, metrics)


def build_forecaster(cfg: DictConfig, datamodule: WindowDataModule) -> Forecaster:
    """The forecaster of a config, sized from the data, its weights drawn from the seed.

    Args:
        cfg: with model, optimizer, scheduler and seed.
        datamodule: after setup.
    """
    torch.manual_seed(derive_seed(cfg.seed, WEIGHTS))
    network = build_network(plain(cfg.model), datamodule.shape)
    forecaster = Forecaster(
        network,
        loss=cfg.model.loss,
        optimizer=plain(cfg.optimizer),
        scheduler=plain(cfg.scheduler) if cfg.scheduler else None,
        seed=cfg.seed,
    )
    forecaster.configure_optimizers()  # finds a wrong argument now
    return forecaster


def _fit_and_evaluate(
    cfg: DictConfig,
    run: RunDirectory,
    datamodule: WindowDataModule,
    forecaster: Forecaster,
    checkpoint: dict[str, Any] | None,
    console: Console,
    begun: float,
) -> dict[str, Any]:
    """Train, score, and write what a run leaves behind. Returns what metrics.json says."""
    purge = (checkpoint["epoch"] if checkpoint else 0) + 1  # the curves of a killed run end where it goes on
    segments = {name: len(datamodule.origins(name)) for name in datamodule.segments._fields}
    about = {
        "model": plain(cfg.model),
        "shape": asdict(datamodule.shape),
        "columns": list(datamodule.series.columns),
        "offset": datamodule.transform.offset.tolist(),
        "scale": datamodule.transform.scale.tolist(),
    }
    with SummaryWriter(str(run.path), purge_step=purge) as tensorboard:
        recorder = Recorder(
            run, about, tensorboard, console, save_seconds=cfg.checkpoint_seconds, **plain(cfg.early_stopping)
        )
        trainer = _build_trainer(cfg, [recorder], validate=segments["validation"] > 0)
        device = trainer.strategy.root_device
        counts = ", ".join(f"{count:,} {name}" for name, count in segments.items())
        console.print(f"{essentials(cfg)} on {datamodule.series.title}", highlight=False, soft_wrap=True)
        console.print(f"windows: {counts}; device {device}, threads {cfg.threads}", highlight=False, soft_wrap=True)

        loaded = time.monotonic()
        _fit(trainer, forecaster, datamodule, run.last_checkpoint if checkpoint else None)
        fitted = time.monotonic()

        if not recorder.history:
            raise RunError("no epoch was trained: raise trainer.max_time or trainer.max_steps")
        last = {name: value.detach().clone() for name, value in forecaster.state_dict().items()}
        best_epoch, trained = recorder.best_epoch or len(recorder.history), len(recorder.history)
        weights = {"best": recorder.best_weights or last}
        if best_epoch != trained:
            weights["last"] = last
        evaluations = {
            name: evaluate(forecaster, datamodule, name, weights, device)
            for name in ("validation", "test")
            if segments[name]
        }
        best_row, last_row = recorder.history[best_epoch - 1], recorder.history[-1]
        metrics = {
            "data": datamodule.series.title,
            "kind": datamodule.series.kind or "real",
            "target": datamodule.series.columns[0],
            "unit": datamodule.series.unit,
            "model": model_name(cfg),
            "seed": cfg.seed,
            "window_size": cfg.data.window_size,
            "horizon": cfg.data.horizon,
            "seasonal_period": datamodule.seasonal_period,
            "fast_dev_run": cfg.trainer.fast_dev_run,
            "windows": segments,
            "parameters": sum(parameter.numel() for parameter in forecaster.network.parameters()),
            "device": str(device),
            "epochs": {
                "best": best_epoch,
                "trained": trained,
                "most": trainer.max_epochs,
                "stopped_early": recorder.stopped_early,
            },
            "loss": {
                "train_best": best_row["train_loss"],
                "train_last": last_row["train_loss"],
                "val_best": best_row["val_loss"],
                "val_last": last_row["val_loss"],
            },
            "weights_sha256": {"best": digest(weights["best"]), "last": digest(last)},
        }
        for name, evaluation in evaluations.items():
            values = as_values(evaluation)
            values["models"].setdefault("last", values["models"]["best"])
            metrics[name] = values
        table = predictions(evaluations["test"], datamodule)
        replace_file(run.predictions, lambda path: table.to_csv(path, index=False))
        write_figures(run, cfg, datamodule, evaluations["test"], recorder.history, best_epoch, tensorboard)
        now = time.monotonic()
        seconds = {"data": loaded - begun, "fit": fitted - loaded, "evaluate": now - fitted, "total": now - begun}
        metrics["seconds"] = {name: round(value, 3) for name, value in seconds.items()}
        write_hparams(run, cfg, metrics)
        write_json(run.metrics, metrics)
    return metrics


def _build_trainer(cfg: DictConfig, callbacks: list[Callback], *, validate: bool = True) -> L.Trainer:
    """The Lightning trainer, without its own loggers, bars and checkpoints: the recorder does these cheaper."""
    parameters = inspect.signature(L.Trainer).parameters
    for key in map(str, cfg.trainer):
        if key in OWN_TRAINER_KEYS:
            raise ConfigError(f"trainer.{key} is set by this program: remove it")
        if key not in parameters:
            raise ConfigError(
                f"there is no key trainer.{key}: lightning.Trainer has no such argument{nearest(key, parameters)}"
            )
    asked = plain(cfg.trainer) | ({} if validate else {"limit_val_batches": 0})
    try:
        return L.Trainer(
            **asked,
            callbacks=callbacks,
            default_root_dir=cfg.output_dir,
            enable_checkpointing=bool(callbacks),
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: lightning.Trainer refuses its arguments: {error}".splitlines()[0]) from error


def _fit(trainer: L.Trainer, forecaster: Forecaster, datamodule: WindowDataModule, checkpoint: Path | None) -> None:
    """Fit, from a checkpoint where there is one. Ctrl-C comes out as what it is.

    Raises:
        ConfigError: for a combination of arguments that Lightning refuses only now.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(forecaster, datamodule, ckpt_path=checkpoint, weights_only=True)
    except MisconfigurationException as error:
        raise ConfigError(f"trainer: Lightning refuses this: {' '.join(str(error).split())}") from error
    except SystemExit:
        if trainer.received_sigterm:
            raise SystemExit(TERMINATED) from None
        if trainer.interrupted:  # Lightning turns Ctrl-C into an exit
            raise KeyboardInterrupt from None
        raise
    except (ValueError, TypeError, ArithmeticError, AssertionError) as error:
        if OPTIMIZERS_FOLDER not in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parents:
            raise
        raise ConfigError(f"optimizer or scheduler: torch refuses an argument: {error}") from error
    finally:
        signal.signal(signal.SIGINT, handler)


class PatientConsole(Console):
    """A console that goes on without a reader: `python train.py | head` must not cost the training."""

    def on_broken_pipe(self) -> None:
        """Print nothing more."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _check_accelerator(accelerator: str) -> None:
    available = {"cuda": CUDAAccelerator.is_available(), "mps": MPSAccelerator.is_available()}
    available["gpu"] = any(available.values())
    if not available.get(accelerator, True):
        raise ConfigError(
            f"trainer.accelerator={accelerator}: no such device was found (torch {torch.__version__}): use trainer=cpu "
            "or trainer=auto, or install a torch build for your device"
        )


def _calm_libraries() -> None:
    """Leave the terminal to this program: no tips and device lists from Lightning."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*available but not used.*")  # trainer=cpu beside a GPU is a choice
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*")  # lightning 2.6 with torch 2.13
