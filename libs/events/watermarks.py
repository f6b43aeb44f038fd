"""The watermark records that ride in ``processed-orders`` between the orders.

A watermark record says: of source partition ``source`` (one of ``sources``), every order up to ``watermark`` has been
written before this record. Kafka keeps the order within a partition, so whoever reads it has read those orders.
"""

from typing import NamedTuple

import orjson

TYPE_HEADER = "type"
ORDER_HEADERS = [(TYPE_HEADER, b"order")]
WATERMARK_HEADERS = [(TYPE_HEADER, b"watermark")]


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
    if type(source) is not int or type(sources) is not int or type(watermark_s) not in (int, float):
        raise ValueError(f"not a watermark record: wrong types in {fields!r}")
    if not 0 <= source < sources:
        raise ValueError(f"watermark of source {source}, but there are only {sources} sources")
    return Watermark(source, sources, float(watermark_s))
