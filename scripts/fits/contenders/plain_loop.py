"""The loop of the tutorials: torch.nn, DataLoader, zero_grad, backward, step. No checkpoint, no curves, no bar.

Measured: the loader, the optimizer and the epochs, with validation where the work has one.
"""

import itertools
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from fits.contenders.common import Done, Recurrent, datasets
from fits.works import LEARNING_RATE, Sizes


def fit(sizes: Sizes, seed: int, folder: Path) -> Done:
    """Train one seed."""
    train, validation = datasets(sizes)
    torch.manual_seed(seed)
    network, criterion = Recurrent(sizes), nn.MSELoss()

    begun = time.perf_counter()
    loader = DataLoader(train, batch_size=sizes.batch_size, shuffle=True)
    validation_loader = DataLoader(validation, batch_size=sizes.batch_size)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    history: list[tuple[float, float]] = []  # mean loss of training and of validation, an epoch
    steps = 0
    for _ in range(sizes.epochs):
        network.train()
        total, seen, checked = 0.0, 0, 0.0
        for past, target in itertools.islice(loader, sizes.batches):
            optimizer.zero_grad()
            loss = criterion(network(past), target)
            loss.backward()
            optimizer.step()
            total, seen, steps = total + loss.item() * len(target), seen + len(target), steps + 1
        if sizes.validation:
            network.eval()
            with torch.no_grad():
                for past, target in validation_loader:
                    checked += criterion(network(past), target).item() * len(target)
        history.append((total / seen, checked / max(1, sizes.validation)))
    seconds = time.perf_counter() - begun
    return Done(seconds, steps, history[-1][0])
