"""Memory: how much of it there is, and how the C library keeps what a training gives back and asks for again."""

import ctypes
import gc
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from unroll.errors import ConfigError

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
KEPT = 512 << 20  # bytes that are free at the top, before they go back to the system
LARGEST = 32 << 20  # of a piece that is kept for the next; the most that glibc allows
WORTH_A_LOOK = 64 << 20  # bytes; the libraries alone hold several times as many
UNLIMITED = 1 << 60  # what a control group without a limit says is beyond this
PROC, CONTROL_GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, as a step needs the same again: else the system gives it back page by page, each
    emptied first, which costs a step of 16 replicas a fifth of its time. Elsewhere nothing happens.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, KEPT)
        mallopt(MMAP_THRESHOLD, LARGEST)


def check_room(needed: int, what: str, advice: str, free: Callable[[], int | None] | None = None) -> None:
    """Refuse what certainly does not fit, before it is made.

    Args:
        needed: bytes, at least.
        what: needs them, such as "data.points=10,000,000,000: a series so long needs".
        advice: what to do.
        free: bytes that are free, or None where nobody knows; of this process's machine by default.

    Raises:
        ConfigError: with both numbers.
    """
    if needed < WORTH_A_LOOK:
        return
    look = free or free_memory
    there = look()
    if there is None or needed <= there:
        return
    gc.collect()  # of earlier runs in this process
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)
    there = look()
    if there is not None and needed > there:
        raise ConfigError(f"{what} at least {_shown(needed)}, and {_shown(max(0, there))} are free: {advice}")


def free_memory() -> int | None:
    """Bytes that this process can still have, swap included; None where the system does not say.

    The least of what the system has, what the control groups (v1 and v2) leave, and what the limit of the process
    itself (RLIMIT_AS, as by `ulimit -v`) leaves.
    """
    system = _table(PROC / "meminfo", 1024)
    if "MemAvailable" not in system:
        return None
    swap = system.get("SwapFree", 0)
    left = [system["MemAvailable"] + swap]
    left += [free + swap for free in map(_left_in, _control_groups()) if free is not None]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    used = _table(PROC / "self" / "status", 1024).get("VmSize")
    if limit != resource.RLIM_INFINITY and used is not None:
        left.append(limit - used)
    return min(left)


def _control_groups() -> list[Path]:
    """The folders of the groups whose limits hold for this process: its own, and those that this one is in."""
    found = []
    for line in _text(PROC / "self" / "cgroup").splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        root = CONTROL_GROUPS / "memory" if kinds else CONTROL_GROUPS
        own = root / path.lstrip("/")
        found += [folder for folder in (own, *own.parents) if folder.is_relative_to(root)]
    return found


def _left_in(group: Path) -> int | None:
    """What a group leaves. Pages of files, which the system gives up when it must, count as free."""
    for limit, used, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        numbers = [_text(group / name).strip() for name in (limit, used)]
        if all(number.isdecimal() for number in numbers) and int(numbers[0]) < UNLIMITED:
            pages = _table(group / "memory.stat", 1)
            files = sum(pages.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
            return int(numbers[0]) - int(numbers[1]) + files
    return None


def _table(path: Path, unit: int) -> dict[str, int]:
    """Lines of a name and a number."""
    return {name: int(value) * unit for name, value in re.findall(r"^(\w+):?\s+(\d+)", _text(path), re.MULTILINE)}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _shown(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"


def _of_glibc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
