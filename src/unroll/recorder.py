"""What a training leaves behind as it goes: history, TensorBoard curves, best and last checkpoint, progress."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from unroll.checkpoints import write_checkpoint
from unroll.interrupts import settled
from unroll.models.forecaster import Forecaster
from unroll.models.replicated import ReplicatedForecaster
from unroll.progress import EpochProgress
from unroll.runs.directory import RunDirectory
from unroll.runs.files import replace_file
from unroll.tracks import Kept, Track, mean_of

PARTS = ("train", "val")
ENDS = {"lowest": min, "highest": max}


class Recorder(Checkpoint):
    """Follows a fit, epoch by epoch (counted from 1).

    The best weights are kept in memory and reach the disk with the next checkpoint, so that short epochs do not
    pay for a file each. Checkpoints are written between epochs, and replaced in one piece.

    With replicas, each has a track of its own, and stops by itself; a loss of the run is the mean over all of them,
    where one that has stopped stays at its last.

    Args:
        run: where to write.
        about: plain values that go into each checkpoint, to rebuild the network from it.
        tensorboard: for the curves.
        console: for progress.
        seeds: one a replica.
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
        seeds: Sequence[int],
        save_seconds: float,
        patience: int | None,
        min_delta: float,
    ) -> None:
        super().__init__()
        self.run, self.about, self.tensorboard, self.console = run, about, tensorboard, console
        self.save_seconds, self.patience, self.min_delta = save_seconds, patience, min_delta
        self.history: list[dict[str, Any]] = []
        self.tracks = [Track(seed) for seed in seeds]
        self.best_weights = Kept(len(self.tracks))
        self.last_weights = Kept(len(self.tracks))  # of replicas that have stopped
        self.progress: EpochProgress | None = None
        self.saved = self.epoch_begun = 0.0
        self.validated = self.ended = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start to show progress; a run that had stopped early stays stopped."""
        self.saved = self.epoch_begun = time.monotonic()
        trainer.should_stop = self.stopped_early
        self.progress = EpochProgress(self.console, trainer.max_epochs or 0, len(self.history))
        self._set_batches(trainer)
        if len(self.tracks) > 1:
            with settled():
                bands = {part: ["Margin", [f"{part}/loss", *(f"{part}/{end}" for end in ENDS)]] for part in PARTS}
                self.tensorboard.add_custom_scalars({"loss: mean, lowest and highest replica": bands})

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
        """Note the epoch, keep the weights of each replica where they are the best, leave away what has stopped."""
        assert isinstance(pl_module, Forecaster)
        epoch, losses = trainer.current_epoch + 1, pl_module.losses
        count = len(losses["train"])
        validation = losses["val"] if self.validated else [None] * count  # else it is that of an earlier epoch
        active = self._active()
        better = []
        values = zip(active, losses["train"], losses["last_batch"], validation, losses["lr"], strict=True)
        for place, (number, train, last_batch, val, lr) in enumerate(values):
            losses_of_epoch = {"train_loss": train, "last_batch_loss": last_batch, "val_loss": val}
            if self.tracks[number].note({"epoch": epoch, **losses_of_epoch, "lr": lr}, self.min_delta):
                better.append(place)
        weights = pl_module.state_dict()
        self.best_weights.put(weights, better, [active[place] for place in better])
        row: dict[str, Any] = {"epoch": epoch}
        latest = [track.history[-1] for track in self.tracks]
        row |= {name: mean_of(latest, name) for name in ("train_loss", "last_batch_loss", "val_loss", "lr")}
        self.history.append(row | {"seconds": time.monotonic() - self.epoch_begun})
        self._leave_away(trainer, pl_module, active, weights)
        trainer.should_stop = trainer.should_stop or self.stopped_early
        self._show(trainer, row)

    def _active(self) -> list[int]:
        """Numbers of the replicas that train."""
        if len(self.tracks) == 1:
            return [0]
        return [number for number, track in enumerate(self.tracks) if not self.last_weights.known[number]]

    def _leave_away(
        self, trainer: L.Trainer, pl_module: Forecaster, active: list[int], weights: dict[str, Tensor]
    ) -> None:
        """Replicas that have stopped train no more, as long as others do."""
        going = [place for place, number in enumerate(active) if not self.tracks[number].has_stopped(self.patience)]
        if len(going) == len(active) or not going:
            return
        assert isinstance(pl_module, ReplicatedForecaster)
        stopped = [place for place in range(len(active)) if place not in going]
        self.last_weights.put(weights, stopped, [active[place] for place in stopped])
        optimizer = pl_module.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        pl_module.keep(going, optimizer)
        self._set_batches(trainer)

    def _set_batches(self, trainer: L.Trainer) -> None:
        """A batch for each replica that trains."""
        seeds = trainer.datamodule.replica_seeds  # type: ignore[attr-defined]
        if seeds is not None:
            seeds[:] = [self.tracks[number].seed for number in self._active()]

    def _show(self, trainer: L.Trainer, row: dict[str, Any]) -> None:
        """Write the curves, go on with the progress line."""
        epoch = row["epoch"]
        curves = {name: float(value) for name, value in trainer.callback_metrics.items()}
        curves.pop("val/loss", None)  # may be of an earlier epoch
        for part in PARTS:
            name = f"{part}_loss"
            if row[name] is not None:
                curves[f"{part}/loss"] = row[name]
                if len(self.tracks) > 1:
                    values = [track.history[-1][name] for track in self.tracks]
                    curves |= {f"{part}/{end}": pick(values) for end, pick in ENDS.items()}
        assert self.progress
        shown = [f"{part} {row[f'{part}_loss']:.4g}" for part in PARTS if row[f"{part}_loss"] is not None]
        if len(self.tracks) > 1:
            shown.append(f"{len(self._active())} of {len(self.tracks)} replicas")
        with settled():
            points = [Summary.Value(tag=name, simple_value=value) for name, value in curves.items()]
            self.tensorboard._get_file_writer().add_summary(Summary(value=points), epoch)  # one event for all
            self.progress.update(epoch, "  ".join(shown))

    @property
    def evaluated_epoch(self) -> int:
        """The best epoch; without any validation, the last one. Of several replicas, the median."""
        return int(statistics.median_low(track.evaluated_epoch for track in self.tracks))

    @property
    def stopped_early(self) -> bool:
        """Whether all replicas have stopped."""
        return all(track.has_stopped(self.patience) for track in self.tracks)

    def weights(self, weights: dict[str, Tensor]) -> dict[str, list[dict[str, Tensor]]]:
        """The state dicts of all replicas: best, and last where it is another epoch for one of them.

        Args:
            weights: as they are after the last epoch, of those that trained to the end.
        """
        last = self._last(weights).each()
        best = self.best_weights.each() if any(self.best_weights.known) else last
        same = all(track.evaluated_epoch == len(track.history) for track in self.tracks)
        return {"best": best} | ({} if same else {"last": last})

    def _last(self, weights: dict[str, Tensor]) -> Kept:
        """Of all replicas: what those that have stopped had then, and what the others have now."""
        active, last = self._active(), self.last_weights.copy()
        last.put(weights, list(range(len(active))), active)
        return last

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the final checkpoints and the history."""
        self.save(trainer)
        self.ended = True

    def finish(self, trainer: L.Trainer) -> None:
        """Write best.ckpt and the history again, where there was no epoch left to train."""
        if not self.ended:
            self._write_best(trainer)
            self._write_history()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Keep the history. The checkpoint on disk stays that of an epoch's end."""
        self._write_history()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave the terminal in order."""
        if self.progress:
            self.progress.stop()

    def save(self, trainer: L.Trainer) -> None:
        """Write best.ckpt, last.ckpt and history.csv, each in one piece; the last.ckpt before is previous.ckpt then."""
        self._write_best(trainer)
        replace_file(self.run.last_checkpoint, trainer.save_checkpoint, keep=self.run.previous_checkpoint)
        self._write_history()
        self.saved = time.monotonic()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """What is needed to rebuild the network goes with its weights."""
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        checkpoint["unroll"] = self.about | {"inside_epoch": 0 < done < trainer.num_training_batches}
        if len(self.tracks) > 1:
            checkpoint["last"] = self._last(checkpoint["state_dict"]).whole()

    def state_dict(self) -> dict[str, Any]:
        """What a continued run needs to know of the epochs before."""
        return {
            "history": self.history,
            "tracks": [{"seed": track.seed, "history": track.history} for track in self.tracks],
            "best": self.best_weights.state(),
            "last": self.last_weights.state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where the checkpoint was written."""
        self.history = state_dict["history"]
        self.tracks = [Track(saved["seed"]) for saved in state_dict["tracks"]]
        for track, saved in zip(self.tracks, state_dict["tracks"], strict=True):
            for row in saved["history"]:
                track.note(row, self.min_delta)
        self.best_weights.load(state_dict["best"])
        self.last_weights.load(state_dict["last"])

    def _write_best(self, trainer: L.Trainer) -> None:
        kept = self.best_weights if any(self.best_weights.known) else self._last(trainer.lightning_module.state_dict())
        best = {"state_dict": kept.whole(), "epoch": self.evaluated_epoch, "unroll": self.about}
        replace_file(self.run.best_checkpoint, lambda path: write_checkpoint(best, path))

    def _write_history(self) -> None:
        if not self.history:
            return
        replace_file(self.run.history, lambda path: pd.DataFrame(self.history).to_csv(path, index=False))
        if len(self.tracks) > 1:
            rows = [{"seed": track.seed, **row} for track in self.tracks for row in track.history]
            replace_file(self.run.replica_history, lambda path: pd.DataFrame(rows).to_csv(path, index=False))


def continuable(checkpoint: dict[str, Any]) -> bool:
    """Whether a checkpoint of a run holds what this recorder needs to go on."""
    callbacks = checkpoint.get("callbacks")
    saved = callbacks.get(Recorder.__qualname__) if isinstance(callbacks, dict) else None
    return isinstance(saved, dict) and {"history", "tracks", "best", "last"} <= saved.keys()
