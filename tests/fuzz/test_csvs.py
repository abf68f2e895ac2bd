"""Random CSV files through `python train.py data=csv`: a whole, right run, or a refusal in one line."""

from pathlib import Path

import numpy as np
import pytest
from campaign import run_campaign, run_script
from csvs import make
from outcomes import OutcomeError, expect, judge, judge_line

from unroll.data.csv import CSVData
from unroll.data.series import Series
from unroll.errors import UnrollError
from unroll.evaluation.evaluate import fit_reference
from unroll.tables import printable


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


def loaded(number: int, folder: Path) -> bool:
    """The same without a process and a training: fast, for many more cases."""
    case = make(number)
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


@pytest.mark.stress
def test_many_more_files_without_training(tmp_path, capsys):
    run_campaign("csv, loaded only", loaded, described, tmp_path, capsys)
