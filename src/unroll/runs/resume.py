"""Continue a run with its own config."""

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from unroll.config import known_keys
from unroll.errors import ConfigError, nearest
from unroll.runs.directory import RunDirectory

CHANGEABLE = ("trainer.", "early_stopping.")


def continued_config(run: RunDirectory, overrides: Sequence[str]) -> DictConfig:
    """The config of an earlier run, with what the command line may change of it.

    Args:
        run: to continue.
        overrides: of the command line, `resume=...` among them.

    Raises:
        RunError: where its config is damaged.
        ConfigError: for an override of anything but trainer.KEY and early_stopping.KEY.
    """
    cfg = OmegaConf.create(run.read_config())
    changes = []
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        if key == "resume":
            continue
        if not key.startswith(CHANGEABLE):
            raise ConfigError(
                f"{override}: resume={run.path} continues the run's own config; only trainer.KEY=VALUE and "
                "early_stopping.KEY=VALUE can be changed"
            )
        if key not in known_keys(cfg) and not override.startswith("+"):
            raise ConfigError(f"there is no key {key}{nearest(key, known_keys(cfg))}")
        changes.append(override.lstrip("+"))
    changed = OmegaConf.merge(cfg, OmegaConf.from_dotlist(changes))
    assert isinstance(changed, DictConfig)
    return changed
