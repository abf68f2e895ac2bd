"""What cannot fit into memory is refused before any of it is taken, with the numbers; what fits is not."""

import gc
import re
import resource
from pathlib import Path

import pytest

from conftest import load_config
from unroll import memory
from unroll.budget import check_memory, evaluating_needs, training_needs
from unroll.config import plain
from unroll.data.module import WindowDataModule
from unroll.errors import ConfigError
from unroll.targets import build

SHORT = ("data.validation=10", "data.test=10")
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
NUMBERS = r" needs? at least [0-9,]+\.\d GB, and [0-9,]+\.\d GB are free: lower "
STEP = ("data.points=1000100", "data.window_size=1000000", "data.batch_size=null", *SHORT, "replicas=4096")
TOO_LARGE = {
    ("data.points=1000000000000",): ("data.points=1,000,000,000,000: a series so long", "data.points"),
    ("data=trend", "data.points=1000000000000"): ("data.points=1,000,000,000,000: a series so long", "data.points"),
    ("data.points=3000000", "data.window_size=1000000", "data.batch_size=1"): (
        "data.window_size=1,000,000: the linear autoregression beside the model",
        "data.window_size",
    ),
    STEP: (
        "data.window_size=1,000,000: a training step of 4096 x 80 windows",
        "data.window_size, replicas, data.batch_size or model.hidden_size",
    ),
    ("model.hidden_size=2000000",): (
        "model.hidden_size=2,000,000: 12,000,020,000,001 weights and what their training keeps",
        "model.hidden_size",
    ),
    ("model=rnn", "model.head_sizes=[3000000,3000000]"): ("model.head_sizes=[3000000, 3000000]:", "model.head_sizes"),
    ("data.points=2000000", "data.horizon=100000"): ("data.horizon=100,000:", "data.horizon"),
}


@pytest.mark.parametrize("words", TOO_LARGE, ids=lambda words: words[-1])
def test_what_cannot_fit_is_refused_with_the_numbers(words, command, tmp_path):
    done = command(*words, "trainer=cpu")
    begins, lower = TOO_LARGE[words]
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {begins}"), done.stderr
    assert re.search(f"{NUMBERS}{re.escape(lower)}", done.stderr), done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def peak(run_training, *words: str) -> int:
    """Bytes at the highest moment of a run, above what this process held before. Linux keeps the count."""
    gc.collect()
    trim = memory._of_glibc("malloc_trim")
    assert trim
    trim(0)
    RESET.write_text("5")  # forget the highest moment so far
    before = memory._table(STATUS, 1024)["VmRSS"]
    run_training(*words)
    return memory._table(STATUS, 1024)["VmHWM"] - before


def bound(*words: str) -> int:
    cfg = load_config(*words)
    datamodule = build(plain(cfg.data), WindowDataModule, "data")
    datamodule.setup()
    needs = evaluating_needs(cfg, datamodule)
    return max(sum(need.size for need in training_needs(cfg, datamodule)), *(need.size for need in needs))


LONG = ("data.points=700", "data.window_size=300", "data.batch_size=150")
QUICK = (
    ("model=gru", "model.hidden_size=48", *LONG),
    ("model=lstm", "model.hidden_size=40", *LONG),
    ("model=rnn", "model.hidden_size=200", *LONG),
    ("model=gru", "model.hidden_size=48", "data.transform=[standard,seasonal_difference,difference]", *LONG),
    ("data=cinema", "data.days=900", "data.window_size=250", "data.batch_size=150", "data.calendar=[week,month]"),
    ("model=gru", "replicas=6", "model.hidden_size=16", *LONG),
    ("model=gru", "model.hidden_size=1500", "data.points=200", "data.window_size=4"),
    ("model=rnn", "model.hidden_size=4", "data.points=1600", "data.window_size=700", "data.batch_size=8"),
)
SEVERAL = (
    ("data.points=2000", "data.window_size=700", "data.batch_size=600"),
    ("data.points=2200", "data.window_size=1800", "data.batch_size=150"),
)
THOROUGH = (
    *((f"model={model}", f"model.hidden_size={size}", *some) for model in ("rnn", "lstm", "gru") for size in (64, 160)
      for some in SEVERAL),
    *((f"model={model}", "replicas=10", "model.hidden_size=32", *LONG) for model in ("rnn", "lstm", "gru")),
    *((f"optimizer={name}", "model.hidden_size=4000", "data.points=200") for name in ("adam", "sgd", "adamw")),
    ("model.hidden_size=900", "replicas=12", "data.points=200"),
    ("model.head_sizes=[9000,9000]", "data.points=200"),
    ("model.num_layers=4", "model.hidden_size=64", *SEVERAL[0]),
    ("data.points=9000", "data.window_size=4000", "data.batch_size=2", "model.hidden_size=4"),
)  # fmt: skip


@pytest.mark.skipif(not RESET.exists(), reason="the highest moment of memory is known on Linux only")
@pytest.mark.parametrize(
    "words",
    [*QUICK, *(pytest.param(words, marks=pytest.mark.stress) for words in THOROUGH)],
    ids=lambda words: ",".join(words),
)
def test_the_bound_is_below_the_real_peak_and_near_it(words, run_training):
    words = ("trainer=cpu", "trainer.max_epochs=1", *SHORT, *words)
    run_training("trainer=cpu", "trainer.max_epochs=1", "data.points=100")  # imports what is imported late
    least, real = bound(*words), peak(run_training, *words)
    print(f"\n{' '.join(words[4:])}: bound {least / 1e6:.0f} MB, peak {real / 1e6:.0f} MB, {least / real:.2f}")
    assert 0 < least <= real
    if real > 1e9:
        assert least >= 0.4 * real


def test_a_limit_of_the_process_is_kept_to():
    """`ulimit -v`, which torch would hit in the middle of the first step."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory._table(STATUS, 1024)["VmSize"] + 10**9, before[1]))
    try:
        free = memory.free_memory()
        with pytest.raises(ConfigError, match=r"x: it needs at least 1\.2 GB, and [01]\.\d GB are free: lower x"):
            memory.check_room(12 * 10**8, "x: it needs", "lower x")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert free is not None
    assert 8 * 10**8 < free <= 10**9


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


INFO = {"meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\nSwapFree: 100 kB\n"}
LIMITS = {
    "the system's alone": ({}, 8100 * 1024),
    "v2": (
        {
            "self/cgroup": "0::/jobs/mine\n",
            "groups/jobs/mine/memory.max": "max\n",
            "groups/jobs/mine/memory.current": "999\n",
            "groups/jobs/memory.max": "3000000\n",
            "groups/jobs/memory.current": "2000000\n",
            "groups/jobs/memory.stat": "anon 1500000\nfile 9\ninactive_file 300000\nactive_file 100000\n",
        },
        1_400_000 + 100 * 1024,
    ),
    "v1 of a container, whose path is the host's": (
        {
            "self/cgroup": "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n",
            "groups/memory/memory.limit_in_bytes": "2000000\n",
            "groups/memory/memory.usage_in_bytes": "1500000\n",
            "groups/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 200000\ntotal_active_file 50000\n",
        },
        750_000 + 100 * 1024,
    ),
    "v1 without a limit": (
        {
            "self/cgroup": "4:memory:/\n",
            "groups/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "groups/memory/memory.usage_in_bytes": "1\n",
        },
        8100 * 1024,
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_free_memory_is_what_the_tightest_limit_leaves(name, tmp_path, monkeypatch):
    files, expected = LIMITS[name]
    write(tmp_path, INFO | files)
    monkeypatch.setattr(memory, "PROC", tmp_path)
    monkeypatch.setattr(memory, "CONTROL_GROUPS", tmp_path / "groups")
    assert memory.free_memory() == expected


def test_where_nobody_knows_what_is_free_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PROC", tmp_path)
    assert memory.free_memory() is None
    memory.check_room(10**30, "x: it needs", "lower x")


def test_a_backbone_that_cannot_be_counted_is_not_refused(monkeypatch):
    """As one whose constructor asks for the values of its weights."""
    cfg = load_config("trainer=cpu", "data.points=20000", "data.window_size=5000", "data.batch_size=4000")
    datamodule = build(plain(cfg.data), WindowDataModule, "data")
    datamodule.setup()
    cfg.model.backbone["_target_"] = "unroll.models.no_such.Backbone"
    check_memory(cfg, datamodule)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "free_memory", lambda: 1000)
        with pytest.raises(
            ConfigError, match=r"a training step of 4,000 windows needs at least 0\.1 GB, and 0\.0 GB are"
        ):
            check_memory(cfg, datamodule)
