"""What each ingredient of a recipe contributes: the recipe, and the recipe with one thing changed, over replicas."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from matplotlib.figure import Figure
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from unroll.cli import check_keys, explain
from unroll.config import check_config
from unroll.errors import ConfigError, UnrollError, nearest
from unroll.evaluation.intervals import Interval, interval
from unroll.evaluation.report import print_whole, writer
from unroll.evaluation.style import BLACK, BLUE, GREY, drawing, legend, plain_text

SCORES = ("r2", "rmse", "mae", "mase")
LARGEST_IS_BEST = ("r2",)


@dataclass(frozen=True)
class Variant:
    """A row of the table: what it is called, and its config."""

    name: str
    cfg: DictConfig
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """What became of a variant.

    Args:
        name: of the variant.
        seeds: the score of each replica on the test segment, where it is defined: a constant truth has no R2.
        ensemble: the score of their mean forecast there; None for one replica.
        validation: the mean score on the validation segment; None without one.
        baselines: the test scores of the baselines.
    """

    name: str
    seeds: dict[int, float]
    ensemble: float | None
    validation: float | None
    baselines: dict[str, float | None]

    @property
    def mean(self) -> Interval | None:
        """Over the seeds, with its 95 % interval."""
        return interval(list(self.seeds.values())) if self.seeds else None


def plan(name: str, overrides: Sequence[str], folder: Path, config_dir: Path) -> list[Variant]:
    """Compose and check the config of every row.

    Args:
        name: of a file in conf/ablation.
        overrides: KEY=VALUE, for all rows; a row's own come after them.
        folder: for the runs.
        config_dir: the folder of the configs.

    Raises:
        ConfigError: for a name that is none, and whatever is wrong with a config.
    """
    known = sorted(path.stem for path in (config_dir / "ablation").glob("*.yaml"))
    if name not in known:
        raise ConfigError(f"{name!r}: there is no such ablation{nearest(name, known)}; choose from: {', '.join(known)}")
    path = config_dir / "ablation" / f"{name}.yaml"
    try:
        about = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    about = about if isinstance(about, dict) else {}
    experiment, rows = about.get("experiment"), about.get("rows")
    rows = rows if isinstance(rows, dict) else {}
    changes = list(rows.values())
    if not (isinstance(experiment, str) and changes[:1] == [[]] and all(isinstance(row, list) for row in changes)):
        raise ConfigError(
            f"{path}: write experiment: NAME, and rows: a list of KEY=VALUE for each name, of which the first is []"
        )
    for word in overrides:
        if "=" not in word or word.startswith(("=", "+", "~")):
            raise ConfigError(f"{word}: write KEY=VALUE")
        if word.partition("=")[0] in ("experiment", "output_dir", "resume"):
            raise ConfigError(f"{word}: the file {path.name} and --output say that")
    found: list[Variant] = []
    for label, own in rows.items():
        typed = [f"experiment={experiment}", "replicas=16", *overrides, *map(str, own)]
        try:
            cfg = _composed(typed, folder, config_dir)
        except (HydraException, OmegaConfBaseException, UnrollError) as error:
            if not found:  # the recipe itself, with what was typed
                raise
            raise ConfigError(f"{path.name}, row {str(label)!r}: {explain(error, config_dir)}") from error
        found.append(Variant(str(label), cfg, tuple(typed)))
    return found


def _composed(typed: list[str], folder: Path, config_dir: Path) -> DictConfig:
    """The checked config of a row."""
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir)):
        cfg = compose("train", overrides=typed, return_hydra_config=True)
    choices = {str(group): str(option) for group, option in cfg.hydra.runtime.choices.items()}
    with open_dict(cfg):
        del cfg.hydra
    cfg.output_dir = str(folder)
    check_keys(cfg, choices, typed, config_dir)
    check_config(cfg)
    return cfg


def row_of(name: str, metrics: dict[str, Any], score: str) -> Row:
    """What a run's metrics.json says."""
    test, seed = metrics["test"], metrics["seed"]
    replicas = test.get("replicas", {}).get("best", [{"seed": seed, **test["models"]["best"]}])
    return Row(
        name,
        {one["seed"]: one[score] for one in replicas if one[score] is not None},
        test["models"].get("ensemble", {}).get(score),
        metrics.get("validation", {}).get("models", {}).get("best", {}).get(score),
        {label: one[score] for label, one in test["baselines"].items()},
    )


def contribution(row: Row, recipe: Row) -> Interval | None:
    """How much is added to the recipe's score, seed by seed; None where they share no seed."""
    shared = [seed for seed in recipe.seeds if seed in row.seeds]
    return interval([row.seeds[seed] - recipe.seeds[seed] for seed in shared]) if shared else None


def as_values(rows: Sequence[Row], recipe: Row | None, score: str) -> list[dict[str, Any]]:
    """Of each row, for files.

    Args:
        rows: in their order.
        recipe: that they are compared with; None where it failed.
        score: its name.
    """
    values = []
    for row in rows:
        found, change = row.mean, contribution(row, recipe) if recipe and row is not recipe else None
        values.append(
            {
                "row": row.name,
                f"validation_{score}": row.validation,
                f"test_{score}": found and found.mean,
                "half_width_95": found and found.half_width,
                "lowest": found and found.lowest,
                "highest": found and found.highest,
                "ensemble": row.ensemble,
                "change": change and change.mean,
                "change_half_width_95": change and change.half_width,
            }
        )
    return values


def cells(rows: Sequence[Row], recipe: Row | None, score: str) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the table: the rows, and the baselines of the first below them."""
    values, others = as_values(rows, recipe, score), _ranked(rows[0], score)
    known = [value for row in values for value in row.values() if isinstance(value, float)]
    write = writer([*known, *(value for _, value in others)], ratio=score in ("r2", "mase"))
    lines = []
    for found in values:
        names = (f"validation_{score}", f"test_{score}", "half_width_95", "ensemble")
        scored = ["" if found[name] is None else write(found[name]) for name in names]
        change, half = found["change"], found["change_half_width_95"]
        signed = "" if change is None else f"{'+' * (change >= 0)}{write(change)}"
        lines.append([found["row"], *scored, signed, "" if half is None else write(half)])
    lines += [[name, "", write(value), "", "", "", ""] for name, value in others]
    return ["", "validation", "test, mean", "± 95 %", "ensemble", "change", "± 95 %"], lines


def _ranked(row: Row, score: str) -> list[tuple[str, float]]:
    """The baselines that have the score, the best first."""
    known = [(name, value) for name, value in row.baselines.items() if value is not None]
    return sorted(known, key=lambda pair: pair[1], reverse=score in LARGEST_IS_BEST)


def print_rows(rows: Sequence[Row], recipe: Row | None, score: str, console: Console) -> None:
    """The table: numbers are never cut, however narrow the terminal."""
    headings, lines = cells(rows, recipe, score)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(headings[0], min_width=min(24, max(len(line[0]) for line in lines)))
    for number, heading in enumerate(headings[1:], 1):
        least = max(map(len, (heading, *(line[number] for line in lines))))
        table.add_column(heading, justify="right", min_width=least, no_wrap=True)
    for number, line in enumerate(lines):
        table.add_row(*line, style="dim" if number >= len(rows) else "bold" if rows[number] is recipe else "")
    table.collapse_padding = True
    print_whole(table, console)


def markdown(rows: Sequence[Row], recipe: Row | None, score: str, lines: Sequence[str]) -> str:
    """The same as a page, under a title and some lines."""
    headings, grid = cells(rows, recipe, score)
    table = [headings, ["---", *["---:"] * (len(headings) - 1)], *grid]
    text = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in table)
    return "\n\n".join([f"# {lines[0]}", *lines[1:], text]) + "\n"


def draw(rows: Sequence[Row], recipe: Row | None, score: str, title: str) -> Figure:
    """One line a row: each seed, their mean with its 95 % interval, the ensemble; the recipe's mean as a rule."""
    name, height = score.upper(), 1.3 + 0.33 * len(rows)
    with drawing(title, f"{name} on the test segment, one dot a seed", height) as (figure, axes):
        labels = ["one seed", "mean, 95 % interval", "ensemble"]
        for place, row in enumerate(rows):
            if row.mean is None:
                continue
            axes.plot(list(row.seeds.values()), [place] * len(row.seeds), ".", color=GREY, alpha=0.5, label=labels[0])
            half, mean = row.mean.half_width or 0.0, row.mean.mean
            axes.errorbar(mean, place, xerr=half, fmt="o", color=BLUE, capsize=3, markersize=5, label=labels[1])
            if row.ensemble is not None:
                axes.plot([row.ensemble], [place], "D", color=BLACK, markersize=4, label=labels[2], zorder=4)
            labels = ["_"] * 3  # matplotlib's word for none
        if recipe and recipe.mean:
            axes.axvline(recipe.mean.mean, color=BLUE, linewidth=0.8, linestyle=":", label=f"mean of {recipe.name}")
        for other, value in _ranked(rows[0], score)[:1]:
            axes.axvline(value, color=GREY, linestyle="--", label=other)
        axes.set_yticks(range(len(rows)), [plain_text(row.name, 60) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"{name} ({'higher' if score in LARGEST_IS_BEST else 'lower'} is better)")
        return legend(figure, axes, columns=3)
