"""The watermark records that ride in ``processed-orders`` between the orders.

A watermark record says: of source partition ``source`` (one of ``sources``), every order up to ``watermark`` has been
written before this record. Kafka keeps the order within a partition, so whoever reads it has read those orders.
"""

from typing import Any, NamedTuple

import orjson

from libs.events.records import Headers

TYPE_HEADER = "type"
ORDER_HEADERS: Headers = [(TYPE_HEADER, b"order")]
"""What a processed order's headers begin with; the sender's own come after it."""
WATERMARK_HEADERS: Headers = [(TYPE_HEADER, b"watermark")]


# No pipeline has more: TOPIC_PARTITIONS allows none. A mark that claims a billion would hold every window open for ever.
MAX_SOURCES = 1000
# The end of the year 9999. What claims to be later is no time in seconds: milliseconds, or nonsense.
LATEST_TIME_S = 253_402_300_799.0


class Watermark(NamedTuple):
    """How far event time has come in one source partition; ``watermark_s`` in epoch seconds."""

    source: int
    sources: int
    watermark_s: float


def encode_watermark(mark: Watermark) -> bytes:
    """The record's JSON value."""
    return orjson.dumps({"source": mark.source, "sources": mark.sources, "watermark": mark.watermark_s})


def decode_watermark(value: bytes | None) -> Watermark:
    """The mark in a record's value; raises ``ValueError`` naming what is wrong with it."""
    try:
        fields = orjson.loads(value or b"")
        source, sources, watermark_s = fields["source"], fields["sources"], fields["watermark"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not a watermark record: {error!r}") from error
    return checked_watermark(source, sources, watermark_s)


def checked_watermark(source: Any, sources: Any, watermark_s: Any) -> Watermark:
    """A mark of values that came from outside; raises ``ValueError`` when they can be none."""
    # `type() is` and not isinstance: True is an int. The values are not told: they may be of any size and depth.
    if type(source) is not int or type(sources) is not int or type(watermark_s) not in (int, float):
        raise ValueError("not a watermark record: source, sources or watermark has the wrong type")
    if not 0 <= source < sources <= MAX_SOURCES:
        raise ValueError(f"watermark of source {source} of {sources}, of {MAX_SOURCES} at most")
    if not -LATEST_TIME_S <= watermark_s <= LATEST_TIME_S:
        raise ValueError(f"watermark {watermark_s!r} is no time in epoch seconds")
    return Watermark(source, sources, float(watermark_s))
