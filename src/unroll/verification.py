"""Whether a run can be repeated: it is trained again from its directory alone, and compared to the last bit."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unroll.errors import RunError
from unroll.load import load_run
from unroll.results import digest
from unroll.runs.environment import environment
from unroll.train import train_again

KINDS = ("best", "last")
SHOWN = 16  # hexadecimal digits of a digest
MEASURED = ("seconds", "weights_sha256", "device")  # what two trainings need not share, or what is compared by itself
NAMED = 5  # differing scores, before they are only counted
GIT = ("git_commit", "git_dirty")


def verify(path: Path, console: Console) -> bool:
    """Train a finished run again, and print what is the same and what is not.

    Args:
        path: the run directory. Nothing in it is changed.
        console: where to print.

    Returns:
        whether weights, scores and predictions are the same bits.

    Raises:
        RunError: for a run that is not complete or is damaged, or that no single training can give.
    """
    loaded = load_run(path, as_written=False)  # it says itself what was changed
    run, metrics = loaded.run, loaded.metrics
    state = run.read_state()
    if state.get("fingerprint", "") is None:
        raise RunError(
            f"{run.path} was trained further with other settings than it began with: no single training is like it"
        )
    recorded = metrics.get("weights_sha256")
    if not isinstance(recorded, dict) or not all(isinstance(recorded.get(kind), str) for kind in KINDS):
        raise RunError(f"{run.metrics} is damaged: it holds no weights_sha256")
    console.print(f"{run.path}: to be trained again from its config and its series", soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="unroll-verify-") as folder:
        again = train_again(run, Path(folder), console)
        predicted = again.run.predictions.read_bytes()
    found = again.metrics["weights_sha256"]
    others = [line for key, line in _differences(metrics, again.metrics) if key.partition(".")[0] not in MEASURED]
    rows = [(f"{kind} weights", recorded[kind], found[kind], recorded[kind] == found[kind]) for kind in KINDS]
    rows.append(("scores", "", "", not others))
    rows.append(("predictions.csv", "", "", run.predictions.is_file() and run.predictions.read_bytes() == predicted))
    console.print(_table(rows))
    kept = {name: digest(*states) for name, states in loaded.weights.items()}
    swapped = [f"{name}.ckpt" for name, held in kept.items() if held != recorded[name]]
    changed = [name for name in run.changed_files() if not name.startswith("figures")]
    for files, words in ((swapped, "other weights than metrics.json says in"), (changed, "not as the run wrote them")):
        if files:
            console.print(f"{words}: {', '.join(files)}", soft_wrap=True, highlight=False)
    if all(row[-1] for row in rows):
        if swapped or changed:
            console.print(
                "not verified: the training is repeated bit for bit, and these files are not those of it",
                soft_wrap=True,
            )
        else:
            console.print("verified: the same weights, scores and predictions, bit for bit", soft_wrap=True)
        return not (swapped or changed)
    for line in others[:NAMED]:
        console.print(line, soft_wrap=True, highlight=False)
    if len(others) > NAMED:
        console.print(f"and {len(others) - NAMED} scores more")
    if loaded.config.trainer.get("max_time") is not None:
        console.print("  trainer.max_time ended it by the clock, which is never the same", soft_wrap=True)
    _print_reasons(state, metrics, again.metrics, console)
    return False


def _differences(one: Any, other: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The dotted keys at which two JSON values differ, and both values in words."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in dict.fromkeys([*one, *other]):
            yield from _differences(one.get(name), other.get(name), f"{key}.{name}".lstrip("."))
    elif one != other:
        yield key, f"  {key}: then {one}, now {other}"


def _table(rows: list[tuple[str, str, str, bool]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "recorded", "trained again", ""):
        table.add_column(heading)
    for name, recorded, found, same in rows:
        verdict = Text("same") if same else Text("differs", style="bold")
        table.add_row(name, recorded[:SHOWN], found[:SHOWN], verdict)
    return table


def _print_reasons(
    state: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any], console: Console
) -> None:
    """What is not as it was when the run was trained."""
    then, now = state.get("environment"), environment()
    then = then if isinstance(then, dict) else {}
    pairs = {key: (then.get(key), now[key]) for key in now if key not in ("packages", *GIT)}
    packages = then.get("packages")
    packages = packages if isinstance(packages, dict) else {}
    pairs |= {name: (packages.get(name), version) for name, version in now["packages"].items()}
    pairs |= {"device": (before.get("device"), after["device"]), "code": (_code(then), _code(now))}
    console.print("not verified: the run cannot be repeated here to the last bit", soft_wrap=True)
    others = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    for name, (old, new) in others.items():
        console.print(
            f"  {name}: then {old or 'not recorded'}, now {new}", soft_wrap=True, highlight=False, markup=False
        )
    if not others:
        console.print("  versions, processor, device and commit are as they were: was a file changed?", soft_wrap=True)


def _code(about: Mapping[str, Any]) -> str | None:
    """The commit of this code, and whether it was changed beside."""
    commit = about.get("git_commit")
    changed = " with changes that are not committed" if about.get("git_dirty") else ""
    return f"commit {str(commit)[:12]}{changed}" if commit else None
