"""What every cell is: a linear map from the joint state to its gates, and pointwise work on these.

    gates_t = weight [h_{t-1}; x_t; 1]        weight (K, R, S), R rows of gates, S = D + F + 1 (D + F without biases)
    h_t = cell(gates_t, h_{t-1})

Rows that do not see h are last, and made for all steps at once: that is much less work for a matrix product.

tanh(a) is computed as 2 sigmoid(2 a) - 1, which torch does more than ten times faster; the factor 2 inside is in the
joint weight, exactly. The error is below 2e-7 in float32. Cells work in place, with `out=`, and under no_grad.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

MINUS_ONE = torch.tensor(-1.0, device="cpu")  # numbers in this form spare every operation a conversion
HALF = torch.tensor(0.5, device="cpu")


class Cell(Protocol):
    """The mathematics of a recurrent layer, for K replicas. Gates are blocks of D rows."""

    gates: int  # how many blocks
    hidden_gates: int  # how many of them see h: the first
    has_memory: bool  # whether there is an LSTM's second state

    def pack(self, weights: Sequence[Tensor], packed: Tensor) -> None:
        """Fill the joint weight (K, R, S), which is zero, from torch's weights: two of them, or four with biases."""

    def unpack(self, grad: Tensor, rest: Tensor | None, hidden_size: int, input_size: int) -> list[Tensor]:
        """The gradients of torch's weights from that of the joint weight, which may be overwritten.

        Args:
            grad: (K, rows that see h, S).
            rest: (K, the other rows, F + 1 or F), if there are any.
            hidden_size: D.
            input_size: F.
        """

    def forward(self, weight: Tensor, joint: Tensor, memory: Tensor | None, keep: bool) -> list[Tensor]:
        """Go over all steps.

        Args:
            weight: (K, R, S).
            joint: (W + 1, K, S, B), with all x and the first h; the later h are written.
            memory: (K, D, B) an LSTM's second state before the first step.
            keep: whether a backward pass may come.

        Returns:
            What the backward pass needs, time first. An LSTM's first is its second state (W + 1, K, D, B), doubled.
        """

    def backward(
        self, weight: Tensor, joint: Tensor, kept: Sequence[Tensor], grads: Tensor, memory: Tensor | None, out: Tensor
    ) -> None:
        """Go back over T steps.

        Args:
            weight: (K, D, rows that see h) transposed.
            joint: (T + 1, K, S, B) of these steps, and so are
            kept: what `forward` returned.
            grads: (T + 1, K, D, B) gradients of every h, from the one before the first step on, without what comes
                through these steps; that is added.
            memory: (K, D, B) gradient of an LSTM's second state after these steps; becomes the one before them.
            out: (T, K, R, B) is overwritten with the gradients of the gates.
        """


def sigmoid_backward(grad: Tensor, value: Tensor, out: Tensor) -> None:
    """Write grad * value * (1 - value)."""
    torch.ops.aten.sigmoid_backward.grad_input(grad, value, grad_input=out)


def tanh_backward(grad: Tensor, value: Tensor, out: Tensor) -> None:
    """Write grad * (1 - value ** 2)."""
    torch.ops.aten.tanh_backward.grad_input(grad, value, grad_input=out)


def project(weight: Tensor, inputs: Tensor, out: Tensor) -> None:
    """Write weight [x; 1] of all steps: (K, R, F + 1) and (W, K, F + 1, B) to (W, K, R, B); or F without biases."""
    if weight.shape[-1] > 2:
        for step, target in zip(inputs.unbind(), out.unbind(), strict=True):
            torch.bmm(weight, step, out=target)
        return
    torch.mul(weight[..., :1], inputs[:, :, :1], out=out)
    if weight.shape[-1] == 2:
        torch.addcmul(out, weight[..., 1:], inputs[:, :, 1:], out=out)


def steps_of(buffer: Tensor, count: int, keep: bool) -> tuple[Tensor, ...]:
    """The views of a buffer's time steps: of `count`, or `count` times the same one where none is kept."""
    return buffer.unbind() if keep else buffer.unbind() * count


def backwards(*parts: Tensor) -> Any:
    """The time steps of several tensors, the last first."""
    return zip(*(part.unbind()[::-1] for part in parts), strict=True)
