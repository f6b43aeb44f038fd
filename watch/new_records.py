"""What an observation keeps of the records of the low-volume topics: no values."""

from collections import Counter
from collections.abc import Iterable

from aiokafka import ConsumerRecord

from libs.events.topics import LATE_ORDERS, ORDERS, ORDERS_DLQ, PRODUCT_METRICS
from watch.observation import Metric, decode_metric

Record = ConsumerRecord[bytes | None, bytes | None]

# Longer ones are of other programs, and every page gets all reasons once a second.
_REASON_CHARS = 40


class NewRecords:
    """Counts dead letters and late orders, and decodes metrics.

    It keeps no record: thousands of a megabyte each would exceed a container's memory.

    Args:
        topic_prefix: the pipeline's ``TOPIC_PREFIX``.
    """

    def __init__(self, topic_prefix: str) -> None:
        self._prefix = topic_prefix
        self.metrics: list[tuple[int, Metric]] = []
        """The valid ones, each with its partition of ``product-metrics``, in which they have their order."""
        self.dead_letters: Counter[str] = Counter()
        """By reason."""
        self.rejected = 0
        """Dead letters of records of ``orders``."""
        self.late = 0

    def take(self, records: Iterable[Record]) -> None:
        """Add fetched records of any of the topics."""
        for record in records:
            name = record.topic.removeprefix(self._prefix)
            if name == ORDERS_DLQ.name:
                headers = dict(record.headers)
                self.dead_letters[_reason(headers.get("error.reason"))] += 1
                self.rejected += headers.get("source.topic") == (self._prefix + ORDERS.name).encode()
            elif name == LATE_ORDERS.name:
                self.late += 1
            elif name == PRODUCT_METRICS.name and (metric := decode_metric(record.value)):
                self.metrics.append((record.partition, metric))


def _reason(header: bytes | None) -> str:
    return (header or b"unknown").decode(errors="replace")[:_REASON_CHARS]
