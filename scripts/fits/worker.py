"""The process of one contender: imports it, then fits on request, a line of JSON for each.

python -m fits.worker NAME

Its first line says {"ready": versions} or {"missing": package}. A request is {"sizes": ..., "seed": ..., "folder": ...}
and the answer holds the fields of fits.summary.Fit, or {"error": why}. What libraries print goes to standard error.
"""

import gc
import importlib
import importlib.util
import json
import os
import platform
import sys
import time
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fits.works import CONTENDERS, Sizes


def main(name: str) -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # bars and tips of libraries must not come between the answers

    def say(**answer: object) -> None:
        answers.write(json.dumps(answer) + "\n")

    contender = CONTENDERS[name]
    if not importlib.util.find_spec(contender.package):
        say(missing=contender.package)
        return
    try:
        import torch

        torch.set_num_threads(1)
        fit = importlib.import_module(f"fits.contenders.{contender.module}").fit
    except ModuleNotFoundError as error:
        traceback.print_exc()
        say(missing=str(error.name).partition(".")[0])
        return
    packages = dict.fromkeys(["torch", contender.package])
    say(ready={"python": platform.python_version()} | {package: version(package) for package in packages})
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        head_sizes = tuple(request["sizes"].pop("head_sizes"))
        gc.collect()
        begun, computed = time.perf_counter(), time.process_time()
        try:
            done = fit(Sizes(**request["sizes"], head_sizes=head_sizes), request["seed"], Path(request["folder"]))
        except Exception as error:  # the other contenders go on
            traceback.print_exc()
            say(error=f"{type(error).__name__}: {error}".splitlines()[0])
            continue
        whole, computed = time.perf_counter() - begun, time.process_time() - computed
        say(seconds=done.seconds, whole=whole, computed=computed, steps=done.steps, loss=done.loss)


if __name__ == "__main__":
    main(sys.argv[1])
