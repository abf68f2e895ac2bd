"""`python killed.py N FOLDER train.py ...`: the command, killed before its N-th change of a file in the folder.

As `kill -9` or the end of the power at that moment. 0: never; then the number of changes is printed to standard error.
"""

import os
import runpy
import signal
import sys

CHANGES = {"os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0, "os.utime": 0, "os.truncate": 0}
WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def watch(moment: int, folder: str) -> None:
    """Count what changes files, as Python tells it before it does it."""
    done = 0

    def look(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal done
        if event == "open":
            path, changes = arguments[0], bool(int(str(arguments[2])) & WRITE)
        elif event in CHANGES:
            path, changes = arguments[CHANGES[event]], True
        else:
            return
        if changes and folder in str(path):
            done += 1
            if done == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
    if moment == 0:
        import atexit

        atexit.register(lambda: sys.stderr.write(f"changes: {done}\n"))


if __name__ == "__main__":
    moment, folder, script = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    sys.argv = sys.argv[3:]
    watch(moment, folder)
    runpy.run_path(script, run_name="__main__")
