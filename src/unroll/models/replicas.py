"""K independently seeded copies of a network, computed as one. See replicas.md for what that saves and costs.

`replicate` makes of K networks one whose weights have K before their own dimensions. It takes and gives tensors with K
before theirs. Layers that have a rule here, and our recurrent layers, compute all replicas in one product; a module
that says that it takes `leading_dimensions` (see Network) runs as it is on such parts; torch.func.vmap does the rest,
that is whatever a user wrote of torch's operations. vmap costs about a millisecond more a step.
"""

import copy
import functools
import linecache
import re
import traceback
import warnings
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
ERRORS = (RuntimeError, NotImplementedError, ValueError, TypeError, IndexError)  # whatever torch raises
ALONE = "or train one run a seed (-m seed=...)"
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
        ConfigError: names the operation that cannot be replicated, and the line of the module where it is; or says that
            the network itself cannot learn.
    """
    pair = [copy.deepcopy(network) for network in (networks[0], networks[-1])]
    name = type(pair[0].backbone).__name__
    _check_buffers(pair, name)
    shape, weight = pair[0].shape, next(pair[0].parameters())
    generator = torch.Generator().manual_seed(0)
    past = torch.randn(2, 3, shape.window_size, shape.features, generator=generator).to(weight)
    future = torch.randn(2, 3, shape.horizon, shape.future_features, generator=generator).to(weight)
    whole = replicate(pair)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is slow: nobody has asked yet
        try:
            alone = _singly(pair, past, future)
        except ERRORS as error:
            raise ConfigError(
                f"model: the network fails, also of a single seed{_place(error)}: {_reason(error)}"
            ) from error
        try:
            together = _jointly(whole, past, future)
        except ERRORS as error:
            raise ConfigError(
                f"replicas: {name} cannot be replicated{_place(error)}: {_reason(error)}: write it otherwise, {ALONE}"
            ) from error
    pairs = zip(together, alone, strict=True)
    off = max(float((one - other).abs().max()) / (float(other.abs().max()) or 1.0) for one, other in pairs)
    if not off <= TOLERANCE:
        raise ConfigError(
            f"replicas: {name} cannot be replicated: two replicas together forecast otherwise than each alone (by "
            f"{off:.1%}){_suspect(pair[0])}; mend it, {ALONE}"
        )


def _singly(pair: Sequence[Network], past: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
    """The forecasts of each network in training, with the masks of its own seed, and in evaluation."""
    learnt = []
    for seed, (network, *windows) in enumerate(zip(pair, past, future, strict=True)):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            learnt.append(network.train().distribution(*windows))
    made = torch.stack(learnt)
    made.sum().backward()
    with torch.no_grad():
        given = zip(pair, past, future, strict=True)
        return made.detach(), torch.stack([network.eval().distribution(*windows) for network, *windows in given])


def _jointly(whole: Network, past: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
    """The same of both replicated."""
    with replica_generators([torch.Generator(past.device).manual_seed(seed) for seed in range(2)]):
        made = whole.distribution(past, future)
    made.sum().backward()
    with torch.no_grad():
        return made.detach(), whole.eval().distribution(past, future)


def _check_buffers(pair: Sequence[Network], name: str) -> None:
    """A buffer that is not kept with the weights must be the same for all replicas."""
    saved, others = pair[0].state_dict().keys(), dict(pair[1].named_buffers())
    for buffer, value in pair[0].named_buffers():
        if buffer not in saved and not torch.equal(value, others[buffer]):
            raise ConfigError(
                f"replicas: {name} cannot be replicated: its buffer {buffer} follows the seed, and is not kept with "
                "the weights: register it with persistent=True"
            )


def _reason(error: BaseException) -> str:
    """What is wrong, where torch speaks of vmap, which nobody called, in other words."""
    said = " ".join(str(error).split("\n\n")[0].partition(" Hint:")[0].split())[:300].rstrip(".")
    if "random operation" in said:
        return "it draws random numbers, and only those of nn.Dropout can be drawn by replica"
    missing = re.search(r"atching rule not implemented for (\S+?)[.,]? ", f"{said} ")
    if missing:
        return (
            f"{missing[1]} has no rule for replicas (of torch's recurrent layers only subclasses have none: build them "
            "on those of unroll.models.layers)"
        )
    return said


def _suspect(network: Network) -> str:
    """What is the likely cause of another result."""
    for path, module in network.named_modules():
        plain = [name for name, value in vars(module).items() if isinstance(value, Tensor)]
        if plain:
            return f": {path}.{plain[0]} is no parameter and no buffer (register_buffer)"
        ours = type(module).__module__.startswith("unroll.models") or not path
        if not ours and getattr(module, "leading_dimensions", False):
            return f": is leading_dimensions = True right in {type(module).__name__}?"
    return ": does it keep state of its own?"


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
