"""What TensorBoard shows of a run, asked of a real server over HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from conftest import ROOT


@pytest.fixture
def server(run_training, tmp_path):
    """Two runs and a TensorBoard over their folder, as `make tensorboard` starts it."""
    results = [run_training("trainer.max_epochs=3", f"model.hidden_size={size}", "data.horizon=2") for size in (8, 16)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["make", "-o", f"{sys.prefix}/.core", "tensorboard", f"VENV={sys.prefix}"]
    words += [f"LOGDIR={tmp_path / 'outputs'}", f"PORT={port}"]
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield results, f"http://127.0.0.1:{port}/data"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # make and the server that it started
        process.wait()


def ask(url: str, body: dict | None = None):
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def wait_for(check, seconds: float = 90):
    """TensorBoard loads in the background: ask until it has."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = check()
            if found:
                return found
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        assert time.monotonic() < deadline, "TensorBoard did not show it in time"
        time.sleep(0.3)


def test_curves_figures_and_hparams(server):
    results, url = server
    names = {result.run.path.name for result in results}

    def all_loaded():
        tags = ask(f"{url}/plugin/scalars/tags")
        return set(tags) == names and all("held_out/test_rmse" in found for found in tags.values()) and tags

    tags = wait_for(all_loaded)
    for result in results:
        name = result.run.path.name
        assert {"train/loss", "val/loss", "lr"} <= set(tags[name])
        curve = ask(f"{url}/plugin/scalars/scalars?run={name}&tag=train%2Floss")
        assert [point[1] for point in curve] == [1, 2, 3]  # by epoch
        assert curve[-1][2] == pytest.approx(result.metrics["loss"]["train_last"], rel=1e-5)

    images = wait_for(lambda: ask(f"{url}/plugin/images/tags"))
    for name in names:
        assert {"figures/series", "figures/forecast", "figures/loss"} <= set(images[name])

    experiment = wait_for(lambda: ask(f"{url}/plugin/hparams/experiment", {"experimentName": ""}))
    assert [info["name"] for info in experiment["hparamInfos"] if info["differs"]] == ["model.hidden_size"]
    metrics = [info["name"]["tag"] for info in experiment["metricInfos"]]
    assert metrics[:3] == ["best/val_mae", "best/val_mase", "best/val_r2"]  # to choose by, before what is held out

    groups = wait_for(lambda: len(sessions := ask_sessions(url)) == 2 and sessions)
    for size, result in zip((8, 16), results, strict=True):
        (group,) = [found for found in groups if found["hparams"]["model.hidden_size"] == size]
        shown = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
        best = result.metrics["test"]["models"]["best"]
        for metric in ("mae", "rmse", "r2", "mase", "skill"):
            assert shown[f"held_out/test_{metric}"] == pytest.approx(best[metric], rel=1e-5)
        assert "hp_metric" not in shown
        assert group["hparams"]["model"] == "GRU"
        assert group["hparams"]["data.window_size"] == 24


def ask_sessions(url: str):
    experiment = ask(f"{url}/plugin/hparams/experiment", {"experimentName": ""})
    columns = [{"metric": info["name"]} for info in experiment.get("metricInfos", [])]
    columns += [{"hparam": info["name"]} for info in experiment.get("hparamInfos", [])]
    body = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
        "colParams": columns,
        "startIndex": 0,
        "sliceSize": 100,
    }
    return ask(f"{url}/plugin/hparams/session_groups", body).get("sessionGroups", [])
