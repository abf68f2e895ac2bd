"""The forecaster of a run with replicas: replica k is trained as the run with `seed + k` alone would be.

Its weights, batches, dropout masks, gradient norm, learning rate by a plateau, best epoch and early stopping are its
own. What has stopped is left away, so that the others train on the faster.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from unroll.data.windows import Batch
from unroll.errors import ConfigError
from unroll.models.flat import FlatParameters
from unroll.models.forecaster import LOSSES, Forecaster
from unroll.models.layers import replica_generators
from unroll.models.network import Network
from unroll.models.replicas import replicate
from unroll.seeding import DROPOUT, derive_seed
from unroll.targets import build, locate

NOT_PROPORTIONAL = (torch.optim.ASGD, torch.optim.Rprop)  # a step of these is not proportional to its learning rate


class ReplicatedForecaster(Forecaster):
    """Trains K networks on batches (K, B, ...): see Forecaster.

    Args:
        networks: K of one config.
        loss, optimizer, scheduler: see Forecaster.
        seed: of the first; the others follow.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        *,
        loss: str,
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(replicate(networks), loss=loss, optimizer=optimizer, scheduler=scheduler, seed=seed)
        self.seeds = [seed + replica for replica in range(len(networks))]  # of those that still train
        self.generators: list[torch.Generator] = []
        self.plateaus: Plateaus | None = None

    def loss(self, batch: Batch) -> Tensor:
        """(K,) the mean loss of each replica's batch, in scaled units."""
        if self.network.points:
            errors = LOSSES[self.loss_name](self(batch.past, batch.future), batch.target, reduction="none")
        else:
            errors = self._distribution_losses(batch)
        return errors.mean((1, 2))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step of all replicas. The sum of their losses gives each the gradient of its own."""
        with replica_generators(self.generators):
            return super().training_step(batch, batch_index).sum()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """All replicas forecast the same windows."""
        parts = [part.expand(len(self.seeds), *part.shape) for part in batch]
        super().validation_step(Batch(*parts), batch_index)

    def on_train_epoch_start(self) -> None:
        """Each replica draws this epoch's random numbers from (its seed, epoch)."""
        super().on_train_epoch_start()
        drawn = [derive_seed(seed, DROPOUT, self.current_epoch) for seed in self.seeds]
        self.generators = [torch.Generator(self.device).manual_seed(seed) for seed in drawn]

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Lightning's hook: the norm is that of each replica's gradients."""
        if not gradient_clip_val:
            return
        if gradient_clip_algorithm == "value":
            self.flat.clip_values(gradient_clip_val)
        else:
            self.flat.clip_norms(gradient_clip_val)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any | None = None) -> None:
        """Lightning's hook: where plateaus have lowered the learning rate of some replicas, their part of the step."""
        scale = self.plateaus.scale() if self.plateaus else None
        if scale is None:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            return
        before = [block.detach().clone() for block in self.flat.blocks]
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.flat.shorten_step(before, scale)

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        """Lightning's hook: a plateau is of each replica's own loss."""
        if isinstance(scheduler, Plateaus):
            scheduler.step(self.losses[str(self.scheduler_config["monitor"]).removesuffix("/loss")])
        else:
            super().lr_scheduler_step(scheduler, metric)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: whose weights these are."""
        checkpoint["seeds"] = list(self.seeds)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: leave away those that had stopped, so that the weights fit."""
        seeds = checkpoint.get("seeds")
        if isinstance(seeds, list) and set(seeds) < set(self.seeds):
            self.keep([place for place, seed in enumerate(self.seeds) if seed in seeds])

    def keep(self, places: Sequence[int], optimizer: torch.optim.Optimizer | None = None) -> None:
        """Go on with some of the replicas.

        Args:
            places: of those, among the ones that train now.
            optimizer: of the weights, where it has begun.
        """
        chosen = torch.tensor(places, device=self.device)
        trained = {id(parameter) for part in self.flat.parts for parameter in part}
        self.flat.keep(chosen, optimizer)
        for module in self.network.modules():
            for parameter in module._parameters.values():
                if parameter is not None and id(parameter) not in trained:
                    trained.add(id(parameter))
                    parameter.data = parameter.data[chosen]
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = buffer[chosen]
        self.seeds = [self.seeds[place] for place in places]
        self.losses = {name: [values[place] for place in places] for name, values in self.losses.items()}
        if self.plateaus:
            self.plateaus.keep(places)

    def _optimized(self) -> list[nn.Parameter]:
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.flat = FlatParameters(trained)
        return self.flat.blocks

    def _quicker(self) -> dict[str, Any]:
        """One pass over the memory of all replicas, where torch has it and the user asks for no other way."""
        takes = inspect.signature(locate(self.optimizer_config["_target_"], "optimizer")).parameters
        asked = {"fused", "foreach", "capturable", "differentiable"} & self.optimizer_config.keys()
        return {"fused": True} if "fused" in takes and not asked else {}

    def _schedule(self, about: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        if not issubclass(locate(about["_target_"], "scheduler"), ReduceLROnPlateau):
            return super()._schedule(about, optimizer)
        if issubclass(locate(self.optimizer_config["_target_"], "optimizer"), NOT_PROPORTIONAL):
            raise ConfigError(
                f"replicas: {about['_target_']} with {self.optimizer_config['_target_']}: this optimizer knows no "
                "learning rate a replica: take another, or train one run a seed (-m seed=0,1,2)"
            )
        stand_ins = [
            build(self.optimizer_config, torch.optim.Optimizer, "optimizer", params=[nn.Parameter(torch.zeros(1))])
            for _ in self.seeds
        ]
        parts = [build(about, ReduceLROnPlateau, "scheduler", optimizer=stand_in) for stand_in in stand_ins]
        self.plateaus = Plateaus(parts, optimizer)
        return {"scheduler": self.plateaus, "reduce_on_plateau": True}

    def _learning_rates(self) -> list[float]:
        if self.plateaus:
            return self.plateaus.rates()
        return super()._learning_rates() * len(self.seeds)


class Plateaus:
    """A ReduceLROnPlateau a replica. The optimizer of all keeps the learning rate that they began with.

    Args:
        parts: each on an optimizer that stands in for its replica's.
        optimizer: of all; Lightning looks whether there is one.
    """

    def __init__(self, parts: list[ReduceLROnPlateau], optimizer: torch.optim.Optimizer) -> None:
        self.parts, self.optimizer = parts, optimizer
        self.first_rate = self.rates()[0]
        self._scale: Tensor | None = None

    def rates(self) -> list[float]:
        """The learning rate of each replica."""
        return [float(part.optimizer.param_groups[0]["lr"]) for part in self.parts]

    def scale(self) -> Tensor | None:
        """(K,) what to multiply each replica's step with; None where it is 1 for all."""
        return self._scale

    def step(self, losses: Sequence[float]) -> None:
        """Look at each replica's loss."""
        for part, loss in zip(self.parts, losses, strict=True):
            part.step(loss)
        self._set_scale()

    def keep(self, places: Sequence[int]) -> None:
        """Go on with some of the replicas."""
        self.parts = [self.parts[place] for place in places]
        self._set_scale()

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"parts": [part.state_dict() for part in self.parts], "rates": self.rates()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What state_dict gave."""
        for part, saved, rate in zip(self.parts, state["parts"], state["rates"], strict=True):
            part.load_state_dict(saved)
            part.optimizer.param_groups[0]["lr"] = rate
        self._set_scale()

    def _set_scale(self) -> None:
        scales = torch.tensor(self.rates(), dtype=torch.float64) / self.first_rate
        self._scale = None if bool((scales == 1).all()) else scales
