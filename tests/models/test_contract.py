"""The contract of every model in conf/model: a new YAML is tested at once."""

import math

import pytest
import torch
from omegaconf import DictConfig

from conftest import load_config, options
from unroll.config import plain
from unroll.data.windows import Batch, WindowShape
from unroll.errors import ConfigError
from unroll.models.backbones.backbone import Backbone
from unroll.models.forecaster import Forecaster
from unroll.models.network import Network, build_network
from unroll.seeding import WEIGHTS, derive_seed

B, W, H, F, C = 5, 7, 3, 2, 1
MODELS = options("model")
VARIANTS = [
    (),
    ("model.skip=linear",),
    ("model.num_layers=2", "model.dropout=0.5", "model.head_sizes=[8,4]"),
    ("model.input_layout=features",),
]


def config_of(model: str, *overrides: str) -> DictConfig:
    """The config of a model, with those overrides whose key it has: a backbone need not have layers."""
    keys = load_config(f"model={model}").model
    return load_config(f"model={model}", *(word for word in overrides if word.split("=")[0].split(".")[1] in keys))


def network_of(cfg: DictConfig, seed: int = 0, shape: WindowShape | None = None) -> Network:
    torch.manual_seed(derive_seed(seed, WEIGHTS))
    return build_network(plain(cfg.model), shape or WindowShape(W, H, F, C))


@pytest.fixture(params=MODELS)
def model(request) -> str:
    return request.param


@pytest.mark.parametrize("variant", VARIANTS)
def test_shape_and_dtype(model, variant):
    network = network_of(config_of(model, *variant))
    forecast = network(torch.randn(B, W, F), torch.randn(B, H, C))
    assert forecast.shape == (B, H)
    assert forecast.dtype == torch.float32
    features = network.backbone(torch.randn(B, W, F) if "features" not in str(variant) else torch.randn(B, 1, W * F))
    assert features.shape[0] == B
    assert features.dim() == 3


@pytest.mark.parametrize("row", range(W))
def test_a_row_changes_no_feature_before_it(model, row):
    backbone = network_of(config_of(model, "model.num_layers=2")).backbone.eval()
    past = torch.randn(B, W, F)
    changed = past.clone()
    changed[:, row] += 1
    before, after = backbone(past), backbone(changed)
    assert torch.equal(before[:, :row], after[:, :row])
    assert not torch.allclose(before[:, row], after[:, row])


def test_the_forecast_has_seen_the_newest_row_and_the_oldest(model):
    network = network_of(load_config(f"model={model}")).eval()
    past, future = torch.randn(B, W, F), torch.randn(B, H, C)
    for row in (0, W - 1):
        changed = past.clone()
        changed[:, row] += 1
        assert (network(changed, future) != network(past, future)).all()
    assert (network(past, future + 1) != network(past, future)).all()


def test_whole_window_equals_step_by_step_with_carried_state(model):
    backbone = network_of(config_of(model, "model.num_layers=2")).backbone.eval()
    if not isinstance(backbone, Backbone):
        pytest.skip(f"{type(backbone).__name__} carries no state")
    past = torch.randn(B, W, F)
    state, steps = None, []
    for row in past.split(1, dim=1):
        features, state = backbone.scan(row, state)
        steps.append(features)
    torch.testing.assert_close(torch.cat(steps, dim=1), backbone(past))


def test_rows_of_a_batch_do_not_see_each_other(model):
    network = network_of(load_config(f"model={model}")).eval()
    past, future = torch.randn(B, W, F), torch.randn(B, H, C)
    alone = torch.cat([network(past[row : row + 1], future[row : row + 1]) for row in range(B)])
    torch.testing.assert_close(alone, network(past, future))


def test_the_seed_decides_the_weights(model):
    def weights(seed: int) -> torch.Tensor:
        return torch.cat([value.flatten() for value in network_of(load_config(f"model={model}"), seed).parameters()])

    for seed in (0, 1):
        assert torch.equal(weights(seed), weights(seed))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_64_points_can_be_learned_by_heart(model, loss):
    sizes = ("model.hidden_size=64", "model.head_sizes=[64]")
    cfg = load_config(f"model={model}", f"model.loss={loss}", "optimizer.lr=0.01", *sizes)
    torch.manual_seed(1)
    batch = Batch(torch.randn(64, W, F), torch.randn(64, H, C), torch.randn(64, H))
    forecaster = Forecaster(network_of(cfg), loss=loss, optimizer=plain(cfg.optimizer))
    optimizer = forecaster.configure_optimizers()
    first = float(forecaster.loss(batch).detach())
    for _ in range(1500):
        optimizer.zero_grad()
        value = forecaster.loss(batch)
        value.backward()
        optimizer.step()
        if float(value.detach()) < 0.1 * first:
            return
    pytest.fail(f"the loss went from {first:.3g} to {float(value.detach()):.3g} only")


def test_hidden_size_and_head_sizes_are_used(model):
    small, large = (network_of(load_config(f"model={model}", f"model.hidden_size={size}")) for size in (4, 8))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in large.parameters())
    head = network_of(load_config(f"model={model}", "model.hidden_size=32", "model.head_sizes=[16,8]")).head
    shapes = [tuple(p.shape) for p in head.parameters() if p.dim() == 2]
    assert shapes == [(16, 32 + H * C), (8, 16), (H, 8)]


def test_dropout_is_before_the_head_and_off_in_evaluation(model):
    network = network_of(load_config(f"model={model}", "model.dropout=0.5"))
    past, future = torch.randn(B, W, F), torch.randn(B, H, C)
    assert not torch.equal(network(past, future), network(past, future))
    network.eval()
    assert torch.equal(network(past, future), network(past, future))


@pytest.mark.parametrize(("name", "module"), [("rnn", "RNN"), ("lstm", "LSTM"), ("gru", "GRU")])
def test_the_shipped_backbones_are_torchs(name, module):
    backbone = network_of(load_config(f"model={name}", "model.num_layers=2", "model.hidden_size=6")).backbone
    oracle = getattr(torch.nn, module)(F, 6, 2, batch_first=True)
    oracle.load_state_dict(backbone.layers.state_dict())
    past = torch.randn(B, W, F)
    torch.testing.assert_close(backbone(past), oracle(past)[0])


def test_losses_are_what_their_names_say():
    network = network_of(load_config("model=gru")).eval()
    batch = Batch(torch.randn(B, W, F), torch.randn(B, H, C), torch.randn(B, H))
    error = (network(batch.past, batch.future) - batch.target).detach()
    by_hand = {
        "mse": (error**2).mean(),
        "mae": error.abs().mean(),
        "huber": torch.where(error.abs() < 1, 0.5 * error**2, error.abs() - 0.5).mean(),
    }
    for name, value in by_hand.items():
        forecaster = Forecaster(network, loss=name, optimizer={"_target_": "torch.optim.Adam"})
        torch.testing.assert_close(forecaster.loss(batch).detach(), value)


@pytest.mark.parametrize("optimizer", options("optimizer"))
@pytest.mark.parametrize("scheduler", options("scheduler"))
def test_every_optimizer_and_scheduler_config_builds(optimizer, scheduler):
    cfg = load_config(f"optimizer={optimizer}", f"scheduler={scheduler}")
    about = plain(cfg.scheduler) if cfg.scheduler else None
    found = Forecaster(network_of(cfg), loss="mse", optimizer=plain(cfg.optimizer), scheduler=about)
    configured = found.configure_optimizers()
    if about:
        assert configured["lr_scheduler"]["interval"] == about["interval"]
        assert math.isclose(configured["optimizer"].param_groups[0]["lr"], cfg.optimizer.lr)


class ReturnsTuple(torch.nn.Module):
    def forward(self, past):
        return past, None


class ReturnsLast(torch.nn.Module):
    def forward(self, past):
        return past[:, -1]


@pytest.mark.parametrize(
    ("backbone", "message"),
    [(ReturnsTuple(), "returns a tuple; return features"), (ReturnsLast(), r"shape \(2, 2\), not \(B, W, D\)")],
)
def test_a_backbone_that_breaks_its_contract_is_named(backbone, message, monkeypatch):
    monkeypatch.setattr("unroll.models.network.build", lambda *args, **kwargs: backbone)
    with pytest.raises(ConfigError, match=f"{type(backbone).__name__} .*{message}"):
        network_of(load_config("model=gru"))
