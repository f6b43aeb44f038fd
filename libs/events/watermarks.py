"""The watermark records in ``processed-orders``, between the orders.

A watermark record says: all orders of the source partitions in ``source`` (out of ``sources``) up to ``watermark`` have been
written before this record. Kafka keeps the order within a partition, so a reader of the record has read those orders.

``source`` is a list, or the number of a single partition, as versions before 0.2 write it.
"""

from typing import Any, NamedTuple

import orjson

from libs.runtime.records import Headers

TYPE_HEADER = "type"
ORDER_HEADERS: Headers = [(TYPE_HEADER, b"order")]
"""What a processed order's headers begin with; the sender's own come after it."""
WATERMARK_HEADERS: Headers = [(TYPE_HEADER, b"watermark")]


# More than TOPIC_PARTITIONS allows. A watermark that claims a billion sources would keep every window open for ever.
MAX_SOURCES = 1000
# The end of the year 9999. A larger value is not in seconds, but for example in milliseconds.
LATEST_TIME_S = 253_402_300_799.0


class Watermark(NamedTuple):
    """The event time that some source partitions have passed, in epoch seconds; ``source_count`` is the number of all of them."""

    sources: tuple[int, ...]
    source_count: int
    watermark_s: float


def encode_watermark(watermark: Watermark) -> bytes:
    """The record's JSON value."""
    return orjson.dumps(
        {"source": watermark.sources, "sources": watermark.source_count, "watermark": watermark.watermark_s}
    )


def decode_watermark(value: bytes | None) -> Watermark:
    """The watermark in a record's value; raises ``ValueError`` naming what is wrong with it."""
    try:
        fields = orjson.loads(value or b"")
        sources, source_count, watermark_s = fields["source"], fields["sources"], fields["watermark"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not a watermark record: {error!r}") from error
    return checked_watermark(sources if type(sources) is list else [sources], source_count, watermark_s)


def checked_watermark(sources: list[Any], source_count: Any, watermark_s: Any) -> Watermark:
    """A watermark from untrusted values; raises ``ValueError`` if they are not valid."""
    # `type() is` and not isinstance: True is an int. The message leaves the values out: they may be of any size and depth.
    if type(source_count) is not int or type(watermark_s) not in (int, float):
        raise ValueError("not a watermark record: sources or watermark has the wrong type")
    if not 0 < source_count <= MAX_SOURCES:
        raise ValueError(f"watermark of {source_count} sources, {MAX_SOURCES} at most are allowed")
    if not 0 < len(sources) <= source_count or any(type(source) is not int for source in sources):
        raise ValueError("not a watermark record: source is no list of partitions")
    if not 0 <= min(sources) <= max(sources) < source_count:
        raise ValueError(f"watermark of a source that is none of the {source_count}")
    if not -LATEST_TIME_S <= watermark_s <= LATEST_TIME_S:
        raise ValueError(f"watermark {watermark_s!r} is no time in epoch seconds")
    return Watermark(tuple(sources), source_count, float(watermark_s))
