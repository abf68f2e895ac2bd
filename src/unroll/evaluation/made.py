"""What models make of windows: forecasts or distributions, of each replica and of all together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unroll.data.module import WindowDataModule
from unroll.data.series import FloatArray
from unroll.data.transforms import Transform
from unroll.data.windows import WindowLoader
from unroll.errors import RunError
from unroll.evaluation.conformal import (
    MOST_ORIGINS,
    Calibration,
    Ends,
    Known,
    calibrate,
    moved,
    rolling_moves,
    shortfall,
)
from unroll.evaluation.probabilistic import LEVELS, Summary, interval_of, summarise
from unroll.evaluation.replicas import ENSEMBLE, MIXTURE
from unroll.models.forecaster import LOSSES, Forecaster
from unroll.models.heads.distribution import DistributionHead

State = dict[str, Tensor]
"""The state dict of one forecaster."""

Weights = Mapping[str, Sequence[State]]
"""One state a replica by name: best, and last where it is another epoch for at least one. A run without replicas has
one state of each."""


@dataclass(frozen=True)
class Made:
    """What one model makes of some windows. n windows, H steps.

    Args:
        point: (n, H) in the series' units.
        loss: see Evaluation.
        summary: of its distributions; None where it makes points.
    """

    point: FloatArray
    loss: float | None
    summary: Summary | None = None

    def intervals(self, transform: Transform) -> dict[float, Ends]:
        """As they are before any calibration, in scaled units: both ends of a point are this point."""
        if self.summary is None:
            scaled = transform.apply_target(self.point)
            return dict.fromkeys(LEVELS, (scaled, scaled))
        found = {level: interval_of(self.summary.ends, level) for level in LEVELS}
        return {
            level: (transform.apply_target(low), transform.apply_target(high)) for level, (low, high) in found.items()
        }


@torch.inference_mode()
def forecast(forecaster: Forecaster, loader: WindowLoader, *, distribution: bool = False) -> Tensor:
    """(n, H) in scaled units, on the CPU; or the numbers of distributions (n, H, P)."""
    forecaster.eval()
    network = forecaster.network
    windows, weight = loader.windows, forecaster.real_weight
    numbers = [int(network.head.outputs)] if distribution else []  # type: ignore[arg-type]
    made = torch.empty(len(windows), windows.horizon, *numbers, device=weight.device)  # a list of parts would cost more
    for number, batch in enumerate(loader):
        begin = number * loader.batch_size
        past, future = batch.past.to(weight.dtype), batch.future.to(weight.dtype)  # precision may be 64-true
        found = network.distribution(past, future) if distribution else forecaster(past, future)
        made[begin : begin + len(past)] = found
    return made.cpu()


def calibrated(
    forecaster: Forecaster, datamodule: WindowDataModule, weights: Weights, device: torch.device | str = "cpu"
) -> dict[str, Calibration]:
    """The calibration of each model on the validation segment; none where there is no such segment."""
    count = len(datamodule.origins("validation"))
    if not count:
        return {}
    every = max(1, math.ceil(count / MOST_ORIGINS))
    models, _ = make(forecaster, datamodule, "validation", weights, device, every)
    transform = datamodule.transform
    truth = transform.apply_target(datamodule.targets("validation")[::every])
    return {name: calibrate(made.intervals(transform), truth) for name, made in models.items()}


def rolling_intervals(
    forecaster: Forecaster,
    datamodule: WindowDataModule,
    segment: str,
    weights: Weights,
    history: dict[tuple[str, float], Known],
) -> dict[str, dict[float, Ends]]:
    """Intervals of each model that are calibrated anew at each origin of a segment after the validation segment.

    In a series that changes, errors of the validation segment say little of those of months later. See
    `unroll.evaluation.conformal.rolling_moves`; empty where there is no validation segment.

    Args:
        forecaster: of one replica; the weights it has are replaced.
        datamodule: after setup.
        segment: whose origins come after all that `history` knows.
        weights: of all replicas.
        history: what is known of earlier segments, by model and level; it begins with the validation segment, and is
            brought up to the end of this segment.
    """
    if not len(datamodule.origins("validation")):
        return {}
    transform, counts = datamodule.transform, bool(getattr(forecaster.network.head, "counts", False))
    (before, _), (after, _) = (make(forecaster, datamodule, name, weights, "cpu") for name in ("validation", segment))
    known, truth = (transform.apply_target(datamodule.targets(name)) for name in ("validation", segment))
    origins, windows = datamodule.origins("validation"), len(known)
    found: dict[str, dict[float, Ends]] = {}
    for name, made in after.items():
        earlier, later = before[name].intervals(transform), made.intervals(transform)
        for level, ends in later.items():
            first = Known.of_validation(origins, shortfall(earlier[level], known))
            so_far = history.get((name, level), first)
            moves = rolling_moves(so_far, datamodule.origins(segment), shortfall(ends, truth), level, windows)
            if moves is not None:
                found.setdefault(name, {})[level] = moved(ends, moves[0], transform, counts=counts)
                history[name, level] = moves[1]
    return found


def make(
    forecaster: Forecaster,
    datamodule: WindowDataModule,
    segment: str,
    weights: Weights,
    device: torch.device | str,
    every: int = 1,
) -> tuple[dict[str, Made], dict[str, list[Made]]]:
    """What each model, and each replica where there are some, makes of each so-manieth window of a segment."""
    head, transform = forecaster.network.head, datamodule.transform
    loader = datamodule.loader(segment, device, every=every)
    truth = datamodule.targets(segment)[::every]
    target = datamodule.values[datamodule.origins(segment)[::every, None] + np.arange(datamodule.horizon), 0].double()
    models: dict[str, Made] = {}
    replicas: dict[str, list[Made]] = {}
    for name, states in weights.items():
        outputs = [_finite(forecaster, loader, state, datamodule.values.dtype, name) for state in states]
        if forecaster.network.points:
            loss = LOSSES[forecaster.loss_name]
            points = [transform.invert_target(one.numpy()) for one in outputs]
            made = [Made(point, float(loss(one, target))) for point, one in zip(points, outputs, strict=True)]
            together = np.mean(points, axis=0)
            joined = {ENSEMBLE: Made(together, float(loss(torch.from_numpy(transform.apply_target(together)), target)))}
        else:
            assert isinstance(head, DistributionHead)
            points = [transform.invert_target(head.point(one).numpy()) for one in outputs]
            losses = torch.stack([head.loss(one, target) for one in outputs])  # (K, n, H)
            summaries, ensemble, mixture = summarise(head, transform, outputs, truth)
            means = losses.mean((1, 2)).tolist()
            made = [Made(*parts) for parts in zip(points, means, summaries, strict=True)]
            together = np.mean(points, axis=0)
            density = math.log(len(states)) - torch.logsumexp(-losses, dim=0)  # minus the log of the mean density
            joined = {
                ENSEMBLE: Made(together, None, ensemble),
                MIXTURE: Made(
                    together if head.counts else mixture.ends[..., 2],
                    float(density.mean()) if head.loss_name == "nll" else None,
                    mixture,
                ),
            }
        if len(states) == 1:
            models[name] = made[0]
            continue
        replicas[name] = made
        if name == "best":
            models |= joined
    return models, replicas


def _finite(forecaster: Forecaster, loader: WindowLoader, state: State, dtype: torch.dtype, name: str) -> Tensor:
    """(n, H) in scaled units, or the numbers of distributions (n, H, P): float64, rounded to the precision of the data.

    Raises:
        RunError: where a forecast is not a finite number.
    """
    forecaster.load_state_dict(state)
    made = forecast(forecaster, loader, distribution=not forecaster.network.points).to(dtype).double()
    if not made.isfinite().all():
        raise RunError(
            f"the weights of the {name} epoch forecast numbers that are not finite: lower optimizer.lr, set "
            "trainer.gradient_clip_val=1, or use data.transform=standard"
        )
    return made
