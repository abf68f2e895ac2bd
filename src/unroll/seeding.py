"""Seeds that repeat: every random stream is a function of (seed, purpose, epoch) and of nothing else."""

import numpy as np
import torch

# One number a stream, so that adding a draw to one never shifts another.
WEIGHTS, DROPOUT, SHUFFLE, PATHS = range(4)


def derive_seed(seed: int, purpose: int, epoch: int = 0) -> int:
    """A 63-bit seed for one stream of one epoch.

    Streams depend on the epoch and not on what was drawn before it, so a resumed run continues with the
    draws that the uninterrupted run would have made.
    """
    state = np.random.SeedSequence([seed, purpose, epoch]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def seed_everything(seed: int, device: torch.device) -> None:
    """torch.manual_seed for the CPU and one device alone. torch's own keeps a note for each other kind of device, each
    time, that is never read where there is none.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)
