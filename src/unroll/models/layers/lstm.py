"""Long short-term memory (Hochreiter and Schmidhuber, 1997) with a forget gate (Gers et al., 2000), as torch.nn.LSTM.

i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)        f, o likewise
g = tanh(W_ig x + b_ig + W_hg h + b_hg)
c' = f c + i g
h' = o tanh(c')
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unroll.models.layers.cell import HALF, MINUS_ONE, backwards, sigmoid_backward, steps_of, tanh_backward
from unroll.models.layers.recurrent import Recurrent


class LSTMCell:
    """The gates are i, f, g, o, as torch has them, g doubled for the tanh; and so is c, which is kept as 2 c."""

    gates = hidden_gates = 4
    has_memory = True

    def pack(self, weights: Sequence[Tensor], packed: Tensor) -> None:
        """See Cell."""
        of_input, of_hidden, *biases = weights
        size, joint = of_hidden.shape[-1], of_hidden.shape[-1] + of_input.shape[-1]
        packed[..., :size] = of_hidden
        packed[..., size:joint] = of_input
        if biases:
            torch.add(*biases, out=packed[..., joint])
        packed[:, 2 * size : 3 * size] *= 2

    def unpack(self, grad: Tensor, rest: Tensor | None, hidden_size: int, input_size: int) -> list[Tensor]:
        """See Cell."""
        size, joint = hidden_size, hidden_size + input_size
        grad[:, 2 * size : 3 * size] *= 2
        found = [grad[..., size:joint], grad[..., :size]]
        return [*found, grad[..., joint], grad[..., joint].clone()] if grad.shape[-1] > joint else found

    def forward(self, weight: Tensor, joint: Tensor, memory: Tensor | None, keep: bool) -> list[Tensor]:
        """See Cell. Keeps 2 c, tanh(c') and the gates, with g in its place after the tanh."""
        steps, (replicas, rows), batch = len(joint) - 1, weight.shape[:2], joint.shape[-1]
        size, many = rows // 4, steps if keep else 1
        gates = joint.new_empty(many, replicas, rows, batch)
        bent = joint.new_empty(many, replicas, size, batch)
        doubled = joint.new_empty(steps + 1 if keep else 1, replicas, size, batch)
        doubled[0] = 0 if memory is None else memory * 2
        memories = steps_of(doubled, steps + 1, keep)
        views = [steps_of(block, steps, keep) for block in (gates, *gates.split(size, dim=2), bent)]
        hidden = joint[1:, :, :size].unbind()
        every = zip(joint.unbind()[:-1], hidden, memories[:-1], memories[1:], *views, strict=True)
        for state, after, before, c, gate, i, f, g, o, tanh in every:
            torch.bmm(weight, state, out=gate)
            gate.sigmoid_()
            torch.add(MINUS_ONE, g, alpha=2, out=g)
            torch.mul(f, before, out=c).addcmul_(i, g, value=2)
            torch.sigmoid(c, out=tanh)
            torch.add(MINUS_ONE, tanh, alpha=2, out=tanh)
            torch.mul(o, tanh, out=after)
        return [doubled, bent, gates]

    def backward(
        self, weight: Tensor, joint: Tensor, kept: Sequence[Tensor], grads: Tensor, memory: Tensor | None, out: Tensor
    ) -> None:
        """See Cell. `memory` is the gradient of 2 c here too. What does not depend on dh', dc' is made first."""
        size = weight.shape[1]
        doubled, bent, gates = kept
        i, f, g, o = gates.split(size, dim=2)
        of_i, of_f, of_g, of_o = out.split(size, dim=2)
        torch.mul(g, 2, out=of_i)
        sigmoid_backward(of_i, i, out=of_i)
        sigmoid_backward(doubled, f, out=of_f)
        tanh_backward(i, g, out=of_g)
        sigmoid_backward(bent, o, out=of_o)
        through = o * HALF  # of h' to 2 c'
        tanh_backward(through, bent, out=through)
        by_memory = out[:, :, : 3 * size].unflatten(2, (3, size))
        assert memory is not None
        spread = memory.unsqueeze(1)
        for grad, before, slope, forget, three, output, all_four in backwards(
            grads[1:], grads[:-1], through, f, by_memory, of_o, out
        ):
            memory.addcmul_(grad, slope)
            three.mul_(spread)
            output.mul_(grad)
            memory.mul_(forget)
            before.baddbmm_(weight, all_four)


class LSTM(Recurrent, nn.LSTM):
    """torch.nn.LSTM: the same arguments, parameters, results and state_dict. See Recurrent."""

    def _cell(self) -> LSTMCell:
        return LSTMCell()
