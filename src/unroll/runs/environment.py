"""What a run was trained with: versions, processor, and the commit of this code."""

import functools
import platform
import re
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("unroll", "torch", "lightning", "hydra-core", "omegaconf", "numpy", "pandas")
WIDTHS = ("avx2", "avx512f")


@functools.cache
def environment() -> dict[str, Any]:
    """Versions, platform, and the git commit of this code."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    commit = _git("rev-parse", "HEAD")
    return {
        "python": sys.version.split()[0],
        "platform": sys.platform,
        "processor": _processor(),  # another kind may round otherwise
        "packages": versions,
        "git_commit": commit,
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else None,
    }


def _processor() -> str:
    """What the machine calls its processor, and the widths of it that libraries compute with."""
    words = [platform.machine(), platform.processor()]
    with suppress(OSError):
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        about = dict(re.findall(r"^(model name|flags)\s*: (.*)$", told, re.MULTILINE))
        words = [platform.machine(), about.get("model name", "").strip()]
        words += [width for width in WIDTHS if width in about.get("flags", "").split()]
    return ", ".join(filter(None, dict.fromkeys(words)))


def _git(*arguments: str) -> str | None:
    try:
        here = Path(__file__).parent  # the commit of this code, wherever it is run from
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
