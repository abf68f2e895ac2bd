"""Windows in a frame of their own, the linear skip and the last season: the network's ways past its backbone."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from conftest import load_config
from unroll.config import plain
from unroll.data.windows import WindowShape
from unroll.errors import ConfigError
from unroll.models.frame import CLIP, FLAT, LEAST_SCALE, WINDOW_WORDS, Frame
from unroll.models.network import Network, build_network
from unroll.models.replicas import check_replicas, replicate

CHAINS = [chain for count in (1, 2, 3) for chain in itertools.permutations(WINDOW_WORDS, count)]
W, H, SEASON = 12, 7, 3


def network_of(shape: WindowShape, *overrides: str, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return build_network(plain(load_config(*overrides).model), shape)


def normal(words: tuple[str, ...], values: np.ndarray, known: int) -> np.ndarray:
    """The oracle: what each word does to a window and to what follows it, with statistics of the window alone."""
    for word in words:
        if word in ("difference", "seasonal_difference"):
            lag = SEASON if word == "seasonal_difference" else 1
            values, known = values[lag:] - values[:-lag], known - lag
        elif word == "window_clip":  # what is read, not what is forecast
            values = np.concatenate([values[:known].clip(-CLIP, CLIP), values[known:]])
        elif word == "window_magnify":
            values = values / min(max(values[:known].std() / FLAT, LEAST_SCALE), 1.0)
        else:
            window = values[:known]
            scale = max(window.std(), LEAST_SCALE) if word == "window_standard" else 1.0
            values = (values - (np.median(window) if word == "window_median" else window.mean())) / scale
    return values


@given(
    words=st.sampled_from(CHAINS),
    values=st.lists(st.floats(-1e3, 1e3), min_size=W + H, max_size=W + H),
    level=st.sampled_from([0.0, 1.0, -1e4]),
)
@settings(deadline=None, max_examples=200)
def test_a_frame_is_what_its_words_say_and_is_left_exactly(words, values, level):
    series = np.array(values) + level
    frame = Frame(words, SEASON)
    entered = frame.enter(torch.tensor(series[None, :W]))
    expected = normal(words, series, W)
    size = np.abs(expected).max() + 1
    np.testing.assert_allclose(entered.target[0], expected[: W - frame.lost], atol=1e-9 * size * (abs(level) + 1))
    left = entered.leave(torch.tensor(expected[None, W - frame.lost :]))[0]
    np.testing.assert_allclose(left, series[W:], rtol=1e-7, atol=1e-7 * (abs(level) + 1e3))


@pytest.mark.parametrize("words", [(), *CHAINS[:7], *CHAINS[7::23]])
def test_replicas_are_framed_each_by_its_own_window(words):
    shape = WindowShape(W, H, 3, 1, season=SEASON, window_transform=words, future_columns=(1,))
    beside = ("model.skip=linear", "model.residual=seasonal_naive", "model.combine=linear")
    networks = [network_of(shape, "model.hidden_size=3", *beside, seed=seed) for seed in (0, 1)]
    for network in networks:
        for tensor in (*network.parameters(), *network.buffers()):
            torch.nn.init.normal_(tensor, std=0.3)
    check_replicas(networks)
    past, future = torch.randn(2, 4, W, 3), torch.randn(2, 4, H, 1)
    alone = torch.stack([network.eval()(*windows) for network, *windows in zip(networks, past, future, strict=True)])
    torch.testing.assert_close(replicate(networks).eval()(past, future), alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("words", [("difference",), ("window_centre",), ("seasonal_difference", "window_standard")])
def test_a_level_that_the_network_never_saw_shifts_its_forecast_and_nothing_else(words):
    network = network_of(WindowShape(W, H, 1, 0, season=SEASON, window_transform=words), "model.skip=linear").eval()
    past, future = torch.randn(5, W, 1, dtype=torch.float64), torch.zeros(5, H, 0, dtype=torch.float64)
    network.double()
    torch.testing.assert_close(network(past + 1e3, future), network(past, future) + 1e3)


def test_a_window_of_its_own_scale_is_forecast_at_that_scale():
    network = network_of(WindowShape(W, H, 1, 0, window_transform=("window_standard",))).eval().double()
    past, future = torch.randn(5, W, 1, dtype=torch.float64), torch.zeros(5, H, 0, dtype=torch.float64)
    torch.testing.assert_close(network(past * 50, future), network(past, future) * 50)
    constant = torch.full_like(past, 7.0)
    assert (network(constant, future) - 7.0).abs().max() < 10 * LEAST_SCALE


def test_the_skip_begins_at_nothing_and_acts_on_its_own_step():
    shape = WindowShape(W, H, 3, 2, future_columns=(1, 2))
    network = network_of(shape, "model.skip=linear").eval()
    past, future = torch.randn(4, W, 3), torch.randn(4, H, 2)
    assert network.skip is not None
    assert torch.equal(network.skip(past, future), torch.zeros(4, H))
    torch.nn.init.normal_(network.skip.ahead.weight)
    before, changed = network.skip(past, future), future.clone()
    changed[:, 3] += 1
    differs = network.skip(past, changed) != before
    assert differs[:, 3].all()
    assert not differs[:, [0, 1, 2, 4, 5, 6]].any()


def test_the_skip_alone_learns_what_least_squares_finds():
    torch.manual_seed(0)
    shape = WindowShape(W, 2, 1, 0)
    network = network_of(shape, "model.skip=linear")
    past, weights = torch.randn(64, W, 1), torch.randn(W, 2)
    target = past[..., 0] @ weights + 0.5
    optimizer = torch.optim.LBFGS(network.skip.parameters(), max_iter=200)

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = torch.nn.functional.mse_loss(network.skip(past, past[:, :2, :0]), target)
        found.backward()
        return found

    optimizer.step(loss)
    torch.testing.assert_close(network.skip.window.weight, weights.T, atol=1e-3, rtol=1e-3)


def test_without_a_network_the_residual_is_the_seasonal_naive_forecast():
    network = network_of(WindowShape(W, H, 1, 0, season=SEASON), "model.residual=seasonal_naive").eval()
    for parameter in network.head.parameters():
        torch.nn.init.zeros_(parameter)
    past = torch.randn(5, W, 1)
    expected = past[:, [W - SEASON + step % SEASON for step in range(H)], 0]
    assert torch.equal(network(past, torch.zeros(5, H, 0)), expected)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (WindowShape(W, H, 1, 0), "needs a season"),
        (WindowShape(W, H, 1, 0, season=W + 1), "is longer than the 12 rows"),
        (WindowShape(W, H, 1, 0, season=W, window_transform=("seasonal_difference",)), "leave no row"),
        (WindowShape(W, H, 1, 0, window_transform=("seasonal_difference",)), "needs a season"),
    ],
)
def test_a_season_that_is_not_there_is_refused_in_a_line(shape, message):
    with pytest.raises(ConfigError, match=message):
        network_of(shape, "model.residual=seasonal_naive")
