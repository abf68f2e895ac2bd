"""A user's backbone may hold what ours do not, and its runs go on and load as any other."""

import sys
import types

import pytest
import torch
from torch import Tensor, nn

from unroll.load import load_run
from unroll.models.layers import GRU

MODULE = "unroll.models.backbones.own"


class Lazy(nn.Module):
    """Shaped by its first batch."""

    def __init__(self, input_size: int, *, hidden_size: int) -> None:
        super().__init__()
        self.mix = nn.LazyLinear(hidden_size)

    def forward(self, past: Tensor) -> Tensor:
        return torch.tanh(self.mix(past))


class Complex(nn.Module):
    """A linear recurrence with complex rates."""

    def __init__(self, input_size: int, *, hidden_size: int) -> None:
        super().__init__()
        self.read = nn.Parameter(torch.randn(input_size, hidden_size, dtype=torch.complex64))
        self.rate = nn.Parameter(torch.polar(torch.full((hidden_size,), 0.9), torch.rand(hidden_size)))

    def forward(self, past: Tensor) -> Tensor:
        state, features = torch.zeros((), dtype=torch.complex64), []
        for row in (past.to(torch.complex64) @ self.read).unbind(1):
            state = self.rate * state + row
            features.append(state.real)
        return torch.stack(features, 1)


class Masked(nn.Module):
    """With integers of several sizes beside its weights."""

    def __init__(self, input_size: int, *, hidden_size: int) -> None:
        super().__init__()
        self.cell = GRU(input_size, hidden_size)
        for kind in (torch.uint8, torch.int8, torch.int16, torch.bool):
            self.register_buffer(str(kind).removeprefix("torch."), torch.ones(hidden_size, dtype=kind))

    def forward(self, past: Tensor) -> Tensor:
        return self.cell(past)[0] * self.uint8


@pytest.mark.parametrize("backbone", [Lazy, Complex, Masked])
def test_its_runs_go_on_and_load(backbone, monkeypatch, run_training):
    own = types.ModuleType(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, own)
    monkeypatch.setattr(backbone, "__module__", MODULE)
    setattr(own, backbone.__name__, backbone)
    words = [f"model.backbone._target_={MODULE}.{backbone.__name__}", "~model.backbone.num_layers"]
    words += ["~model.backbone.dropout", "~model.num_layers", "data.points=150"]
    whole = run_training(*words, "trainer.max_epochs=4")
    part = run_training(*words, "trainer.max_epochs=2")
    result = run_training(f"resume={part.run.path}", "trainer.max_epochs=4")
    assert result.metrics["weights_sha256"] == whole.metrics["weights_sha256"]
    assert len(load_run(result.run.path).forecast(3)) == 3
