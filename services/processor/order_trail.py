"""What became of each order, for whoever follows one through the log at debug level."""

from collections.abc import Iterable

import orjson
import structlog

from libs.events.dead_letters import RejectedError
from libs.events.records import Record, Row
from libs.events.topics import ORDERS_DLQ, PROCESSED_ORDERS
from libs.runtime.logs import debugging

log = structlog.get_logger()

_MAX_KEY_TOLD = 100


def tell_processed(rows: Iterable[Row], partition: int) -> None:
    """These processed orders go to ``partition``."""
    for _, value, _ in rows:
        order_id = orjson.loads(value or b"{}").get("order_id")
        log.debug("order processed", order_id=order_id, to_topic=PROCESSED_ORDERS.name, to_partition=partition)


def tell_rejected(record: Record, error: RejectedError) -> None:
    """``record`` becomes a dead letter. Its key stands for its id, which it may not have."""
    if debugging():
        key = (record.key or b"")[:_MAX_KEY_TOLD].decode(errors="replace")
        log.debug("order rejected", order_id=key, to_topic=ORDERS_DLQ.name, reason=error.reason, offset=record.offset)
