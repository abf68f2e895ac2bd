"""A campaign: case after case until STRESS_SECONDS are over, and all that was found is told at the end.

STRESS_FIRST=NUMBER says where to begin; with STRESS_SECONDS=0 too, that case alone is run.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from outcomes import OutcomeError

from conftest import ROOT
from processes import python

HANG = 120  # seconds


def run_campaign(
    name: str,
    outcome: Callable[[int, Path], bool],
    described: Callable[[int], str],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Run new numbers each time, print one line of counts, and fail with all that was found.

    Args:
        name: of the campaign.
        outcome: of the case of a number, in a folder of its own: whether it was a good run (else it was refused in a
            line). Whatever it raises is a finding.
        described: the case of a number in a line.
        folder: for the cases; what went as it should is removed.
        capsys: of the test.
    """
    seconds, begun = float(os.environ.get("STRESS_SECONDS", "120")), time.monotonic()
    first = int(os.environ.get("STRESS_FIRST", str(int(time.time()) * 100)))
    number, counts, failed = first, {True: 0, False: 0}, []
    while number == first or time.monotonic() - begun < seconds:
        place = folder / str(number)
        place.mkdir()
        try:
            counts[outcome(number, place)] += 1
            shutil.rmtree(place)
        except Exception as error:  # the test goes on, whatever was found
            failed.append(f"{described(number)}\n{error}")
        number += 1
    line = (
        f"{name}: {number - first} cases from {first} in {time.monotonic() - begun:.0f} s: {counts[True]} good runs, "
        f"{counts[False]} refused in a line, {len(failed)} others"
    )
    with capsys.disabled():
        print(f"\n{line}")
    assert not failed, "\n\n".join([line, *failed])


def run_script(script: str, words: Sequence[str], folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a script of the repository as a user does, from a folder; raises OutcomeError where it does not end."""
    environment = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    try:
        return subprocess.run(
            [*python(), str(ROOT / script), *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=HANG,
        )
    except subprocess.TimeoutExpired as error:
        raise OutcomeError(f"no end after {HANG} s: {script} {' '.join(words)}") from error
