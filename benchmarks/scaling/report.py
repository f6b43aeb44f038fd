"""Renders the figures as tables, and stores them as JSON, part by part."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import linear_regression, median
from typing import Any, NamedTuple

from benchmarks.report import markdown
from benchmarks.scaling.costs import NOTHING_WRITTEN, Cost, Peak
from benchmarks.scaling.recovery import Recovered
from benchmarks.scaling.replicas import Scaled
from benchmarks.scaling.start import Started
from benchmarks.scaling.state import Restored, State

# With fewer records, the consumer's start dominates the time.
_MOSTLY_RECORDS = 50_000
_KINDS = {kind.__name__: kind for kind in (Scaled, Cost, Peak, Started, State, Restored, Recovered)}

Row = Scaled | Cost | Peak | Started | State | Restored | Recovered


@dataclass
class Measured:
    """The results of one part, with time and machine."""

    about: str
    rows: list[Row] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """The results that are not exact, and those of idle replicas that have written something."""
        outputs = [(row, getattr(row, "output", "")) for row in self.rows]
        return [f"{row}" for row, output in outputs if output not in ("", "exact", NOTHING_WRITTEN)]


class Table(NamedTuple):
    """Its title, column headings and rows."""

    title: str
    headings: Sequence[str]
    rows: list[list[str]]


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """The exponent of the power law that fits ``points`` best: 1 is linear, 2 quadratic; None for fewer than two sizes."""
    logs = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    if len({x for x, _ in logs}) < 2:
        return None
    return linear_regression(*zip(*logs, strict=True)).slope


def tables(rows: Sequence[Row]) -> list[Table]:
    """The tables that have rows."""
    scaled = [row for row in rows if isinstance(row, Scaled)]
    found = [
        _scaled("Replicas, 6 partitions", "replicas", [row for row in scaled if row.partitions == 6]),
        _scaled("Partitions, one replica", "partitions", [row for row in scaled if row.replicas == 1]),
        _costs([row for row in rows if isinstance(row, Cost)]),
        _started([row for row in rows if isinstance(row, Started)]),
        _peaks([row for row in rows if isinstance(row, Peak)]),
        _state([row for row in rows if isinstance(row, State)]),
        _restored([row for row in rows if isinstance(row, Restored)]),
        _recovered([row for row in rows if isinstance(row, Recovered)]),
    ]
    return [table for table in found if table.rows]


def _scaled(title: str, by: str, scaled: Sequence[Scaled]) -> Table:
    headings = ("service", by, "rounds", "orders/s", "x", "lowest", "highest", "CPU s per M", "peak MB each", "output")
    rows = []
    for service in ("processor", "analytics"):
        own = [row for row in scaled if row.service == service]
        sizes = sorted({int(getattr(row, by)) for row in own})
        runs = {size: [row for row in own if getattr(row, by) == size] for size in sizes}
        speeds = {size: [row.per_s for row in runs[size]] for size in sizes}
        rows += [
            [
                service,
                str(size),
                str(len(runs[size])),
                f"{median(speeds[size]):,.0f}",
                f"{median(speeds[size]) / median(speeds[sizes[0]]):.2f}",
                f"{min(speeds[size]):,.0f}",
                f"{max(speeds[size]):,.0f}",
                f"{median(row.cpu_s_per_million for row in runs[size]):.1f}",
                _mb(max(row.peak_bytes for row in runs[size])),
                _joined(row.output for row in runs[size]),
            ]
            for size in sizes
            if len(sizes) > 1
        ]
    return Table(title, headings, rows)


def _costs(costs: Sequence[Cost]) -> Table:
    rows = [
        [row.service, row.load, str(row.partitions), f"{row.core_share:.1%}", _mb(row.rss_bytes), row.output or "-"]
        for row in sorted(costs, key=lambda row: (row.load, row.partitions))
    ]
    return Table("One replica", ("service", "load", "partitions", "of a core", "MB", "output"), rows)


def _started(started: Sequence[Started]) -> Table:
    rows = [[row.service, str(len(row.healthy_s)), _seconds(row.healthy_s), _seconds(row.worked_s)] for row in started]
    headings = ("service", "starts", "healthy after s", "first commit or output after s")
    return Table("Start of a service", headings, rows)


def _peaks(peaks: Sequence[Peak]) -> Table:
    rows = [
        [
            row.service,
            row.load,
            _mb(row.peak_bytes),
            _mb(row.limit_bytes) + ("" if row.peak_bytes <= row.limit_bytes else ": MORE"),
            row.output or "-",
        ]
        for row in peaks
    ]
    return Table("Peak memory at full load", ("service", "load", "MB", "at most MB", "output"), rows)


def _state(state: Sequence[State]) -> Table:
    headings = (
        "windows",
        "products",
        "minutes",
        "opening/s",
        "orders/s",
        "CPU s per M",
        "peak MB",
        "all closed s",
        "peak MB",
        "disturbances",
        "output",
    )
    rows = [
        [
            f"{row.products * row.minutes:,}",
            f"{row.products:,}",
            str(row.minutes),
            f"{row.filling_per_s:,.0f}",
            f"{row.per_s:,.0f}",
            f"{row.cpu_s_per_million:.1f}",
            _mb(row.peak_bytes),
            f"{row.close_s:.2f}",
            _mb(row.closing_peak_bytes),
            str(row.disturbances),
            row.output,
        ]
        for row in state
    ]
    return Table("Analytics with many windows open", headings, rows)


def _restored(restored: Sequence[Restored]) -> Table:
    headings = ("windows", "changelog", "records", "MB", "restored s", "s per 100k records", "peak MB", "output")
    rows = [
        [
            f"{row.products * row.minutes:,}",
            row.changelog,
            f"{row.records:,}",
            _mb(row.bytes),
            f"{row.seconds:.2f}",
            f"{row.seconds / row.records * 1e5:.2f}",
            _mb(row.peak_bytes),
            row.output,
        ]
        for row in sorted(restored, key=lambda row: row.records)
    ]
    found = exponent([(row.records, row.seconds) for row in restored if row.records >= _MOSTLY_RECORDS])
    growth = "" if found is None else f": from {_MOSTLY_RECORDS:,} records on, seconds grow with records^{found:.2f}"
    title = "Restoring the analytics' state" + growth
    return Table(title, headings, rows)


def _recovered(recovered: Sequence[Recovered]) -> Table:
    headings = ("service", "event", "times", "promised s", "measured s: median", "largest")
    rows = [
        [
            row.service,
            row.event,
            str(len(row.seconds)),
            f"{row.promised_s:.0f}",
            f"{median(row.seconds):.2f}",
            f"{max(row.seconds):.2f}",
        ]
        for row in recovered
    ]
    return Table("Longest time without progress", headings, rows)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f}"


def _seconds(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def _joined(outputs: Any) -> str:
    return "; ".join(sorted(set(outputs)))


def write(directory: Path, measured: dict[str, Measured]) -> list[Path]:
    """Write ``scaling.md`` and ``scaling.json``; parts that were not measured keep their stored results."""
    directory.mkdir(parents=True, exist_ok=True)
    kept = directory / "scaling.json"
    parts = {**(_read(kept) if kept.exists() else {}), **measured}
    texts = ["# Scaling\n", "`.venv/bin/python -m benchmarks.scaling --write benchmarks/results` writes this file.\n"]
    for name, part in parts.items():
        texts += [f"**{name}**: {part.about}\n", *(markdown(*table) for table in tables(part.rows))]
    (directory / "scaling.md").write_text("\n".join(texts))
    dump = {
        name: {"about": part.about, "rows": [{"kind": type(row).__name__, **asdict(row)} for row in part.rows]}
        for name, part in parts.items()
    }
    kept.write_text(json.dumps(dump, indent=1) + "\n")
    return [directory / "scaling.md", kept]


def _read(file: Path) -> dict[str, Measured]:
    return {
        name: Measured(part["about"], [_KINDS[row.pop("kind")](**row) for row in part["rows"]])
        for name, part in json.loads(file.read_text()).items()
    }
