"""K independently seeded copies of a network, computed as one. See replicas.md for what that saves and costs.

`replicate` makes of K networks one whose weights have K before their own dimensions. It takes and gives tensors with K
before theirs. Layers that have a rule here, and our recurrent layers, compute all replicas in one product; a module
that says that it takes `leading_dimensions` (see Network) runs as it is on such parts; torch.func.vmap does the rest,
that is whatever a user wrote of torch's operations. vmap costs about a millisecond more a step.
"""

import copy
import functools
import linecache
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from unroll.errors import ConfigError
from unroll.models.layers import Dropout, drop_replicas, replica_generators
from unroll.models.layers.recurrent import Recurrent
from unroll.models.network import Network

ELEMENTWISE = (nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus)
TOLERANCE = 1e-3  # of a replica's forecasts, relative to their size: far above roundings, far below a mistake


def replicate(networks: Sequence[Network]) -> Network:
    """One network of K. Its parameters and buffers have the names of a single one's, and are stacked, (K, ...).

    Its `forward` takes past (K, B, W, F) and future (K, B, H, C), and returns (K, B, H).

    Args:
        networks: of one config; they stay as they are.
    """
    whole, single = copy.deepcopy(networks[0]), copy.deepcopy(networks[0])
    states = [_tensors(network) for network in networks]
    stacked: dict[int, Tensor] = {}  # of a tensor with two names there is one
    for name, tensor in _tensors(whole).items():
        if id(tensor) not in stacked:
            values = torch.stack([state[name].detach() for state in states])
            kept = (
                nn.Parameter(values, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values
            )
            stacked[id(tensor)] = kept
        path, _, leaf = name.rpartition(".")
        owner = whole.get_submodule(path)
        if isinstance(owner, Recurrent):
            owner.flatten_parameters = _nothing  # type: ignore[method-assign]  # cuDNN's order is that of one replica
        setattr(owner, leaf, stacked[id(tensor)])
    _give_rules(whole, single)
    return whole


def check_replicas(networks: Sequence[Network]) -> None:
    """Let two replicas forecast and learn, to see that they can, and that they forecast as each does alone.

    Raises:
        ConfigError: names the operation that cannot be replicated, and the line of the module where it is.
    """
    pair = [copy.deepcopy(network) for network in (networks[0], networks[-1])]
    name = type(pair[0].backbone).__name__
    shape, weight = pair[0].shape, next(pair[0].parameters())
    generator = torch.Generator().manual_seed(0)
    past = torch.randn(2, 3, shape.window_size, shape.features, generator=generator).to(weight)
    future = torch.randn(2, 3, shape.horizon, shape.future_features, generator=generator).to(weight)
    try:
        whole = replicate(pair)
        masks = [torch.Generator(weight.device).manual_seed(seed) for seed in range(2)]
        with replica_generators(masks):
            whole(past, future).sum().backward()
        with torch.no_grad():
            made = whole.eval()(past, future)
            given = zip(pair, past, future, strict=True)
            alone = torch.stack([network.eval()(*windows) for network, *windows in given])
    except (RuntimeError, NotImplementedError, ValueError, TypeError, IndexError) as error:
        reason = " ".join(str(error).split("\n\n")[0].split())[:300].rstrip(".")
        raise ConfigError(
            f"replicas: {name} cannot be replicated{_place(error)}: {reason}: write it otherwise, or train one run a "
            "seed (-m seed=0,1,2)"
        ) from error
    off = float((made - alone).abs().max()) / (float(alone.abs().max()) or 1.0)
    if not off <= TOLERANCE:
        raise ConfigError(
            f"replicas: {name} cannot be replicated: two replicas together forecast otherwise than each alone (by "
            f"{off:.1%}): does it keep state of its own, or say leading_dimensions wrongly? Train one run a seed "
            "instead (-m seed=0,1,2)"
        )


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; one that has two names under both."""
    named: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
    return named | dict(module.named_buffers(remove_duplicate=False))


def _give_rules(module: nn.Module, single: nn.Module) -> None:
    """Let a module compute replicas: by a rule, by its parts, or by vmap.

    Args:
        module: with stacked weights; its `forward` is replaced.
        single: the same with one replica's weights, which vmap needs for its code alone.
    """
    rule = RULES.get(type(module))
    if rule:
        module.forward = functools.partial(rule, module)
    elif isinstance(module, nn.Sequential) or getattr(module, "leading_dimensions", False):
        for name, part in module.named_children():
            _give_rules(part, single.get_submodule(name))
    elif not isinstance(module, (*ELEMENTWISE, Recurrent)):  # these take replicas as they are
        module.forward = functools.partial(_by_vmap, module, single)


def _linear(module: nn.Linear, input: Tensor) -> Tensor:
    """(K, ..., inputs) to (K, ..., outputs)."""
    rows, weight = input.flatten(1, -2), module.weight.mT
    made = torch.bmm(rows, weight) if module.bias is None else torch.baddbmm(module.bias.unsqueeze(1), rows, weight)
    return made if input.dim() == 3 else made.unflatten(1, input.shape[1:-1])


def _dropout(module: nn.Dropout, input: Tensor) -> Tensor:
    """(K, ...)."""
    return drop_replicas(input, module.p) if module.training else input


def _by_vmap(module: nn.Module, single: nn.Module, *inputs: Tensor) -> Any:
    """What a user wrote. Random numbers are for our layers alone: from any other source they would not be a seed's."""
    if single.training != module.training:
        single.train(module.training)
    replicated = vmap(functools.partial(functional_call, single), randomness="error")
    return replicated(dict(module.named_parameters()) | dict(module.named_buffers()), inputs)


RULES: dict[type[nn.Module], Callable[..., Tensor]] = {nn.Linear: _linear, Dropout: _dropout}


def _nothing() -> None:
    pass


def _place(error: BaseException) -> str:
    """The last line of the error's way that is neither torch's nor ours."""
    ours = (Path(torch.__file__).parent, Path(__file__).parent / "layers", Path(__file__))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if not any(path.is_relative_to(folder) for folder in ours) and path.name != "network.py":
            return f", {path.name} line {frame.lineno} ({linecache.getline(frame.filename, frame.lineno or 0).strip()})"
    return ""
