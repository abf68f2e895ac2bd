"""Random command lines through `python train.py`: a whole, good run, or a refusal in one line.

One case again: STRESS_FIRST=NUMBER STRESS_SECONDS=0 python -m pytest tests/fuzz/test_command_lines.py -m stress
"""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from campaign import run_campaign, run_script
from configs import SERIES, make
from outcomes import OutcomeError, expect, judge, judge_line, judge_run, strict_json

REPEATED = 10  # one in so many is trained twice
SHOWS = {"--cfg", "--info", "--version", "--help"}  # flags that train nothing


def outcome(number: int, folder: Path) -> bool:
    """Whether a case became a run (else it was refused); raises OutcomeError for anything else."""
    case, here, outputs = make(number), folder / "here" / "deeper", folder / "outputs"
    here.mkdir(parents=True)
    (here / "series.csv").write_text(SERIES)
    words = [*case.words, f"output_dir={outputs}"]
    done = run_script("train.py", words, here)
    if done.returncode == 0 and SHOWS & {*case.words}:
        expect(not done.stderr and not outputs.exists(), f"{done.stdout[-500:]}\n{done.stderr[-2000:]}")
        return False
    if case.is_sweep:
        return judge_sweep(done, outputs)
    run = judge(done, outputs, refusals=(1, 2))
    expect(run is not None or not case.good, f"refused, and should work: {done.stderr}")
    if run and number % REPEATED == 0:
        other = judge(run_script("train.py", [*case.words, f"output_dir={folder / 'other'}"], here), folder / "other")
        expect(other is not None and weights(other) == weights(run), "the same command gave other weights")
    if run and case.again is not None:
        judge_again(run_script("train.py", [f"resume={run}", *case.again], here), run)
    return run is not None


def weights(run: Path) -> object:
    return strict_json(run / "metrics.json")["weights_sha256"]


def judge_sweep(done: subprocess.CompletedProcess[str], outputs: Path) -> bool:
    """Whether some run of a sweep is there: a failure of one is a line, and no fault of the program."""
    about = f"exit code {done.returncode}\nstdout: {done.stdout[-2000:]}\nstderr: {done.stderr[-4000:]}"
    expect("Traceback" not in done.stdout + done.stderr, f"a traceback: {about}")
    expect(done.returncode in (0, 1, 2), about)
    if done.returncode == 0:
        expect(not done.stderr, f"a word on standard error: {about}")
    elif done.returncode == 2 or done.stderr.count("\n") == 1:
        judge_line(done.stderr, usage=done.returncode == 2)
    else:
        for line in done.stderr.splitlines(keepends=True):
            judge_line(line)
            expect(not re.search(r"\b[A-Z]\w*(Error|Exception|Warning): ", line), f"a fault of the program: {about}")
    complete = 0
    for path in outputs.rglob("run.json"):
        state = strict_json(path)["status"]
        expect(state in ("complete", "failed"), f"{path.parent.name} is {state}: {about}")
        expect(state == "complete" or done.returncode != 0, f"{path.parent.name} is {state}: {about}")
        if state == "complete" and not strict_json(path.with_name("metrics.json")).get("fast_dev_run"):
            judge_run(path.parent)
            complete += 1
    expect(not complete or any(outputs.rglob("leaderboard.csv")), f"no leaderboard: {about}")
    return complete > 0


def judge_again(done: subprocess.CompletedProcess[str], run: Path) -> None:
    """A run that goes on, is complete already, or is refused in a line and stays what it was."""
    about = f"resume: exit code {done.returncode}\nstdout: {done.stdout[-2000:]}\nstderr: {done.stderr[-4000:]}"
    expect("Traceback" not in done.stdout + done.stderr, f"a traceback: {about}")
    state = strict_json(run / "run.json")["status"]
    if done.returncode == 0:
        expect(not done.stderr and state == "complete", about)
        judge_run(run)
        return
    expect(done.returncode in (1, 2), about)
    judge_line(done.stderr, usage=done.returncode == 2)
    expect(state in ("complete", "failed"), f"{state}: {about}")


def described(number: int) -> str:
    case = make(number)
    again = "" if case.again is None else f"; then resume=RUN {shlex.join(case.again)}"
    return f"case {number} ({', '.join(case.about) or 'good'}): {shlex.join(case.words)}{again}"


@pytest.mark.parametrize("number", [*range(12), *range(13, 20)])  # 12 trains for long
def test_a_few_command_lines(number, tmp_path):
    try:
        outcome(number, tmp_path)
    except OutcomeError as error:
        raise OutcomeError(f"{described(number)}\n{error}") from error


FOUND = [  # by the campaign, each with what it says now
    (["data.batch_size=100000000000000000000"], "an integer of at most 9223372036854775807"),
    (["data.test=9223372036854775808"], "data.test must be a fraction"),
    (["data=[1,2]"], "a group takes one of its options"),
    (["~model.input_layout"], "model.input_layout is missing"),
    (["~trainer.max_epochs"], "trainer.max_epochs is missing"),
    (["+trainer.detect_anomaly=[]"], "detect_anomaly must be true or false"),
    (["+trainer.num_nodes=2"], "num_nodes must be 1"),
    (["+optimizer.differentiable=null", "data.points=90", "trainer.max_epochs=1"], "torch refuses an argument"),
    (["hydra/none=1", f"experiment={'x' * 3000}"], "there is no such option"),
]


@pytest.mark.parametrize(("words", "said"), FOUND)
def test_what_was_found_is_said_in_a_line(words, said, tmp_path):
    done = run_script("train.py", [*words, f"output_dir={tmp_path}"], tmp_path)
    assert judge(done, tmp_path) is None
    assert said in done.stderr


def test_a_case_is_made_from_its_number():
    numbers = range(60)
    cases = [make(number) for number in numbers]
    assert cases == [make(number) for number in numbers]
    assert 10 < sum(case.good for case in cases) < 50


@pytest.mark.stress
def test_many_command_lines(tmp_path, capsys):
    run_campaign("configs", outcome, described, tmp_path, capsys)
