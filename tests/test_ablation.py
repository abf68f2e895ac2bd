"""What each ingredient contributes, as a user asks it: in a copy of scripts and configs with tables of its own."""

import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.image import imread

from conftest import CONF, ROOT, options
from processes import python
from unroll.ablation import Row, as_values, cells, draw, plan

TINY = ["data.days=60", "data.window_size=5", "model.hidden_size=3", "trainer.max_epochs=1", "replicas=2"]
TABLES = {
    "tiny": ["the recipe: []", "without dropout: [model.dropout=0]", "constant days: [data.holidays=days]"],
    "typo": ["the recipe: []", "wrong: [model.dropuot=0]"],
    "no_recipe": ["wrong: [model.dropout=0]"],
    "no_yaml": ["the recipe: ["],
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ablation")
    for name in ("conf", "scripts"):
        shutil.copytree(ROOT / name, folder / name)
    for name, rows in TABLES.items():
        text = "\n".join(["experiment: cinema", "rows:", *(f"  {row}" for row in rows)])
        (folder / "conf" / "ablation" / f"{name}.yaml").write_text(text + "\n")
    return folder


def ablate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [*python(), "scripts/ablation.py", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def runs(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "outputs" / "ablation" / "tiny" / "runs").iterdir())


def test_a_row_that_fails_loses_no_other_and_the_same_command_uses_what_is_complete(copy):
    first = ablate(copy, "tiny", *TINY)
    assert first.returncode == 1
    (line,) = first.stderr.splitlines()
    assert line.startswith("error: constant days: data.holidays=days")
    made = runs(copy)
    assert len(made) == 2
    second = ablate(copy, "tiny", *TINY)
    assert second.stdout.replace(first.stdout, "") == ""
    assert runs(copy) == made
    folder = copy / "outputs" / "ablation" / "tiny"
    table = pd.read_csv(folder / "ablation.csv")
    assert table["row"].tolist() == ["the recipe", "without dropout"]
    assert table["change"].isna().tolist() == [True, False]
    assert abs(table["change"][1] - (table["test_r2"][1] - table["test_r2"][0])) < 1e-9
    page = (folder / "ablation.md").read_text()
    assert "missing: constant days" in page
    assert "| without dropout |" in page
    assert "seasonal naive (7)" in first.stdout
    assert imread(folder / "ablation.png").shape[1] > 1000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cinma"], "'cinma': there is no such ablation (did you mean cinema?); choose from:"),
        (["typo"], "typo.yaml, row 'wrong': there is no key model.dropuot (did you mean model.dropout?)"),
        (["no_recipe"], "of which the first is []"),
        (["no_yaml"], "no_yaml.yaml is no YAML: while parsing"),
        (["tiny", "model.hiden_size=3"], "there is no key model.hiden_size (did you mean model.hidden_size?)"),
        (["tiny", "seed=0,1"], "seed=0,1: write"),
        (["tiny", "output_dir=x"], "output_dir=x: the file tiny.yaml and --output say that"),
        (["tiny", "+data.x=1"], "+data.x=1: write KEY=VALUE"),
        (["tiny", "--output", "train.py/x"], "--output"),
        (["tiny", "--output", ""], "give a folder of its own"),
    ],
)
def test_a_mistake_is_one_line(copy, words, said):
    (copy / "train.py").touch()
    done = ablate(copy, *words)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert done.stdout == ""


@pytest.mark.parametrize("name", options("ablation"))
def test_every_row_of_every_table_can_be_composed(name, tmp_path):
    found = plan(name, [], tmp_path, CONF)
    assert len({str(variant.cfg) for variant in found}) == len(found) > 1


def test_a_score_that_is_not_defined_is_left_empty():
    recipe = Row("the recipe", {}, None, None, {"persistence": None})
    rows = [recipe, Row("other", {0: 1.0, 1: 2.0}, 1.4, 1.0, {})]
    assert as_values(rows, recipe, "r2")[1]["change"] is None
    assert cells(rows, recipe, "r2")[1][0] == ["the recipe", *[""] * 6]
    assert draw(rows, recipe, "r2", "title").axes
    assert draw([recipe], recipe, "r2", "title").axes


def test_rows_of_other_seeds_are_compared_by_those_they_share():
    recipe = Row("the recipe", {0: 1.0, 1: 3.0}, None, None, {})
    values = as_values([recipe, Row("fewer", {1: 2.0}, None, None, {})], recipe, "rmse")
    assert values[1]["change"] == -1.0
    assert values[1]["change_half_width_95"] is None
