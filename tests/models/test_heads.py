"""The contract of every head in conf/model/head, and the distributions against SciPy: a new YAML is tested at once."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from conftest import load_config, options
from unroll.config import plain
from unroll.data.transforms import Affine, Transform, fit_transform
from unroll.data.windows import Batch, WindowShape
from unroll.errors import ConfigError
from unroll.models.forecaster import Forecaster
from unroll.models.heads.distribution import DistributionHead
from unroll.models.heads.gaussian import GaussianHead
from unroll.models.heads.negative_binomial import NegativeBinomialHead, count_quantiles
from unroll.models.heads.quantile import QuantileHead
from unroll.models.heads.student_t import StudentTHead, t_quantiles
from unroll.models.network import Network, build_network
from unroll.models.replicas import check_replicas, replicate

B, W, H, F, C = 5, 7, 3, 2, 1
HEADS = options("model/head")
LEVELS = torch.tensor([0.001, 0.025, 0.1, 0.5, 0.7, 0.975, 0.9999], dtype=torch.float64)
SHAPES = [WindowShape(W, H, F, C), WindowShape(W, H, F, C, 4, ("difference", "window_standard"))]


def network_of(head: str, shape: WindowShape = SHAPES[0], *overrides: str, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    cfg = load_config(f"model/head={head}", "model.hidden_size=6", "model.skip=linear", *overrides)
    return build_network(plain(cfg.model), shape)


@pytest.fixture(params=HEADS)
def head(request) -> str:
    return request.param


@pytest.fixture(params=[head for head in HEADS if not network_of(head).points])
def distribution(request) -> str:
    return request.param


def test_there_are_heads_of_both_kinds():
    assert {"mlp", "quantile", "gaussian", "student_t", "negative_binomial"} <= set(HEADS)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(head, shape):
    network = network_of(head, shape, "model.head_sizes=[8,4]")
    past, future = torch.randn(B, W, F), torch.randn(B, H, C)
    assert network(past, future).shape == (B, H)
    made = network.distribution(past, future)
    if network.points:
        assert torch.equal(made, network(past, future))
        return
    assert made.shape == (B, H, network.head.outputs)
    assert network.head.loss(made, torch.randn(B, H)).shape == (B, H)
    found = network.head.quantiles(made, LEVELS)
    assert found.shape == (B, H, len(LEVELS))
    assert (found.diff(dim=-1) >= 0).all()
    assert network.head.sample(made).shape == (B, H)
    assert all(part.dtype == torch.float32 for part in (made, found, network.head.sample(made), network(past, future)))


@pytest.mark.parametrize("shape", SHAPES)
def test_replicas_are_their_single_networks(head, shape):
    networks = [network_of(head, shape, seed=seed) for seed in range(3)]
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():  # each of them another, those too that begin with one value
                parameter += 0.1 * torch.randn_like(parameter)
    check_replicas(networks)
    whole = replicate(networks)
    past, future, target = torch.randn(3, B, W, F), torch.randn(3, B, H, C), torch.randn(3, B, H)
    together = whole.distribution(past, future)
    alone = torch.stack([one.distribution(*windows) for one, *windows in zip(networks, past, future, strict=True)])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(whole(past, future), torch.stack(list(map(_call, networks, past, future))))
    if not networks[0].points:
        each = [one.head.loss(*parts) for one, *parts in zip(networks, alone, target, strict=True)]
        torch.testing.assert_close(whole.head.loss(together, target), torch.stack(each))
        several = torch.stack([one.head.quantiles(part, LEVELS) for one, part in zip(networks, alone, strict=True)])
        torch.testing.assert_close(whole.head.quantiles(together, LEVELS), several)


def _call(network: Network, past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
    return network(past, future)


def test_gradients(distribution):
    """Of the loss by what the layers make, by location and factor; also where the spread is at its floor."""
    head = network_of(distribution).double().head
    torch.manual_seed(3)
    raw = torch.randn(4, H, head.made, dtype=torch.float64, requires_grad=True)
    location = torch.randn(4, H, dtype=torch.float64, requires_grad=True)
    factor = (1e-3 + torch.rand(4, 1, dtype=torch.float64)).requires_grad_()
    target = torch.randint(0, 5, (4, H)).double()

    def loss(*parts: torch.Tensor) -> torch.Tensor:
        return head.loss(head.place(*parts), target)

    assert torch.autograd.gradcheck(loss, (raw, location, factor))
    flat = torch.full_like(raw, -30).requires_grad_()
    assert loss(flat, location, torch.full_like(factor, 1e-3)).isfinite().all()


def test_it_learns_what_it_is_trained_on(distribution):
    """The loss of some windows falls, and the losses are named."""
    cfg = load_config(f"model/head={distribution}", "optimizer.lr=0.05")
    torch.manual_seed(1)
    batch = Batch(torch.randn(64, W, F), torch.randn(64, H, C), torch.randint(0, 6, (64, H)).float())
    forecaster = Forecaster(network_of(distribution), loss="mse", optimizer=plain(cfg.optimizer))
    assert forecaster.loss_name in ("pinball", "nll")
    optimizer = forecaster.configure_optimizers()
    first = float(forecaster.loss(batch).detach())
    for _ in range(120):
        optimizer.zero_grad()
        value = forecaster.loss(batch)
        value.backward()
        optimizer.step()
    assert float(value.detach()) < first - 0.1
    params = forecaster.network.distribution(batch.past, batch.future).detach()
    error = (forecaster.network.head.point(params) - batch.target).abs().mean()
    assert error < (batch.target.median() - batch.target).abs().mean()


def placed(head: DistributionHead, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    head.double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += torch.randn_like(parameter)
    raw = torch.randn(6, H, head.made, dtype=torch.float64)
    params = head.place(raw, 2 * torch.randn(6, H, dtype=torch.float64), torch.rand(6, 1, dtype=torch.float64) + 0.1)
    return params.detach()


def test_the_gaussian_is_scipys():
    head = GaussianHead(4, H)
    params, target = placed(head), torch.randn(6, H, dtype=torch.float64)
    location, scale = params.numpy()[..., 0], params.numpy()[..., 1]
    np.testing.assert_allclose(head.loss(params, target), -stats.norm.logpdf(target, location, scale), rtol=1e-12)
    expected = stats.norm.ppf(LEVELS, location[..., None], scale[..., None])
    np.testing.assert_allclose(head.quantiles(params, LEVELS), expected, rtol=1e-9)


def test_the_student_t_is_scipys():
    head = StudentTHead(4, H)
    params, target = placed(head), torch.randn(6, H, dtype=torch.float64)
    location, scale, degrees = params.numpy()[..., :, None].transpose(2, 0, 1, 3)
    assert (degrees > 2).all()
    density = stats.t.logpdf(target.numpy()[..., None], degrees, location, scale)[..., 0]
    np.testing.assert_allclose(head.loss(params, target), -density, rtol=1e-9)
    np.testing.assert_allclose(head.quantiles(params, LEVELS), stats.t.ppf(LEVELS, degrees, location, scale), rtol=1e-8)


@given(st.floats(2.01, 200), st.floats(1e-5, 1 - 1e-5))
def test_quantiles_of_t_for_any_degrees_of_freedom(degrees, level):
    ours = t_quantiles(torch.tensor([degrees], dtype=torch.float64), torch.tensor([level], dtype=torch.float64))
    assert float(ours) == pytest.approx(stats.t.ppf(level, degrees), rel=1e-8, abs=1e-12)


def standard(offset: float, scale: float) -> Transform:
    return Transform((Affine("standard", np.array([offset]), np.array([scale])),))


LOGARITHM = fit_transform(["log1p", "standard"], np.arange(1.0, 40.0)[:, None])


@pytest.mark.parametrize("maps", [None, standard(20, 7), LOGARITHM], ids=["units", "standard", "logarithm"])
def test_the_negative_binomial_is_scipys(maps):
    head = NegativeBinomialHead(4, H)
    if maps:
        head.use(maps)
    params, counts = placed(head), torch.randint(0, 30, (6, H)).double()
    mean, size = head.mean(params).numpy(), 1 / params.numpy()[..., 1]
    target = counts if maps is None else maps.target_to_scaled(counts)
    density = stats.nbinom.logpmf(counts, size, size / (size + mean))
    np.testing.assert_allclose(head.loss(params, target), -density, rtol=1e-8, atol=1e-10)
    levels = LEVELS[:-1]
    made = head.quantiles(params, levels)
    units = made if maps is None else maps.target_to_units(made)
    expected = stats.nbinom.ppf(levels, size[..., None], (size / (size + mean))[..., None])
    assert (np.abs(units.numpy() - expected) <= 1e-6 + (mean[..., None] > 20)).all()
    point = head.point(params)
    np.testing.assert_allclose(point if maps is None else maps.target_to_units(point), mean, rtol=1e-9)


@given(st.floats(0.001, 1e6), st.floats(0.002, 4), st.floats(0.002, 0.998))
def test_quantiles_of_counts(mean, dispersion, level):
    given = [torch.tensor([value], dtype=torch.float64) for value in (mean, 1 / dispersion, level)]
    size, deviation = 1 / dispersion, math.sqrt(mean + dispersion * mean**2)
    allowed = max(1.0, 0.01 * deviation) if mean > 20 else 0.0
    expected = stats.nbinom.ppf(level, size, size / (size + mean))
    on_the_edge = abs(stats.nbinom.cdf(expected, size, size / (size + mean)) - level) < 1e-9
    assert abs(float(count_quantiles(*given)) - expected) <= allowed + on_the_edge


def test_means_of_counts_are_positive_and_have_a_gradient():
    head = NegativeBinomialHead(4, H)
    head.use(standard(1000.0, 800.0))
    location = torch.tensor([[-9.0, -1.5, 0.0]], requires_grad=True)
    params = head.place(torch.zeros(1, H, 2), location, None)
    mean = head.mean(params).detach()
    assert (mean > 0).all()
    assert float(mean[0, 2]) == pytest.approx(1000, rel=1e-3)
    head.loss(params, torch.zeros(1, H)).sum().backward()
    assert (location.grad != 0).all()


def test_quantiles_at_the_heads_own_levels_are_what_it_learned():
    head = QuantileHead(4, H, levels=[0.05, 0.3, 0.5, 0.9])
    params = placed(head)
    ordered = head._ordered(params)
    torch.testing.assert_close(head.quantiles(params, torch.tensor(head.levels, dtype=torch.float64)), ordered)
    short = torch.ones(6, H, dtype=torch.float64) - ordered.unbind(-1)[3]
    at_top = torch.where(short > 0, 0.9 * short, -0.1 * short)
    target = torch.ones(6, H, dtype=torch.float64)
    rest = [
        torch.where(target > q, lv * (target - q), (lv - 1) * (target - q))
        for lv, q in zip(head.levels, ordered.unbind(-1), strict=True)
    ]
    torch.testing.assert_close(head.loss(params, target), sum(rest) / 4)
    torch.testing.assert_close(rest[3], at_top)


def test_gaps_of_one_are_the_standard_normal():
    """Between and beyond the levels too: that is the rule for the tails."""
    head = QuantileHead(4, 1, levels=[0.1, 0.5, 0.8])
    params = head.place(torch.zeros(1, 1, 3, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64), None)
    np.testing.assert_allclose(head.quantiles(params, LEVELS)[0, 0], stats.norm.ppf(LEVELS), rtol=1e-6, atol=1e-9)


@given(st.lists(st.floats(-60, 60), min_size=5, max_size=5), st.floats(-1e6, 1e6), st.floats(1e-3, 1e3))
def test_quantiles_never_cross(raw, location, factor):
    head = QuantileHead(4, 1, levels=[0.01, 0.2, 0.5, 0.6, 0.99])
    params = head.place(torch.tensor([[raw]]), torch.tensor([[location]]), torch.tensor([[factor]]))
    assert (head._ordered(params).diff(dim=-1) >= 0).all()
    assert (head.quantiles(params, torch.linspace(0.001, 0.999, 301)).diff(dim=-1) >= 0).all()


def test_draws_are_of_the_distribution(distribution):
    """The share of many draws below each quantile is its level."""
    head = network_of(distribution).head
    params = placed(head)[:1].float()
    head.float()
    torch.manual_seed(0)
    drawn = head.sample(params.expand(40_000, H, -1))  # (n, H)
    levels = torch.tensor([0.1, 0.3, 0.5, 0.8, 0.95])
    quantiles = head.quantiles(params, levels)  # (1, H, Q)
    share = (drawn.unsqueeze(-1) <= quantiles + 1e-4).float().mean(0)
    if head.counts:  # a step of the distribution function may be large
        below = (drawn.unsqueeze(-1) < quantiles - 1e-4).float().mean(0)
        assert ((below < levels + 0.01) & (share > levels - 0.01)).all()
    else:
        torch.testing.assert_close(share, levels.expand(H, -1), atol=0.01, rtol=0)


@pytest.mark.parametrize(
    "levels", [[0.5], [0.5, 0.9], [0.1, 0.5], [0.1, 0.9, 0.5], [0.1, 0.4, 0.9], [0, 0.5, 1], [0.1, 0.5, 0.5, 0.9], 0.5]
)
def test_levels_that_make_no_sense_are_refused(levels):
    with pytest.raises(ConfigError, match="levels"):
        QuantileHead(4, 1, levels=levels)
