"""Lightning as it is usually written: self.log in the step, DataLoader, TensorBoardLogger, ModelCheckpoint, its bar.

Measured: Trainer.fit, with its curves and checkpoints. Outside: the trainer, as unroll's is.
"""

import time
from pathlib import Path

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from fits.contenders.common import Done, Recurrent, datasets
from fits.works import LEARNING_RATE, Sizes


class Model(L.LightningModule):
    """As Lightning's introduction writes it."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.network = Recurrent(sizes)

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        """The loss goes to the bar and to TensorBoard."""
        past, target = batch
        loss = F.mse_loss(self.network(past), target)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_index: int) -> None:
        """The mean over the epoch is what the checkpoint looks at."""
        past, target = batch
        self.log("val_loss", F.mse_loss(self.network(past), target), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)


def fit(sizes: Sizes, seed: int, folder: Path) -> Done:
    """Train one seed."""
    train, validation = datasets(sizes)
    torch.manual_seed(seed)
    model = Model(sizes)
    loader = DataLoader(train, batch_size=sizes.batch_size, shuffle=True)
    validation_loader = DataLoader(validation, batch_size=sizes.batch_size) if sizes.validation else None
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=sizes.epochs,
        limit_train_batches=sizes.batches,
        logger=TensorBoardLogger(folder),
        callbacks=[ModelCheckpoint(monitor="val_loss" if sizes.validation else None)],
    )

    begun = time.perf_counter()
    trainer.fit(model, loader, validation_loader)
    seconds = time.perf_counter() - begun
    return Done(seconds, trainer.global_step, float(trainer.callback_metrics["train_loss"]))
