"""``processed-orders``: what whoever adds orders up needs to know of one."""

import orjson

from libs.events.money import cents_of
from libs.events.watermarks import LATEST_TIME_S


def read_processed_order(value: bytes | None) -> tuple[str, float, int]:
    """Product id, event time in epoch seconds and whole cents; raises ``ValueError`` when ``value`` is no such order.

    The processor writes no other, but any Kafka client can write into the topic.
    """
    try:
        fields = orjson.loads(value or b"")
        product_id, event_time_s, amount = fields["product_id"], fields["timestamp"], fields["amount"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not a processed order: {error!r}") from error
    # The types come first: a list as an amount would be multiplied, 400 MB for a record of 1 MB.
    if type(product_id) is not str or type(event_time_s) not in (int, float) or type(amount) not in (int, float):
        raise ValueError("not a processed order: product_id, timestamp or amount has the wrong type")
    if not 0 <= event_time_s <= LATEST_TIME_S:
        raise ValueError(f"not a processed order: its timestamp {event_time_s!r} is no time in epoch seconds")
    cents = cents_of(amount)
    if cents is None or cents <= 0:
        raise ValueError(f"not a processed order: its amount {amount!r} is no positive number of cents")
    return product_id, event_time_s, cents
