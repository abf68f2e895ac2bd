"""Build objects from `_target_` configs, from an allow-list only.

A config may come from another person's run directory, so a name in it must never reach arbitrary code. Hydra's
own block list is no security boundary (`torch.load` passes it). Here a target is a class defined in this
package, or one of the optimizers and schedulers below; nothing nested is built.
"""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from unroll.errors import ConfigError, UnrollError, nearest

OPTIMIZERS = (*("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "ASGD", "RMSprop", "Rprop", "SGD"),)
SCHEDULERS = (
    *("ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR"),
    *("LinearLR", "MultiStepLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "StepLR"),
)
TORCH_TARGETS = frozenset(
    [f"torch.optim.{name}" for name in OPTIMIZERS] + [f"torch.optim.lr_scheduler.{name}" for name in SCHEDULERS]
)
PACKAGE = "unroll"

T = TypeVar("T")


def check_target(target: object, key: str) -> str:
    """The target, where it is allowed. Imports nothing.

    Raises:
        ConfigError: for a target outside the allow-list.
    """
    if isinstance(target, str) and (target in TORCH_TARGETS or target.startswith(f"{PACKAGE}.")):
        return target
    raise ConfigError(
        f"{key}={target} is not allowed: only classes of {PACKAGE} and torch's own optimizers and schedulers can be "
        f"built from a config{nearest(str(target), TORCH_TARGETS)}"
    )


def locate(target: object, key: str) -> type:
    """The class that an allowed target names.

    Raises:
        ConfigError: for a target outside the allow-list, a module or class that does not exist, and
            anything that is not a class of this package.
    """
    target = check_target(target, f"{key}._target_")
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(PACKAGE):
            raise  # the module exists, and imports a package that is not installed
        raise ConfigError(f"{key}._target_={target}: there is no module {error.name}") from error
    found = getattr(module, name, None)
    # A module of ours also holds what it imports: only what it defines itself may be built.
    if not isinstance(found, type) or (target not in TORCH_TARGETS and found.__module__ != module_name):
        classes = [n for n, value in vars(module).items() if getattr(value, "__module__", None) == module_name]
        raise ConfigError(f"{key}._target_={target}: {module_name} defines no class {name}{nearest(name, classes)}")
    return found


def build(config: Mapping[str, Any], expected: type[T], key: str, **arguments: Any) -> T:
    """The object that a plain config describes: its `_target_`, called with its keys and some arguments more.

    Args:
        config: plain dict with `_target_`; the other keys are constructor arguments.
        expected: the base class that the target must have.
        key: where the config stands, for error messages.
        arguments: what is known only at run time, such as the number of features.

    Raises:
        ConfigError: where the target is not allowed, a key is not one of its arguments, or it refuses a value.
    """
    target = locate(config["_target_"], key)
    if not issubclass(target, expected):
        raise ConfigError(f"{key}._target_={config['_target_']} is no {expected.__name__}")
    given = [name for name in arguments if name in config]
    if given:
        raise ConfigError(f"{key}.{given[0]} comes from the program: remove it")
    arguments = {name: value for name, value in config.items() if name != "_target_"} | arguments
    parameters = inspect.signature(target).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = [name for name in arguments if name not in parameters and not takes_any]
    if unknown:
        raise ConfigError(
            f"{key}.{unknown[0]}: {target.__name__} has no such argument{nearest(unknown[0], parameters)}; "
            f"it takes {', '.join(parameters)}"
        )
    try:
        return target(**arguments)
    except UnrollError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {target.__name__} refuses its arguments: {error}") from error
