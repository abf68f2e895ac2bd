"""Elman's network (1990, Finding structure in time), as torch.nn.RNN.

h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unroll.models.layers.cell import HALF, MINUS_ONE, backwards
from unroll.models.layers.recurrent import Recurrent


class RNNCell:
    """One gate; doubled where it is for the tanh.

    Args:
        nonlinearity: tanh | relu.
    """

    gates = hidden_gates = 1
    has_memory = False

    def __init__(self, nonlinearity: str) -> None:
        self.tanh = nonlinearity == "tanh"

    def pack(self, weights: Sequence[Tensor], packed: Tensor) -> None:
        """See Cell."""
        of_input, of_hidden, *biases = weights
        size, joint = of_hidden.shape[-1], of_hidden.shape[-1] + of_input.shape[-1]
        packed[..., :size] = of_hidden
        packed[..., size:joint] = of_input
        if biases:
            torch.add(*biases, out=packed[..., joint])
        if self.tanh:
            packed *= 2

    def unpack(self, grad: Tensor, rest: Tensor | None, hidden_size: int, input_size: int) -> list[Tensor]:
        """See Cell."""
        size, joint = hidden_size, hidden_size + input_size
        if self.tanh:
            grad *= 2
        found = [grad[..., size:joint], grad[..., :size]]
        return [*found, grad[..., joint], grad[..., joint].clone()] if grad.shape[-1] > joint else found

    def forward(self, weight: Tensor, joint: Tensor, memory: Tensor | None, keep: bool) -> list[Tensor]:
        """See Cell. Keeps nothing but the h in the joint state."""
        gate = joint.new_empty(*weight.shape[:2], joint.shape[-1])
        hidden = joint[1:, :, : weight.shape[1]].unbind()
        for state, after in zip(joint.unbind()[:-1], hidden, strict=True):
            torch.bmm(weight, state, out=gate)
            if self.tanh:
                torch.add(MINUS_ONE, gate.sigmoid_(), alpha=2, out=after)
            else:
                torch.clamp(gate, min=0, out=after)
        return []

    def backward(
        self, weight: Tensor, joint: Tensor, kept: Sequence[Tensor], grads: Tensor, memory: Tensor | None, out: Tensor
    ) -> None:
        """See Cell. The slope of h' at the doubled gate is (1 - h'^2) / 2, of relu 1 where h' > 0."""
        hidden = joint[1:, :, : weight.shape[1]]
        if self.tanh:
            torch.mul(hidden, hidden, out=out)
            torch.sub(HALF, out, alpha=0.5, out=out)
        else:
            torch.gt(hidden, 0, out=out)
        for grad, before, gate in backwards(grads[1:], grads[:-1], out):
            before.baddbmm_(weight, gate.mul_(grad))


class RNN(Recurrent, nn.RNN):
    """torch.nn.RNN: the same arguments, parameters, results and state_dict. See Recurrent."""

    def _cell(self) -> RNNCell:
        return RNNCell(self.nonlinearity)
