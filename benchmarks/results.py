"""Prints the results, and writes them to files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.chart import Bar, chart
from benchmarks.registry import BARE, OURS, Contender, Stage
from benchmarks.report import (
    BACKLOG_HEADINGS,
    SPEED_HEADINGS,
    Rows,
    as_json,
    backlog_rows,
    markdown,
    measured,
    ratio_to,
    speed_rows,
    table,
)
from benchmarks.run_series import Result
from benchmarks.stats import Spread, spread

RESULTS = Path(__file__).with_name("results")
# The results in the repository are of a run with all peers; a run without them does not change these files.
LAST = RESULTS / "last"
_TITLES = {
    Stage.PROCESSOR: "Processor, one core",
    Stage.ANALYTICS: "Analytics, one core",
    Stage.BOTH: "Both stages together, one core",
}
_BACKLOG = "Both stages catching up with a backlog, whole machine"


def _tables(results: Sequence[Result]) -> list[tuple[str, Sequence[str], Rows]]:
    tables: list[tuple[str, Sequence[str], Rows]] = [
        (title, SPEED_HEADINGS, speed_rows(results, stage)) for stage, title in _TITLES.items()
    ]
    tables.append((_BACKLOG, BACKLOG_HEADINGS, backlog_rows(results)))
    return [each for each in tables if each[2]]


def print_tables(console: Console, results: Sequence[Result]) -> None:
    """Print all tables."""
    for each in _tables(results):
        console.print(table(*each))


def write_results(directory: Path, results: Sequence[Result], about: Mapping[str, Any]) -> list[Path]:
    """Write ``results.md``, ``results.json`` and ``speed.svg``."""
    directory.mkdir(parents=True, exist_ok=True)
    readme = os.path.relpath(Path(__file__).with_name("README.md"), directory)
    intro = (
        f"Measured {about['at']} in {about['minutes']} minutes on {about['machine']}, seed {about['seed']}, "
        f"Python {about['python']}. "
        "A median with its lowest and highest round in brackets; ratios are taken round by round. "
        f"[The benchmark's README]({readme}) says what the columns mean.\n"
    )
    left_out = [f"- left out: {name}: {reason}" for name, reason in about["left_out"].items()]
    plot = "![orders per second](speed.svg)\n"
    parts = ["# Results\n", intro, plot, *[markdown(*each) for each in _tables(results)], *left_out]
    texts = {
        "results.md": "\n".join(parts).rstrip() + "\n",
        "results.json": as_json(results, about),
        "speed.svg": _chart(results, about),
    }
    for name, text in texts.items():
        (directory / name).write_text(text)
    return [directory / name for name in texts]


def ratios_to_bare(results: Sequence[Result]) -> dict[Stage, Spread]:
    """Our speed as a share of the bare consumer's, in each stage that both have run."""
    found = {stage: ratio_to(results, stage, OURS, BARE, "whole_per_s") for stage in BARE.stages}
    return {stage: ratio for stage, ratio in found.items() if ratio}


def _chart(results: Sequence[Result], about: Mapping[str, Any]) -> str:
    panels = []
    for stage, title in _TITLES.items():
        bars = []
        for each in measured(results, stage):
            speed = spread(list(each.values("whole_per_s").values()))
            if speed:
                bars.append(Bar(f"{each.contender.title}, {each.contender.guarantee}", speed, _kind(each.contender)))
        if bars:
            panels.append((f"{title}: orders per second", bars))
    return chart(panels, f"{about['machine']}, {about['at']}; from the first record to the last output visible")


def _kind(contender: Contender) -> str:
    return {OURS: "ours", BARE: "limit"}.get(contender, "peer")
