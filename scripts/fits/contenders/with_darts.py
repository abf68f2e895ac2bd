"""darts: BlockRNNModel, which is the same network (torch.nn's layer, and a head with ReLU on the last feature).

As darts comes: its bar, its DataLoader, its Lightning trainer; it writes no curves and no checkpoints unless asked, and
was not asked. Measured: model.fit(series), in which darts also makes its windows' index and the network.
"""

import time
from pathlib import Path

from darts import TimeSeries
from darts.models import BlockRNNModel

from fits.contenders.common import Done, series
from fits.works import LEARNING_RATE, Sizes


def fit(sizes: Sizes, seed: int, folder: Path) -> Done:
    """Train one seed."""
    values = series(sizes)
    end = sizes.window_size + sizes.windows
    train = TimeSeries.from_values(values[:end])
    validation = TimeSeries.from_values(values[sizes.windows : end + sizes.validation]) if sizes.validation else None
    model = BlockRNNModel(
        input_chunk_length=sizes.window_size,
        output_chunk_length=1,
        model=sizes.cell,
        hidden_dim=sizes.hidden_size,
        n_rnn_layers=1,
        hidden_fc_sizes=list(sizes.head_sizes),
        batch_size=sizes.batch_size,
        n_epochs=sizes.epochs,
        optimizer_kwargs={"lr": LEARNING_RATE},
        random_state=seed,
        work_dir=str(folder),
        pl_trainer_kwargs={"accelerator": "cpu", "limit_train_batches": sizes.batches},
    )

    begun = time.perf_counter()
    model.fit(train, val_series=validation)
    seconds = time.perf_counter() - begun
    return Done(seconds, model.trainer.global_step, float(model.trainer.callback_metrics["train_loss"]))
