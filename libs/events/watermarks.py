"""The watermark records that ride in ``processed-orders`` between the orders.

A watermark record says: of each source partition in ``source`` (out of ``sources``), every order up to ``watermark`` has been
written before this record. Kafka keeps the order within a partition, so whoever reads it has read those orders.

``source`` is a list, or the number of a single partition, as versions before 0.2 write it.
"""

from typing import Any, NamedTuple

import orjson

from libs.runtime.records import Headers

TYPE_HEADER = "type"
ORDER_HEADERS: Headers = [(TYPE_HEADER, b"order")]
"""What a processed order's headers begin with; the sender's own come after it."""
WATERMARK_HEADERS: Headers = [(TYPE_HEADER, b"watermark")]


# No pipeline has more: TOPIC_PARTITIONS allows fewer. A mark that claims a billion would hold every window open for ever.
MAX_SOURCES = 1000
# The end of the year 9999. What claims to be later is no time in seconds: milliseconds, or nonsense.
LATEST_TIME_S = 253_402_300_799.0


class Watermark(NamedTuple):
    """How far event time has come in some of the source partitions, out of ``source_count``; in epoch seconds."""

    sources: tuple[int, ...]
    source_count: int
    watermark_s: float


def encode_watermark(mark: Watermark) -> bytes:
    """The record's JSON value."""
    return orjson.dumps({"source": mark.sources, "sources": mark.source_count, "watermark": mark.watermark_s})


def decode_watermark(value: bytes | None) -> Watermark:
    """The mark in a record's value; raises ``ValueError`` naming what is wrong with it."""
    try:
        fields = orjson.loads(value or b"")
        sources, source_count, watermark_s = fields["source"], fields["sources"], fields["watermark"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not a watermark record: {error!r}") from error
    return checked_watermark(sources if type(sources) is list else [sources], source_count, watermark_s)


def checked_watermark(sources: list[Any], source_count: Any, watermark_s: Any) -> Watermark:
    """A mark of values that came from outside; raises ``ValueError`` when they can be none."""
    # `type() is` and not isinstance: True is an int. The values are not told: they may be of any size and depth.
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
