"""Parameters as one block of memory, so that an optimizer's step is a few operations, not a few a tensor."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FlatParameters:
    """Gives parameters and their gradients views of one block for each dtype; the optimizer gets the blocks.

    torch's optimizers compute element by element, so that the result is the same; but a parameter that a step does not
    reach has a gradient of zero here, and none there. Values that are written into a
    parameter in place, as by load_state_dict, are in the block.

    Args:
        parameters: that need a gradient, on one device. Their values stay; gradients begin with zero.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        kinds: dict[torch.dtype, list[nn.Parameter]] = {}
        for parameter in parameters:
            kinds.setdefault(parameter.dtype, []).append(parameter)
        self.parts = list(kinds.values())
        self.blocks = [nn.Parameter(torch.cat([one.detach().flatten() for one in part])) for part in self.parts]
        self._share()

    def __bool__(self) -> bool:
        return bool(self.blocks)

    def given_to(self, optimizer: torch.optim.Optimizer) -> None:
        """Make an optimizer of the blocks behave as one of the parameters."""
        if not self.blocks:
            return
        ours = {id(block) for block in self.blocks}

        def zero_grad(set_to_none: bool = True) -> None:
            self.zero_grad()
            for group in optimizer.param_groups[1:]:  # were added later
                for parameter in group["params"]:
                    if id(parameter) not in ours:
                        parameter.grad = None

        optimizer.zero_grad = zero_grad  # type: ignore[method-assign]
        optimizer.register_step_pre_hook(lambda *_: self._gather())

    def zero_grad(self) -> None:
        """Set all gradients to zero; they keep their memory."""
        for block in self.blocks:
            if block.grad is not None:
                block.grad.zero_()
        if not self._is_shared():
            self._share()

    def clip_norms(self, largest: float) -> None:
        """Scale the gradients of each replica down to a norm over all its parameters, all of which are (K, ...)."""
        grads = [parameter.grad for part in self.parts for parameter in part if parameter.grad is not None]
        squares = [grad.reshape(len(grad), -1).square().sum(1) for grad in grads]
        norm = torch.stack([square.to(squares[0]) for square in squares]).sum(0).sqrt()
        scale = (largest / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
        for grad in grads:
            grad.mul_(scale.to(grad).view(-1, *[1] * (grad.dim() - 1)))

    def clip_values(self, largest: float) -> None:
        """Clip each gradient to -largest .. largest."""
        for block in self.blocks:
            assert block.grad is not None
            block.grad.clamp_(-largest, largest)

    def shorten_step(self, before: Sequence[Tensor], scale: Tensor) -> None:
        """Go a part of the way from earlier values to those there are now.

        Args:
            before: copies of the blocks.
            scale: (K,) the part, of each replica.
        """
        for old, block, part in zip(before, self.blocks, self.parts, strict=True):
            parts = [scale.to(block).repeat_interleave(parameter.numel() // len(parameter)) for parameter in part]
            torch.lerp(old, block.data, torch.cat(parts), out=block.data)

    def keep(self, chosen: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Go on with some of the replicas; what the optimizer knows of the others is forgotten.

        Args:
            chosen: places of those to keep.
            optimizer: of the blocks, where there is one already.
        """
        for block, part in zip(self.blocks, self.parts, strict=True):
            known = optimizer.state.get(block, {}) if optimizer else {}
            for name, value in known.items():
                if isinstance(value, Tensor) and value.shape == block.shape:
                    pieces = value.split([parameter.numel() for parameter in part])
                    shaped = [piece.view_as(one)[chosen] for piece, one in zip(pieces, part, strict=True)]
                    known[name] = torch.cat([piece.flatten() for piece in shaped])
            kept = [parameter.detach()[chosen] for parameter in part]
            for parameter, value in zip(part, kept, strict=True):
                parameter.grad = None
                parameter.data = value
            block.data = torch.cat([value.flatten() for value in kept])
        self._share()

    def _is_shared(self) -> bool:
        """Whether gradients are in the blocks: module.zero_grad() takes those of parameters away, and Lightning too."""
        pairs = [(block.grad, part[0].grad) for block, part in zip(self.blocks, self.parts, strict=True)]
        return all(whole is not None and one is not None and whole.data_ptr() == one.data_ptr() for whole, one in pairs)

    def _gather(self) -> None:
        """Before a step: what autograd has put elsewhere comes into the blocks."""
        if self._is_shared():
            return
        for block, part in zip(self.blocks, self.parts, strict=True):
            found = [torch.zeros_like(one) if one.grad is None else one.grad for one in part]
            block.grad = torch.cat([grad.flatten() for grad in found])

    def _share(self) -> None:
        """Let the parameters and their gradients be views of the blocks."""
        for block, part in zip(self.blocks, self.parts, strict=True):
            block.grad = torch.zeros_like(block)
            sizes = [parameter.numel() for parameter in part]
            views = zip(part, block.data.split(sizes), block.grad.split(sizes), strict=True)
            for parameter, value, grad in views:
                parameter.data = value.view(parameter.shape)
                parameter.grad = grad.view(parameter.shape)
