"""The forecaster of a config: its network sized from the data, its weights drawn from the seed."""

from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from unroll.config import plain
from unroll.data.files import shown
from unroll.data.module import WindowDataModule
from unroll.errors import DataError
from unroll.evaluation.same_inputs import SameInputs, ridge
from unroll.models.forecaster import Forecaster
from unroll.models.network import Network, build_network
from unroll.models.replicas import check_replicas
from unroll.models.replicated import ReplicatedForecaster
from unroll.seeding import WEIGHTS, derive_seed
from unroll.untrusted import FLOATS


def build_forecaster(cfg: DictConfig, datamodule: WindowDataModule) -> Forecaster:
    """The forecaster of a config, sized from the data, its weights drawn from the seed.

    Args:
        cfg: with model, optimizer, scheduler and seed.
        datamodule: after setup.
    """
    network = build_seeded(cfg, datamodule, cfg.seed)
    _check_counts(network, datamodule)
    forecaster = Forecaster(network, **_training(cfg))
    forecaster.configure_optimizers()  # finds a wrong argument now
    return forecaster


def build_replicas(cfg: DictConfig, datamodule: WindowDataModule) -> ReplicatedForecaster:
    """The forecaster of a config with replicas, each as `build_forecaster` makes it for its seed.

    Raises:
        ConfigError: where the network cannot be replicated.
    """
    networks = [build_seeded(cfg, datamodule, seed) for seed in replica_seeds(cfg)]
    _check_counts(networks[0], datamodule)
    check_replicas(networks)
    forecaster = ReplicatedForecaster(networks, **_training(cfg))
    forecaster.configure_optimizers()
    return forecaster


def build_seeded(cfg: DictConfig, datamodule: WindowDataModule, seed: int) -> Network:
    """The network of a config, sized from the data, its weights drawn from a seed."""
    torch.manual_seed(derive_seed(seed, WEIGHTS))
    network = build_network(plain(cfg.model), datamodule.shape, datamodule.transform)
    if network.partner is not None:
        fitted = SameInputs(datamodule, datamodule.origins("train"), ridge)
        network.partner.take([torch.from_numpy(weights).float() for weights in fitted.weights])
    return network


def _check_counts(network: Network, datamodule: WindowDataModule) -> None:
    """Raise DataError where a head of counts has a target that is none; what was filled in is not scored."""
    if not network.counts:
        return
    series = datamodule.series
    wrong = np.flatnonzero(~datamodule.filled & ((series.target < 0) | (series.target % 1 != 0)))
    if len(wrong):
        raise DataError(
            f"series {series.name}: column {shown(series.columns[0])} is {series.target[wrong[0]]:g} at "
            f"{series.label(wrong[0])}, and a negative binomial head is for counts (0, 1, 2, ...): choose another "
            "model/head, such as quantile"
        )


def replica_seeds(cfg: DictConfig) -> list[int]:
    """The seeds of a run's replicas; empty where it has none."""
    count = cfg.get("replicas", 1)
    return [cfg.seed + replica for replica in range(count)] if count > 1 else []


def _training(cfg: DictConfig) -> dict[str, Any]:
    """What a forecaster is told of its training."""
    return {
        "loss": cfg.model.loss,
        "optimizer": plain(cfg.optimizer),
        "scheduler": plain(cfg.scheduler) if cfg.scheduler else None,
        "seed": cfg.seed,
    }


def match_precision(forecaster: Forecaster, weights: Any) -> None:
    """Let a network compute in the precision of weights, before it takes them: they would be rounded."""
    kinds = (
        {value.dtype for value in weights.values() if isinstance(value, Tensor)} if isinstance(weights, dict) else set()
    )
    if len(kinds) == 1 and kinds <= set(FLOATS):
        forecaster.to(kinds.pop())
