"""Ctrl-C and SIGTERM, where they can do no harm.

Python raises them between any two instructions. Inside of a library that has just taken a lock, this leaves the lock
taken, and the program waits for it for ever when it closes its files. So they wait for the end of such a part.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATED = 143  # the shell's exit code for SIGTERM
SIGNALS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130  # and for Ctrl-C
POOL_SECONDS = 5  # for a pool to end after its workers
STOP_SECONDS = 30  # for a worker to write down that it was stopped
IMPATIENT = 5  # signals while the first is being obeyed: something hangs

_depth = 0
_waiting: int | None = None
_ignored = 0


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt and SIGTERM SystemExit, outside of the parts that are `settled`.

    Those that come while the first is on its way out of this context change nothing: what is kept is being written.
    The fifth of them ends the process on the spot. A SIGINT that is ignored, as in a worker whose parent stops it,
    stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    earlier = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in earlier.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _handle)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


@contextmanager
def settled() -> Iterator[None]:
    """A part that takes locks or writes files: a signal that comes meanwhile is raised at its end."""
    global _depth, _waiting
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth and _waiting is not None:
            number, _waiting = _waiting, None
            _raise(number)


@contextmanager
def workers_stop_first(last_words: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the worker processes, which write down how far they are, and then this one.

    A pool whose worker was stopped in the middle of a message waits for the rest of it for ever (seen in loky). Where
    that happens this process ends by itself: all that matters is in the run directories.

    Workers that are started meanwhile inherit that SIGINT, which a terminal sends to all of them, is blocked. It must
    not be blocked in some other thread of this process, so that it arrives.

    Args:
        last_words: says what is to be said, where this process has to end by itself.
    """
    left = threading.Event()

    def end(code: int) -> None:
        if not left.wait(POOL_SECONDS):
            last_words()
            os._exit(code)

    def stop(number: int, _: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C changes nothing
        stop_workers()
        code = TERMINATED if number == signal.SIGTERM else INTERRUPTED
        threading.Thread(target=end, args=(code,), daemon=True).start()
        _raise(number)

    earlier = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in earlier.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        left.set()
        for number, handler in earlier.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def stop_workers() -> None:
    """Ask the workers to stop, and wait until they have written down how far they are."""
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    for child in children:
        child.join(STOP_SECONDS)


def end_with(alive: Callable[[], bool]) -> None:
    """In a worker: end with its parent, also where that was killed.

    Args:
        alive: returns False once the parent is gone; may wait for it.
    """

    def follow() -> None:
        while alive():
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        os._exit(TERMINATED)

    threading.Thread(target=follow, daemon=True).start()


def _handle(number: int, _: FrameType | None) -> None:
    global _waiting
    if _depth:
        _waiting = number
    else:
        _raise(number)


def _raise(number: int) -> None:
    global _ignored
    if _is_ending(sys.exception()):
        _ignored += 1
        if _ignored == IMPATIENT:
            os._exit(TERMINATED if number == signal.SIGTERM else INTERRUPTED)
        return
    _ignored = 0
    if number == signal.SIGTERM:
        sys.exit(TERMINATED)
    raise KeyboardInterrupt


def _is_ending(error: BaseException | None) -> bool:
    """Whether what is being handled comes of an earlier signal. One that a library swallowed is handled no more."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            return True
        error = error.__context__
    return False
