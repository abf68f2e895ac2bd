"""A Python that has imported torch, lightning and the like already, and copies itself for each command it is asked for.

`process_copies.py ask ADDRESS train.py ...` behaves as `python train.py ...`: a process of its own, with its own words,
environment, folder and files, runs the script as its main module, imports this repository's modules afresh, and ends as
Python ends; the asking process ends with the same code. Where a copy would not be the same, it becomes a real Python:
for `python -c` and the like, where the environment differs in what is read when Python or the libraries start, where
PYTHONPATH holds a sitecustomize or another torch.

What is left: a signal to the asking process kills the copy instead of reaching it; the copy's number is not that of
the asking process, its seed of hash() is that of all copies, and at its end modules are not taken apart. Tests of
these, of what is imported when, and of programs that start workers, start a Python of their own.
"""

import json
import os
import select
import signal
import socket
import sys

LENGTH = 8  # bytes
REAL = b"real"
READ_AT_START = ("PYTHON", "OMP_", "OPENBLAS_", "MKL_", "LD_", "LC_", "LANG", "TZ", "MPL", "TORCH")
AT_START = dict(os.environ)
IMPORTED = (
    *("hydra", "lightning", "pandas", "rich.live", "rich.progress", "rich.table", "matplotlib.figure"),
    *("matplotlib.backends.backend_agg", "torch.utils.tensorboard", "statsmodels.tsa.exponential_smoothing.ets"),
)


def ask(address: str, words: list[str]) -> None:
    """Have a command run with the files of this process, and end as it ends."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        request = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()  # noqa: PTH109  pathlib takes time
        socket.send_fds(connection, [len(request).to_bytes(LENGTH)], [0, 1, 2])
        connection.sendall(request)
        answer = connection.recv(LENGTH)
    if answer == REAL:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execv(sys.executable, [sys.executable, *words])
    assert answer, "the process that is copied has ended"
    code = int(answer)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def serve(address: str) -> list[str]:
    """Copy this process for whoever asks, until standard input ends. Returns in a copy: the words of its command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes
    asking: dict[int, socket.socket] = {}  # by the number of the copy
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    os.write(1, b"ready\n")
    while True:
        ready = select.select([0, woken, listener, *asking.values()], [], [])[0]
        for number, connection in asking.items():
            if 0 in ready or connection in ready:  # whoever asked is gone
                with contextlib.suppress(ProcessLookupError):  # it is being made
                    os.killpg(number, signal.SIGKILL)
        if 0 in ready:
            os._exit(0)
        if woken in ready:
            woken.recv(LENGTH)
            while asking and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with asking.pop(ended[0]) as connection, contextlib.suppress(BrokenPipeError):
                    connection.sendall(str(os.waitstatus_to_exitcode(ended[1])).encode())
        if listener in ready:
            connection = listener.accept()[0]
            words, folder, environment, files = received(connection)
            number = os.fork() if can_be_copied(words, environment) else None
            if number == 0:
                for opened in (listener, woken, wake, connection, *asking.values()):
                    opened.close()
                become(folder, environment, files)
                return words
            for file in files:
                os.close(file)
            if number is None:
                with connection:
                    connection.sendall(REAL)
            else:
                asking[number] = connection


def received(connection: socket.socket) -> tuple[list[str], str, dict[str, str], list[int]]:
    """The words of a command, its folder, its environment, and its standard input, output and errors."""
    length, files, _, _ = socket.recv_fds(connection, LENGTH, 3)
    left, parts = int.from_bytes(length), []
    while left:
        parts.append(connection.recv(left))
        left -= len(parts[-1])
    words, folder, environment = json.loads(b"".join(parts))
    return words, folder, environment, files


def can_be_copied(words: list[str], environment: dict[str, str]) -> bool:
    """Whether a copy is what a start would be."""

    def at_start(known: dict[str, str]) -> dict[str, str]:
        return {name: known[name] for name in known if name.startswith(READ_AT_START) and name != "PYTHONPATH"}

    first = python_path(environment)
    there = {name.partition(".")[0] for name in sys.modules} | {"sitecustomize", "usercustomize"}
    replaced = first and any(PathFinder.find_spec(name, first) for name in there)
    return not (replaced or words[0].startswith("-") or at_start(environment) != at_start(AT_START))


def python_path(environment: dict[str, str]) -> list[str]:
    """The folders of PYTHONPATH."""
    return [str(Path(folder).absolute()) for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]


def become(folder: str, environment: dict[str, str], files: list[int]) -> None:
    """In a copy: take over what a start takes over, and what it sets anew."""
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    imports = {name: os.environ[name] for name in os.environ.keys() - AT_START.keys()}  # what they set
    os.environ.clear()
    os.environ.update(imports | environment)
    import numpy as np

    np.random.seed()  # from the system, as at a start; random has done so, torch starts with the same seed always
    sys.path[1:1] = python_path(environment)


def run(script: str) -> int | None:
    """The exit code of a script, or None after Ctrl-C, of which Python ends by the signal."""
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return (ended.code or 0) & 0xFF
        sys.stderr.write(f"{ended.code}\n")
        return 1
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        return None
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def main() -> None:
    """In a copy, run the command, to the end of the process."""
    code: int | None = None

    def end() -> None:
        if code is not None:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)  # to take all modules apart would copy them

    atexit.register(end)  # before all others, and so called after them
    for name in IMPORTED:
        importlib.import_module(name)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "threads do not survive a fork"
    gc.collect()
    gc.freeze()  # what is never looked at is never written to, and so shared
    words = serve(sys.argv[2])
    script = Path(words[0]).absolute()
    sys.argv = words
    sys.orig_argv = [sys.executable, *words]
    sys.path[0] = str(script.resolve().parent)
    code = run(str(script))
    if code is None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        ask(sys.argv[2], sys.argv[3:])
    import atexit
    import contextlib
    import gc
    import importlib
    import runpy
    from importlib.machinery import PathFinder
    from pathlib import Path

    main()
