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

from unroll.models.layers.cell import HALF, MINUS_ONE, backwards, project, sigmoid_backward, steps_of, tanh_backward
from unroll.models.layers.recurrent import Recurrent


class GRUCell:
    """The gates are r, z, m, n in this order; m sees h alone, n sees x alone. Both are doubled, for the tanh."""

    gates = 4
    hidden_gates = 3
    has_memory = False

    def pack(self, weights: Sequence[Tensor], packed: Tensor) -> None:
        """See Cell. torch's order is r, z, n."""
        of_input, of_hidden, *biases = weights
        size, joint = of_hidden.shape[-1], of_hidden.shape[-1] + of_input.shape[-1]
        packed[:, : 3 * size, :size] = of_hidden
        packed[:, : 2 * size, size:joint] = of_input[:, : 2 * size]
        packed[:, 3 * size :, size:joint] = of_input[:, 2 * size :]
        if biases:
            torch.add(biases[0][:, : 2 * size], biases[1][:, : 2 * size], out=packed[:, : 2 * size, joint])
            packed[:, 2 * size : 3 * size, joint] = biases[1][:, 2 * size :]
            packed[:, 3 * size :, joint] = biases[0][:, 2 * size :]
        packed[:, 2 * size :] *= 2

    def unpack(self, grad: Tensor, rest: Tensor | None, hidden_size: int, input_size: int) -> list[Tensor]:
        """See Cell."""
        assert rest is not None
        size, joint = hidden_size, hidden_size + input_size
        grad[:, 2 * size :] *= 2
        of_input = torch.cat([grad[:, : 2 * size, size:], rest.mul_(2)], dim=1)
        found = [of_input[..., :input_size], grad[..., :size]]
        return [*found, of_input[..., input_size], grad[..., joint]] if grad.shape[-1] > joint else found

    def forward(self, weight: Tensor, joint: Tensor, memory: Tensor | None, keep: bool) -> list[Tensor]:
        """See Cell. Keeps r, z, m, and n after the tanh. Without a backward pass, n is where h' will be."""
        steps, replicas, batch = len(joint) - 1, len(weight), joint.shape[-1]
        size = weight.shape[1] // 4
        many = steps if keep else 1
        gates = joint.new_empty(many, replicas, 3 * size, batch)
        inner = joint.new_empty(steps, replicas, size, batch) if keep else joint[1:, :, :size]
        project(weight[:, 3 * size :, size:], joint[:-1, :, size:], inner)
        seeing_hidden = weight[:, : 3 * size]
        hidden = joint[:, :, :size].unbind()
        blocks = gates, *gates.split(size, dim=2), gates[:, :, : 2 * size]
        views = [steps_of(block, steps, keep) for block in blocks]
        for state, h, after, n, gate, r, z, m, both in zip(
            joint.unbind()[:-1], hidden[:-1], hidden[1:], inner.unbind(), *views, strict=True
        ):
            torch.bmm(seeing_hidden, state, out=gate)
            both.sigmoid_()
            n.addcmul_(r, m).sigmoid_()
            torch.add(MINUS_ONE, n, alpha=2, out=n)
            torch.lerp(n, h, z, out=after)
        return [gates, inner]

    def backward(
        self, weight: Tensor, joint: Tensor, kept: Sequence[Tensor], grads: Tensor, memory: Tensor | None, out: Tensor
    ) -> None:
        """See Cell. All gradients of a step are dh' times what is known before: da_n = (1 - z)(1 - n^2) dh', and so on.

        With a = 2 (W_in x + b_in) + r m and m = 2 (W_hn h + b_hn): n = tanh(a / 2).
        """
        size = weight.shape[1]
        (r, z, m), n = kept[0].split(size, dim=2), kept[1]
        of_r, of_z, of_m, of_n = out.split(size, dim=2)
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
