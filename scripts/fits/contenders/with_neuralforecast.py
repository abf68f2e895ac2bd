"""neuralforecast: its GRU, LSTM and RNN (torch.nn's layer, and a head on the last feature).

Where it differs: hidden layers of its head are all of one size, so that a head 16-8 is 16-16 here; each step draws its
batch anew from all windows, so that no batch is smaller than the others, and a step is an epoch of its trainer. As it
comes: its bar and its logger; no checkpoints. Measured: model.fit on a data set that is ready, without the data frame.
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd
from neuralforecast import models
from neuralforecast.losses.pytorch import MSE
from neuralforecast.tsdataset import TimeSeriesDataset

from fits.contenders.common import Done, series
from fits.works import LEARNING_RATE, Sizes


def fit(sizes: Sizes, seed: int, folder: Path) -> Done:
    """Train one seed."""
    values = series(sizes)[: sizes.window_size + sizes.windows + sizes.validation]
    frame = pd.DataFrame({"unique_id": "sine", "ds": np.arange(len(values)), "y": values})
    dataset = TimeSeriesDataset.from_df(frame)[0]
    model = getattr(models, sizes.cell)(
        h=1,
        input_size=sizes.window_size,
        encoder_n_layers=1,
        encoder_hidden_size=sizes.hidden_size,
        decoder_hidden_size=sizes.head_sizes[0] if sizes.head_sizes else 0,
        decoder_layers=len(sizes.head_sizes) + 1,
        loss=MSE(),
        max_steps=sizes.steps,
        val_check_steps=sizes.batches if sizes.validation else sizes.steps,
        learning_rate=LEARNING_RATE,
        batch_size=1,  # series
        windows_batch_size=sizes.batch_size,
        scaler_type="identity",
        random_seed=seed,
        accelerator="cpu",
        devices=1,
        default_root_dir=str(folder),
    )

    begun = time.perf_counter()
    model.fit(dataset, val_size=sizes.validation)
    seconds = time.perf_counter() - begun
    return Done(seconds, len(model.train_trajectories), float(model.train_trajectories[-1][1]))
