"""Recurrent layers that are torch.nn's, faster on a CPU, and that torch.func.vmap can replicate."""

from unroll.models.layers.dropout import Dropout, drop_replicas, replica_generators
from unroll.models.layers.gru import GRU
from unroll.models.layers.lstm import LSTM
from unroll.models.layers.rnn import RNN

__all__ = ["GRU", "LSTM", "RNN", "Dropout", "drop_replicas", "replica_generators"]
