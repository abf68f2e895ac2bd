"""unroll as `python train.py` runs it: the config composed from conf/, unroll.train.train, a new run directory each.

Measured: metrics["seconds"]["fit"], which is Lightning's fit with TensorBoard's curves, checkpoints and the bar of a
terminal; all seeds of a run together. The whole call is train(): the data, the fit, its evaluation beside the
baselines, predictions and figures.
"""

import sys
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from rich.console import Console

from fits.contenders.common import Done
from fits.works import LEARNING_RATE, PERIOD, ROW, Sizes
from unroll.checkpoints import load_checkpoint
from unroll.config import check_config
from unroll.train import train

CONF = Path(__file__).parents[3] / "conf"


def overrides(sizes: Sizes, seed: int, folder: Path) -> list[str]:
    """What would be typed behind `python train.py`."""
    start = [f"experiment={sizes.experiment}"] if sizes.experiment else [f"model={sizes.cell.lower()}", "data=sine"]
    series = {
        "points": sizes.points,
        "period": PERIOD,
        "step": "null",
        "span": sizes.points * ROW,
        "noise": 0.0,
        "window_size": sizes.window_size,
        "batch_size": sizes.batch_size,
        "order": "window_then_split",
        "shuffle": "true",
        "validation": sizes.validation,
        "test": sizes.test,
        "transform": "none",
    }
    words = [
        *start,
        *(f"data.{key}={value}" for key, value in series.items()),
        f"model.hidden_size={sizes.hidden_size}",
        f"model.head_sizes=[{','.join(map(str, sizes.head_sizes))}]",
        f"optimizer.lr={LEARNING_RATE}",
        "trainer=cpu",
        f"trainer.max_epochs={sizes.epochs}",
        "early_stopping.patience=null",
        f"seed={seed}",
        f"output_dir={folder}",
    ]
    if sizes.most_batches:
        words.append(f"trainer.limit_train_batches={sizes.batches}")
    if sizes.replicas > 1:
        words.append(f"replicas={sizes.replicas}")
    return words


def fit(sizes: Sizes, seed: int, folder: Path) -> Done:
    """Train all replicas in one run."""
    words = overrides(sizes, seed, folder)
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        cfg = compose("train", overrides=words)
    check_config(cfg)
    result = train(cfg, words, Console(file=sys.stderr, force_terminal=True, width=100))
    steps = load_checkpoint(result.run.last_checkpoint)["global_step"]
    return Done(result.metrics["seconds"]["fit"], steps, float(np.mean(result.metrics["loss"]["train_last"])))
