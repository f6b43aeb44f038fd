"""Fills ``product-metrics`` for the sink's benchmarks."""

from aiokafka import AIOKafkaProducer

from libs.events.money import mean_cents
from libs.events.product_metrics import MetricRow, ProductMetric, encode_metric
from libs.events.topics import PRODUCT_METRICS
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.topics.creation import ensure_topics

_BATCH_BYTES = 256 * 1024
_ORDERS = 45


def metrics(count: int) -> list[MetricRow]:
    """Five products, minute by minute."""
    return [metric(number // 5, f"prod-{number % 5}", 100_000 + number) for number in range(count)]


def metric(minute: int, product: str, cents: int) -> MetricRow:
    """The metric of a product in a minute."""
    start = 1_700_000_040 + 60 * minute
    return MetricRow(start, start + 60, product, _ORDERS, cents, mean_cents(cents, _ORDERS))


def encoded(row: MetricRow) -> bytes:
    """The value of the metric's record."""
    return encode_metric(ProductMetric(*row[:5]))


async def fill(bootstrap: str, rows: list[MetricRow]) -> None:
    """Write ``rows`` into the topic."""
    await ensure_topics(ServiceSettings(kafka_bootstrap_servers=bootstrap), [PRODUCT_METRICS])
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=_BATCH_BYTES)
    await producer.start()
    try:
        for partition in sorted({_partition_of(row) for row in rows}):
            builder = producer.create_batch()
            for value in (encoded(row) for row in rows if _partition_of(row) == partition):
                if builder.append(timestamp=None, key=None, value=value) is None:
                    await (await producer.send_batch(builder, PRODUCT_METRICS.name, partition=partition))
                    builder = producer.create_batch()
                    builder.append(timestamp=None, key=None, value=value)
            await (await producer.send_batch(builder, PRODUCT_METRICS.name, partition=partition))
    finally:
        await producer.stop()


def _partition_of(row: MetricRow) -> int:
    return int(row.product_id[-1])
