"""`make audit`: what is pinned and known to be bad is found, and what was not looked at is said."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT
from processes import python

PINS = (ROOT / "constraints.txt").read_text()
ANSWER = "import json; print(json.dumps({'dependencies': [%s]}))"
UNREACHED = "{'name': 'torch', 'skip_reason': 'Dependency not found on PyPI and could not be audited'}"
CLEAN = "{'name': 'torch', 'version': '2.13.0', 'vulns': []}"
FLAW = "{'id': 'PYSEC-1', 'aliases': ['CVE-1'], 'fix_versions': ['9.9']}"


def audit(folder: Path, *words: str, pins: str = PINS, database: str = "") -> subprocess.CompletedProcess[str]:
    """Run the script beside a pip-audit that answers as one does with, or without, a database."""
    (folder / "pins.txt").write_text(pins)
    if database:
        (folder / "pip_audit").mkdir()
        (folder / "pip_audit" / "__init__.py").touch()
        (folder / "pip_audit" / "__main__.py").write_text(database)
    arguments = [*python(), str(ROOT / "scripts" / "audit.py"), "--constraints", str(folder / "pins.txt"), *words]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120)


def test_our_own_pins_and_bounds_are_clean(tmp_path):
    done = audit(tmp_path, "--offline")
    found = [line for line in done.stdout.splitlines() if line.startswith("found: ") and "pip check" not in line]
    assert not found
    assert "no database was asked" in done.stdout
    assert "a short list and no database" in done.stdout


PLANTED = {
    "torch==2.9.1": "GHSA-63cw-57p8-fm3p",
    "lightning==2.6.3": "GHSA-w37p-236h-pfx3",
    "hydra-core==1.3.2": "GHSA-2cp2-2r3c-7p7r",
    "JINJA2==3.1.5": "GHSA-cpwx-vrp4-4pq7",
    "torch==2.5.0+cpu": "CVE-2025-32434",
}


def test_a_planted_pin_is_found(tmp_path):
    for number, (pin, advisory) in enumerate(PLANTED.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        name = pin.partition("==")[0].lower()
        pins = "\n".join(line for line in PINS.splitlines() if not line.lower().startswith(f"{name}=="))
        done = audit(folder, "--offline", pins=f"{pins}\n{pin}  # planted\n")
        assert done.returncode == 1
        assert advisory in done.stdout


def test_a_core_package_without_a_pin_is_found_and_a_range_is_no_pin(tmp_path):
    done = audit(tmp_path, "--offline", pins=PINS.replace("numpy==", "numpy-typing-compat=="))
    assert done.returncode == 1
    assert "found: numpy: pyproject.toml asks for it, and constraints.txt does not pin it" in done.stdout
    done = audit(tmp_path, "--offline", pins="torch>=2\n")
    assert done.returncode == 1
    assert "line 1: torch>=2 is no pin" in done.stderr
    assert done.stderr.count("\n") == 1


DATABASES = {
    "not reached": (ANSWER % UNREACHED, 0, "no database could be reached"),
    "an error": ("raise SystemExit('ConnectionError')", 0, "no database could be reached"),
    "clean": (ANSWER % CLEAN, 0, "PyPI's database was asked about 1;"),
    "half": (ANSWER % f"{CLEAN}, {UNREACHED.replace('torch', 'rich')}", 0, "was asked about 1, not rich;"),
    "a flaw": (ANSWER % CLEAN.replace("[]", f"[{FLAW}]"), 1, "found: torch==2.13.0: PYSEC-1 CVE-1, mended in 9.9"),
}


@pytest.mark.parametrize("name", DATABASES)
def test_only_an_answer_of_a_database_counts_as_one(name, tmp_path):
    database, code, line = DATABASES[name]
    done = audit(tmp_path, database=database)
    assert line in done.stdout, done.stderr
    if code or "pip check:" not in done.stdout:  # which is about the machine
        assert done.returncode == code


def test_the_list_says_where_it_comes_from():
    known = json.loads((ROOT / "scripts" / "advisories.json").read_text())
    assert known["compiled"]
    for one in known["advisories"]:
        assert one.keys() == {"package", "affected", "ids", "allows", "reached", "source"}
        assert "https://" in one["source"]
        assert f"\n{one['package']}==" in PINS
