"""Checkpoints and series that somebody else wrote, read by a process that watches itself (see watched.py)."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from conftest import forge, load_config
from unroll.train import train

Content = dict[str, Any]
HUGE = 10**12
MEGABYTES = 300  # a good run takes about 20 more, a gigabyte is a thousand


class Call:
    """Unpickling it calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.called = function, arguments

    def __reduce__(self):
        return self.called


def touch(folder: Path) -> Call:
    return Call(Path.touch, folder / "marker")


def archive(content: bytes, **others: bytes) -> bytes:
    """A torch file with a pickle written by hand."""
    file = io.BytesIO()
    own = {"data.pkl": content, "data/0": b"\0" * 64, "version": b"3\n", "byteorder": b"little"}
    with zipfile.ZipFile(file, "w") as parts:
        for name, data in (own | others).items():
            parts.writestr(f"archive/{name}", data)
    return file.getvalue()


def saved(content: object, **how: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **how)
    return file.getvalue()


def lists(depth: int) -> bytes:
    """Lists in lists, deeper than Python recurses."""
    return archive(b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".")


def aliased() -> list[Any]:
    """2 ** 60 lists, in 60."""
    node: list[Any] = []
    for _ in range(60):
        node = [node, node]
    return node


def declared(size: int) -> bytes:
    """A tensor that says it is larger than the file."""
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
    tensor += b"X\x03\x00\x00\x00cpu" + b"L" + str(size).encode() + b"L\ntQK\x00(L" + str(size).encode() + b"L\nt"
    tensor += b"(K\x01t\x89ccollections\nOrderedDict\n)RtR"
    return archive(b"\x80\x02}X\x0a\x00\x00\x00state_dict" + tensor + b"s.")


def weights(make: Callable[[torch.Tensor], object]) -> Callable[[Content], object]:
    """A checkpoint whose weights are something else."""

    def change(good: Content) -> object:
        return good | {"state_dict": {name: make(value) for name, value in good["state_dict"].items()}}

    return change


def quantized(value: torch.Tensor) -> torch.Tensor:
    return torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8)


def reached(*keys: Any, value: object) -> Callable[[Content], object]:
    """A checkpoint with one thing in it changed."""

    def change(good: Content) -> object:
        node: Any = good
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value(node[keys[-1]]) if callable(value) else value
        return good

    return change


FILES: dict[str, Callable[[Path, Content], bytes]] = {
    "a pickle": lambda folder, good: pickle.dumps(good | {"x": touch(folder)}),
    "an object": lambda folder, good: saved(good | {"x": touch(folder)}),
    "an object as a key": lambda folder, good: saved(good | {"state_dict": {touch(folder): 1}}),
    "eval": lambda folder, good: saved(good | {"x": Call(eval, f"open({str(folder / 'marker')!r}, 'w')")}),
    "an import": lambda folder, good: saved(good | {"x": Call(__import__, "antigravity")}),
    "the old format": lambda folder, good: saved(good | {"x": touch(folder)}, _use_new_zipfile_serialization=False),
    "TorchScript": lambda folder, good: archive(b"}.", **{"constants.pkl": b").", "code/__torch__.py": b"import os"}),
    "deep lists": lambda folder, good: lists(100_000),
    "less deep lists": lambda folder, good: saved(good | {"x": json.loads("[" * 90 + "]" * 90)}),
    "lists in lists": lambda folder, good: saved(good | {"hyper_parameters": aliased(), "state_dict": aliased()}),
    "a size that is not there": lambda folder, good: declared(HUGE),
    "a size that cannot be": lambda folder, good: declared(-1),
    "text": lambda folder, good: b"state_dict: 1\n",
    "half a file": lambda folder, good: saved(good)[:3000],
}
CHANGES: dict[str, Callable[[Content], object]] = {
    "expanded": weights(lambda value: torch.zeros(()).expand(HUGE)),
    "complex": weights(lambda value: value.to(torch.complex64)),
    "quantized": weights(quantized),
    "8 bits": weights(lambda value: value.to(torch.float8_e5m2)),
    "sparse": weights(lambda value: value.to_sparse()),
    "sparse and huge": weights(lambda value: torch.sparse_coo_tensor(torch.zeros(1, 1), torch.ones(1), (HUGE,))),
    "nested": weights(lambda value: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])),
    "meta": weights(lambda value: value.to("meta")),
    "texts": weights(str),
    "others": weights(lambda value: value[:1]),
    "no mapping": lambda good: good | {"state_dict": "x"},
    "no dictionary": lambda good: [good],
    "strange keys": lambda good: good | {"__class__": "os.system", "state_dict": {"__class__": torch.zeros(1)}},
    "nothing of the run": lambda good: good | {"unroll": ["model"]},
    "no epoch": lambda good: good | {"epoch": "1"},
    "a million years": lambda good: good | {"epoch": 10**30},
}
CONTINUED: dict[str, Callable[[Content], object]] = {
    "no states": lambda good: good | {"optimizer_states": []},
    "texts for states": lambda good: good | {"optimizer_states": ["x"], "lr_schedulers": "x"},
    "states of another shape": reached("optimizer_states", 0, "state", 0, "exp_avg", value=torch.zeros(3, 3)),
    "states of texts": reached("optimizer_states", 0, "state", 0, "exp_avg", value="x"),
    "other groups": reached("optimizer_states", 0, "param_groups", value=lambda groups: groups * 2),
    "a learning rate of text": reached("optimizer_states", 0, "param_groups", 0, "lr", value="x"),
    "a scheduler's methods": reached("lr_schedulers", 0, value={"step": "x", "__class__": "os.system"}),
    "no callbacks": lambda good: good | {"callbacks": {}},
    "epochs without end": reached("loops", "fit_loop", "epoch_progress", "current", "completed", value=-(10**9)),
    "loops of text": lambda good: good | {"loops": {"fit_loop": "x"}},
    "steps of text": reached("loops", "fit_loop", "epoch_loop.batch_progress", value="x"),
    "a history of others": reached("callbacks", "Recorder", "history", 0, value={"epoch": "x"}),
    "a longer history": reached("callbacks", "Recorder", "history", value=lambda rows: rows * 3),
    "best weights of others": reached("callbacks", "Recorder", "best", "tensors", value={"x": torch.zeros(1)}),
    "tracks of others": reached("callbacks", "Recorder", "tracks", 0, "seed", value=7),
    "no version": lambda good: good | {"pytorch-lightning_version": "nonsense"},
    "an old version": lambda good: good | {"pytorch-lightning_version": "0.0.1"},
}
GOOD_ALL_THE_SAME = ("load a million years",)  # nothing there counts epochs


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    words = ("data.points=120", "data.window_size=5", "trainer.max_epochs=3", "trainer=cpu", "scheduler=plateau")
    return train(load_config(f"output_dir={folder}", *words), words, Console(file=io.StringIO())).run.path


@pytest.fixture(scope="module")
def outcomes(trained, tmp_path_factory) -> dict[str, str]:
    """What became of each case, by its name."""
    folder = tmp_path_factory.mktemp("cases")
    asked = []

    def case(name: str, mode: str) -> Path:
        path = folder / f"{mode} {name}"
        shutil.copytree(trained, path)
        forge(path)
        asked.append((mode, str(path)))
        return path

    for mode, kind in (("load", "best"), ("resume", "last")):
        for name, write in FILES.items():
            path = case(name, mode)
            file = path / "checkpoints" / f"{kind}.ckpt"
            file.write_bytes(write(path, torch.load(file, weights_only=True)))
        for name, change in (CHANGES | (CONTINUED if mode == "resume" else {})).items():
            file = case(name, mode) / "checkpoints" / f"{kind}.ckpt"
            with warnings.catch_warnings(action="ignore"):  # that such tensors are experimental
                torch.save(change(torch.load(file, weights_only=True)), file)
    for name, parts in series(folder).items():
        with (case(name, "load") / "series.npz").open("wb") as file:
            np.savez(file, **parts)
    (folder / "asked.json").write_text(json.dumps(asked))
    good = shutil.copytree(trained, folder / "good")
    words = [sys.executable, str(Path(__file__).parent / "watched.py"), str(good), str(folder / "asked.json")]
    temporary = folder / "temporary"  # of the system, and not that of the cases
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["megabytes"] < MEGABYTES
    assert not list(folder.rglob("marker"))
    return {Path(path).name: outcome for path, outcome in said["outcomes"].items()}


def series(folder: Path) -> dict[str, dict[str, Any]]:
    """Series that are none."""
    about = {"columns": ["x"], "name": "x", "unit": "", "kind": "", "season": None, "known_ahead": []}
    text = np.array(json.dumps(about | {"dates": False, "index_name": None}))
    values, index = np.arange(120.0)[:, None], np.arange(120)
    objects = np.array([touch(folder)], dtype=object)
    return {
        "objects": {"values": objects, "index": objects, "about": objects},
        "an object as text": {"values": values, "index": index, "about": objects},
        "complex values": {"values": values.astype(complex), "index": index, "about": text},
        "an index of texts": {"values": values, "index": index.astype(str), "about": text},
        "no season": {"values": values, "index": index, "about": np.array(str(text).replace("null", '"x"'))},
        "a class": {"values": values, "index": index, "about": np.array(str(text).replace('"kind"', '"__class__"'))},
    }


CASES = [f"{mode} {name}" for mode in ("load", "resume") for name in (*FILES, *CHANGES)]
CASES += [*(f"resume {name}" for name in CONTINUED), *(f"load {name}" for name in series(Path()))]


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_a_line(name, outcomes):
    if name in GOOD_ALL_THE_SAME:
        assert outcomes[name] == "good"
        return
    assert outcomes[name].startswith("refused: "), outcomes[name]
    assert "\n" not in outcomes[name]
