"""The backward pass over a window, for K replicas, in pieces that stay in the processor's cache."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unroll.models.layers.cell import Cell

CHUNK = 1 << 19  # numbers of gates in a piece, on a CPU: 2 MiB of float32; from half to twice as many is all the same


def scan_gradient(
    cell: Cell,
    features: int,
    needs: Sequence[bool],
    grads: Sequence[Tensor | None],
    weight: Tensor,
    joint: Tensor,
    kept: Sequence[Tensor],
) -> list[Tensor | None]:
    """Gradients of what Scan was given, from those of what it gave.

    Args:
        cell: the layer's mathematics.
        features: F.
        needs: whether past, the states, the weights need a gradient.
        grads: of features (K, B, W, D), hidden (K, B, D), memory (K, B, D), or None.
        weight: (K, R, S) the joint weight.
        joint: (W + 1, K, S, B).
        kept: what the cell's `forward` returned.

    Returns:
        Of past (K, B, W, F), hidden, memory (K, B, D) and torch's weights (K, ...); None where not needed.
    """
    steps, replicas, width, batch = joint[1:].shape
    rows = weight.shape[1]
    size = rows // cell.gates
    seen = size * cell.hidden_gates
    of_hidden = weight[:, :seen, :size].mT.contiguous()
    of_features = None if grads[0] is None else grads[0].permute(2, 0, 3, 1)  # (W, K, D, B)
    of_input = weight[:, :, size : size + features].mT
    of_past = joint.new_empty(steps, replicas, features, batch) if needs[0] else None
    total = rest = None  # (K, S, rows that see h), MKL is faster this way round, and (K, F + 1, the others)
    if needs[2]:
        total = weight.new_zeros(replicas, width, seen)
        rest = weight.new_zeros(replicas, width - size, rows - seen) if seen < rows else None
    count = _steps_at_once(joint, replicas * rows * batch, steps)
    gates = joint.new_empty(count, replicas, rows, batch)
    states = joint.new_empty(count + 1, replicas, size, batch)
    _fill(states[-1], None if of_features is None else of_features[-1])
    if grads[1] is not None:
        states[-1] += grads[1].mT
    memory = None
    if kept and cell.has_memory:
        memory = torch.zeros_like(states[0]) if grads[2] is None else grads[2].mT * 0.5  # of 2 c
    for end in range(steps, 0, -count):
        begin = max(0, end - count)
        part, out = states[: end - begin + 1], gates[: end - begin]
        if end < steps:
            part[-1] = states[0]
        _fill(part[1:-1], None if of_features is None else of_features[begin : end - 1])
        _fill(part[0], None if of_features is None or not begin else of_features[begin - 1])
        cell.backward(of_hidden, joint[begin : end + 1], [value[begin:end] for value in kept], part, memory, out)
        if total is not None:
            _add_products(total, joint[begin:end], out[:, :, :seen])
        if rest is not None:
            _add_products(rest, joint[begin:end, :, size:], out[:, :, seen:])
        if of_past is not None:
            for gate, target in zip(out.unbind(), of_past[begin:end].unbind(), strict=True):
                torch.bmm(of_input, gate, out=target)
    return [
        None if of_past is None else of_past.permute(1, 3, 0, 2),
        states[0].mT if needs[1] else None,
        memory.mT * 2 if needs[1] and memory is not None else None,
        *([] if total is None else cell.unpack(total.mT, None if rest is None else rest.mT, size, features)),
    ]


def _fill(target: Tensor, values: Tensor | None) -> None:
    """Write the values, or zeros for None."""
    if values is None:
        target.zero_()
    else:
        target.copy_(values)


def _steps_at_once(joint: Tensor, numbers: int, steps: int) -> int:
    """How many steps to a piece, of so many numbers each."""
    pieces = -(-steps // max(1, CHUNK // numbers)) if joint.device.type == "cpu" else 1
    return -(-steps // pieces)


def _add_products(total: Tensor, joint: Tensor, gates: Tensor) -> None:
    """Add the sum over the steps of joint gates^T, (T, K, S, B) and (T, K, R, B) to (K, S, R)."""
    if len(total) == 1:
        total += torch.bmm(joint.squeeze(1), gates.squeeze(1).mT).sum(0)
        return
    for state, gate in zip(joint.unbind(), gates.mT.unbind(), strict=True):
        total.baddbmm_(state, gate)
