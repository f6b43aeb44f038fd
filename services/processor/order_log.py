"""Logs the result of each order at debug level, so that a single order can be followed through the log."""

import structlog

from libs.events.dead_letters import Reason
from libs.events.order_ids import order_id_in
from libs.events.topics import ORDERS_DLQ, PROCESSED_ORDERS
from libs.runtime.logs import debugging
from libs.runtime.records import Record
from services.processor.validation import MAX_ID_CHARS

log = structlog.get_logger()


def log_processed(value: bytes | None, partition: int) -> None:
    """Log that the processed order ``value`` goes to ``partition``."""
    log.debug("order processed", order_id=order_id_in(value), to_topic=PROCESSED_ORDERS.name, to_partition=partition)


def log_rejected(record: Record, reason: Reason) -> None:
    """Log that ``record`` becomes a dead letter."""
    if debugging():
        order_id = _id_of(record)
        log.debug("order rejected", order_id=order_id, to_topic=ORDERS_DLQ.name, reason=reason, offset=record.offset)


def _id_of(record: Record) -> str:
    """The id in the value, or the record's key if the value has no valid one: senders use the id as the key."""
    order_id = order_id_in(record.value)
    if order_id and len(order_id) <= MAX_ID_CHARS:
        return order_id
    return (record.key or b"")[:MAX_ID_CHARS].decode(errors="replace")
