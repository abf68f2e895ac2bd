"""The forecaster: network, loss, optimizer and scheduler as a LightningModule."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unroll.config import check_arguments
from unroll.data.windows import Batch
from unroll.errors import ConfigError, RunError
from unroll.models.flat import FlatParameters
from unroll.models.network import Network
from unroll.seeding import DROPOUT, derive_seed, seed_everything
from unroll.targets import build

LOSSES: dict[str, Callable[..., Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}


class Forecaster(L.LightningModule):
    """Trains a network on batches of windows.

    Args:
        network: (past, future) to a forecast (B, H) in scaled units.
        loss: mse | mae | huber, in scaled units.
        optimizer: plain config with `_target_`, an optimizer of torch.
        scheduler: plain config with `_target_`, a scheduler of torch, and `interval` (epoch or step),
            `frequency` and `monitor`; or None.
        seed: of the random draws in training (dropout), by epoch.
    """

    def __init__(
        self,
        network: Network,
        *,
        loss: str,
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_arguments(loss=loss)
        self.network = network
        self.loss_name = loss if network.points else str(network.head.loss_name)
        self.optimizer_config, self.scheduler_config = dict(optimizer), dict(scheduler or {})
        self.seed = seed
        self.seeds = [seed]
        self.losses: dict[str, list[float]] = {}  # of the last epoch: train, val, last_batch and lr, one a replica
        self.flat = FlatParameters([])
        self._sums: dict[str, Tensor] = {}  # of the loss over an epoch's targets, and how many these are
        self._counts = {"train": 0, "val": 0}
        self._last_batch = torch.zeros(())

    def forward(self, past: Tensor, future: Tensor) -> Tensor:
        """(B, W, F) and (B, H, C) to a forecast (B, H), all in scaled units."""
        forecast: Tensor = self.network(past, future)
        return forecast

    def loss(self, batch: Batch) -> Tensor:
        """The mean loss of a batch, in scaled units."""
        if self.network.points:
            return LOSSES[self.loss_name](self(batch.past, batch.future), batch.target)
        return self._distribution_losses(batch).mean()

    def _distribution_losses(self, batch: Batch) -> Tensor:
        """(B, H) of a head that makes a distribution."""
        found: Tensor = self.network.head.loss(  # type: ignore[operator]
            self.network.distribution(batch.past, batch.future), batch.target
        )
        return found

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step. The loss stays on its device until the epoch ends: no waiting, no logging in the step."""
        loss = self.loss(batch)
        self._last_batch = loss.detach()
        self._add("train", self._last_batch, batch.target.shape[-2])
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Collect the validation loss."""
        self._add("val", self.loss(batch), batch.target.shape[-2])

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Log the test loss; the scores in the series' own units are those of unroll.evaluation."""
        self.log("test/loss", self.loss(batch), batch_size=len(batch.target), on_epoch=True)

    def predict_step(self, batch: Batch, batch_index: int) -> Tensor:
        """(B, H) in scaled units."""
        return self(batch.past, batch.future)

    @property
    def real_weight(self) -> Tensor:
        """One that says of what kind, and where, inputs must be. Others may be complex."""
        return next(weight for weight in self.parameters() if weight.is_floating_point())

    @torch.no_grad()
    def free_run(
        self,
        history: Tensor,
        steps: int,
        *,
        known: Tensor | None = None,
        future: Tensor | None = None,
        samples: int | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Forecast many steps ahead: the first H directly, and then H at a time, reading the forecasts before them.

        All in scaled units, on the device of the weights; without dropout, without gradients.

        Args:
            history: (B, n, F) the rows before the first forecast, n >= W; the last W are read.
            steps: how many.
            known: (B, steps, F - 1) the columns beside the target in the rows that are forecast. Needed where F > 1 and
                steps > H: a forecaster forecasts its target alone.
            future: (B, steps rounded up to whole H, C) the columns that are known ahead; needed where C > 0.
            samples: S paths of each, of a head that makes distributions: in place of its point forecasts, each path
                reads what it drew from them. The H steps of one forecast are drawn independently of each other.
            seed: of these draws.

        Returns:
            (B, steps); with `samples`, (S, B, steps).

        Raises:
            ConfigError: for columns that are not given, or shapes that do not fit.
        """
        shape = self.network.shape
        check_arguments(**{"free_run.steps": steps})
        if history.dim() != 3 or history.shape[1] < shape.window_size or history.shape[2] != shape.features:
            raise ConfigError(
                f"a free run needs a history of shape (B, at least {shape.window_size}, {shape.features}), not "
                f"{tuple(history.shape)}"
            )
        count, horizon = len(history), shape.horizon
        rounded = -(-steps // horizon) * horizon
        others = shape.features - 1 if steps > horizon else 0
        for name, given, size in (
            ("known", known, (count, steps, others)),
            ("future", future, (count, rounded, shape.future_features)),
        ):
            if size[2] and given is None:
                raise ConfigError(
                    f"a free run of {steps} steps with {shape.features} columns needs {name} of shape {size}: the "
                    "columns beside the target are not forecast, so their values must be known"
                )
            if size[2] and given is not None and given.shape != size:
                raise ConfigError(f"{name} has the shape {tuple(given.shape)}, not {size}")
        if samples is not None:
            if self.network.points:
                raise ConfigError("samples: a head that makes one number a step has no distribution to draw from")
            paths = [None if part is None else part.repeat(samples, 1, 1) for part in (history, known, future)]
            begun, know, ahead_of = paths
            assert begun is not None
            with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                seed_everything(seed, self.device)
                made = self._run_freely(begun, steps, know if others else None, ahead_of, drawn=True)
            return made.unflatten(0, (samples, count))
        return self._run_freely(history, steps, known if others else None, future)

    def _run_freely(
        self, history: Tensor, steps: int, known: Tensor | None, future: Tensor | None, *, drawn: bool = False
    ) -> Tensor:
        """See `free_run`, which checks its arguments."""
        shape, count = self.network.shape, len(history)
        window, horizon = shape.window_size, shape.horizon
        rounded = -(-steps // horizon) * horizon
        training = self.training
        self.eval()
        weight = self.real_weight
        rows = weight.new_zeros(count, window + rounded, shape.features)
        rows[:, :window] = history[:, -window:]
        if known is not None:
            rows[:, window : window + steps, 1:] = known
        ahead = weight.new_zeros(count, rounded, 0) if future is None else future.to(weight)
        for step in range(0, steps, horizon):
            windows = rows[:, step : step + window], ahead[:, step : step + horizon]
            made = self.network.head.sample(self.network.distribution(*windows)) if drawn else self(*windows)  # type: ignore[operator]
            rows[:, window + step : window + step + horizon, 0] = made
        self.train(training)
        return rows[:, window : window + steps, 0].clone()

    def on_train_epoch_start(self) -> None:
        """Draw this epoch's random numbers from (seed, epoch), so that a resumed run draws the same."""
        seed_everything(derive_seed(self.seed, DROPOUT, self.current_epoch), self.device)
        self.losses = {"lr": self._learning_rates()}  # schedulers step before the epoch ends

    def on_validation_model_zero_grad(self) -> None:
        """Lightning's hook: gradients keep their memory over a validation."""

    def on_validation_epoch_start(self) -> None:
        """Early stopping is of the network alone."""
        self.network.partnered = False

    def on_validation_epoch_end(self) -> None:
        """Log val/loss, the mean over the validation targets."""
        self.network.partnered = True
        self._log_epoch("val")

    def on_train_epoch_end(self) -> None:
        """Log train/loss, the mean over this epoch's batches as they were trained on; the last batch's alone, which is
        what some published loops print; and the epoch's first learning rate.
        """
        self._log_epoch("train")
        self.losses["last_batch"] = self._last_batch.flatten().tolist()
        self.trainer.callback_metrics["lr"] = torch.tensor(_mean(self.losses["lr"]))

    def configure_optimizers(self) -> Any:
        """Optimizer and scheduler from their configs.

        Raises:
            ConfigError: where torch refuses an argument.
        """
        given = {"params": self._optimized(), **self._quicker()}
        optimizer = build(self.optimizer_config, torch.optim.Optimizer, "optimizer", **given)
        self.flat.given_to(optimizer)
        if not self.scheduler_config:
            return optimizer
        about = dict(self.scheduler_config)
        timing = {key: about.pop(key) for key in ("interval", "frequency", "monitor") if key in about}
        return {"optimizer": optimizer, "lr_scheduler": {**self._schedule(about, optimizer), **timing}}

    def _schedule(self, about: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """What Lightning needs to know of a scheduler."""
        try:
            return {"scheduler": build(about, torch.optim.lr_scheduler.LRScheduler, "scheduler", optimizer=optimizer)}
        except KeyError as error:  # schedulers that want momentum look it up in the optimizer
            raise ConfigError(f"scheduler: {about['_target_']} does not fit this optimizer: {error}") from error

    def _optimized(self) -> list[nn.Parameter]:
        """What the optimizer gets. On a CPU all parameters as one, which costs a step less; cuDNN has its own order."""
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.flat = FlatParameters(parameters if all(part.device.type == "cpu" for part in parameters) else [])
        return self.flat.blocks or list(self.network.parameters())

    def _quicker(self) -> dict[str, Any]:
        """What makes the optimizer quicker. Nothing that changes a bit of what torch's plain loop computes."""
        return {}

    def _learning_rates(self) -> list[float]:
        """One a replica."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        return [float(optimizer.param_groups[0]["lr"])]

    def _add(self, part: str, loss: Tensor, count: int) -> None:
        """Add a batch to the epoch's mean, on its device: no list that grows with the steps, no waiting."""
        if part not in self._sums:
            exact = torch.float32 if loss.device.type == "mps" else torch.float64
            self._sums[part] = torch.zeros(loss.shape, dtype=exact, device=loss.device)
        self._sums[part].add_(loss, alpha=count)
        self._counts[part] += count

    def _log_epoch(self, part: str) -> None:
        """Log the mean loss over an epoch: one number a replica leaves the device, in one copy.

        Raises:
            RunError: where it is no longer a finite number.
        """
        if part not in self._sums:
            return
        means = (self._sums.pop(part) / self._counts[part]).flatten().tolist()
        self._counts[part] = 0
        for mean, seed in zip(means, self.seeds, strict=True):
            if not math.isfinite(mean):
                name = {"train": "training", "val": "validation"}[part]
                whose = f" of seed {seed}" if len(means) > 1 else ""
                raise RunError(
                    f"the {name} loss{whose} became {mean} in epoch {self.current_epoch + 1}: lower optimizer.lr, set "
                    "trainer.gradient_clip_val=1, or use data.transform=standard"
                )
        self.losses[part] = means
        # What self.log would come to for a number of an epoch, without the two milliseconds that it takes.
        self.trainer.callback_metrics[f"{part}/loss"] = torch.tensor(_mean(means), dtype=torch.float64)


def _mean(values: list[float]) -> float:
    return values[0] if len(values) == 1 else math.fsum(values) / len(values)
