"""Starts of Python that take no seconds, for tests that run the command line often. See process_copies.py."""

import atexit
import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

COPIES = Path(__file__).parent / "process_copies.py"


def python() -> list[str]:
    """The first words of a command line, in place of `[sys.executable]`.

    UNROLL_REAL_PROCESSES=1 makes them just that, and so does a machine where a process cannot be copied safely.
    """
    real = os.environ.get("UNROLL_REAL_PROCESSES") == "1" or os.environ.get("OMP_NUM_THREADS") != "1"
    if real or sys.platform != "linux":
        return [sys.executable]
    return [sys.executable, "-I", "-S", str(COPIES), "ask", server()]


@functools.cache
def server() -> str:
    """Start the process that is copied, once; it ends with this one. Returns the address of its socket."""
    folder = tempfile.TemporaryDirectory(prefix="unroll-")  # short: the length of an address is limited
    address = f"{folder.name}/socket"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # a copy has its own
    process = subprocess.Popen(
        [sys.executable, str(COPIES), "serve", address],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin
    assert process.stdout
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"

    def stop() -> None:
        process.communicate()  # closes its standard input
        folder.cleanup()

    atexit.register(stop)
    return address
