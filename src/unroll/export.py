"""A finished run as one file for other programs: raw values in, raw forecasts out, without this package.

torch-export   module = torch.export.load("model.pt2").module()
               module(past)                             past (B, W, F) float64 tensor, to (B, H) float64
onnx           session = onnxruntime.InferenceSession("model.onnx")
               session.run(None, {"past": past})[0]     past (B, W, F) float64 array, to (B, H) float64

All values are in the series' own units: the transform is inside. B is free, W and F are the run's. A run with columns
that are known ahead takes a second input, `future` (B, H, C). Both files say which columns these are, and how those of
the calendar are made from dates, as JSON: the extra file `unroll.json` of the first (`torch.export.load(...,
extra_files={"unroll.json": ""})`), the entry `unroll` of the other's metadata. Neither holds values of the series, or
paths of this machine.

Of a run with replicas a file holds all the networks, and gives the mean of their forecasts: 16 GRUs of 32 units make a
file of 0.6 MB, and take 4 s more than one to write (12 s as ONNX).

Whom a reader must trust: `torch.export.load` unpickles (torch 2.13 reads parts of the archive with
`weights_only=False`, and falls back to that for others), so a .pt2 from a stranger can run any program. Load only files
that you or somebody you trust wrote. An ONNX file holds numbers and a list of operators: nothing in it is unpickled.
"""

import copy
import importlib
import importlib.util
import io
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from unroll.data.module import WindowDataModule
from unroll.data.series import FloatArray
from unroll.data.transforms import Transform
from unroll.data.windows import WindowShape
from unroll.errors import ConfigError, RunError
from unroll.evaluation.made import forecast
from unroll.load import LoadedRun
from unroll.models.network import Network
from unroll.runs.files import replace_file

ABOUT = "unroll.json"
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
BATCH_SIZES = (1, 2, 7)  # that a file is checked with, beside all windows at once
CALLS = 1000  # at most, for each of these sizes
TOLERANCE = 1e-5  # of the target's spread, or of the largest forecast: some 80 roundings in float32

Program = Callable[[Sequence[FloatArray]], FloatArray]


class RawForecaster(nn.Module):
    """Networks with their transform around them, both ways.

    Args:
        networks: of the replicas, one for a run without; copies are kept, without dropout and without gradients.
        transform: of the series' columns.
    """

    def __init__(self, networks: Sequence[Network], transform: Transform) -> None:
        super().__init__()
        copies = [copy.deepcopy(network).cpu().eval().requires_grad_(False) for network in networks]
        self.networks = nn.ModuleList(copies)
        self.shape = networks[0].shape
        self.dtype = next(networks[0].parameters()).dtype
        self.transform = transform

    def forward(self, past: Tensor, future: Tensor | None = None) -> Tensor:
        """The networks' mean forecast, float64 in the series' units on both sides: a large level eats no small change.

        Args:
            past: (B, W, F).
            future: (B, H, C) the columns known ahead; None where C is 0.

        Returns:
            (B, H).
        """
        columns = list(self.shape.future_columns)
        scaled = self.transform.apply(past).to(self.dtype)  # (B, W, F)
        if future is None:
            ahead = scaled.new_zeros(scaled.shape[0], self.shape.horizon, 0)
        else:
            ahead = self.transform.only(columns).apply(future).to(self.dtype)  # (B, H, C)
        made = [self.transform.target_to_units(network(scaled, ahead).to(torch.float64)) for network in self.networks]
        return made[0] if len(made) == 1 else torch.stack(made).mean(0)  # of K times (B, H)


@dataclass(frozen=True)
class Export:
    """A file that was written, and how it compares with the run's own forecasts.

    Args:
        path: the file.
        inputs: shape by name, B first.
        segment: whose windows were compared: test, or train where there is no test segment.
        windows: how many.
        batch_sizes: that they were given in.
        difference: the largest, in the series' units.
        relative: to the standard deviation of the target.
    """

    path: Path
    inputs: dict[str, tuple[str | int, ...]]
    segment: str
    windows: int
    batch_sizes: tuple[int, ...]
    difference: float
    relative: float


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Args:
        suffix: of its name.
        needs: packages beyond those of this one.
        pack: a program and what is to be said about it, to the file's bytes.
        open: a file, to what it computes.
    """

    suffix: str
    needs: tuple[str, ...]
    pack: Callable[[ExportedProgram, str], bytes]
    open: Callable[[Path], Program]


def export_run(loaded: LoadedRun, kind: str = "torch-export", path: Path | None = None) -> Export:
    """Write a run's best epoch (of all replicas, where there are several) as one file, which replaces another.

    It gets its name only after it was loaded again and found to forecast as the run itself does.

    Args:
        loaded: the run.
        kind: torch-export | onnx.
        path: the file; None: `export/model.pt2` (or .onnx) in the run directory.

    Raises:
        ConfigError: where packages are missing, or the file's name has another suffix.
        RunError: where the network cannot be exported, the file not be written, or where it forecasts otherwise.
    """
    one = "" if loaded.number is None else f"_replica{loaded.number}"
    path = check_output(kind, path or loaded.run.path / "export" / f"model{one}{FORMATS[kind].suffix}")
    form, network = FORMATS[kind], loaded.forecaster.network
    series, networks = loaded.trained.series, []
    for state in loaded.weights["best"]:
        loaded.forecaster.load_state_dict(state)
        networks.append(copy.deepcopy(network))
    raw = RawForecaster(networks, loaded.trained.transform)
    about = {
        "run": loaded.run.path.name,
        "series": series.name,
        "kind": series.kind,
        "unit": series.unit,
        "target": series.columns[0],
        "past": list(series.columns),
        "future": list(series.known_ahead),
        "calendar": loaded.trained.calendar.recipes,
        "window_size": network.shape.window_size,
        "horizon": network.shape.horizon,
        "networks": len(networks),
    }
    with _calm():
        try:
            packed = form.pack(trace(raw), json.dumps(about, indent=2))
        except Exception as error:  # whatever torch says of a backbone of the user's own
            name, reason = type(network.backbone).__name__, (str(error).splitlines() or [""])[0]
            raise RunError(
                f"{loaded.run.path}: {kind} cannot hold the backbone {name} ({type(error).__name__}: {reason})"
            ) from error
    result: list[Export] = []

    def write(partial: Path) -> None:
        partial.write_bytes(packed)
        result.append(_checked(form.open(partial), loaded, path))

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, write)
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error.strerror or error}): name another --output FILE") from error
    return result[0]


def check_output(kind: str, path: Path | None) -> Path:
    """What can be said before a run is loaded: whether a file of this kind can be made, and its name fits.

    Raises:
        ConfigError: where not.
    """
    if kind not in FORMATS:
        raise ConfigError(f"--format {kind}: there is no such format; choose from: {', '.join(FORMATS)}")
    form = FORMATS[kind]
    missing = [name for name in form.needs if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"--format {kind} needs packages that are not installed ({', '.join(missing)}): "
            f"pip install {' '.join(form.needs)}"
        )
    path = path or Path(f"model{form.suffix}")
    if path.suffix != form.suffix:
        raise ConfigError(f"--output {path}: the name of a {kind} file ends in {form.suffix}")
    return path


def trace(raw: RawForecaster) -> ExportedProgram:
    """The network as torch.export sees it, for any number of windows at once."""
    shape = raw.shape
    # Zeros, because the file keeps them; two windows, because torch takes a size of 1 for one that is always 1.
    inputs = [torch.zeros(2, shape.window_size, shape.features, dtype=torch.float64)]
    if shape.future_features:
        inputs.append(torch.zeros(2, shape.horizon, shape.future_features, dtype=torch.float64))
    batch = Dim("batch")
    sizes = {name: {0: batch} for name in _inputs(shape)}
    program = torch.export.export(raw, tuple(inputs), dynamic_shapes=sizes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # the files and lines of this machine
    return program


def _checked(program: Program, loaded: LoadedRun, path: Path) -> Export:
    """Compare a file with the run's own forecasts, in several batch sizes.

    Raises:
        RunError: where they differ by more than roundings.
    """
    datamodule = loaded.trained
    segment = "test" if len(datamodule.origins("test")) else "train"
    loader = datamodule.loader(segment)
    origins, transform, target = datamodule.origins(segment), datamodule.transform, datamodule.series.target
    each = []
    for state in loaded.weights["best"]:
        loaded.forecaster.load_state_dict(state)
        made = forecast(loaded.forecaster.cpu(), loader).numpy().astype(np.float64)
        each.append(transform.invert_target(made))
    expected = np.mean(each, axis=0)
    sizes = (*BATCH_SIZES, min(len(origins), loader.batch_size))
    difference = scaled = 0.0
    for size in sizes:
        for chosen in _batches(len(origins), size):
            found = program(raw_windows(datamodule, origins[chosen]))
            if found.shape != expected[chosen].shape or found.dtype != np.float64:
                raise RunError(
                    f"{path} was not written: {size} windows give a forecast of shape {found.shape} and type "
                    f"{found.dtype}, not {expected[chosen].shape} and float64"
                )
            difference = max(difference, _largest(found - expected[chosen]))
            scaled = max(scaled, _largest(transform.apply_target(found) - transform.apply_target(expected[chosen])))
    spread = float(target.std())
    # roundings are those of the network, which computes in scaled units
    allowed = TOLERANCE * max(float(transform.apply_target(target).std()), _largest(transform.apply_target(expected)))
    if scaled > allowed:
        raise RunError(
            f"{path} was not written: its forecasts differ from the run's own by up to {difference:.3g} "
            f"({scaled:.3g} in scaled units, of which roundings explain {allowed:.3g})"
        )
    relative = difference / spread if spread else math.inf
    inputs = _inputs(loaded.forecaster.network.shape)
    return Export(path, inputs, segment, len(origins), tuple(dict.fromkeys(sizes)), difference, relative)


def raw_windows(datamodule: WindowDataModule, origins: np.ndarray) -> list[FloatArray]:
    """What a file takes: past (B, W, F), and future (B, H, C) where C > 0, in the series' units."""
    values, columns = datamodule.series.values, list(datamodule.shape.future_columns)
    windows = [values[origins[:, None] + np.arange(-datamodule.window_size, 0)]]
    if columns:
        windows.append(values[origins[:, None] + np.arange(datamodule.horizon)][:, :, columns])
    return windows


def _batches(count: int, size: int) -> Iterator[np.ndarray]:
    """Numbers of windows in batches of one size, over all of them where these are not too many."""
    full = -(-count // size) * size
    chosen = np.arange(full) % count  # the last batch is filled up: every one has the size
    if size in BATCH_SIZES and full > CALLS * size:
        chosen = np.linspace(0, count - 1, CALLS * size).astype(np.int64)
    yield from chosen.reshape(-1, size)


def _largest(values: FloatArray) -> float:
    """The largest absolute value; infinite where one is no number."""
    largest = float(np.abs(values).max())
    return largest if math.isfinite(largest) else math.inf


def _inputs(shape: WindowShape) -> dict[str, tuple[str | int, ...]]:
    """The names and shapes of what a file takes."""
    inputs: dict[str, tuple[str | int, ...]] = {"past": ("B", shape.window_size, shape.features)}
    if shape.future_features:
        inputs["future"] = ("B", shape.horizon, shape.future_features)
    return inputs


@contextmanager
def _calm() -> Iterator[None]:
    """Leave out what torch says of itself while it exports."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        # torch's own recurrent layers keep a list of their weights, and put it back after export.
        warnings.filterwarnings("ignore", r".*_flat_weights.* assigned during export", UserWarning)
        warnings.filterwarnings("ignore", r".*LeafSpec.*", FutureWarning)  # torch.onnx 2.13, of torch itself
        logger.setLevel(logging.ERROR)  # it lists what it would do if torchvision were installed
        try:
            yield
        finally:
            logger.setLevel(level)


def _pack_torch(program: ExportedProgram, about: str) -> bytes:
    buffer = io.BytesIO()  # with a path, the file's passing name would be written into it
    torch.export.save(program, buffer, extra_files={ABOUT: about})
    return buffer.getvalue()


def _open_torch(path: Path) -> Program:
    module = torch.export.load(path).module()

    def run(inputs: Sequence[FloatArray]) -> FloatArray:
        with torch.no_grad():
            return module(*map(torch.from_numpy, inputs)).numpy()

    return run


def _pack_onnx(program: ExportedProgram, about: str) -> bytes:
    made = torch.onnx.export(
        program, (), dynamo=True, input_names=_user_inputs(program), output_names=["forecast"], verbose=False
    )
    assert made is not None
    made.model.metadata_props["unroll"] = about
    packed: bytes = made.model_proto.SerializeToString()
    return packed


def _user_inputs(program: ExportedProgram) -> list[str]:
    return [str(name) for name in program.graph_signature.user_inputs]


def _open_onnx(path: Path) -> Program:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(inputs: Sequence[FloatArray]) -> FloatArray:
        made: FloatArray = session.run(None, dict(zip(names, inputs, strict=True)))[0]
        return made

    return run


FORMATS = {
    "torch-export": Format(".pt2", (), _pack_torch, _open_torch),
    "onnx": Format(".onnx", ONNX_PACKAGES, _pack_onnx, _open_onnx),
}
