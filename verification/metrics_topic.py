"""Reads `product-metrics`."""

from dataclasses import dataclass

from verification.metrics import Metric, PlacedMetric, read_metric_record
from verification.report import Damage, Report
from verification.topic_reader import Offsets, TopicReader


@dataclass(frozen=True)
class MetricsTopic:
    """The topic ``name``, with the prefix, of windows of ``window_seconds``."""

    reader: TopicReader
    name: str
    window_seconds: int

    async def ends(self) -> Offsets:
        return await self.reader.ends(self.name)

    async def metrics(self, begins: Offsets, ends: Offsets, report: Report) -> list[Metric]:
        return [each.metric for each in await self.placed_metrics(begins, ends, report)]

    async def placed_metrics(self, begins: Offsets, ends: Offsets, report: Report) -> list[PlacedMetric]:
        """The metrics from ``begins`` to ``ends``, each partition's in order; others are reported."""
        metrics: list[PlacedMetric] = []
        async for records in self.reader.read(self.name, begins, ends):
            for record in records:
                try:
                    metric = read_metric_record(record.key, record.value, self.window_seconds)
                except ValueError as error:
                    report.found(Damage.METRIC_MALFORMED, f"{record.value!r}: {error}"[:300])
                else:
                    metrics.append(PlacedMetric(record.partition, record.offset, metric))
        return metrics
