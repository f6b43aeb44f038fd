"""Header keys that are not UTF-8. The broker accepts them, but aiokafka 0.14 raises ``UnicodeDecodeError`` at each read.

This project does not use such keys. They are rewritten before aiokafka parses them: each non-ASCII byte becomes a question
mark, which keeps all lengths. Output records get the rewritten keys, too.
"""

import struct
from collections.abc import Callable
from typing import Any

from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.consumer import fetcher
from aiokafka.errors import KafkaError
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c, decode_varint
from aiokafka.structs import ConsumerRecord, TopicPartition

from libs.runtime.kafka_client.clients import AIOKafkaConsumer

# The layout of a record batch, version 2 (KIP-98): where its fields stand, in bytes from its beginning.
_OVERHEAD = 12  # base offset and length, before what the length counts
_LENGTH_AT = 8
_MAGIC_AT, _CRC_AT, _CHECKED_AT, _ATTRIBUTES_AT, _COUNT_AT, _RECORDS_AT = 16, 17, 21, 21, 57, 61
_CODEC = 0x07
_DECODERS: dict[int, Callable[[bytes], bytes]] = {1: gzip_decode, 2: snappy_decode, 3: lz4_decode, 4: zstd_decode}
_READABLE = bytes(range(128)) + b"?" * 128


class UnreadableHeaderError(KafkaError):
    """A record has a header key that is not UTF-8. The next attempt to read it will succeed."""

    retriable = True


class AnyHeaderConsumer(AIOKafkaConsumer):
    """A consumer that reads every record, whatever its headers, at the second attempt.

    Checking the header keys of each record halves the speed, so a process starts it only after the first such record.
    """

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord[Any, Any]]]:
        try:
            return await super().getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        except UnicodeDecodeError as error:
            raise unreadable_header(error) from error


def unreadable_header(error: UnicodeDecodeError) -> UnreadableHeaderError:
    """The error to raise for a header key that is not UTF-8; the second attempt will read it."""
    read_any_header_key()
    return UnreadableHeaderError(f"a header key that is no UTF-8: {error.object[:80]!r}")


def read_any_header_key() -> None:
    """Make every record that this process fetches from now on readable."""
    fetcher.MemoryRecords = _readable  # type: ignore[attr-defined, assignment]  # the fetcher only calls it


def _readable(raw: bytes) -> Any:
    try:
        records = MemoryRecords(raw)
        while (batch := records.next_batch()) is not None:
            for _ in batch:
                pass
    except UnicodeDecodeError:
        raw = with_readable_header_keys(raw)
    return MemoryRecords(raw)


def with_readable_header_keys(raw: bytes) -> bytes:
    """The record batches ``raw`` as fetched, with each header key that is not UTF-8 made ASCII, and new checksums.

    A compressed batch with such a key is returned uncompressed.
    """
    batches, start = [], 0
    while start + _RECORDS_AT <= len(raw):
        end = start + _OVERHEAD + struct.unpack_from(">i", raw, start + _LENGTH_AT)[0]
        if end > len(raw):
            break  # the broker truncates the last batch at the fetch limit
        batches.append(_with_readable_keys(raw[start:end]))
        start = end
    return b"".join([*batches, raw[start:]])


def _with_readable_keys(batch: bytes) -> bytes:
    if batch[_MAGIC_AT] != 2:
        return batch
    readable = _uncompressed(batch)
    if not _mend(readable, 0):
        return batch
    struct.pack_into(">I", readable, _CRC_AT, calc_crc32c(bytes(readable[_CHECKED_AT:])))
    return bytes(readable)


def _uncompressed(batch: bytes) -> bytearray:
    decode = _DECODERS.get(batch[_ATTRIBUTES_AT + 1] & _CODEC)
    if decode is None:
        return bytearray(batch)
    unpacked = bytearray(batch[:_RECORDS_AT] + decode(batch[_RECORDS_AT:]))
    unpacked[_ATTRIBUTES_AT + 1] &= ~_CODEC & 0xFF
    struct.pack_into(">i", unpacked, _LENGTH_AT, len(unpacked) - _OVERHEAD)
    return unpacked


def _mend(buffer: bytearray, start: int) -> bool:
    """Rewrite the keys of the batch at ``start``; returns whether one had to be rewritten."""
    mended, at = False, start + _RECORDS_AT
    for _ in range(struct.unpack_from(">i", buffer, start + _COUNT_AT)[0]):
        length, at = decode_varint(buffer, at)
        following = at + length
        at += 1  # attributes
        for _field in ("timestamp delta", "offset delta"):
            _, at = decode_varint(buffer, at)
        for _field in ("key", "value"):
            at = _after(buffer, at)
        count, at = decode_varint(buffer, at)
        for _header in range(count):
            size, at = decode_varint(buffer, at)
            key = bytes(buffer[at : at + size])
            try:
                key.decode()
            except UnicodeDecodeError:
                buffer[at : at + size] = key.translate(_READABLE)
                mended = True
            at = _after(buffer, at + size)
        at = following
    return mended


def _after(buffer: bytearray, at: int) -> int:
    size, at = decode_varint(buffer, at)
    return at + max(size, 0)
