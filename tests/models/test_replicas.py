"""Replicas: each is the run that its seed alone would give; what cannot be replicated is named."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning import Callback
from rich.console import Console
from torch import nn

from conftest import load_config, options
from unroll.config import check_config
from unroll.data.windows import WindowShape
from unroll.errors import ConfigError, RunError
from unroll.models.flat import FlatParameters
from unroll.models.layers import GRU, Dropout
from unroll.models.network import Network, with_our_layers
from unroll.models.replicas import check_replicas, replicate
from unroll.runs.directory import RunDirectory
from unroll.train import Result, train, train_in

SEEDS = (5, 6, 7)
SHAPE = WindowShape(window_size=6, horizon=2, features=3, future_features=1)
ALL_AT_ONCE = (
    *("model.dropout=0.3", "model.head_sizes=[8]", "model.hidden_size=12", "data.points=260", "data.window_size=9"),
    *("trainer.gradient_clip_val=0.3", "early_stopping.patience=2", "trainer.max_epochs=9", "optimizer.lr=0.02"),
)


def trained(folder: Path, *overrides: str) -> Result:
    cfg = load_config(*overrides, f"output_dir={folder}", "trainer=cpu")
    check_config(cfg)
    with (folder / "output.txt").open("a") as output:
        return train(cfg, overrides, Console(file=output))


def weights_of(result: Result, name: str = "best") -> dict[str, torch.Tensor]:
    return torch.load(result.run.path / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def check_same(folder: Path, *overrides: str) -> list[int]:
    """Train three replicas, and each alone; compare. Returns how many epochs each trained."""
    together = trained(folder, *overrides, f"seed={SEEDS[0]}", f"replicas={len(SEEDS)}")
    history = pd.read_csv(together.run.replica_history)
    whole, lengths = weights_of(together), []
    for place, seed in enumerate(SEEDS):
        alone = trained(folder, *overrides, f"seed={seed}")
        expected = pd.read_csv(alone.run.history).drop(columns="seconds")
        found = history[history["seed"] == seed].drop(columns="seed").reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected, rtol=2e-3, atol=1e-6, check_dtype=False)
        for name, value in weights_of(alone).items():
            torch.testing.assert_close(whole[name][place], value, rtol=1e-3, atol=1e-4)
        epochs = together.metrics["epochs"]["replicas"][place]
        said = {key: alone.metrics["epochs"][key] for key in ("best", "trained", "stopped_early")}
        assert epochs == {"seed": seed, **said}
        for epoch in ("best", "last"):
            scores = together.metrics["test"]["replicas"][epoch][place]
            for metric, value in alone.metrics["test"]["models"][epoch].items():
                assert scores[metric] == pytest.approx(value, rel=2e-3, abs=2e-4)
        lengths.append(len(expected))
    return lengths


@pytest.mark.parametrize("model", options("model"))
def test_each_replica_is_the_run_of_its_seed(model, tmp_path):
    layers = ["model.num_layers=2"] if "num_layers" in load_config(f"model={model}").model else []
    lengths = check_same(tmp_path, f"model={model}", *ALL_AT_ONCE, *layers)
    assert min(lengths) < max(lengths), "no replica stopped before the others: the test shows less than it should"


@pytest.mark.parametrize(
    "overrides",
    [
        ("scheduler=plateau", "scheduler.patience=0", "scheduler.factor=0.3", "trainer.max_epochs=6"),
        ("scheduler=cosine", "trainer.gradient_clip_val=0.05", "trainer.gradient_clip_algorithm=value"),
        ("optimizer=sgd", "+trainer.accumulate_grad_batches=2", "data.horizon=3", "model.loss=huber"),
        ("optimizer=adamw", "+trainer.precision=64-true", "model.input_layout=features", "data.batch_size=null"),
    ],
    ids=["plateau", "clip-by-value", "accumulate", "double"],
)
def test_so_it_is_with_other_settings(overrides, tmp_path):
    check_same(tmp_path, "data.points=200", "data.window_size=7", "trainer.max_epochs=4", *overrides)


class Written(nn.Module):
    """What a user might write: torch's operations, torch's own layers, a buffer, a parameter under two names."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.mix = nn.Linear(inputs, size)
        self.again = self.mix
        self.drop, self.norm = nn.Dropout(0.4), nn.LayerNorm(size)
        self.recurrent = nn.GRU(size, size, batch_first=True)
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        rows = [torch.tanh(self.again(row)) for row in past.unbind(1)]
        return self.recurrent(self.norm(self.drop(torch.stack(rows, 1)) * self.scale))[0]


def networks(make, count: int = 3) -> list[Network]:
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        backbone = with_our_layers(make())
        made.append(Network(backbone, nn.Linear(4 + 2, 2), SHAPE, dropout=0.0, input_layout="sequence"))
    return made


def windows(count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, 5, 6, 3), torch.randn(count, 5, 2, 1)


def test_what_a_user_writes_is_replicated():
    alone = networks(lambda: Written(3, 4))
    assert type(alone[0].backbone.recurrent) is GRU
    assert type(alone[0].backbone.drop) is Dropout
    check_replicas(alone)
    whole = replicate(alone)
    assert whole.state_dict().keys() == alone[0].state_dict().keys()
    assert whole.backbone.mix.weight is whole.backbone.again.weight
    past, future = windows()
    whole.eval()
    whole(past, future).sum().backward()
    for place, network in enumerate(alone):
        made = network.eval()(past[place], future[place])
        made.sum().backward()
        torch.testing.assert_close(whole(past, future)[place], made)
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(whole.get_parameter(name).grad[place], parameter.grad)


class Asks(nn.Module):
    def __init__(self, how) -> None:
        super().__init__()
        self.mix, self.how = nn.Linear(3, 4), how

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        return self.how(self.mix(past))


class Keeps(nn.Module):
    """A tensor of its own that is neither a parameter nor a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.kept = nn.Linear(3, 4), torch.rand(4)

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        return self.mix(past) * self.kept


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda rows: rows * (2 if rows.sum() > 0 else 1), "data-dependent control flow"),
        (lambda rows: rows * rows.max().item(), "item()"),
        (lambda rows: rows * torch.rand_like(rows), "only those of nn.Dropout"),
        (lambda rows: nn.functional.dropout(rows, 0.5, True), "nn.functional.dropout(rows"),
        (lambda rows: nn.GRU(4, 4, bidirectional=True)(rows)[0][..., :4], "gru"),
    ],
    ids=["if", "item", "random", "dropout", "cudnn"],
)
def test_what_cannot_be_replicated_is_named(how, words):
    with pytest.raises(ConfigError, match=r"replicas: Asks cannot be replicated, test_replicas.py line \d+") as caught:
        check_replicas(networks(lambda: Asks(how)))
    assert words in str(caught.value)
    assert "-m seed=" in str(caught.value)


class Says(nn.Module):
    """Wrongly that it takes leading dimensions, which shows in training only."""

    leading_dimensions = True

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(3, 4)

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        made = self.mix(past)
        return made - made.mean(0) if self.training else made


@pytest.mark.parametrize(
    ("module", "words"),
    [(Keeps, "backbone.kept is no parameter and no buffer"), (Says, "leading_dimensions = True right in")],
)
def test_what_computes_otherwise_together_is_refused(module, words):
    with pytest.raises(
        ConfigError, match=rf"{module.__name__} cannot be replicated.*otherwise than each alone"
    ) as caught:
        check_replicas(networks(module))
    assert words in str(caught.value)


def test_a_network_that_fails_by_itself_is_told_from_one_that_cannot_be_replicated():
    def spoiled(rows):
        rows = torch.tanh(rows)
        rows[:, 0] = 0
        return rows

    with pytest.raises(ConfigError, match="the network fails, also of a single seed: one of the variables needed"):
        check_replicas(networks(lambda: Asks(spoiled)))


class Norm(nn.Module):
    """Buffers that change in training; one that the seed decides."""

    def __init__(self, persistent: bool) -> None:
        super().__init__()
        self.mix, self.norm = nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4)
        self.register_buffer("drawn", torch.rand(4), persistent=persistent)

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        return self.norm(self.mix(past).mT).mT * self.drawn


def test_buffers_are_replicated():
    check_replicas(networks(lambda: Norm(True)))
    with pytest.raises(ConfigError, match=r"its buffer backbone.drawn follows the seed.*persistent=True"):
        check_replicas(networks(lambda: Norm(False)))


def test_dropout_in_place_stays_torchs_own():
    assert type(with_our_layers(nn.Dropout(0.5, inplace=True))) is nn.Dropout


def test_flat_parameters_are_those_of_the_modules():
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2).double())
    before = [parameter.detach().clone() for parameter in module.parameters()]
    flat = FlatParameters(list(module.parameters()))
    assert [block.dtype for block in flat.blocks] == [torch.float32, torch.float64]
    for parameter, value in zip(module.parameters(), before, strict=True):
        assert torch.equal(parameter, value)
    state = {name: torch.full_like(value, 2.0) for name, value in module.state_dict().items()}
    module.load_state_dict(state)
    assert all(bool((block == 2).all()) for block in flat.blocks)
    module[0](torch.ones(1, 3)).sum().backward()
    grad = flat.blocks[0].grad.clone()
    torch.nn.utils.clip_grad_norm_(list(module[0].parameters()), 1e9)
    expected = torch.nn.utils.get_total_norm([parameter.grad for parameter in module[0].parameters()])
    torch.testing.assert_close(grad.norm(), expected)
    module.zero_grad()
    flat.zero_grad()
    module[0](torch.ones(1, 3)).sum().backward()
    torch.testing.assert_close(flat.blocks[0].grad, grad)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.seed=${seed}"], "data.seed follows the seed, and replicas share one series: set data.seed=0"),
        (["+trainer.precision=bf16-mixed"], "trainer.precision=bf16-mixed is not for replicas"),
        (["seed=4294967295"], "the last seed must be at most"),
        (["+trainer.min_epochs=3"], "trainer.min_epochs is not for replicas"),
    ],
)
def test_what_replicas_cannot_share(overrides, words):
    with pytest.raises(ConfigError) as caught:
        check_config(load_config("replicas=2", *overrides))
    assert words in str(caught.value)


def test_a_run_that_goes_on_after_some_have_stopped_ends_as_if_never_interrupted(tmp_path):
    """Interrupted by a callback after the third epoch, when a replica has left and others train on."""
    overrides = (
        "model=gru",
        *ALL_AT_ONCE,
        f"seed={SEEDS[0]}",
        "replicas=3",
        "scheduler=plateau",
        "checkpoint_seconds=0",
    )
    whole = trained(tmp_path, *overrides)
    epochs = [row["trained"] for row in whole.metrics["epochs"]["replicas"]]
    moment = min(epochs) + 1
    assert moment < max(epochs)

    class Stop(Callback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            if trainer.current_epoch == moment:
                raise KeyboardInterrupt

    cfg = load_config(*overrides, f"output_dir={tmp_path}", "trainer=cpu")
    run = RunDirectory.create(tmp_path, "again")
    with (tmp_path / "output.txt").open("a") as output:
        console = Console(file=output)
        with run.locked(), pytest.raises(KeyboardInterrupt):
            train_in(run, cfg, [], console, [Stop()])
        with pytest.raises(RunError, match=r"early_stopping.*: the replicas of .* stop by what was asked at first"):
            train(load_config(f"resume={run.path}"), [f"resume={run.path}", "early_stopping.patience=5"], console)
        with pytest.raises(ConfigError, match=r"trainer.precision=bf16-true is not for replicas"):
            train(load_config(f"resume={run.path}"), [f"resume={run.path}", "+trainer.precision=bf16-true"], console)
        again = train(load_config(f"resume={run.path}"), [f"resume={run.path}"], console)
    assert again.metrics["weights_sha256"] == whole.metrics["weights_sha256"]
    assert again.metrics["test"] == whole.metrics["test"]
    same = [pd.read_csv(result.run.replica_history) for result in (whole, again)]
    pd.testing.assert_frame_equal(*same)
