"""Known vulnerabilities in the packages that constraints.txt pins.

python scripts/audit.py

asks pip-audit, that is PyPI's database, where it can be reached and `pip install -c constraints.txt -e '.[audit]'` was
done; checks the pins against the short list scripts/advisories.json in any case; and looks whether all packages of
pyproject.toml are pinned, its lower bounds exclude versions that are known to be bad, and what is installed fits
together. Exit code 1 where something is found; the last lines say what was looked at, and what was not.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from unroll.cli import one_line_errors
from unroll.errors import DataError

ROOT = Path(__file__).parent.parent
SOCKET_SECONDS, MOST_SECONDS = 5, 90


def main() -> None:
    """Print what was found and what was looked at. Exits with 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt", help="the pins")
    parser.add_argument("--offline", action="store_true", help="ask no database")
    arguments = parser.parse_args()
    with one_line_errors(ROOT / "conf"):
        pins = read_pins(arguments.constraints)
        known = json.loads((ROOT / "scripts" / "advisories.json").read_text(encoding="utf-8"))
        found = [*wrong_pins(pins, known["advisories"]), *wrong_bounds(pins, known["advisories"])]
        lines, looked = conflicts()
        found += lines
        lines, asked = ([], "no database was asked") if arguments.offline else ask(arguments.constraints)
        found += lines
    for line in dict.fromkeys(found):
        print(f"found: {line}")
    listed = f"{len(known['advisories'])} advisories of scripts/advisories.json"
    print(
        f"{len(pins)} pins of {arguments.constraints.name}: {asked}; compared with the {listed}, compiled "
        f"{known['compiled']}, a short list and no database; {looked}"
    )
    print(f"{len(set(found))} found" if found else "nothing found in what was looked at")
    sys.exit(bool(found))


def read_pins(path: Path) -> dict[str, Version]:
    """Version by name of a file of pins.

    Raises:
        DataError: for a line that pins nothing.
    """
    pins: dict[str, Version] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            wanted = Requirement(text)
            (pin,) = wanted.specifier
        except (InvalidRequirement, ValueError) as error:
            raise DataError(f"{path}, line {number}: {text} is no pin: write NAME==VERSION") from error
        if pin.operator != "==" or "*" in pin.version:
            raise DataError(f"{path}, line {number}: {text} is no pin: write NAME==VERSION")
        pins[canonicalize_name(wanted.name)] = Version(pin.version)
    return pins


def wrong_pins(pins: Mapping[str, Version], advisories: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each advisory that a pin falls under."""
    for one in advisories:
        version = pins.get(canonicalize_name(one["package"]))
        if version is not None and SpecifierSet(one["affected"]).contains(version, prereleases=True):
            yield f"{one['package']}=={version}: {one['allows']} ({', '.join(one['ids'])}; {one['source']})"


def wrong_bounds(pins: Mapping[str, Version], advisories: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each core package that is not pinned, or whose range in pyproject.toml lets a bad version in."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for wanted in map(Requirement, project["dependencies"]):
        name = canonicalize_name(wanted.name)
        if name not in pins:
            yield f"{wanted.name}: pyproject.toml asks for it, and constraints.txt does not pin it"
        elif pins[name] not in wanted.specifier:
            yield f"{wanted.name}=={pins[name]}: pyproject.toml asks for {wanted.specifier}"
        lowest = [Version(part.version) for part in wanted.specifier if part.operator == ">="]
        for one in advisories:
            bad = SpecifierSet(one["affected"])
            if canonicalize_name(one["package"]) == name and one["reached"] and any(low in bad for low in lowest):
                yield (
                    f"{wanted.name}{wanted.specifier} in pyproject.toml lets {max(lowest)} in: {one['allows']} "
                    f"({', '.join(one['ids'])})"
                )


def conflicts() -> tuple[list[str], str]:
    """What `pip check` says, and whether it could be asked."""
    if not find_spec("pip"):
        return [], "`pip check` was not run: pip is not installed here"
    words = [sys.executable, "-m", "pip", "check"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        return [], f"`pip check` did not end in {MOST_SECONDS} s"
    lines = [f"pip check: {line}" for line in done.stdout.splitlines()] if done.returncode else []
    return lines, "`pip check` was run"


def ask(constraints: Path) -> tuple[list[str], str]:
    """Ask PyPI's database by pip-audit.

    Returns:
        a line for each vulnerability, and how many packages it was asked about. Where it cannot be reached, pip-audit
        says of each package that it could not be audited, and ends well: such an answer is none.
    """
    if not find_spec("pip_audit"):
        return [], "no database was asked (pip install -c constraints.txt -e '.[audit]')"
    words = [sys.executable, "-m", "pip_audit", "--requirement", str(constraints), "--no-deps", "--disable-pip"]
    words += ["--format", "json", "--progress-spinner", "off", "--timeout", str(SOCKET_SECONDS)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=MOST_SECONDS)
        answers = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return [], "no database could be reached"
    audited = [answer for answer in answers if "skip_reason" not in answer]
    if not audited:
        return [], "no database could be reached"
    lines = [
        f"{answer['name']}=={answer['version']}: {flaw['id']} {' '.join(flaw.get('aliases', []))}, mended in "
        f"{', '.join(flaw['fix_versions']) or 'no version yet'}"
        for answer in audited
        for flaw in answer["vulns"]
    ]
    missed = [answer["name"] for answer in answers if "skip_reason" in answer]
    return lines, f"PyPI's database was asked about {len(audited)}" + (f", not {', '.join(missed)}" if missed else "")


if __name__ == "__main__":
    main()
