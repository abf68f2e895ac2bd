"""Tables of what each ingredient of a recipe contributes."""

from pathlib import Path

import pytest

from conftest import CONF
from unroll.ablation import Row, markdown, plan
from unroll.errors import ConfigError


def test_a_table_says_which_score_it_shows_and_compares_seed_by_seed():
    recipe = Row("the recipe", {0: 0.5, 1: 0.7}, 0.65, 0.4, {"persistence": 0.1})
    other = Row("without", {0: 0.4, 1: 0.6}, 0.55, None, {"persistence": 0.1})
    page = markdown([recipe, other], "r2", "{:.2f}".format, "x")
    assert "| validation R2 | test R2, mean |" in page
    assert "| without |  | 0.50 | 1.27 | 0.55 | -0.10 | 0.00 |" in page


def test_rows_of_other_seeds_are_refused_in_a_line(tmp_path: Path):
    folder = tmp_path / "other"
    folder.mkdir()
    for part in CONF.iterdir():
        if part.name != "ablation":
            (folder / part.name).symlink_to(part)
    (folder / "ablation").mkdir()
    text = "experiment: cinema\nrows:\n  the recipe: []\n  elsewhere: [seed=5]\n"
    (folder / "ablation" / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match="the row elsewhere has other seeds than the recipe"):
        plan("mine", [], tmp_path, folder)
