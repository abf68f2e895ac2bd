"""Continue a run with its own config."""

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from unroll.config import check_config, known_keys, plain
from unroll.errors import ConfigError, RunError, nearest
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
    check_config(changed, new=False)
    return changed


def check_continuation(cfg: DictConfig, run: RunDirectory, done: int, steps: int, *, inside_epoch: bool) -> None:
    """Whether a run can be continued so that it equals one that was never stopped.

    Args:
        cfg: from `continued_config`.
        run: to continue.
        done: epochs that it has trained; 0 where it has no checkpoint.
        steps: optimizer steps that it has made.
        inside_epoch: whether it ended inside an epoch.

    Raises:
        RunError: where it cannot.
    """
    trainer = run.read_config()["trainer"]
    asked, before = cfg.trainer.max_epochs, trainer["max_epochs"]
    if cfg.trainer.fast_dev_run and not trainer["fast_dev_run"]:
        raise RunError(f"trainer.fast_dev_run=true: {run.path} is a real run: try things in a new one")
    if cfg.trainer.max_steps != trainer["max_steps"] and 0 < cfg.trainer.max_steps <= steps:
        raise RunError(
            f"trainer.max_steps={cfg.trainer.max_steps}: {run.path} has made {steps} steps already: ask for more"
        )
    if asked < done:
        raise RunError(f"trainer.max_epochs={asked}: {run.path} has trained {done} epochs already: ask for more")
    if inside_epoch:
        raise RunError(
            f"{run.path} ended inside epoch {done} (by trainer.max_steps or the like), and a run goes on from the end "
            "of an epoch only: start a new one"
        )
    if cfg.get("replicas", 1) > 1 and plain(cfg.early_stopping) != run.read_config()["early_stopping"]:
        raise RunError(
            f"early_stopping.*: the replicas of {run.path} stop by what was asked at first, and what has stopped "
            "cannot go on: start a new run"
        )
    tied = [key for key in ("T_max", "total_iters", "epochs") if cfg.scheduler and cfg.scheduler.get(key) == before]
    if tied and asked != before:
        raise RunError(
            f"scheduler.{tied[0]}={before} is tied to trainer.max_epochs: a run of {asked} epochs has other learning "
            "rates from its first epoch on: start a new one"
        )
