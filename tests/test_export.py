"""Files for other programs: each must forecast as the run does, in the series' units, for any number of windows."""

import dataclasses
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from conftest import ROOT, load_config, options
from unroll.building import build_forecaster
from unroll.config import plain
from unroll.data.module import WindowDataModule
from unroll.errors import ConfigError, RunError
from unroll.evaluation.evaluate import fit_reference
from unroll.evaluation.made import forecast
from unroll.export import ABOUT, BATCH_SIZES, FORMATS, ONNX_PACKAGES, RawForecaster, check_output, export_run
from unroll.load import LoadedRun, load_run
from unroll.runs.directory import RunDirectory
from unroll.targets import build

MISSING = [name for name in ONNX_PACKAGES if find_spec(name) is None]
NEEDS_ONNX = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
KINDS = [pytest.param(kind, marks=[NEEDS_ONNX] if FORMATS[kind].needs else []) for kind in FORMATS]


@pytest.fixture
def untrained(tmp_path):
    """A run as load_run gives it, with the weights that training would begin with."""

    def make(*overrides: str, known_ahead: tuple[str, ...] = (), backbone: nn.Module | None = None) -> LoadedRun:
        cfg = load_config(*overrides)
        datamodule = build(plain(cfg.data), WindowDataModule, "data", shuffle_seed=0)
        datamodule.loaded = dataclasses.replace(datamodule.load(), known_ahead=known_ahead)
        datamodule.setup()
        torch.manual_seed(0)
        forecaster = build_forecaster(cfg, datamodule).eval()
        if backbone is not None:
            forecaster.network.backbone = backbone
        weights = {"best": [{name: value.clone() for name, value in forecaster.state_dict().items()}]}
        run = RunDirectory(tmp_path / "run")
        data = {"trained": datamodule, "datamodule": datamodule, "reference": fit_reference(datamodule)}
        return LoadedRun(run=run, config=cfg, metrics={}, forecaster=forecaster, weights=weights, **data)

    return make


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("layout", ["sequence", "features"])
@pytest.mark.parametrize("model", options("model"))
def test_every_model_forecasts_as_its_run(untrained, data_overrides, model, layout, horizon, kind):
    """Two layers with dropout and a covariate where the horizon is 3; the smallest where it is 1."""
    overrides = [f"model={model}", f"model.input_layout={layout}", f"data.horizon={horizon}"]
    if horizon == 3:
        overrides += [*data_overrides("csv"), "data.window_size=12", "model.num_layers=2", "model.dropout=0.4"]
        overrides += ["model.head_sizes=[8]", "data.transform=minmax"]
    loaded = untrained(*overrides)
    made = export_run(loaded, kind)
    assert made.path == loaded.run.path / "export" / f"model{FORMATS[kind].suffix}"
    assert [path.name for path in made.path.parent.iterdir()] == [made.path.name]
    assert made.segment == "test"
    assert made.windows == len(loaded.datamodule.origins("test"))
    assert made.batch_sizes == (*BATCH_SIZES, made.windows)
    assert made.inputs == {"past": ("B", loaded.datamodule.window_size, loaded.datamodule.shape.features)}
    assert 0 <= made.relative < 2e-6


@pytest.mark.parametrize("kind", KINDS)
def test_columns_that_are_known_ahead_are_an_input(untrained, data_overrides, kind):
    loaded = untrained(*data_overrides("csv"), "data.window_size=12", "data.horizon=3", known_ahead=("hour",))
    made = export_run(loaded, kind)
    assert made.inputs == {"past": ("B", 12, 2), "future": ("B", 3, 1)}
    past, future = torch.randn(2, 12, 2).double(), torch.randn(2, 3, 1).double()
    program = FORMATS[kind].open(made.path)
    assert not np.array_equal(program([past.numpy(), future.numpy()]), program([past.numpy(), future.numpy() + 1]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_says_what_it_takes(untrained, data_overrides, kind):
    made = export_run(untrained(*data_overrides("csv"), "data.window_size=12"), kind)
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
        text = session.get_modelmeta().custom_metadata_map["unroll"]
        assert [given.name for given in (*session.get_inputs(), *session.get_outputs())] == ["past", "forecast"]
    else:
        extra = {ABOUT: ""}
        torch.export.load(made.path, extra_files=extra)
        text = extra[ABOUT]
    about = json.loads(text)
    assert about["past"] == ["load", "hour"]
    assert (about["target"], about["future"], about["window_size"], about["horizon"]) == ("load", [], 12, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_holds_no_paths(untrained, kind):
    packed = export_run(untrained(), kind).path.read_bytes()
    for folder in (ROOT, Path(torch.__file__).parent, Path.home()):
        assert str(folder).encode() not in packed


def test_a_large_level_eats_no_small_change(untrained):
    loaded = untrained()
    network, transform = loaded.forecaster.network, loaded.datamodule.transform
    (step,) = transform.steps
    raised = dataclasses.replace(transform, steps=(dataclasses.replace(step, offset=step.offset + 1e9),))
    past = loaded.datamodule.series.values[:24][None]
    made = RawForecaster([network], transform)(torch.from_numpy(past))
    found = RawForecaster([network], raised)(torch.from_numpy(past + 1e9))
    torch.testing.assert_close(found - 1e9, made, rtol=0, atol=1e-6)  # float32 steps by 64 there


@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_is_the_mean_of_its_networks(untrained, kind):
    loaded = untrained("data.horizon=2", "model.hidden_size=4")
    (first,) = loaded.weights["best"]
    second = {name: value + 0.1 for name, value in first.items()}
    values, origins = loaded.datamodule.series.values, loaded.datamodule.origins("test")[:3]
    past = np.stack([values[origin - loaded.datamodule.window_size : origin] for origin in origins])
    made = []
    for states in ([first], [second], [first, second]):
        chosen = dataclasses.replace(loaded, weights={"best": states})
        made.append(FORMATS[kind].open(export_run(chosen, kind).path)([past]))
    assert np.abs(made[0] - made[1]).max() > 1e-3
    np.testing.assert_allclose(made[2], (made[0] + made[1]) / 2, rtol=1e-6)


def test_weights_of_another_epoch_are_not_exported(untrained):
    loaded = untrained()
    expected = forecast(loaded.forecaster, loaded.datamodule.loader("test"))
    with torch.no_grad():
        for weight in loaded.forecaster.parameters():
            weight.add_(1)  # as an evaluation of the last epoch leaves them
    made = FORMATS["torch-export"].open(export_run(loaded).path)
    values, origin = loaded.datamodule.series.values, loaded.datamodule.origins("test")[0]
    first = made([values[origin - loaded.datamodule.window_size : origin][None]])
    np.testing.assert_allclose(first[0], loaded.datamodule.transform.invert_target(expected[0].numpy()), rtol=1e-5)


def test_a_file_that_forecasts_otherwise_is_not_written(untrained, monkeypatch):
    loaded = untrained()
    path = export_run(loaded).path
    earlier, right = path.read_bytes(), RawForecaster.forward

    def wrong(self, past: Tensor, future: Tensor | None = None) -> Tensor:
        return right(self, past, future) + 1e-4 * float(self.transform.steps[0].scale[0])

    monkeypatch.setattr(RawForecaster, "forward", wrong)
    with pytest.raises(RunError, match="was not written: its forecasts differ from the run's own by up to"):
        export_run(loaded)
    assert path.read_bytes() == earlier
    assert [found.name for found in path.parent.iterdir()] == [path.name]


class Branching(nn.Module):
    """Decides by its values which way to go: no fixed graph."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(1, 32)

    def forward(self, past: Tensor) -> Tensor:
        return self.mix(past) if past.sum() > 0 else -self.mix(past)


class FixedBatch(Branching):
    """Takes the number of windows for a constant."""

    def forward(self, past: Tensor) -> Tensor:
        return self.mix(past) + torch.zeros(len(past), 1, 1)


@pytest.mark.parametrize("backbone", [Branching(), FixedBatch()])
def test_a_backbone_that_cannot_be_exported_is_one_line(untrained, backbone):
    with pytest.raises(RunError, match=f"torch-export cannot hold the backbone {type(backbone).__name__} ") as caught:
        export_run(untrained(backbone=backbone))
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_no_file_of_the_format_is_refused(untrained, tmp_path):
    with pytest.raises(ConfigError, match=r"the name of a torch-export file ends in \.pt2"):
        check_output("torch-export", tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match="choose from: torch-export, onnx"):
        check_output("torchscript", None)
    (tmp_path / "file").touch()
    (tmp_path / "folder.pt2").mkdir()
    for path in (tmp_path / "file" / "model.pt2", tmp_path / "folder.pt2"):
        with pytest.raises(RunError, match=r"cannot be written \(.*\): name another --output FILE"):
            export_run(untrained(), path=path)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"\(onnx, onnxscript, onnxruntime\): pip install onnx onnxscript onnxrunt"):
        check_output("onnx", None)
    check_output("torch-export", None)


def test_a_run_without_test_windows_is_checked_on_its_training_windows(untrained):
    made = export_run(untrained("data.test=0", "data.points=100"))
    assert (made.segment, made.windows) == ("train", len(range(24, 85)))


def test_one_test_window_is_checked_in_all_sizes(untrained):
    made = export_run(untrained("data.test=1"))
    assert (made.windows, made.batch_sizes) == (1, BATCH_SIZES)


STRANGER = """
import json, sys, torch
past = torch.tensor(json.load(sys.stdin), dtype=torch.float64)
made = torch.export.load(sys.argv[1]).module()(past)
assert not any(name in sys.modules for name in ("unroll", "lightning"))
json.dump(made.tolist(), sys.stdout)
"""


def test_the_command_writes_a_file_that_needs_nothing_of_this_package(run_training, command, data_overrides):
    overrides = [*data_overrides("csv"), "data.window_size=6", "data.horizon=2", "trainer.max_epochs=2"]
    result = run_training(*overrides, "model=lstm")
    done = command(str(result.run.path), script="scripts/export.py", output_dir=False)
    assert (done.returncode, done.stderr) == (0, "")
    path = result.run.path / "export" / "model.pt2"
    assert str(path) in done.stdout
    assert "past (B, 6, 2) to forecast (B, 2), float64, in the series' units; any B" in done.stdout
    assert "differ by at most" in done.stdout
    table = pd.read_csv(result.run.predictions)
    datamodule = load_run(result.run.path).datamodule
    windows = datamodule.series.values[datamodule.origins("test")[:, None] + np.arange(-6, 0)]
    words = [sys.executable, "-W", "error", "-c", STRANGER, str(path)]
    read = subprocess.run(words, input=json.dumps(windows.tolist()), capture_output=True, text=True, timeout=60)
    assert read.returncode == 0, read.stderr
    np.testing.assert_allclose(np.ravel(json.loads(read.stdout)), table["forecast_best_epoch"], rtol=1e-5)


def test_a_mistake_is_one_line(command):
    done = command("missing", script="scripts/export.py", output_dir=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: missing does not exist: give a directory under outputs/")
    assert len(done.stderr.splitlines()) == 1
