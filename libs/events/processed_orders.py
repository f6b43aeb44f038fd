"""``processed-orders``: decodes the fields that the analytics needs."""

import msgspec

from libs.events.money import cents_of
from libs.events.watermarks import LATEST_TIME_S


class SoldProduct(msgspec.Struct, gc=False):
    """The fields that are decoded; all others are ignored. Their values are not checked."""

    product_id: str
    timestamp: float
    amount: float


decode_sold_product = msgspec.json.Decoder(SoldProduct).decode
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_processed_order(value: bytes | None) -> tuple[str, float, int]:
    """Product id, event time in epoch seconds and whole cents; raises ``ValueError`` if ``value`` is not such an order.

    The processor writes valid orders only, but any Kafka client can write into the topic.
    """
    try:
        order = decode_sold_product(value or b"")
    except DECODE_ERRORS as error:
        raise ValueError(f"not a processed order: {error}") from error
    if not 0.0 <= order.timestamp <= LATEST_TIME_S:
        raise ValueError(f"not a processed order: its timestamp {order.timestamp!r} is no time in epoch seconds")
    cents = cents_of(order.amount)
    if cents is None or cents <= 0:
        raise ValueError(f"not a processed order: its amount {order.amount!r} is no positive number of cents")
    return order.product_id, order.timestamp, cents
