"""Random CSV files through `python train.py data=csv`: a whole, right run, or a refusal in one line.

One case again: STRESS_FIRST=NUMBER STRESS_SECONDS=0 python -m pytest tests/fuzz/test_csvs.py -m stress
"""

from pathlib import Path

import numpy as np
import pytest
from campaign import run_campaign, run_script
from csvs import make
from outcomes import OutcomeError, judge

from unroll.data.series import Series


def outcome(number: int, folder: Path) -> bool:
    """Whether a case became a run (else it was refused); raises OutcomeError for anything else, a wrong series too."""
    case = make(number)
    path, outputs = folder / case.name, folder / "outputs"
    path.write_bytes(case.content)
    done = run_script("train.py", [*case.arguments(str(path)), f"output_dir={outputs}"])
    run = judge(done, outputs)
    if case.series is not None:
        if run is None:
            raise OutcomeError(f"a well-formed file is refused: {done.stderr}")
        found = Series.load(run / "series.npz").target
        np.testing.assert_array_equal(found, case.series)
    return run is not None


def described(number: int) -> str:
    case = make(number)
    return f"case {number} ({', '.join(case.about) or 'well-formed'}): {case.arguments(case.name)}"


@pytest.mark.parametrize("number", range(25))
def test_a_few_files(number, tmp_path):
    outcome(number, tmp_path)


def test_a_case_is_made_from_its_number():
    numbers = range(60)
    cases = [make(number) for number in numbers]
    assert cases == [make(number) for number in numbers]
    assert 10 < sum(case.series is not None for case in cases) < 50


@pytest.mark.stress
def test_many_files(tmp_path, capsys):
    run_campaign("csv", outcome, described, tmp_path, capsys)
