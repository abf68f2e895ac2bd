"""Random CSV files through `python train.py data=csv`: a whole, right run, or a refusal in one line."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from csvs import Case, make
from outcomes import OutcomeError, expect, judge, judge_line

from conftest import ROOT
from processes import python
from unroll.data.csv import CSVData
from unroll.data.series import Series
from unroll.errors import UnrollError
from unroll.evaluation.evaluate import fit_reference
from unroll.tables import printable

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


def loaded(case: Case, folder: Path) -> bool:
    """The same without a process and a training: fast, for many more cases."""
    path = folder / case.name
    path.write_bytes(case.content)
    options = {key: value for key, value in case.options.items() if value is not None}
    try:
        data = CSVData(path=str(path), **options)  # type: ignore[arg-type]
        data.setup()
        fit_reference(data)
    except UnrollError as error:
        judge_line(f"error: {printable(' '.join(str(error).split()))}\n")
        expect(case.series is None, f"a well-formed file is refused: {error}")
        return False
    finally:
        path.unlink()
    assert np.isfinite(data.series.values).all()
    assert data.series.index.is_monotonic_increasing
    if case.series is not None:
        np.testing.assert_array_equal(data.loaded.target, case.series)
    return True


def go_on(judged: Callable[[Case, Path], bool], name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """New numbers each time, until STRESS_SECONDS are over; all that failed are told at the end."""
    seconds, begun = float(os.environ.get("STRESS_SECONDS", "120")), time.monotonic()
    first = int(os.environ.get("STRESS_FIRST", str(int(time.time()) * 1000)))
    number, counts, failed = first, {True: 0, False: 0}, []
    while number == first or time.monotonic() - begun < seconds:
        case = make(number)
        (folder / str(number)).mkdir()
        try:
            counts[judged(case, folder / str(number))] += 1
        except Exception as error:  # the test goes on, whatever was found
            about = f"{', '.join(case.about) or 'well-formed'}: {case.arguments(case.name)}"
            failed.append(f"case {number} ({about})\n{type(error).__name__}: {error}")
        shutil.rmtree(folder / str(number))
        number += 1
    line = (
        f"{name}: {number - first} cases from {first} in {time.monotonic() - begun:.0f} s: {counts[True]} good runs, "
        f"{counts[False]} refused in a line, {len(failed)} others"
    )
    with capsys.disabled():
        print(f"\n{line}")
    again = "one again: STRESS_FIRST=NUMBER STRESS_SECONDS=0 python -m pytest tests/fuzz/test_csvs.py -m stress"
    assert not failed, "\n\n".join([*failed, line, again])


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
    go_on(outcome, "csv", tmp_path, capsys)


@pytest.mark.stress
def test_many_more_files_without_training(tmp_path, capsys):
    go_on(loaded, "csv, loaded only", tmp_path, capsys)
