"""A topic with metrics, and sinks that write them into a database and a file; in the end all three must be equal."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import orjson

from libs.events.product_metrics import MetricRow
from tests.databases.probes import Probe
from tests.integration.services import ServiceProcess, eventually
from tests.integration.test_sink import Metrics, Pipeline


class Traffic:
    """Writes metrics in transactions until it is ended; some transactions are aborted. Records the expected result."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._enough = asyncio.Event()
        self._task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        random = Random(7)
        for number in itertools.count():
            if self._enough.is_set():
                return
            await self._metrics.write(random.randrange(1, 60), commit=number % 7 != 3)
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        self._enough.set()
        await self._task

    @property
    def count(self) -> int:
        return len(self._metrics.committed)


class Outputs:
    """One pipeline's topic, its file and its database."""

    def __init__(self, pipeline: Pipeline, probe: Probe, url: str | None = None) -> None:
        self.pipeline = pipeline
        self.probe = probe
        pipeline.env |= {"SINK_OUTPUTS": "file,database", "SINK_DATABASE_URL": url or probe.url, "LOG_LEVEL": "debug"}

    def sink(self, **env: str) -> ServiceProcess:
        return ServiceProcess("sink", self.pipeline.path.parent.parent, self.pipeline.env | env)

    def count(self) -> int:
        """The number of rows in the database; 0 while it has no table, or is unavailable."""
        try:
            return int(self.probe.query("select count(*) from product_metrics")[0][0])
        except Exception:  # noqa: BLE001 - any error of a database that is just being created or killed
            return 0

    async def wait_for_rows(self, by: int = 1) -> None:
        before = self.count()
        await eventually(lambda: self.count() >= before + by, what=f"{by} rows more than {before}")

    async def wait_until_equal(self, metrics: Metrics) -> None:
        """Wait until the outputs have as many metrics as the topic; then they must be equal to the cent."""
        wanted = Counter(row_of(value) for value in metrics.committed)
        assert all(count == 1 for count in wanted.values())
        await eventually(lambda: self.count() >= len(wanted), what="the rows are in the database")
        assert Counter(self.probe.rows()) == wanted
        await self.pipeline.wait_until_written(metrics)


def row_of(value: bytes) -> MetricRow:
    """The expected row in the database, computed from the record's text."""
    fields = orjson.loads(value)
    cents = [round(fields[name] * 100) for name in ("total_revenue", "avg_order_value")]
    names = ("window_start", "window_end", "product_id", "order_count")
    return MetricRow(*(fields[name] for name in names), *cents)


@asynccontextmanager
async def traffic(pipeline: Pipeline) -> AsyncIterator[tuple[Metrics, Traffic]]:
    """Metrics that keep arriving."""
    async with pipeline.metrics() as metrics:
        running = Traffic(metrics)
        try:
            yield metrics, running
        finally:
            await running.end()
