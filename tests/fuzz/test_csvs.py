"""Random CSV files through `python train.py data=csv`: a whole, right run, or a refusal in one line.

One case again: STRESS_FIRST=NUMBER STRESS_SECONDS=0 python -m pytest tests/fuzz/test_csvs.py -m stress
"""

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from csvs import Case, make
from outcomes import OutcomeError, judge

from conftest import ROOT
from processes import python
from unroll.data.series import Series

HANG = 120  # seconds


def outcome(case: Case, folder: Path) -> bool:
    """Whether a case became a run (else it was refused); raises OutcomeError for anything else, a wrong series too."""
    path, outputs = folder / case.name, folder / "outputs"
    path.write_bytes(case.content)
    words = [*python(), str(ROOT / "train.py"), *case.arguments(str(path)), f"output_dir={outputs}"]
    environment = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    try:
        done = subprocess.run(
            words,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=HANG,
        )
    except subprocess.TimeoutExpired as error:
        raise OutcomeError(f"no end after {HANG} s") from error
    run = judge(done, outputs)
    if case.series is not None:
        if run is None:
            raise OutcomeError(f"a well-formed file is refused: {done.stderr}")
        found = Series.load(run / "series.npz").target
        np.testing.assert_array_equal(found, case.series)
    return run is not None


def described(number: int, case: Case, error: Exception) -> str:
    return f"case {number} ({', '.join(case.about) or 'well-formed'}): {case.arguments(case.name)}\n{error}"


@pytest.mark.parametrize("number", range(25))
def test_a_few_files(number, tmp_path):
    outcome(make(number), tmp_path)


def test_a_case_is_made_from_its_number():
    numbers = range(60)
    cases = [make(number) for number in numbers]
    assert cases == [make(number) for number in numbers]
    assert 10 < sum(case.series is not None for case in cases) < 50


@pytest.mark.stress
def test_many_files(tmp_path, capsys):
    """New numbers each time, until STRESS_SECONDS are over; all that failed are told at the end."""
    seconds, begun = float(os.environ.get("STRESS_SECONDS", "120")), time.monotonic()
    first = int(os.environ.get("STRESS_FIRST", str(int(time.time()) * 100)))
    number, counts, failed = first, {True: 0, False: 0}, []
    while number == first or time.monotonic() - begun < seconds:
        folder = tmp_path / str(number)
        folder.mkdir()
        case = make(number)
        try:
            counts[outcome(case, folder)] += 1
        except Exception as error:  # the test goes on, whatever was found
            failed.append(described(number, case, error))
        number += 1
    line = (
        f"csv: {number - first} cases from {first} in {time.monotonic() - begun:.0f} s: {counts[True]} good runs, "
        f"{counts[False]} refused in a line, {len(failed)} others"
    )
    with capsys.disabled():
        print(f"\n{line}")
    assert not failed, "\n\n".join(failed)
