"""What each ingredient of a recipe contributes: the recipe, and the recipe with one thing changed, over replicas."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure
from omegaconf import DictConfig, open_dict
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from unroll.cli import check_keys
from unroll.config import check_config
from unroll.errors import ConfigError, nearest
from unroll.evaluation.intervals import interval
from unroll.evaluation.style import BLACK, BLUE, GREY, drawing, legend

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
        seeds: the score of each replica on the test segment.
        ensemble: the score of their mean forecast there; None for one replica.
        validation: the mean score on the validation segment; None without one.
        baselines: the test scores of the baselines.
    """

    name: str
    seeds: dict[int, float]
    ensemble: float | None
    validation: float | None
    baselines: dict[str, float]


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
    about = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows = about.get("rows") if isinstance(about, dict) else None
    fits = isinstance(rows, dict) and all(isinstance(row, list) for row in rows.values())
    if not fits or not rows or not isinstance(about.get("experiment"), str):
        raise ConfigError(f"{path}: write experiment: NAME, and rows: a list of KEY=VALUE for each name")
    for word in overrides:
        if "=" not in word or word.startswith(("=", "+", "~")):
            raise ConfigError(f"{word}: write KEY=VALUE")
        if word.partition("=")[0] in ("experiment", "output_dir", "resume"):
            raise ConfigError(f"{word}: the file {path.name} and --output say that")
    found: list[Variant] = []
    for label, own in rows.items():
        typed = [f"experiment={about['experiment']}", "replicas=16", *overrides, *map(str, own)]
        with initialize_config_dir(version_base="1.3", config_dir=str(config_dir)):
            cfg = compose("train", overrides=typed, return_hydra_config=True)
        choices = {str(group): str(option) for group, option in cfg.hydra.runtime.choices.items()}
        with open_dict(cfg):
            del cfg.hydra
        cfg.output_dir = str(folder)
        check_keys(cfg, choices, typed, config_dir)
        check_config(cfg)
        if found and (cfg.seed, cfg.replicas) != (found[0].cfg.seed, found[0].cfg.replicas):
            raise ConfigError(
                f"{path}: the row {label} has other seeds than {found[0].name}: rows are compared by seed"
            )
        found.append(Variant(str(label), cfg, tuple(typed)))
    return found


def row_of(name: str, metrics: dict[str, Any], score: str) -> Row:
    """What a run's metrics.json says."""
    test, seed = metrics["test"], metrics["seed"]
    replicas = test.get("replicas", {}).get("best", [{"seed": seed, **test["models"]["best"]}])
    return Row(
        name,
        {one["seed"]: one[score] for one in replicas},
        test["models"].get("ensemble", {}).get(score),
        metrics.get("validation", {}).get("models", {}).get("best", {}).get(score),
        {label: one[score] for label, one in test["baselines"].items()},
    )


def contribution(row: Row, recipe: Row) -> tuple[float, float | None]:
    """How much is added to the mean score of the recipe, and half of the 95 % interval over the seeds of both."""
    found = interval([row.seeds[seed] - recipe.seeds[seed] for seed in recipe.seeds])
    return found.mean, found.half_width


def as_values(rows: Sequence[Row], score: str) -> list[dict[str, Any]]:
    """Of each row, for files."""
    values = []
    for row in rows:
        found, (change, half) = interval(list(row.seeds.values())), contribution(row, rows[0])
        values.append(
            {
                "row": row.name,
                f"validation_{score}": row.validation,
                f"test_{score}": found.mean,
                "half_width_95": found.half_width,
                "lowest": found.lowest,
                "highest": found.highest,
                "ensemble": row.ensemble,
                "change": change,
                "change_half_width_95": half,
            }
        )
    return values


def shown(score: str) -> str:
    """Its name for people."""
    return "R2" if score == "r2" else score.upper()


def cells(rows: Sequence[Row], score: str, write: Callable[[float], str]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the table."""
    name = shown(score)
    headings = ["", f"validation {name}", f"test {name}, mean", "± 95 %", "ensemble", "change", "± 95 %"]

    def cell(value: float | None, sign: str = "") -> str:
        return "" if value is None else (sign if value >= 0 else "") + write(value)

    lines = []
    for number, found in enumerate(as_values(rows, score)):
        change = [] if number == 0 else [cell(found["change"], "+"), cell(found["change_half_width_95"])]
        names = ("row", f"validation_{score}", f"test_{score}", "half_width_95", "ensemble")
        lines.append([str(found[names[0]]), *(cell(found[name]) for name in names[1:]), *(change or ["", ""])])
    return headings, lines


def print_rows(rows: Sequence[Row], score: str, write: Callable[[float], str], console: Console) -> None:
    """The table, and the baselines below it."""
    headings, lines = cells(rows, score, write)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=number > 0)
    for line in lines:
        table.add_row(*line)
    others = sorted(rows[0].baselines.items(), key=lambda pair: pair[1], reverse=score in LARGEST_IS_BEST)
    for name, value in others:
        table.add_row(name, "", write(value), "", "", "", "", style="dim")
    console.print(table)


def markdown(rows: Sequence[Row], score: str, write: Callable[[float], str], title: str) -> str:
    """The same as a page."""
    headings, lines = cells(rows, score, write)
    others = sorted(rows[0].baselines.items(), key=lambda pair: pair[1], reverse=score in LARGEST_IS_BEST)
    lines += [[name, "", write(value), "", "", "", ""] for name, value in others]
    grid = [headings, ["---"] * len(headings), *lines]
    return f"# {title}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in grid) + "\n"


def draw(rows: Sequence[Row], score: str, title: str) -> Figure:
    """One line a row: each seed, their mean with its 95 % interval, the ensemble; the recipe's mean as a rule."""
    name = shown(score)
    with drawing(title, f"{name} on the test segment, {len(rows[0].seeds)} seeds a row", 0.9 + 0.33 * len(rows)) as (
        figure,
        axes,
    ):
        for place, row in enumerate(rows):
            found, values = interval(list(row.seeds.values())), list(row.seeds.values())
            labels = ["one seed", "mean, 95 % interval", "ensemble"] if place == 0 else [None] * 3
            axes.plot(values, [place] * len(values), ".", color=GREY, alpha=0.5, markersize=5, label=labels[0])
            half = found.half_width or 0.0
            axes.errorbar(found.mean, place, xerr=half, fmt="o", color=BLUE, capsize=3, markersize=5, label=labels[1])
            if row.ensemble is not None:
                axes.plot([row.ensemble], [place], "D", color=BLACK, markersize=4, label=labels[2])
        axes.axvline(interval(list(rows[0].seeds.values())).mean, color=BLUE, linewidth=0.8, linestyle=":")
        best = (max if score in LARGEST_IS_BEST else min)(rows[0].baselines.items(), key=lambda pair: pair[1])
        axes.axvline(best[1], color=GREY, linestyle="--", label=best[0])
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel(name)
        return legend(figure, axes, columns=4)
