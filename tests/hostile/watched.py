"""Read hostile run directories in a process that watches itself: any code that they run, import or write ends it.

`watched.py GOOD LIST`: after GOOD was read and gone on with once, so that all is imported, each [mode, path] of the
JSON file LIST is loaded or resumed; the outcomes are printed as JSON, and the memory that they took.
"""

import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import torch
from omegaconf import OmegaConf
from rich.console import Console

from unroll import load_run
from unroll.errors import UnrollError
from unroll.train import train

SECONDS = 30
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pty.spawn")
FORBIDDEN += ("socket.connect", "ctypes.dlopen", "exec", "os.putenv")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_allowed: Path | None = None  # where may be written


def watch(event: str, arguments: tuple) -> None:
    if _allowed is None:
        return
    if event == "ctypes.dlopen" and arguments[0] is None:  # this process itself, for mallopt
        return
    if event in FORBIDDEN or (event == "import" and arguments[0].partition(".")[0] not in sys.modules):
        end(event, arguments)
    if event == "open" and isinstance(arguments[0], str) and (arguments[2] or 0) & WRITING:
        path = Path(arguments[0])
        folders = (_allowed, Path(tempfile.gettempdir()).resolve())  # Lightning writes there first
        if not any(path.resolve().is_relative_to(folder) for folder in folders) and str(path) != "/dev/null":
            end(event, arguments)


def end(event: str, arguments: tuple) -> None:
    sys.stderr.write(f"{_allowed}: {event} {str(arguments)[:300]}\n")
    traceback.print_stack()
    sys.stderr.flush()
    os._exit(99)


def attempt(mode: str, path: Path) -> str:
    try:
        if mode == "resume":
            cfg = OmegaConf.create({"resume": str(path)})
            train(cfg, [f"resume={path}", "trainer.max_epochs=4"], Console(file=io.StringIO()))
        else:
            load_run(path).forecast(2)
    except UnrollError as error:
        return f"refused: {error}"
    except TimeoutError:
        return "it hung"
    except Exception:
        return f"traceback: {traceback.format_exc()}"
    return "good"


def expire(*_: object) -> None:
    raise TimeoutError


def main() -> None:
    global _allowed
    good = Path(sys.argv[1])
    for mode in ("load", "resume"):
        shutil.copytree(good, f"{good}-{mode}")
        assert attempt(mode, Path(f"{good}-{mode}")) == "good"
    torch.save({}, f"{good}-load/any.pt")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {}
    sys.addaudithook(watch)
    signal.signal(signal.SIGALRM, expire)
    for mode, name in json.loads(Path(sys.argv[2]).read_text()):
        _allowed = Path(name).resolve()
        signal.alarm(SECONDS)
        outcomes[name] = attempt(mode, Path(name))
        signal.alarm(0)
        _allowed = None
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps({"outcomes": outcomes, "megabytes": more}))


if __name__ == "__main__":
    main()
