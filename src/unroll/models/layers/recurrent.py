"""What the layers share: when they are torch.nn's own, and how layers stand on top of each other."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unroll.models.layers.cell import Cell
from unroll.models.layers.dropout import draw_mask, draw_masks, runs_eagerly
from unroll.models.layers.scan import scan

LARGE = 600_000  # W * B * D
MANY = 4000  # W * B
WIDE = 100  # D


class Recurrent(nn.RNNBase):
    """Goes before nn.RNN, nn.LSTM or nn.GRU among the bases of a layer, and gives it a second way to its results.

    The second way (scan.py) is taken on a CPU where it is the quicker one, and under torch.func.vmap always, where
    torch's layers cannot go. torch's own way is taken on a GPU, and for what the second does not know: packed
    sequences, projections, two directions, half precision and autocast, empty input, and whatever is exported, compiled
    or traced. Both agree to float tolerance, and draw the same dropout masks on a CPU. The features of the second way
    lie batch last in memory, and have no second derivative.

    A layer whose parameters have a leading dimension K runs K replicas at once, the second way, on any device. All it
    takes and gives has that dimension then: input (K, B, W, F), features (K, B, W, D), states (K, num_layers, B, D).
    The results and the dropout masks are those of torch.func.vmap over the layer, without what vmap costs.
    """

    def _cell(self) -> Cell:
        """The layer's mathematics."""
        raise NotImplementedError

    def forward(self, input: Any, hx: Any = None) -> Any:
        """As torch.nn's layer of that name.

        Raises:
            NotImplementedError: for replicas, of what only torch's own way knows.
            ValueError: where input, states and weights are of different numbers of replicas.
        """
        direct = self._direct()
        unknown = self._unknown(input, hx, direct)
        replicated = direct or self._replicated(input, hx)
        if unknown is None and (replicated or self._gains(input)):
            return self._scan(input, hx, direct)
        if replicated:
            raise NotImplementedError(f"{type(self).__name__} cannot be replicated with {unknown}")
        return super().forward(input, hx)

    def last(self, input: Any, hx: Any = None) -> Tensor:
        """The last feature alone: `forward`'s features[:, -1], quicker, for its gradient is not one of all features.

        Args:
            input: as of `forward`; of packed sequences each has its own last.
            hx: as of `forward`.

        Returns:
            (B, D), or (D,) of an input without B, or (K, B, D) of replicas.
        """
        features, states = self(input, hx)
        state: Tensor = states[0] if isinstance(states, tuple) else states
        if self.bidirectional:  # whose second half has its final state at the first row
            last: Tensor = features.select(-3 if features.dim() == 3 and not self.batch_first else -2, -1)
            return last
        batched = state.dim() - self._direct() == 3
        return state.squeeze(-3) if batched and self.num_layers == 1 else state.select(-3 if batched else -2, -1)

    def _direct(self) -> bool:
        """Whether the parameters are those of K replicas."""
        weight = self.weight_ih_l0
        return isinstance(weight, Tensor) and weight.dim() == 3

    def _gains(self, input: Tensor) -> bool:
        """Whether the second way is the quicker one for a single replica, as measured with torch 2.13 on one thread.

        Measured over W 3 to 80, B 16 to 500, D 8 to 64. Each call costs more than torch's, each step less. So it takes
        8 steps and a backward pass, or many rows. Large hidden sizes are all matrix products, in which both are alike.
        oneDNN's LSTM, for float32 alone, is twice as fast while its memory stays in the cache.
        """
        if input.device.type != "cpu":
            return False
        tensors = [input, *self._parameters.values()]  # self.parameters() takes ten times as long
        trains = torch.is_grad_enabled() and any(w.requires_grad for w in tensors if w is not None)
        if self.mode == "LSTM" and input.dtype == torch.float32 and torch.backends.mkldnn.is_available():
            return trains and input.numel() // self.input_size * self.hidden_size >= LARGE
        steps = input.shape[0 if input.dim() == 2 or not self.batch_first else 1]
        many = input.numel() // self.input_size >= MANY
        return steps >= 8 and self.hidden_size < WIDE and (trains or many)

    def _unknown(self, input: Tensor | PackedSequence, hx: Any, direct: bool) -> str | None:
        """What the second way does not know about this call, if anything."""
        if isinstance(input, PackedSequence):
            return "packed sequences"
        if not runs_eagerly():
            return "export, compilation or tracing"
        weight = self.weight_ih_l0
        states = hx if isinstance(hx, tuple) else () if hx is None else (hx,)
        for name, found in (
            ("bidirectional=True", self.bidirectional),
            ("proj_size > 0", self.proj_size > 0),
            (f"dtype {input.dtype}", input.dtype not in (torch.float32, torch.float64) or input.dtype != weight.dtype),
            ("autocast", torch.is_autocast_enabled(input.device.type)),
            ("weights on another device", input.device != weight.device),
            ("empty input, or one without batch and time", input.dim() - direct not in (2, 3) or input.numel() == 0),
            ("states of another number of dimensions", any(state.dim() != input.dim() for state in states)),
        ):
            if found:
                return name
        return None

    def _replicated(self, input: Any, hx: Any) -> bool:
        """Whether this runs under vmap."""
        if not torch._C._are_functorch_transforms_active():
            return False
        tensors = [*self._parameters.values(), *(hx if isinstance(hx, tuple) else (hx,))]
        tensors.append(input.data if isinstance(input, PackedSequence) else input)
        return any(torch._C._functorch.is_batchedtensor(tensor) for tensor in tensors if isinstance(tensor, Tensor))

    def _scan(self, input: Tensor, hx: Any, direct: bool) -> Any:
        """The second way. All dimensions are counted from the last: `direct` puts K before them."""
        batched = input.dim() == 3 + direct
        states = hx if isinstance(hx, tuple) else (hx, None)
        if not batched:
            input = input.unsqueeze(-3 if self.batch_first else -2)
            states = tuple(None if state is None else state.unsqueeze(-2) for state in states)
        self._check(input, states, direct)
        features = input if self.batch_first else input.transpose(-3, -2)  # (B, W, F)
        if self.mode == "LSTM" and states[1] is None:
            batch = features.shape[:-2]
            states = (None, features.new_zeros(*batch[:-1], self.num_layers, batch[-1], self.hidden_size))
        cell, ends = self._cell(), []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                in_time = features.transpose(-3, -2)  # (W, B, D), as torch's layers draw it
                mask = (draw_masks if direct else draw_mask)(in_time, self.dropout)
                features = features * mask.transpose(-3, -2)
            hidden, memory = (None if state is None else state.select(-3, layer) for state in states)
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if self.bias else ("weight_ih", "weight_hh")
            tensors = features, hidden, memory, *(getattr(self, f"{name}_l{layer}") for name in names)
            keep = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)
            features, *end = scan(cell, direct, keep, *tensors)[:3]
            ends.append(end)
        found = [
            torch.stack(state, -3) if layer else state[0].unsqueeze(-3)
            for state in zip(*ends, strict=True)
            if state[0] is not None
        ]
        features = features if self.batch_first else features.transpose(-3, -2)
        if not batched:
            features = features.squeeze(-3 if self.batch_first else -2)
            found = [state.squeeze(-2) for state in found]
        return features, (found[0] if len(found) == 1 else tuple(found))

    def _check(self, input: Tensor, states: tuple[Tensor | None, ...], direct: bool) -> None:
        """Refuse wrong shapes as torch's layers do."""
        if direct:
            counts = [len(tensor) for tensor in (input, *states, *self._parameters.values()) if tensor is not None]
            if len(set(counts)) > 1:
                raise ValueError(f"input, states and weights of different numbers of replicas: {counts}")
            input, states = input[0], tuple(None if state is None else state[0] for state in states)
        given = states if states[1] is not None else states[0]
        if given is None:
            self.check_input(input, None)
        else:
            self.check_forward_args(input, given, None)  # type: ignore[arg-type]
