"""What a training leaves behind as it goes: history, TensorBoard curves, best and last checkpoint, progress."""

import time
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from unroll.errors import RunError
from unroll.interrupts import settled
from unroll.progress import EpochProgress
from unroll.runs.directory import RunDirectory, replace_file


class Recorder(Checkpoint):
    """Follows a fit, epoch by epoch (counted from 1).

    The best weights are kept in memory and reach the disk with the next checkpoint, so that short epochs do not
    pay for a file each. Checkpoints are written between epochs, and replaced in one piece.

    Args:
        run: where to write.
        about: plain values that go into each checkpoint, to rebuild the network from it.
        tensorboard: for the curves.
        console: for progress.
        save_seconds: between checkpoints on disk; a killed run trains at most so long again.
        patience: stop after so many validations (one an epoch) without a better loss; None: never. (Lightning's
            own EarlyStopping takes its patience from the checkpoint, so that a continued run could not raise it.)
        min_delta: what counts as better.
    """

    def __init__(
        self,
        run: RunDirectory,
        about: dict[str, Any],
        tensorboard: SummaryWriter,
        console: Console,
        *,
        save_seconds: float,
        patience: int | None,
        min_delta: float,
    ) -> None:
        super().__init__()
        self.run, self.about, self.tensorboard, self.console = run, about, tensorboard, console
        self.save_seconds, self.patience, self.min_delta = save_seconds, patience, min_delta
        self.history: list[dict[str, Any]] = []
        self.best_weights: dict[str, Tensor] | None = None
        self.best_loss = float("inf")
        self.best_epoch = 0
        self.reference, self.waited = float("inf"), 0
        self.progress: EpochProgress | None = None
        self.saved = self.epoch_begun = 0.0
        self.validated = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start to show progress; a run that had stopped early stays stopped."""
        self.saved = self.epoch_begun = time.monotonic()
        trainer.should_stop = self.stopped_early
        self.progress = EpochProgress(self.console, trainer.max_epochs or 0, len(self.history))

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Between two epochs all state is settled: the moment for a checkpoint."""
        if self.history and time.monotonic() - self.saved > self.save_seconds:
            # Lightning has already counted the epoch that begins as ready, and would skip it after a restart.
            counts = (trainer.fit_loop.epoch_progress.total, trainer.fit_loop.epoch_progress.current)
            for count in counts:
                count.ready -= 1
            self.save(trainer)
            for count in counts:
                count.ready += 1
        self.epoch_begun = time.monotonic()
        self.validated = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show how far a long epoch is."""
        assert self.progress
        with settled():
            self.progress.within(trainer.current_epoch, (batch_idx + 1) / trainer.num_training_batches)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Only now is the validation loss that of these weights."""
        self.validated = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the epoch, keep its weights where they are the best."""
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if not self.validated:
            logged.pop("val/loss", None)  # that of an earlier epoch
        epoch = trainer.current_epoch + 1
        last_batch = logged.pop("train/last_batch")  # of a part of the data: in the history, no curve of its own
        losses = {"train_loss": logged["train/loss"], "last_batch_loss": last_batch, "val_loss": logged.get("val/loss")}
        row = {"epoch": epoch, **losses}
        self.history.append(row | {"lr": logged["lr"], "seconds": time.monotonic() - self.epoch_begun})
        if row["val_loss"] is not None and row["val_loss"] < self.best_loss:
            self.best_loss, self.best_epoch = row["val_loss"], epoch
            self.best_weights = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}
        self._wait(row["val_loss"])
        trainer.should_stop = trainer.should_stop or self.stopped_early
        assert self.progress
        shown = [f"{part} {row[f'{part}_loss']:.4g}" for part in ("train", "val") if row[f"{part}_loss"] is not None]
        with settled():
            for name, value in logged.items():
                self.tensorboard.add_scalar(name, value, epoch)
            self.progress.update(epoch, "  ".join(shown))

    @property
    def evaluated_epoch(self) -> int:
        """The best epoch; without any validation, the last one."""
        return self.best_epoch or len(self.history)

    @property
    def stopped_early(self) -> bool:
        """Whether the validation loss has not improved for `patience` epochs."""
        return self.patience is not None and self.waited >= self.patience

    def _wait(self, val_loss: float | None) -> None:
        """Count the epochs since the validation loss was better by min_delta."""
        if val_loss is None:
            return
        better = val_loss < self.reference - self.min_delta
        self.reference, self.waited = (val_loss, 0) if better else (self.reference, self.waited + 1)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the final checkpoints and the history."""
        self.save(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Keep the history. The checkpoint on disk stays that of an epoch's end."""
        self._write_history()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave the terminal in order."""
        if self.progress:
            self.progress.stop()

    def save(self, trainer: L.Trainer) -> None:
        """Write best.ckpt, last.ckpt and history.csv, each in one piece."""
        weights = self.best_weights or trainer.lightning_module.state_dict()
        best = {"state_dict": dict(weights), "epoch": self.evaluated_epoch, "unroll": self.about}
        replace_file(self.run.best_checkpoint, lambda path: torch.save(best, path))
        replace_file(self.run.last_checkpoint, lambda path: trainer.save_checkpoint(path))
        self._write_history()
        self.saved = time.monotonic()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """What is needed to rebuild the network goes with its weights."""
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        checkpoint["unroll"] = self.about | {"inside_epoch": 0 < done < trainer.num_training_batches}

    def state_dict(self) -> dict[str, Any]:
        """What a continued run needs to know of the epochs before."""
        names = ("history", "best_weights", "best_loss", "best_epoch")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where the checkpoint was written."""
        for name, value in state_dict.items():
            setattr(self, name, value)
        for row in self.history:
            self._wait(row["val_loss"])

    def _write_history(self) -> None:
        if self.history:
            replace_file(self.run.history, lambda path: pd.DataFrame(self.history).to_csv(path, index=False))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint: tensors and plain values only, never code.

    Raises:
        RunError: where it is missing, truncated, or holds anything else.
    """
    if path.exists() and not path.is_file():
        raise RunError(f"{path} is no regular file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"{path} does not exist: the run wrote no checkpoint yet, or it was removed") from error
    except Exception as error:  # zip, pickle and torch each raise their own for a damaged file
        raise RunError(f"{path} is no checkpoint that can be read safely: it is damaged or holds objects") from error
    missing = [key for key in ("state_dict", "epoch", "unroll") if key not in (checkpoint or ())]
    if not isinstance(checkpoint, dict) or missing:
        raise RunError(f"{path} is no checkpoint of a run: it holds no {', '.join(missing)}")
    return checkpoint
