"""Commands that are sent signals in the middle, and what must be true of them afterwards.

A command is a real Python in a session of its own, so that Ctrl-C reaches all of its processes, as in a terminal, and
that none of them can be left without being found.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT
from unroll.runs.directory import is_held

SECONDS = 60  # in which a command ends after its last signal
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
SMALL = ("data.points=150", "data.window_size=8", "trainer.max_epochs=12", "checkpoint_seconds=0", "trainer=cpu")


@dataclass(frozen=True)
class Ended:
    """A command that was sent signals, once it has ended."""

    code: int
    output: str
    errors: str
    arrived: bool  # whether it was still there for the first signal


def interrupt(
    words: Sequence[str],
    moment: Callable[[], bool],
    signs: Sequence[signal.Signals],
    gap: float = 0.0,
    *,
    script: str = "train.py",
) -> Ended:
    """Start a command, send it signals, wait for its end.

    Args:
        words: after the script's name.
        moment: asked all the time; True: the first signal is sent.
        signs: one or more.
        gap: seconds between them.
        script: of the repository.
    """
    process = subprocess.Popen(
        [sys.executable, str(ROOT / script), *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    begun = time.monotonic()
    while process.poll() is None and not moment():
        assert time.monotonic() - begun < 2 * SECONDS, "the moment never came"
        time.sleep(0.001)
    arrived = process.poll() is None
    for number, sign in enumerate(signs):
        if number:
            time.sleep(gap)
        if process.poll() is None:
            (os.killpg if sign is signal.SIGINT else os.kill)(process.pid, sign)  # a terminal sends Ctrl-C to all
    try:
        output, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"it hangs: {process.communicate()}") from None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return Ended(process.returncode, output, errors, arrived)
    raise AssertionError("it left a process behind")


def after(seconds: float) -> Callable[[], bool]:
    """So long after now."""
    due = time.monotonic() + seconds
    return lambda: time.monotonic() >= due


def once(folder: Path, pattern: str, seconds: float = 0.0) -> Callable[[], bool]:
    """So long after a file is there.

    Args:
        folder: where.
        pattern: of its name.
        seconds: more.
    """
    due: list[float] = []

    def come() -> bool:
        if not due and any(folder.glob(pattern)):
            due.append(time.monotonic() + seconds)
        return bool(due) and time.monotonic() >= due[0]

    return come


def assert_orderly(ended: Ended, signs: Sequence[signal.Signals]) -> None:
    """It ended by its signals or was done, without a traceback, and said in a line at most how to go on."""
    if ended.code == 1 and ended.errors.startswith("Fatal Python error: init_import_site"):
        return  # it came while Python read what is installed: none of our lines had run
    codes = [CODES[sign] for sign in signs] + [-sign for sign in signs]  # by the signal itself, with nothing to lose
    assert ended.code in ([*codes, 0] if ended.arrived else [0]), ended
    if ended.code == -signal.SIGINT and (str(ROOT) not in ended.errors or "import unroll.early" in ended.errors):
        return  # Python itself was starting, and had not yet read what would have changed that
    assert "Traceback" not in ended.errors, ended
    assert "Exception ignored" not in ended.errors, ended
    assert "interrupted" not in ended.errors or re.fullmatch("interrupted(; .*)?", ended.errors.splitlines()[-1]), ended


def to_go_on(ended: Ended) -> list[str] | None:
    """The words of the command that was printed, if any."""
    found = re.search(r"python train\.py (resume=\S+)$", ended.errors)
    return [found[1]] if found else None


def assert_nothing_is_held(folder: Path) -> None:
    """No run is in the hands of a process."""
    assert not [path for path in folder.rglob(".lock") if is_held(path.parent)]
