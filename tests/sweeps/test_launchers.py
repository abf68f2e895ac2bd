"""A job's result reaches the leaderboard whichever launcher ran it: Ray, and Slurm as far as it can be played here, by
stand-ins for its commands. test_sweeps.py has joblib.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_sweeps import leaderboard, sweep

from unroll.cli import how_to_install

WORDS = ("data.points=120", "trainer.max_epochs=2", "trainer=cpu", "sweep.name=s", "data.window_size=6,8", "seed=0,1")
needs_submitit = pytest.mark.skipif(
    find_spec("hydra_plugins.hydra_submitit_launcher") is None, reason="hydra-submitit-launcher is not installed"
)
needs_ray = pytest.mark.skipif(
    find_spec("hydra_plugins.hydra_ray_launcher") is None,
    reason="hydra-ray-launcher is not installed (it cannot be beside joblib: their cloudpickles differ)",
)
SBATCH = '''
"""Submits a job array: starts its tasks at once, on this machine."""
import os, pathlib, re, subprocess, sys

job = str(os.getpid())
script = sys.argv[-1]
text = pathlib.Path(script).read_text()
options = dict(re.findall(r"#SBATCH --([a-z-]+)=(.*)", text))
last = int(re.match(r"0-([0-9]+)", options["array"])[1])
for task in range(last + 1):
    names = {"SLURM_JOB_ID": f"{job}{task}", "SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": str(task)}
    names |= {"SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    names |= {"SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "localhost", "SLURM_JOB_NAME": options["job-name"]}
    subprocess.Popen(["bash", script], env=os.environ | names, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(f"Submitted batch job {job}")
'''
SRUN = '''
"""Runs a task: what follows the options."""
import os, sys

words = sys.argv[1:]
while words[0].startswith("-"):
    words = words[1:] if "=" in words[0] or words[0] == "--unbuffered" else words[2:]
os.execvp(words[0], words)
'''


@needs_ray
def test_ray_in_its_local_mode(tmp_path):
    printed, _ = sweep(tmp_path, *WORDS, "hydra/launcher=ray")
    assert "4/4" in printed
    assert len(leaderboard(tmp_path)) == 2


@needs_submitit
def test_the_slurm_preset(tmp_path, monkeypatch):
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, code in {"sbatch": SBATCH, "srun": SRUN, "sacct": "print('JobID|State|NodeList')"}.items():
        (commands / name).write_text(f"#!{sys.executable}\n{code.lstrip()}")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    words = ("hydra/launcher=slurm", "hydra.launcher.partition=small", "hydra.launcher.timeout_min=5")
    _, errors = sweep(tmp_path, *WORDS, "data.window_size=6,5000", "seed=0", *words, code=1)
    assert "error: 1 of 2 runs failed" in errors
    assert "series sine (synthetic) is too short" in errors
    assert len(leaderboard(tmp_path)) == 1
    (script,) = tmp_path.glob("sweeps/s/.submitit/*/*/*.sh")
    text = Path(script).read_text()
    for line in ("--partition=small", "--time=5", "--cpus-per-task=1", "--mem=4GB", "--array=0-1%2"):
        assert f"#SBATCH {line}" in text


@needs_submitit
def test_a_cluster_that_is_not_there_is_said_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    _, errors = sweep(tmp_path, *WORDS, "hydra/launcher=slurm", code=1)
    assert errors.startswith("error: hydra/launcher=slurm: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("extra", ["joblib", "ray", "slurm", "optuna"])
def test_a_missing_extra_is_named(extra, tmp_path, monkeypatch):
    """Without the packages of an extra, the line says how to install it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "import hydra_plugins\n"
        "hydra_plugins.__path__ = [path for path in hydra_plugins.__path__ if 'site-packages' not in path]\n"
        "sys.modules['optuna'] = None\n"
    )
    group = "sweeper" if extra == "optuna" else "launcher"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    _, errors = sweep(tmp_path, *WORDS, f"hydra/{group}={extra}", code=1)
    assert f"needs: {how_to_install(extra)}" in errors
    assert f".[{extra}]" in errors
    assert errors.count("\n") == 1
