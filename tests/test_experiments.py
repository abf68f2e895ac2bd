"""The published tutorials of conf/experiment: each is built again here, from its description, in NumPy and plain torch.

Nothing is tolerant where it could be exact: the numbers of the batches, the weights after training, the losses of the
epochs and the free runs are equal to the last bit. Ours computes sin(t) as sin(2 pi t / 2 pi) and t / 300 as 0.00333 t,
which differ in the last bits of float64; in float32, in which both train, nothing is left of that.
"""

import functools
import io
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import imread
from rich.console import Console
from torch import nn

from conftest import load_config
from unroll.building import build_forecaster
from unroll.checkpoints import load_checkpoint
from unroll.config import plain
from unroll.data.cinema import simulate
from unroll.data.module import WindowDataModule
from unroll.models.layers.recurrent import Recurrent
from unroll.seeding import WEIGHTS, derive_seed
from unroll.targets import build
from unroll.train import train

GATES = {nn.RNN: 1, nn.LSTM: 4, nn.GRU: 3}
CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@dataclass(frozen=True)
class Tutorial:
    """What is published. `features` is the width of a step; `head` its hidden layers; `windows` are (train, test)."""

    cell: type[nn.RNNBase]
    hidden: int
    windows: tuple[int, int]
    batches: list[int]
    lr: float
    epochs: int
    features: int = 1
    layers: int = 1
    head: tuple[int, ...] = ()

    @property
    def parameters(self) -> int:
        """For each gate an input matrix, a recurrent matrix, and torch's two biases; then matrices with a bias each."""
        widths = [self.features, *[self.hidden] * (self.layers - 1)]
        gate = sum(width * self.hidden + self.hidden * self.hidden + 2 * self.hidden for width in widths)
        return GATES[self.cell] * gate + sum(one * other + other for one, other in pairwise(self.linear))

    @property
    def linear(self) -> list[int]:
        """The sizes of the head, from the features to the forecast."""
        return [self.hidden, *self.head, 1]


PUBLISHED = {
    "trend_gru": Tutorial(nn.GRU, 128, (716, 126), [64] * 11 + [12], lr=1e-4, epochs=100, features=4),
    "sine_gru_two_layer": Tutorial(nn.GRU, 20, (800, 150), [800], lr=1e-3, epochs=200, layers=2),
    "noisy_sine_gru": Tutorial(nn.GRU, 16, (190, 0), [190], lr=1e-3, epochs=200),
}
for name, cell in CELLS.items():
    PUBLISHED[f"cinema_{name}"] = Tutorial(cell, 32, (181, 32), [32] * 5 + [21], lr=0.01, epochs=100, head=(16, 8))
    PUBLISHED[f"sine_{name}"] = Tutorial(cell, 20, (1536, 384), [500, 500, 500, 36], lr=1e-3, epochs=500)
EXPERIMENTS = sorted(PUBLISHED)
FREE_RUNS = ["sine_gru", "sine_lstm", "sine_rnn"]
Windows = tuple[torch.Tensor, torch.Tensor]


def epochs_here(experiment: str) -> int:
    """So many that every experiment takes at least five steps and two epochs."""
    return 5 if len(PUBLISHED[experiment].batches) == 1 else 2


def cut(values: np.ndarray, size: int) -> np.ndarray:
    """(n, size + 1): every window, and the value after it."""
    return np.stack([values[begin : begin + size + 1] for begin in range(len(values) - size)])


def numbers(experiment: str, seed: int = 0) -> tuple[Windows, Windows]:
    """The (past, target) of training and test, as the tutorial has them."""
    random = np.random.RandomState(seed)
    if experiment == "trend_gru":
        t = np.arange(850)
        values = np.sin(0.03 * t) + 1.2 * random.random_sample(850) + t / 300
        parts = cut(values[:720], 4), cut(values[720:], 4)
    elif experiment == "sine_gru_two_layer":
        rows = cut(np.sin(np.linspace(0, 100, 1000)), 50)
        parts = rows[:800], rows[800:]
    elif experiment == "noisy_sine_gru":
        rows = cut(np.sin(np.linspace(0, 100, 200)) + 0.1 * random.standard_normal(200), 10)
        parts = rows, rows[:0]
    elif experiment.startswith("cinema"):
        rows = cut(simulate(222)["total_sales"].to_numpy(dtype=np.float64), 9)
        least, most = rows[:-32].min(), rows[:-32].max()
        rows = (rows - least) / (most - least)
        parts = rows[:-32], rows[-32:]
    else:
        rows = cut(np.sin(2 * np.pi * np.linspace(0, 1000, 2000) / 20), 80)
        parts = rows[: int(0.8 * 1920)], rows[int(0.8 * 1920) :]
    width = PUBLISHED[experiment].features
    tensors = [torch.from_numpy(part.astype(np.float32)) for part in parts]
    train, test = [(part[:, :-1].unflatten(1, (-1, width)), part[:, -1:]) for part in tensors]
    return train, test


class Network(nn.Module):
    """The network of a tutorial."""

    def __init__(self, about: Tutorial) -> None:
        super().__init__()
        self.recurrent = about.cell(about.features, about.hidden, about.layers, batch_first=True)
        layers: list[nn.Module] = []
        for before, after in pairwise(about.linear):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.head = nn.Sequential(*layers[:-1])

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        return self.head(self.recurrent(past)[0][:, -1])

    def take(self, weights) -> "Network":
        """Copy weights that come in the same order."""
        for own, given in zip(self.parameters(), weights, strict=True):
            assert own.shape == given.shape
            own.data.copy_(given)
        return self


def read(path: Path) -> dict[str, list[float]]:
    """The columns of a CSV file, every digit kept; an empty field is NaN."""
    table = pd.read_csv(path, dtype=str)
    return {name: [float(value) for value in table[name]] for name in table}


def ours(experiment: str, seed: int = 0):
    """What the experiment's config builds."""
    cfg = load_config(f"experiment={experiment}", f"seed={seed}")
    datamodule = build(plain(cfg.data), WindowDataModule, "data", shuffle_seed=cfg.seed)
    datamodule.setup()
    return cfg, datamodule, build_forecaster(cfg, datamodule)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One short run of each experiment, for several tests to look at. By torch's own recurrent layers, which ours equal
    to float tolerance: so that all the rest can be compared to the last bit.
    """

    @functools.cache
    def run(experiment: str, exact: bool = True):
        overrides = [f"experiment={experiment}", "trainer=cpu", f"trainer.max_epochs={epochs_here(experiment)}"]
        cfg = load_config(f"output_dir={tmp_path_factory.mktemp('outputs')}", *overrides)
        with pytest.MonkeyPatch.context() as patch:
            if exact:
                patch.setattr(Recurrent, "_gains", lambda self, *_: False)
            return train(cfg, overrides, Console(file=io.StringIO(), width=100))

    return run


@functools.cache
def trained_plainly(experiment: str) -> tuple[Network, list[list[float]]]:
    """The tutorial's loop: the network after some epochs, and each epoch's losses, batch by batch."""
    about, (past, target) = PUBLISHED[experiment], numbers(experiment)[0]
    network = Network(about).take(ours(experiment)[2].parameters())
    optimizer = torch.optim.Adam(network.parameters(), lr=about.lr)
    losses: list[list[float]] = []
    for _ in range(epochs_here(experiment)):
        losses.append([])
        for batch, wanted in zip(past.split(about.batches), target.split(about.batches), strict=True):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(network(batch), wanted)
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    return network, losses


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_batches_are_the_published_ones(experiment, seed):
    """All exactly: order, sizes, numbers. The run's seed draws the noise, where there is any."""
    about, datamodule = PUBLISHED[experiment], ours(experiment, seed)[1]
    (past, target), (test_past, test_target) = numbers(experiment, seed)
    assert (len(past), len(test_past)) == about.windows
    loader = datamodule.loader("train", train=True)
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert [len(batch.target) for batch in batches] == about.batches
        assert torch.equal(torch.cat([batch.past for batch in batches]).reshape(past.shape), past)
        assert torch.equal(torch.cat([batch.target for batch in batches]), target)
    assert len(datamodule.origins("validation")) == 0
    assert len(datamodule.origins("test")) == about.windows[1]
    if about.windows[1]:
        tests = list(datamodule.loader("test"))
        assert torch.equal(torch.cat([batch.past for batch in tests]).reshape(test_past.shape), test_past)
        assert torch.equal(torch.cat([batch.target for batch in tests]), test_target)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_network_and_its_training_are_the_published_ones(experiment):
    about, (cfg, _, forecaster) = PUBLISHED[experiment], ours(experiment)
    torch.manual_seed(derive_seed(cfg.seed, WEIGHTS))
    own = Network(about)  # drawn as torch draws
    for one, other in zip(forecaster.parameters(), own.parameters(), strict=True):
        assert torch.equal(one, other)
    assert sum(weights.numel() for weights in forecaster.parameters()) == about.parameters
    (layers,) = [module for module in forecaster.modules() if isinstance(module, nn.RNNBase)]
    assert isinstance(layers, about.cell)
    assert (layers.input_size, layers.hidden_size, layers.num_layers) == (about.features, about.hidden, about.layers)
    assert not layers.bidirectional
    assert all(module.p == 0 for module in forecaster.modules() if isinstance(module, nn.Dropout))
    optimizer = forecaster.configure_optimizers()  # alone: no scheduler
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults == torch.optim.Adam(own.parameters(), lr=about.lr).defaults
    assert cfg.trainer.max_epochs == about.epochs
    assert (cfg.trainer.max_steps, cfg.trainer.gradient_clip_val, cfg.model.loss) == (-1, None, "mse")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_training_equals_a_plain_loop(experiment, finished):
    """Weights and losses to the last bit; an epoch's mean is summed in another order."""
    result, (network, losses) = finished(experiment), trained_plainly(experiment)
    found = load_checkpoint(result.run.last_checkpoint)["state_dict"]
    for one, other in zip(found.values(), network.parameters(), strict=True):
        assert torch.equal(one, other)
    about = PUBLISHED[experiment]
    means = [np.average(epoch, weights=about.batches) for epoch in losses]
    history = read(result.run.history)
    assert history["train_loss"] == pytest.approx(means, rel=1e-14)
    assert history["last_batch_loss"] == [epoch[-1] for epoch in losses]
    assert history["lr"] == pytest.approx([about.lr] * len(losses))
    assert np.isnan(history["val_loss"]).all()
    assert result.metrics["parameters"] == about.parameters


@pytest.mark.parametrize("experiment", ["cinema_rnn", "cinema_lstm", "trend_gru", "sine_gru"])
def test_so_it_does_with_our_layers(experiment, finished):
    """To float tolerance: roundings grow from step to step."""
    result, (network, losses) = finished(experiment, exact=False), trained_plainly(experiment)
    found = load_checkpoint(result.run.last_checkpoint)["state_dict"]
    for one, other in zip(found.values(), network.parameters(), strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-4, atol=1e-5)
    assert read(result.run.history)["last_batch_loss"] == pytest.approx([epoch[-1] for epoch in losses], rel=1e-4)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_scores_are_those_of_the_plain_network(experiment, finished):
    """Up to float32 rounding: ours is the mean of float64 squares, in the series' units where it is an RMSE."""
    metrics, network = finished(experiment).metrics, trained_plainly(experiment)[0]
    both = dict(zip(("train", "test"), numbers(experiment), strict=True))
    scored = {"trend_gru": ["train", "test"], "sine_gru_two_layer": ["train", "test"], "noisy_sine_gru": ["train"]}
    assert [name for name in ("train", "validation", "test") if name in metrics] == scored.get(experiment, ["test"])
    for name in scored.get(experiment, ["test"]):
        past, target = both[name]
        with torch.no_grad():
            error = (network(past) - target).double()
        best = metrics[name]["models"]["best"]
        assert metrics[name]["windows"] == len(target)
        assert best["loss"] == pytest.approx(error.square().mean().item(), rel=1e-6)
        unit = np.ptp(simulate(222)["total_sales"][:190]) if experiment.startswith("cinema") else 1.0
        if unit == 1:
            assert best["loss"] == pytest.approx(best["rmse"] ** 2, rel=1e-5)  # of float32 and of float64 targets
        assert best["rmse"] == pytest.approx(error.square().mean().sqrt().item() * unit, rel=1e-6)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_published_figures_are_there(experiment, finished):
    run = finished(experiment).run
    figures = {"series", "forecast", "loss"}
    figures |= {"overlay"} if experiment in ("trend_gru", "sine_gru_two_layer", "noisy_sine_gru") else set()
    figures |= {"free_run"} if experiment in FREE_RUNS else set()
    assert {path.name for path in run.figures.iterdir()} == {f"{name}.png" for name in figures}
    for name in figures:
        assert imread(run.figures / f"{name}.png").std() > 0.05  # something is drawn
    assert run.free_run.exists() == (experiment in FREE_RUNS)


@pytest.mark.parametrize("experiment", FREE_RUNS)
def test_the_free_run_equals_a_plain_loop(experiment, finished):
    result = finished(experiment)
    network = Network(PUBLISHED[experiment])
    network.take(load_checkpoint(result.run.last_checkpoint)["state_dict"].values())
    t = np.arange(83, 173, 0.5)
    truth = np.sin(2 * np.pi * t / 20)
    past, made = torch.from_numpy(truth[:80].astype(np.float32)).reshape(1, 80, 1), []
    with torch.no_grad():
        for _ in range(100):
            step = network(past)
            made.append(step.item())
            past = torch.cat([past[:, 1:], step.reshape(1, 1, 1)], dim=1)
    table = read(result.run.free_run)
    assert table["t"] == t[80:].tolist() == [123 + 0.5 * step for step in range(100)]
    assert table["step"] == list(range(1, 101))
    assert table["truth"] == truth[80:].tolist()
    assert table["forecast_best_epoch"] == made  # the best is the last: nothing is validated
    found = result.metrics["free_run"]
    assert (found["start"], found["steps"]) == (123, 100)
    assert found["models"]["best"]["rmse"] == pytest.approx(np.sqrt(np.square(made - truth[80:]).mean()))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_can_be_changed(experiment, run_training):
    windows = {"trend_gru": (706, 116), "sine_gru_two_layer": (986 - 150, 150), "noisy_sine_gru": (186, 0)}
    others = (208 - 31, 31) if experiment.startswith("cinema") else (1986 - 397, 397)
    train_windows, test_windows = windows.get(experiment, others)
    model, output = "gru" if experiment.endswith("_rnn") else "rnn", io.StringIO()
    overrides = [f"model={model}", "model.dropout=0.2", "data.window_size=14", "trainer.max_epochs=1"]
    result = run_training(f"experiment={experiment}", *overrides, output=output)
    assert f"windows: {train_windows:,} train, 0 validation, {test_windows} test" in output.getvalue()
    assert result.metrics["model"].lower() == model
    width = 14 if experiment == "trend_gru" else 1
    assert result.metrics["parameters"] == replace(PUBLISHED[experiment], cell=CELLS[model], features=width).parameters
