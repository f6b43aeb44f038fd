"""Compares the sink's file and database with `product-metrics`."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from libs.events.topics import SINK_GROUPS
from verification.history import History
from verification.metrics import Metric
from verification.metrics_topic import MetricsTopic
from verification.output_damage import OutputDamage, check_output, moved_away, not_reached_by_sink
from verification.output_database import ROWS, OutputDatabase, read_rows
from verification.output_file import LINES, live_begins, read_lines
from verification.report import NotVerified, Report
from verification.topic_reader import Offsets

_POLL_S = 0.5


class _Output(NamedTuple):
    """What the sink wrote to an output, read after the offsets that its ``group`` has ``committed``; ``due`` is what it has to have."""

    group: str
    kinds: OutputDamage
    committed: Offsets
    written: Counter[Metric]
    due: Counter[Metric]


@dataclass(frozen=True)
class OutputComparison:
    """Compares each output once it has all metrics, or after the time to wait; the differences are in ``report``."""

    topic: MetricsTopic
    prefix: str
    settle_s: float
    progress: Callable[[str], None]
    report: Report
    history: History

    async def check(
        self,
        output: Path | None,
        database: OutputDatabase | None,
        metrics: list[Metric],
        ends: Offsets,
        deadline_s: float,
    ) -> None:
        """Compare the outputs with ``metrics``, which the topic has before ``ends``."""
        outputs: list[_Output] = []
        window_seconds = self.topic.window_seconds
        since_s = self.history.lines_since_s(metric.window_end for metric in metrics)
        if output:
            read_file = partial(read_lines, output, window_seconds, since_s=since_s)
            due = Counter(metrics)
            due -= await self._moved_away(output, read_file, due, ends)
            outputs.append(await self._read_output("file", LINES, read_file, due, deadline_s))
            self.report.lines = outputs[-1].written.total()
        if database:
            read_all = partial(read_rows, database, window_seconds, since_s=since_s)
            outputs.append(await self._read_output("database", ROWS, read_all, Counter(metrics), deadline_s))
            self.report.rows = outputs[-1].written.total()
        if outputs:
            newest_ends = await self.topic.ends()
            newest = Counter(await self.topic.metrics(ends, newest_ends, self.report))
            for each in outputs:
                due = each.due
                if due - each.written:
                    due = due - await self._not_reached(each, ends, newest_ends)
                check_output(each.written, due, newest, each.kinds, self.report, self.history)

    async def _read_output(
        self,
        name: str,
        kinds: OutputDamage,
        read: Callable[[Report | None], Counter[Metric]],
        due: Counter[Metric],
        deadline_s: float,
    ) -> _Output:
        """Read an output once it has all that is ``due``, or after the time to wait."""
        deadline_s = max(deadline_s, time.monotonic() + self.settle_s)
        while missing := (due - await asyncio.to_thread(read, None)).total():
            if time.monotonic() > deadline_s:
                break
            self.progress(f"{missing:,} metrics not yet in the {name}")
            await asyncio.sleep(_POLL_S)
        group = SINK_GROUPS[name]
        # Before the output is read for the last time: it then has to have all that is committed.
        committed = await self.topic.reader.committed(self.prefix + group, self.topic.name)
        return _Output(group, kinds, committed, await asyncio.to_thread(read, self.report), due)

    async def _moved_away(
        self, path: Path, read: Callable[[Report | None], Counter[Metric]], due: Counter[Metric], ends: Offsets
    ) -> Counter[Metric]:
        """The metrics before ``ends`` whose finished files may have been moved away; reports how many."""
        begins = live_begins(path, self.topic.name)
        begins = {each: min(offset, ends[each]) for each, offset in begins.items() if each in ends}
        if not begins:
            return Counter()
        written = await asyncio.to_thread(read, None)
        if not due - written:
            return Counter()
        # The topic is read again, since only files that lack metrics need their offsets.
        placed = await self.topic.placed_metrics(self.history.begins["product-metrics"], begins, Report())
        moved = moved_away(written, placed, begins)
        if moved:
            self.report.not_verified[NotVerified.LINE] += moved.total()
        return moved

    async def _not_reached(self, output: _Output, ends: Offsets, newest_ends: Offsets) -> Counter[Metric]:
        """The metrics before ``ends`` that the output's sink has not read yet; reports how many."""
        # The topic is read again, since only an output that lacks metrics needs their offsets.
        unused = Report()
        placed = await self.topic.placed_metrics(self.history.begins["product-metrics"], newest_ends, unused)
        not_reached = not_reached_by_sink(output.written, placed, output.committed, ends)
        if behind := not_reached.total():
            self.report.found(
                output.kinds.behind, f"{output.group} is {behind:,} metrics behind the end of {self.topic.name}"
            )
        return not_reached
