"""Lightning's loop over the batches of an epoch, without what nothing here asks for.

A step of a small network takes one or two milliseconds, and Lightning's hooks, wrappers and bookkeeping around it
nearly one more. The trainer of a run has none of what they serve: no accumulation, no mixed precision, no callback
inside the step, no logging in it. Where it has, Lightning's own way is taken; both give the same bits.
"""

import functools
from typing import Any

import lightning as L
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy

from unroll.data.module import WindowDataModule
from unroll.models.forecaster import Forecaster
from unroll.models.replicated import ReplicatedForecaster
from unroll.recorder import Recorder

INSIDE = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")
OF_CALLBACKS = ("on_train_batch_start", *INSIDE)
OF_MODULES = (*OF_CALLBACKS, "on_train_batch_end", "backward", "optimizer_zero_grad", "on_after_batch_transfer")


class StepLoop(_TrainingEpochLoop):
    """Steps by the shortest way, where nothing needs a longer one."""

    def advance(self, data_fetcher: Any) -> None:
        """One batch: see Lightning's method of this name, whose order this keeps."""
        if self.restarting or self.trainer.accumulate_grad_batches != 1 or not self._is_plain:
            super().advance(data_fetcher)
            return
        self.val_loop.restarting = False
        trainer, progress = self.trainer, self.batch_progress
        module, optimizer = trainer.lightning_module, trainer.optimizers[0]
        batch, number = next(data_fetcher)[0], self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        progress.increment_ready()
        progress.increment_started()
        steps = self.automatic_optimization.optim_progress.optimizer.step
        steps.increment_ready()
        loss = module.training_step(batch, number)
        optimizer.zero_grad()
        loss.backward()
        if trainer.gradient_clip_val:
            module.configure_gradient_clipping(optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
        module.optimizer_step(trainer.current_epoch, number, optimizer, None)
        steps.increment_completed()
        progress.increment_processed()
        self.update_lr_schedulers("step", update_plateau_schedulers=False)
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        for callback in trainer.callbacks:
            callback.on_train_batch_end(trainer, module, {"loss": loss.detach()}, batch, number)
        progress.increment_completed()

    @functools.cached_property
    def _is_plain(self) -> bool:
        """Whether nobody asks for more."""
        trainer = self.trainer
        module, datamodule = trainer.lightning_module, trainer.datamodule
        others = [callback for callback in trainer.callbacks if not isinstance(callback, Recorder)]
        own = (Forecaster.training_step, ReplicatedForecaster.training_step)
        return (
            type(module).training_step in own
            and isinstance(datamodule, WindowDataModule)
            and type(datamodule).transfer_batch_to_device is WindowDataModule.transfer_batch_to_device
            and not any(_overrides(module, L.LightningModule, name) for name in OF_MODULES)
            and not any(_overrides(one, L.Callback, name) for one in trainer.callbacks for name in OF_CALLBACKS)
            and not any(_overrides(one, L.Callback, "on_train_batch_end") for one in others)
            and len(trainer.optimizers) == 1
            and type(trainer.precision_plugin) is Precision
            and type(trainer.profiler) is PassThroughProfiler
            and type(trainer.strategy) is SingleDeviceStrategy
            and not trainer.loggers
        )


def step_plainly(trainer: L.Trainer) -> None:
    """Give a trainer this loop in the place of its own.

    And let it go on from the end of an epoch where trainer.max_steps is set too: Lightning takes each checkpoint for
    one from inside an epoch then, and makes an epoch without a step.
    """
    given = trainer.fit_loop.epoch_loop
    trainer.fit_loop.epoch_loop = StepLoop(trainer, min_steps=given.min_steps, max_steps=given.max_steps)
    trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]


def _overrides(one: L.LightningModule | L.Callback, base: type, name: str) -> bool:
    return name in vars(one) or getattr(type(one), name) is not getattr(base, name)
