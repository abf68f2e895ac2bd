"""The benchmark of whole fits: its arithmetic, and that it runs; no timings are asserted."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from fits.measure import run_work, started
from fits.summary import Fit, Spread, met, rows, verdict, waited
from fits.works import CURVES, WORKS, Sizes, Work, curve_sizes, quick

SIZES = Sizes("GRU", 9, 32, 32, windows=181, epochs=100, replicas=16)


def fits(*seconds: float) -> list[Fit]:
    return [Fit(value, value + 1, value, 600, 0.01) for value in seconds]


def test_speed_is_compared_by_seeds_a_second_in_each_alternation():
    work = Work("16 seeds", "16 seeds", SIZES, demands={"loop": 6})
    unroll, loop = rows(work, {"unroll": fits(4, 2, 8), "loop": fits(1, 1, 4)})
    assert (unroll.seeds, unroll.ratios, unroll.ratio, unroll.demand) == (16, (), None, None)
    assert unroll.seeds_per_second == Spread(4, 2, 8)
    assert (loop.seeds, loop.ratios, loop.demand) == (1, (4, 8, 8), 6)
    assert loop.ratio == Spread(8, 4, 8)
    assert loop.whole == Spread(2, 2, 5)


def test_seconds_are_compared_with_the_plain_loop():
    work = Work("one seed", "one seed", SIZES, compare="seconds", demands={"unroll": 1.4})
    found = {
        row.contender: row for row in rows(work, {"unroll": fits(32, 16), "loop": fits(1, 1), "darts": fits(2, 3)})
    }
    assert found["unroll"].ratios == (2, 1)  # of a seed
    assert found["loop"].ratios == ()
    assert found["darts"].ratio == Spread(2.5, 2, 3)
    assert found["darts"].demand is None


def test_without_the_reference_there_is_no_ratio():
    work = Work("16 seeds", "16 seeds", SIZES, demands={"loop": 6})
    [loop] = rows(work, {"loop": fits(1, 2)})
    assert loop.ratio is None
    assert loop.demand is None


@pytest.mark.parametrize(
    ("ratios", "at_least", "words"),
    [
        ((6, 7, 8), True, "met"),
        ((5, 7, 8), True, "met (in 2 of 3)"),
        ((5, 5, 8), True, "not met (in 2 of 3)"),
        ((1, 2, 3), True, "not met"),
        ((6, 5, 4), False, "met"),
        ((7, 8, 6), False, "not met (in 2 of 3)"),
    ],
)
def test_the_median_decides_and_single_alternations_are_told(ratios, at_least, words):
    assert verdict(ratios, 6, at_least=at_least) == words
    assert met(ratios, 6, at_least=at_least) is words.startswith("met")


def test_waiting_is_the_part_of_the_time_without_a_processor():
    assert waited([Fit(1, 2, 2.1, 1, 0), Fit(1, 2, 1, 1, 0), Fit(1, 2, 1.5, 1, 0)]) == 0.25


def test_sizes_count_steps_and_windows():
    assert (SIZES.batches, SIZES.steps, SIZES.trained, SIZES.points) == (6, 600, 18_100, 9 + 181 + 32)
    tiny = quick(SIZES)
    assert (tiny.steps, tiny.trained, tiny.replicas) == (4, 128, 2)
    for axis, values in CURVES.items():
        for value in values:
            sizes = curve_sizes(axis, value)
            assert getattr(sizes, axis) == value
            assert 300 <= sizes.steps <= 500


def test_the_sines_are_those_of_the_experiments():
    from conftest import load_config

    for work in WORKS:
        sizes = work.sizes
        if sizes.experiment:
            cfg = load_config(f"experiment={sizes.experiment}")
            assert (cfg.data.points, cfg.data.window_size, cfg.data.batch_size) == (sizes.points, 80, sizes.batch_size)
            assert (cfg.model.hidden_size, list(cfg.model.head_sizes)) == (sizes.hidden_size, [])
            assert round(cfg.data.test * (sizes.windows + sizes.test)) == sizes.test


def test_a_contender_that_cannot_fit_is_left_out_and_the_others_go_on(tmp_path):
    said: list[str] = []
    with started({"loop": Path(sys.executable), "darts": tmp_path / "python"}) as (workers, left_out):
        assert left_out["darts"].startswith("failed: ")
        assert [*workers] == ["loop"]
        wrong = run_work(Work("wrong", "wrong", replace(quick(SIZES), cell="NONE")), workers, 1, said.append)
        right = run_work(Work("right", "right", quick(SIZES)), workers, 2, said.append)
    assert "NONE" in wrong.failures["loop"]
    assert wrong.fits == {}
    assert [fit.steps for fit in right.fits["loop"]] == [4, 4]
    assert said[0].startswith("  plain loop failed: ")


def test_the_command_line_measures_and_writes_everything(tmp_path):
    words = [sys.executable, "scripts/benchmark.py", "fits", "--quick", "--only", "one seed", "--output", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, env=os.environ.copy(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    table = done.stdout.partition("one seed: GRU of hidden size 32")[2]
    assert "at most 1.4: " in table
    found = json.loads((tmp_path / "fits.json").read_text())
    [work] = found["works"]
    for name, title in (("unroll", "unroll"), ("loop", "plain loop"), ("lightning", "usual Lightning")):
        assert f" {title} " in table
        contender = work["contenders"][name]
        [fit] = contender["fits"]
        assert fit["steps"] == work["sizes"]["steps"] == 4
        assert 0 < fit["seconds"] <= fit["whole"]
        assert fit["loss"] > 0
    unroll, loop = (work["contenders"][name]["fits"][0]["seconds"] for name in ("unroll", "loop"))
    assert work["contenders"]["unroll"]["ratios"] == [unroll / loop]
    assert work["contenders"]["unroll"]["met"] is (unroll / loop <= 1.4)
    for name in ("darts", "neuralforecast"):
        left_out = found["contenders"][name].get("left_out")
        assert left_out in (None, f"not installed: pip install {name}")
        if left_out:
            assert f"{name}: {left_out}" in table
    assert (tmp_path / "fits.png").stat().st_size > 10_000
