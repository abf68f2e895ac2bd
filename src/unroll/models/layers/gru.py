"""Gated recurrent units (Cho et al., 2014, arXiv 1406.1078), in the variant of torch.nn.GRU.

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
    z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r m),  m = W_hn h + b_hn
    h' = (1 - z) n + z h

The paper applies r to h before the product with W_hn; torch, cuDNN and this file apply it after.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unroll.models.layers.cell import HALF, MINUS_ONE, backwards, sigmoid_backward, steps_of, tanh_backward
from unroll.models.layers.recurrent import Recurrent


class GRUCell:
    """The gates are m, r, z, n in this order; m sees h alone, n sees x alone. Both are doubled, for the tanh."""

    gates = 4
    hidden_gates = slice(0, 3)
    input_gates = slice(1, 4)

    def pack(self, weights: Sequence[Tensor], packed: Tensor) -> None:
        """See Cell. torch's order is r, z, n."""
        of_input, of_hidden, *biases = weights
        size, joint = of_hidden.shape[-1], of_hidden.shape[-1] + of_input.shape[-1]
        packed[:, :size, :size] = of_hidden[:, 2 * size :]
        packed[:, size : 3 * size, :size] = of_hidden[:, : 2 * size]
        packed[:, size:, size:joint] = of_input
        if biases:
            packed[:, :size, joint] = biases[1][:, 2 * size :]
            packed[:, size:, joint] = biases[0]
            packed[:, size : 3 * size, joint] += biases[1][:, : 2 * size]
        packed.unflatten(1, (4, size))[:, ::3] *= 2

    def unpack(self, grad: Tensor, hidden_size: int, input_size: int) -> list[Tensor]:
        """See Cell."""
        size, joint = hidden_size, hidden_size + input_size
        grad.unflatten(1, (4, size))[:, ::3] *= 2
        hidden = torch.cat([grad[:, size : 3 * size], grad[:, :size]], dim=1)
        found = [grad[:, size:, size:joint], hidden[..., :size]]
        return [*found, grad[:, size:, joint], hidden[..., joint]] if grad.shape[-1] > joint else found

    def forward(self, weight: Tensor, joint: Tensor, memory: Tensor | None, keep: bool) -> list[Tensor]:
        """See Cell. Keeps the gates, with n in its place after the tanh."""
        steps, (replicas, rows), batch = len(joint) - 1, weight.shape[:2], joint.shape[-1]
        size = rows // 4
        gates = joint.new_empty(steps if keep else 1, replicas, rows, batch)
        hidden = joint[:, :, :size].unbind()
        blocks = gates, *gates.split(size, dim=2), gates[:, :, size : 3 * size]
        views = [steps_of(block, steps, keep) for block in blocks]
        for state, h, after, gate, m, r, z, n, both in zip(
            joint.unbind()[:-1], hidden[:-1], hidden[1:], *views, strict=True
        ):
            torch.bmm(weight, state, out=gate)
            both.sigmoid_()
            n.addcmul_(r, m).sigmoid_()
            torch.add(MINUS_ONE, n, alpha=2, out=n)
            torch.lerp(n, h, z, out=after)
        return [gates]

    def backward(
        self, weight: Tensor, joint: Tensor, kept: Sequence[Tensor], grads: Tensor, memory: Tensor | None, out: Tensor
    ) -> None:
        """See Cell. All gradients of a step are dh' times what is known before: da_n = (1 - z)(1 - n^2) dh', and so on.

        With a = 2 (W_in x + b_in) + r m and m = 2 (W_hn h + b_hn): n = tanh(a / 2).
        """
        size = weight.shape[1]
        m, r, z, n = kept[0].split(size, dim=2)
        of_m, of_r, of_z, of_n = out.split(size, dim=2)
        torch.sub(joint[:-1, :, :size], n, out=of_z)
        sigmoid_backward(of_z, z, out=of_z)
        torch.sub(HALF, z, alpha=0.5, out=of_n)
        tanh_backward(of_n, n, out=of_n)
        torch.mul(of_n, m, out=of_r)
        sigmoid_backward(of_r, r, out=of_r)
        torch.mul(of_n, r, out=of_m)
        every, seeing_hidden = out.unflatten(2, (4, size)), out[:, :, : 3 * size]
        steps = backwards(grads[1:], grads[1:].unsqueeze(2), grads[:-1], every, seeing_hidden, z)
        for grad, spread, before, gates, seeing, update in steps:
            gates.mul_(spread)
            before.addcmul_(grad, update).baddbmm_(weight, seeing)


class GRU(Recurrent, nn.GRU):
    """torch.nn.GRU: the same arguments, parameters, results and state_dict. See Recurrent."""

    def _cell(self) -> GRUCell:
        return GRUCell()
