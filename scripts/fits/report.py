"""What was measured, as tables on the terminal and as a JSON file."""

import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fits.measure import Measured
from fits.summary import Spread, met, rows, verdict, waited
from fits.works import CONTENDERS, Work

RATIOS = {"speed": "unroll, times as fast", "seconds": "times the loop's seconds"}
BOUNDS = {"speed": "at least", "seconds": "at most"}
AXES = {
    "window_size": "window size",
    "batch_size": "batch size",
    "hidden_size": "hidden size",
    "replicas": "replicas",
    "points": "points of the series",
}
BUSY = 0.1
Curves = Mapping[str, Mapping[int, Measured]]


def print_work(measured: Measured, left_out: Mapping[str, str], console: Console) -> None:
    """A work's table.

    Args:
        measured: the work.
        left_out: contenders that did not start, and why.
        console: where to print.
    """
    work = measured.work
    together = f"; unroll trains {work.sizes.replicas} seeds a fit, the others one" if work.sizes.replicas > 1 else ""
    console.print(f"\n{work.name}: {work.sizes.words}{together}", highlight=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("contender", no_wrap=True)
    for heading in ("fit, seconds", "whole call, s", "seeds a second", RATIOS[work.compare]):
        table.add_column(heading, justify="right")
    table.add_column("demand")
    found = {row.contender: row for row in rows(work, measured.fits)}
    for name in CONTENDERS:
        title = CONTENDERS[name].title
        if name not in found:
            continue
        row = found[name]
        asked = ""
        if row.demand:
            words = verdict(row.ratios, row.demand, at_least=work.compare == "speed")
            asked = f"{BOUNDS[work.compare]} {row.demand:g}: {words}"
        table.add_row(
            title,
            ranged(row.fit),
            f"{row.whole.median:.2f}",
            f"{row.seeds_per_second.median:.2f}",
            ranged(row.ratio) if row.ratio else "",
            asked,
        )
    console.print(table)
    for name, why in ({name: f"failed: {why}" for name, why in measured.failures.items()} | {**left_out}).items():
        console.print(f"{CONTENDERS[name].title}: {why}", highlight=False, soft_wrap=True)
    steps = {fit.steps for done in measured.fits.values() for fit in done}
    if steps != {work.sizes.steps}:
        console.print(f"The contenders made different numbers of steps: {', '.join(map(str, sorted(steps)))}.")


def print_curves(curves: Curves, console: Console) -> None:
    """Windows a second along every axis."""
    for axis, places in curves.items():
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for heading in (AXES[axis], "unroll, windows/s", "plain loop, windows/s", RATIOS["speed"]):
            table.add_column(heading, justify="right")
        for value, measured in places.items():
            rates = windows_per_second(measured)
            ratio = next((row.ratio for row in rows(measured.work, measured.fits) if row.ratio), None)
            shown = [f"{rates[name].median:,.0f}" if name in rates else "failed" for name in ("unroll", "loop")]
            table.add_row(f"{value:,}", *shown, ranged(ratio) if ratio else "")
        console.print(table)


def ranged(spread: Spread) -> str:
    """Median and range."""
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def windows_per_second(measured: Measured) -> dict[str, Spread]:
    """How many windows a second each contender trained on, over its whole fit; with replicas, those of all of them."""
    sizes = measured.work.sizes
    count = {name: sizes.trained * (sizes.replicas if name == "unroll" else 1) for name in measured.fits}
    return {name: Spread.of([count[name] / fit.seconds for fit in done]) for name, done in measured.fits.items()}


def as_values(measured: Measured) -> dict[str, Any]:
    """A work for the JSON file: every fit, and what follows from them."""
    work = measured.work
    contenders = {}
    for row in rows(work, measured.fits):
        values = asdict(row) | {"ratio": asdict(row.ratio) if row.ratio else None}
        values["fits"] = [asdict(fit) for fit in measured.fits[row.contender]]
        if row.demand:
            at_least = work.compare == "speed"
            values["met"] = met(row.ratios, row.demand, at_least=at_least)
            values["verdict"] = verdict(row.ratios, row.demand, at_least=at_least)
        contenders[values.pop("contender")] = values
    return {
        "name": work.name,
        "sizes": asdict(work.sizes) | {"steps": work.sizes.steps},
        "compare": work.compare,
        "contenders": contenders,
        "failures": measured.failures,
    }


def curves_as_values(curves: Curves) -> dict[str, Any]:
    """The curves for the JSON file: windows a second at every place, beside all of the work."""
    return {
        axis: [
            {"value": value, "windows_per_second": {name: asdict(rate) for name, rate in rates.items()}}
            | as_values(measured)
            for value, measured in places.items()
            for rates in [windows_per_second(measured)]
        ]
        for axis, places in curves.items()
    }


def machine() -> dict[str, Any]:
    """What it was measured on."""
    name = platform.processor() or platform.machine()
    about = Path("/proc/cpuinfo")
    if about.exists():
        models = [line.partition(":")[2].strip() for line in about.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"processor": name, "cores": os.cpu_count(), "system": platform.platform(), "load_before": load}


def busy(works: Iterable[Measured]) -> str | None:
    """A warning where fits had to wait for a processor: wall clocks then say little."""
    fits = [fit for measured in works for done in measured.fits.values() for fit in done]
    part = waited(fits) if fits else 0.0
    if part < BUSY:
        return None
    return f"The machine was busy: fits waited for {part:.0%} of their time. Measure again where nothing else runs."


def missed(works: list[Measured]) -> list[str]:
    """The demands that are not met, each in a line."""
    lines = []
    for measured in works:
        work: Work = measured.work
        for row in rows(work, measured.fits):
            if row.demand and row.ratio and not met(row.ratios, row.demand, at_least=work.compare == "speed"):
                beside = "the plain loop" if work.compare == "seconds" else CONTENDERS[row.contender].title
                lines.append(
                    f"{work.name}, beside {beside}: {row.ratio.median:.2f}, {BOUNDS[work.compare]} {row.demand:g} "
                    "was demanded"
                )
    return lines
