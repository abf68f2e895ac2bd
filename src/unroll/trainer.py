"""The Lightning trainer: built from the config, run, and its ends told apart."""

import inspect
import logging
import signal
import traceback
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from unroll.checkpoints import Checkpoints
from unroll.config import plain
from unroll.data.module import WindowDataModule
from unroll.errors import ConfigError, RunError, nearest
from unroll.interrupts import TERMINATED
from unroll.loop import step_plainly
from unroll.models.forecaster import Forecaster

OPTIMIZERS_FOLDER = Path(torch.optim.__file__).parent
OF_THE_MODEL = ("training_step", "validation_step", "backward")
REFUSALS = (ValueError, TypeError, ArithmeticError, AssertionError, RuntimeError, LookupError, AttributeError)
OWN_TRAINER_KEYS = (
    *("callbacks", "default_root_dir", "enable_checkpointing", "logger", "enable_progress_bar"),
    *("enable_model_summary", "num_sanity_val_steps", "log_every_n_steps"),
)


def build_trainer(cfg: DictConfig, callbacks: list[Callback], *, validate: bool = True) -> L.Trainer:
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
        trainer = L.Trainer(
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
        trainer.strategy.checkpoint_io = Checkpoints()
        step_plainly(trainer)
        return trainer
    except (*REFUSALS, ImportError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: lightning.Trainer refuses its arguments: {error}".splitlines()[0]) from error


def fit(trainer: L.Trainer, forecaster: Forecaster, datamodule: WindowDataModule, checkpoint: Path | None) -> None:
    """Fit, from a checkpoint where there is one. Ctrl-C comes out as what it is.

    Raises:
        ConfigError: for a combination of arguments that Lightning refuses only now.
        RunError: for a checkpoint that cannot be gone on with.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(forecaster, datamodule, ckpt_path=checkpoint, weights_only=True)
    except MisconfigurationException as error:
        raise ConfigError(f"trainer: Lightning refuses this: {' '.join(str(error).split())}") from error
    except SystemExit as error:
        if trainer.received_sigterm or error.code == TERMINATED:
            raise SystemExit(TERMINATED) from None
        if trainer.interrupted:  # Lightning turns Ctrl-C into an exit
            raise KeyboardInterrupt from None
        raise
    except REFUSALS as error:
        if checkpoint and _comes_of_the_checkpoint(error, trainer, forecaster):
            line = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise RunError(f"{checkpoint} cannot be gone on with ({line}): start a new run") from error
        if not _is_optimizers(error):
            raise
        raise ConfigError(f"optimizer or scheduler: torch refuses an argument: {error}") from error
    finally:
        signal.signal(signal.SIGINT, handler)


def _comes_of_the_checkpoint(error: Exception, trainer: L.Trainer, forecaster: Forecaster) -> bool:
    """Whether an error was raised where what came from a checkpoint was used for the first time, beside the model."""
    between = "last_batch" in forecaster.losses  # two epochs, where schedulers step
    trained = "lr" in trainer.callback_metrics  # an epoch, since then
    inside = any(frame.name in OF_THE_MODEL for frame in traceback.extract_tb(error.__traceback__))
    return between or not (trained or inside)


def _is_optimizers(error: Exception) -> bool:
    """Whether an optimizer or a scheduler raised this, or what of torch's it called."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        folders = Path(frame.filename).parents
        if OPTIMIZERS_FOLDER in folders or OPTIMIZERS_FOLDER.parent not in folders:
            return OPTIMIZERS_FOLDER in folders
    return False


def check_accelerator(accelerator: str) -> None:
    """Raise ConfigError where the device that was asked for is not there."""
    available = {"cuda": CUDAAccelerator.is_available(), "mps": MPSAccelerator.is_available()}
    available["gpu"] = any(available.values())
    if not available.get(accelerator, True):
        raise ConfigError(
            f"trainer.accelerator={accelerator}: no such device was found (torch {torch.__version__}): use trainer=cpu "
            "or trainer=auto, or install a torch build for your device"
        )


def calm_libraries() -> None:
    """Leave the terminal to this program: no tips and device lists from Lightning."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*available but not used.*")  # trainer=cpu beside a GPU is a choice
    warnings.filterwarnings("ignore", ".*have not yet implemented the batching rule.*")  # slow, and right
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*")  # lightning 2.6 with torch 2.13
