"""Random damage to one file of a run directory, and then what reads it: the right result, or a line that names a file.

One case again: STRESS_FIRST=NUMBER STRESS_SECONDS=0 python -m pytest tests/fuzz/test_damage.py -m stress
"""

import functools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from campaign import run_campaign, run_script
from configs import SERIES
from outcomes import OutcomeError, expect, judge_line, strict_json

from unroll.runs.directory import RunDirectory

SMALL = ["data.window_size=4", "model.hidden_size=3", "trainer=cpu", "trainer.max_epochs=4", "checkpoint_seconds=0"]
SINE = ["data.points=90", "model.dropout=0.2", "optimizer.lr=0.1", *SMALL]  # its best epoch is not the last
SWEEP = ["-m", "model.hidden_size=2,3", "sweep.name=study", *SINE]
UNREAD = ("figures/", "events.out", ".lock", "output.log", "leaderboard", "run.json")  # what is told of in no digest
BOARD_KEYS = ("seeds", "best_seed", "parameters", "runs", "validation", "test")
TIMES = ("seconds", "started", "finished", "age_seconds")


class Whole(NamedTuple):
    """Undamaged outputs.

    Args:
        outputs: the folder of the runs.
        run: of them, inside it; the sweep's folder for a sweep.
        complete: False for a run that was killed.
        result: of the run (of each in a sweep), to compare with.
    """

    outputs: Path
    run: Path
    complete: bool
    result: dict[str, Any]


def result_of(run: Path) -> dict[str, Any]:
    """What a training leaves that no damage may change."""
    metrics = strict_json(run / "metrics.json")
    kept = {key: metrics[key] for key in ("weights_sha256", "test", "validation", "epochs", "loss")}
    predictions = run / "predictions.csv"
    return kept | {"predictions": predictions.read_bytes() if predictions.is_file() else None}


@pytest.fixture(scope="module")
def wholes(tmp_path_factory) -> dict[str, Whole]:
    """A run of each kind, made once."""
    folder, found = tmp_path_factory.mktemp("wholes"), {}
    (folder / "series.csv").write_text(SERIES)
    csv = ["data=csv", f"data.path={folder / 'series.csv'}", "data.target=sold", "free_run.steps=4"]
    kinds = {"plain": SINE, "replicas": ["replicas=2", *SINE], "csv": [*csv, *SMALL], "killed": SINE}
    for kind, words in kinds.items():
        outputs = folder / kind
        done = run_script("train.py", [*words, f"output_dir={outputs}"])
        assert done.returncode == 0, done.stderr
        found[kind] = Whole(outputs, next(outputs.glob("*/run.json")).parent, True, {})
        found[kind] = found[kind]._replace(result=result_of(found[kind].run))
    outputs = folder / "stopped"
    killed = [str(outputs), "train.py", *SINE, f"output_dir={outputs}"]
    done = run_script("tests/killed.py", ["0", *killed])
    changes = int(done.stderr.split()[-1])
    shutil.rmtree(outputs)
    run_script("tests/killed.py", [str(changes // 2), *killed])
    run = next(outputs.glob("*/run.json")).parent
    assert strict_json(run / "run.json")["status"] == "running"
    assert (run / "checkpoints" / "last.ckpt").is_file()
    found["killed"] = Whole(outputs, run, False, found["killed"].result)
    outputs = folder / "sweep"
    done = run_script("train.py", [*SWEEP, f"output_dir={outputs}"])
    assert done.returncode == 0, done.stderr
    study = outputs / "sweeps" / "study"
    results = {path.parent.name: result_of(path.parent) for path in study.glob("*/run.json")}
    found["sweep"] = Whole(outputs, study, True, results)
    return found


def cut(dice: random.Random, path: Path, others: list[Path]) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: dice.randrange(len(content) + 1)])


def emptied(dice: random.Random, path: Path, others: list[Path]) -> None:
    path.write_bytes(b"")


def removed(dice: random.Random, path: Path, others: list[Path]) -> None:
    path.unlink()


def one_bit(dice: random.Random, path: Path, others: list[Path]) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(content)


def zeros(dice: random.Random, path: Path, others: list[Path]) -> None:
    content = bytearray(path.read_bytes())
    begin, size = dice.randrange(len(content) + 1), dice.choice([1, 16, 512, 4096])
    content[begin : begin + size] = b"\0" * len(content[begin : begin + size])
    path.write_bytes(content)


def replaced(dice: random.Random, path: Path, others: list[Path]) -> None:
    alike = [other for other in others if other.suffix == path.suffix]
    path.write_bytes(dice.choice(alike if alike and dice.random() < 0.7 else others).read_bytes())


def a_folder(dice: random.Random, path: Path, others: list[Path]) -> None:
    path.unlink()
    path.mkdir()
    if dice.random() < 0.5:
        (path / "file").write_text("text")


def noise(dice: random.Random, path: Path, others: list[Path]) -> None:
    path.write_bytes(dice.randbytes(dice.choice([1, 100, 5000])))


def a_line(dice: random.Random, path: Path, others: list[Path]) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    if lines:
        place = dice.randrange(len(lines))
        lines[place : place + 1] = dice.choice([[], [lines[place]] * 2])
    path.write_bytes(b"".join(lines))


def a_digit(dice: random.Random, path: Path, others: list[Path]) -> None:
    content = bytearray(path.read_bytes())
    places = [place for place, byte in enumerate(content) if byte in b"0123456789"]
    if places:
        content[dice.choice(places)] = dice.choice(b"0123456789")
    path.write_bytes(content)


DAMAGES: list[Callable[[random.Random, Path, list[Path]], None]] = [
    *(cut, emptied, removed, one_bit, one_bit, zeros, replaced, replaced, a_folder, noise, a_line, a_digit),
]


class Case(NamedTuple):
    """One damage and one command."""

    kind: str
    file: str
    damage: Callable[[random.Random, Path, list[Path]], None]
    command: str
    dice: random.Random


def make(number: int, wholes: dict[str, Whole]) -> Case:
    """The case of a number. The files of a run and their order are the same each time; their names hold the time."""
    dice = random.Random(number)
    kind = dice.choice(["plain", "plain", "replicas", "csv", "killed", "sweep"])
    whole = wholes[kind]
    files = sorted(str(path.relative_to(whole.run)) for path in whole.run.rglob("*") if path.is_file())
    likely = [file for file in files if not file.endswith(".png") and "events.out" not in file]
    command = dice.choice({"killed": KILLED, "sweep": SWEPT}.get(kind, COMMANDS))
    return Case(kind, dice.choice(likely if dice.random() < 0.85 else files), dice.choice(DAMAGES), command, dice)


COMMANDS = [*["evaluate", "forecast", "resume"] * 4, *["runs", "leaderboard"] * 2, "export", "verify"]
KILLED = [*["resume"] * 5, "runs", "evaluate", "leaderboard"]
SWEPT = [*["again", "leaderboard"] * 3, "runs"]


def answer(command: str, whole: Whole, place: Path, folder: Path) -> dict[str, Any]:
    """What a command on the run at a place says: its exit code, its words, and what it says of results."""
    words = {
        "evaluate": ("scripts/evaluate.py", [str(place), "--output", str(folder / "evaluation")]),
        "forecast": ("scripts/forecast.py", [str(place), "--steps", "5", "--figure", str(folder / "figure.png")]),
        "export": ("scripts/export.py", [str(place), "--output", str(folder / "model.pt2")]),
        "runs": ("scripts/runs.py", [str(place), "--json"]),
        "leaderboard": (
            "scripts/leaderboard.py",
            [str(place), "--json", "--no-figures", "--output", str(folder / "board")],
        ),
        "verify": ("scripts/verify.py", [str(place)]),
        "resume": ("train.py", [f"resume={place}"]),
        "again": ("train.py", [*SWEEP, f"output_dir={folder / 'outputs'}"]),
    }[command]
    if command == "forecast" and "free_run" in whole.result:
        words[1].append("--levels=80")
    done = run_script(*words)
    told = (done.stdout + done.stderr).replace(str(place), "RUN").replace(str(folder), "HERE")
    expect("Traceback" not in told, f"a traceback: {told}")
    return {"code": done.returncode, "output": done.stdout, "errors": done.stderr, "told": told}


def outcome(case: Case, wholes: dict[str, Whole], folder: Path) -> bool:
    """Whether a command gave the right result (else it refused the run); raises OutcomeError for anything else."""
    whole = wholes[case.kind]
    outputs = Path(shutil.copytree(whole.outputs, folder / "outputs"))
    place = outputs / whole.run.relative_to(whole.outputs)
    others = [path for path in sorted(place.rglob("*")) if path.is_file() and path != place / case.file]
    case.damage(case.dice, place / case.file, others)
    same = (place / case.file).is_file() and (place / case.file).read_bytes() == (whole.run / case.file).read_bytes()
    found = answer(case.command, whole, place, folder)
    expect(found["code"] in (0, 1), found["told"])
    if found["code"] == 1 and not (case.command == "verify" and not found["errors"]):
        for line in found["errors"].splitlines(keepends=True):
            judge_line(line)
        expect(str(place) in found["errors"], f"names no file: {found['told']}")
        unfinished = case.kind == "killed" and case.command == "leaderboard"  # which has no row for it
        expect(not same or unfinished, f"refused, though nothing is damaged: {found['told']}")
        return False
    check = {"runs": right_rows, "leaderboard": right_board, "resume": right_run, "again": right_sweep}
    check |= {"verify": right_verification}
    if case.command != "runs":
        words = [line for line in found["errors"].splitlines() if line.startswith("error")]
        expect(not words, found["told"])
    return check.get(case.command, right_words)(case, whole, place, folder, found)


@functools.cache
def undamaged(command: str, kind: str, outputs: Path, run: Path) -> dict[str, Any]:
    """What a command says of the whole run."""
    folder = outputs.parent / f"{kind}-{command}"
    copy = Path(shutil.copytree(outputs, folder / "outputs")) / run.relative_to(outputs)
    found = answer(command, Whole(outputs, run, True, {}), copy, folder)
    return found | {"place": copy}


def right_words(case: Case, whole: Whole, place: Path, folder: Path, found: dict[str, Any]) -> bool:
    """Scores, forecasts and checks are printed as for the whole run, to the last digit."""
    expected = undamaged(case.command, case.kind, whole.outputs, whole.run)
    expect(found["told"] == expected["told"], f"other results:\n{found['told']}\nin place of\n{expected['told']}")
    return True


def without_times(row: dict[str, Any], place: Path) -> str:
    return json.dumps({key: value for key, value in row.items() if key not in TIMES}).replace(str(place), "RUN")


def right_rows(case: Case, whole: Whole, place: Path, folder: Path, found: dict[str, Any]) -> bool:
    """The same rows, or the run is damaged, killed or gone."""
    if found["output"].startswith("no runs under") or not found["output"].startswith("["):
        expect(case.file.endswith(("run.json", "config.yaml")), found["told"])
        return False
    expected = undamaged(case.command, case.kind, whole.outputs, whole.run)
    rows = {row["name"]: without_times(row, expected["place"]) for row in json.loads(expected["output"])}
    for row in json.loads(found["output"]):
        if row["status"] == "damaged":
            expect(bool(row["reason"]), found["told"])
            continue
        shown = without_times(row, place)
        excused = case.file.endswith("run.json") or not whole.complete
        expect(shown == rows[row["name"]] or excused, f"other rows: {shown}\n{rows}")
    return True


def right_board(case: Case, whole: Whole, place: Path, folder: Path, found: dict[str, Any]) -> bool:
    """The rows of whole runs, and a word for each that is left out."""
    expected = undamaged(case.command, case.kind, whole.outputs, whole.run)
    shown, known = (board_rows(told["output"]) for told in (found, expected))
    strange = [row for row in shown if row not in known]
    expect(not strange, f"other rows: {strange}\nin place of {known}")
    gone = len(known) - len(shown)
    expect(not gone or Path(case.file).parts[0] in found["told"], f"a row is gone: {found['told']}")
    return not gone


def board_rows(printed: str) -> list[dict[str, Any]]:
    """What a leaderboard says of each run, without ranks, which change where one is left out, and seconds."""
    tables = json.loads(printed)["tables"]
    return [{key: row.get(key) for key in BOARD_KEYS} for table in tables for row in table["rows"]]


def right_run(case: Case, whole: Whole, place: Path, folder: Path, found: dict[str, Any]) -> bool:
    """A run that is as if it had never been damaged."""
    expect(result_of(place) == whole.result, f"another result: {found['told']}")
    changed = RunDirectory(place).changed_files()
    expect(not changed, f"still damaged: {changed}: {found['told']}")
    return True


def right_sweep(case: Case, whole: Whole, place: Path, folder: Path, found: dict[str, Any]) -> bool:
    """Both runs are there, and as they were."""
    for name, result in whole.result.items():
        wanted = {key: value for key, value in result.items() if key != "predictions"}
        have = {key: value for key, value in result_of(place / name).items() if key != "predictions"}
        expect(have == wanted, f"another result of {name}: {found['told']}")
    expect((place / "leaderboard.csv").is_file(), found["told"])
    return True


def right_verification(case: Case, whole: Whole, place: Path, folder: Path, found: dict[str, Any]) -> bool:
    """Verified, or what is not as it was written is named."""
    same = (place / case.file).is_file() and (place / case.file).read_bytes() == (whole.run / case.file).read_bytes()
    named = case.file in found["output"] or case.file.startswith(UNREAD) or same
    expect(named, f"{case.file} is not named: {found['told']}")
    expect(found["code"] == 0 or "not verified" in found["output"] or "cannot be" in found["output"], found["told"])
    return found["code"] == 0


def described(number: int, wholes: dict[str, Whole]) -> str:
    case = make(number, wholes)
    return f"case {number}: {case.kind}, {case.file}: {case.damage.__name__}, then {case.command}"


@pytest.mark.parametrize("number", range(25))
def test_a_few_damages(number, wholes, tmp_path):
    try:
        outcome(make(number, wholes), wholes, tmp_path)
    except OutcomeError as error:
        raise OutcomeError(f"{described(number, wholes)}\n{error}") from error


@pytest.mark.stress
def test_many_damages(wholes, tmp_path, capsys):
    run_campaign(
        "damage",
        lambda number, folder: outcome(make(number, wholes), wholes, folder),
        lambda number: described(number, wholes),
        tmp_path,
        capsys,
    )
