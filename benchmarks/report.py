"""The results as tables for a terminal and in Markdown, and as JSON with every run."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from rich.table import Table

from benchmarks.lines_of_code import lines_of
from benchmarks.output_check import joined
from benchmarks.registry import BARE, REFERENCE, Contender, Stage
from benchmarks.run_series import Part, Result
from benchmarks.samples import Figures
from benchmarks.stats import Spread, ratios, spread

SPEED_HEADINGS = (
    "contender",
    "guarantee",
    "orders",
    "rounds",
    "orders/s",
    "steady/s",
    "x Kafka Streams eos",
    "steady x",
    "x bare consumer",
    "CPU s per M",
    "peak MiB",
    "start s",
    "output",
    "after a SIGKILL",
    "lines of code",
)
BACKLOG_HEADINGS = (
    "contender",
    "guarantee",
    "orders",
    "grace s",
    "processes",
    "threads each",
    "orders/s",
    "orders missing",
    "windows",
)

Rows = list[list[str]]


class Measured(NamedTuple):
    """The figures of one contender in one stage, by round."""

    contender: Contender
    by_round: dict[int, Figures]

    def values(self, name: str) -> dict[int, float]:
        """One figure by round, for the rounds that have it."""
        found = {number: getattr(each, name) for number, each in self.by_round.items()}
        return {number: value for number, value in found.items() if value is not None}


def measured(results: Sequence[Result], stage: Stage) -> list[Measured]:
    """The undisturbed runs of ``stage`` on one core, fastest contender first."""
    by_contender: defaultdict[Contender, dict[int, Figures]] = defaultdict(dict)
    for result in _of(results, Part.SPEED, stage):
        if result.outcome.figures:
            by_contender[result.outcome.plan.contender][result.round] = result.outcome.figures
    everyone = [Measured(contender, by_round) for contender, by_round in by_contender.items()]
    return sorted(everyone, key=lambda each: -_median(each.values("whole_per_s")))


def ratio_to(results: Sequence[Result], stage: Stage, of: Contender, to: Contender, figure: str) -> Spread | None:
    """The ratio of ``figure`` between two contenders, round by round."""
    found = {each.contender: each.values(figure) for each in measured(results, stage)}
    return ratios(found.get(of, {}), found.get(to, {}))


def speed_rows(results: Sequence[Result], stage: Stage) -> Rows:
    """A row for each contender in ``stage``; failed ones come last."""
    rows = []
    everyone = measured(results, stage)
    for each in everyone:
        contender = each.contender
        runs = [
            result.outcome for result in _of(results, Part.SPEED, stage) if result.outcome.plan.contender == contender
        ]
        differences = [outcome.differences for outcome in runs if outcome.differences]
        rows.append(
            [
                contender.title,
                contender.guarantee,
                f"{runs[0].orders:,}",
                str(len(each.by_round)),
                _thousands(spread(list(each.values("whole_per_s").values()))),
                _thousands(spread(list(each.values("steady_per_s").values()))),
                _ratio(ratio_to(results, stage, contender, REFERENCE, "whole_per_s")),
                _ratio(ratio_to(results, stage, contender, REFERENCE, "steady_per_s")),
                _ratio(ratio_to(results, stage, contender, BARE, "whole_per_s")),
                f"{_median(each.values('cpu_s_per_million')):.1f}",
                f"{max(each.values('peak_rss_mib').values()):.0f}",
                f"{_median(each.values('start_s')):.1f}",
                joined(differences) if differences else "-",
                _after_kill(results, stage, contender),
                lines_of(contender),
            ]
        )
    shown = {each.contender for each in everyone}
    for result in _of(results, Part.SPEED, stage):
        contender = result.outcome.plan.contender
        if contender not in shown:
            shown.add(contender)
            row = [contender.title, contender.guarantee, *["-"] * (len(SPEED_HEADINGS) - 2)]
            row[SPEED_HEADINGS.index("output")] = f"failed: {_first_line(result.outcome.failure)}"
            rows.append(row)
    return rows


def backlog_rows(results: Sequence[Result]) -> Rows:
    """A row for each run on the whole machine."""
    return [
        [
            outcome.plan.contender.title,
            outcome.plan.contender.guarantee,
            f"{outcome.orders:,}",
            str(outcome.plan.grace_s) if len(outcome.plan.contender.graces_s) > 1 else "-",
            str(outcome.plan.copies * len(outcome.plan.contender.programs(Stage.BOTH))),
            str(outcome.plan.threads),
            f"{outcome.figures.whole_per_s:,.0f}" if outcome.figures else "-",
            "-" if outcome.missing_orders is None else f"{outcome.missing_orders:,}",
            str(outcome.differences) if outcome.differences else f"failed: {_first_line(outcome.failure)}",
        ]
        for outcome in (result.outcome for result in results if result.part is Part.BACKLOG)
    ]


def table(title: str, headings: Sequence[str], rows: Rows) -> Table:
    """A table for a terminal."""
    shown = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        words = heading in ("output", "windows", "after a SIGKILL", "contender")
        shown.add_column(heading, justify="left" if number == 0 or words else "right")
    for row in rows:
        shown.add_row(*row)
    return shown


def markdown(title: str, headings: Sequence[str], rows: Rows) -> str:
    """The same table in Markdown."""
    lines = [f"## {title}", "", _line(headings), _line(["---"] * len(headings)), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def as_json(results: Sequence[Result], about: Mapping[str, Any]) -> str:
    """All runs as JSON values."""
    runs = []
    for result in results:
        outcome = result.outcome
        plan = outcome.plan
        runs.append(
            {
                "part": result.part,
                "round": result.round,
                "contender": plan.contender.folder,
                "guarantee": plan.contender.guarantee,
                "stage": plan.stage,
                "orders": outcome.orders,
                "killed_at": plan.kill_at,
                "killed_in_time": outcome.killed_in_time if plan.kill_at else None,
                "processes": plan.copies * len(plan.contender.programs(plan.stage)),
                "threads": plan.threads,
                "grace_s": plan.grace_s,
                "figures": asdict(outcome.figures) if outcome.figures else None,
                "exact": outcome.differences.exact if outcome.differences else None,
                "differences": outcome.differences.counts if outcome.differences else None,
                "missing_orders": outcome.missing_orders,
                "failure": outcome.failure,
            }
        )
    return json.dumps({**about, "runs": runs}, indent=1) + "\n"


def _after_kill(results: Sequence[Result], stage: Stage, contender: Contender) -> str:
    outcomes = [each.outcome for each in _of(results, Part.KILL, stage) if each.outcome.plan.contender == contender]
    if not outcomes:
        return "-"
    (outcome,) = outcomes
    if outcome.differences is None:
        return f"failed: {_first_line(outcome.failure)}"
    return str(outcome.differences) + ("" if outcome.killed_in_time else ", but killed too late")


def _of(results: Sequence[Result], part: Part, stage: Stage) -> list[Result]:
    return [result for result in results if result.part is part and result.outcome.plan.stage is stage]


def _median(values: Mapping[int, float]) -> float:
    found = spread(list(values.values()))
    return found.median if found else 0.0


def _thousands(found: Spread | None) -> str:
    return _with_range(found, ",.0f")


def _ratio(found: Spread | None) -> str:
    return _with_range(found, ".2f")


def _with_range(found: Spread | None, form: str) -> str:
    if found is None:
        return "-"
    if found.rounds == 1:
        return format(found.median, form)
    return f"{found.median:{form}} ({found.low:{form}}-{found.high:{form}})"


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:120]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"
