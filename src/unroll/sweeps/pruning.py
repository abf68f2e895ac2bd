"""Stop a trial whose validation loss promises less than those of the others, from inside its training."""

from contextlib import suppress

import lightning as L
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import Trial

from unroll.errors import PrunedError
from unroll.interrupts import settled
from unroll.recorder import Recorder
from unroll.sweeps.jobs import sweep_folder
from unroll.sweeps.settings import Settings, calm
from unroll.sweeps.study import trial_of


class Pruning(L.Callback):
    """Reports the validation loss of each epoch, and ends the training where the pruner says so.

    It does both between two epochs, when the recorder has noted the last one. Of a run that is gone on with, the epochs
    before are reported first. After the last epoch nothing is pruned: there is nothing left to save.

    Args:
        trial: of a running search.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.sign = -1.0 if trial.study.direction is StudyDirection.MAXIMIZE else 1.0  # a smaller loss is better

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report what is new, and ask.

        Raises:
            PrunedError: where others promise more.
        """
        if self._report(trainer) and self._is_hopeless():
            raise PrunedError(f"pruned after epoch {trainer.current_epoch} of {trainer.max_epochs}")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The last epoch is for the pruning of others."""
        self._report(trainer)

    def _report(self, trainer: L.Trainer) -> bool:
        """Returns whether there was anything new."""
        (recorder,) = (callback for callback in trainer.callbacks if isinstance(callback, Recorder))  # type: ignore[attr-defined]
        known = self.trial._cached_frozen_trial.intermediate_values
        rows = [row for row in recorder.history if row["val_loss"] is not None and row["epoch"] - 1 not in known]
        # A trial that was given up meanwhile, or a storage that is away: no reason to lose the training.
        with suppress(UpdateFinishedTrialError, StorageInternalError), settled(), calm():
            for row in rows:
                self.trial.report(self.sign * row["val_loss"], row["epoch"] - 1)  # Optuna counts from 0
        return bool(rows)

    def _is_hopeless(self) -> bool:
        with suppress(UpdateFinishedTrialError, StorageInternalError), settled(), calm():
            return self.trial.should_prune()
        return False


def pruning(cfg: DictConfig) -> list[L.Callback]:
    """What prunes the job of a search; nothing where the search prunes nothing.

    Args:
        cfg: of the job.
    """
    settings = Settings.read(HydraConfig.get().sweeper)
    if not settings.prunes:
        return []
    return [Pruning(trial_of(settings, sweep_folder(cfg), cfg.sweep.name, cfg.sweep.trial))]
