"""Train a recurrent forecaster and compare it with simple baselines.

python train.py                                      a GRU on a noisy sine
python train.py model=lstm data=cinema trainer=cpu   choose from each group of conf/
python train.py -m data.window_size=7,14 seed=0,1,2  a sweep, and its leaderboard
python train.py --help                               what can be chosen and set
"""

import unroll.early  # noqa: F401  before all others

# isort: split
import os
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from unroll.cli import check_keys, one_line_errors
from unroll.config import check_config, check_value
from unroll.errors import ConfigError
from unroll.hydra_settings import checked_hydra
from unroll.runs.directory import RunDirectory
from unroll.runs.resume import continued_config

CONFIG_DIR = Path(__file__).parent / "conf"


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float:
    """One run, or one job of a sweep. Returns what a search minimises."""
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        from unroll.sweeps.job import run_job

        return run_job(cfg, CONFIG_DIR)
    with one_line_errors(CONFIG_DIR):
        return run(cfg)


def run(cfg: DictConfig) -> float:
    """Check the config, then train."""
    about = HydraConfig.get()
    typed = OmegaConf.to_container(about.overrides.task)  # unresolved, as they were typed
    assert isinstance(typed, list)
    overrides = [str(word) for word in typed]
    check_keys(cfg, dict(about.runtime.choices), overrides, CONFIG_DIR)
    check_value("resume", cfg.get("resume"))
    study = about.runtime.choices.get("sweep")
    if study not in (None, "null"):
        raise ConfigError(f"sweep={study} is a sweep: add -m (python train.py -m sweep={study})")
    if cfg.get("resume") is None:
        check_config(cfg)
    else:
        check_config(continued_config(RunDirectory.open(Path(cfg.resume)), overrides), new=False)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(cfg.threads))  # NumPy reads it when it is imported

    from unroll.train import train  # torch and lightning take seconds: a wrong config must not wait for them

    return train(cfg, overrides).score


if __name__ == "__main__":
    with one_line_errors(CONFIG_DIR), checked_hydra():
        main()
