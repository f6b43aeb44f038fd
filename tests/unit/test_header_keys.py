"""Header keys that are not UTF-8 are made readable, and nothing else is changed."""

import struct
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from libs.runtime.kafka_client.header_keys import with_readable_header_keys

_CRC_AT, _CHECKED_AT = 17, 21
Fields = tuple[Any, ...]


def batch(random: Random, key: bytes) -> bytes:
    """Twenty records of every shape, some with headers under ``key``, which has four bytes."""
    builder = DefaultRecordBatchBuilder(2, 0, 1, 5, 1, 0, 10**6)
    for number in range(20):
        record_key, value = random.choice((None, b"", b"k" * 200)), random.choice((None, b"text", b"v" * 300))
        headers = [("abcd", random.choice((b"x", b""))), ("zü", None)] * random.randrange(4)
        builder.append(number, 1000 + number, record_key, value, headers)
    built = bytearray(builder.build()).replace(b"\x08abcd", b"\x08" + key)
    struct.pack_into(">I", built, _CRC_AT, calc_crc32c(bytes(built[_CHECKED_AT:])))
    return bytes(built)


def fields_of(raw: bytes) -> list[Fields]:
    records, found = MemoryRecords(raw), list[Fields]()
    while (each := records.next_batch()) is not None:
        assert each.validate_crc()
        found += [(record.offset, record.timestamp, record.key, record.value, record.headers) for record in each]
    return found


def test_only_unreadable_header_keys_are_changed() -> None:
    good = b"".join(batch(Random(seed), b"abcd") for seed in range(3))
    bad = b"".join(batch(Random(seed), b"a\xff\xfed" if seed % 2 else b"abcd") for seed in range(3))
    with pytest.raises(UnicodeDecodeError):
        fields_of(bad)
    mended = fields_of(with_readable_header_keys(bad))
    expected = fields_of(good)
    expected[20:40] = [
        (*rest, [("a??d" if name == "abcd" else name, value) for name, value in headers])
        for *rest, headers in expected[20:40]
    ]
    assert mended == expected


def test_readable_and_truncated_batches_are_unchanged() -> None:
    good = b"".join(batch(Random(seed), b"abcd") for seed in range(3))
    assert with_readable_header_keys(good) == good
    cut = (good + batch(Random(9), b"\xff\xff\xff\xff"))[:-5]
    assert with_readable_header_keys(cut) == cut


@pytest.mark.parametrize(("codec", "encode"), [(1, gzip_encode), (2, snappy_encode), (3, lz4_encode), (4, zstd_encode)])
def test_a_compressed_batch_is_repaired(codec: int, encode: Callable[[bytes], bytes]) -> None:
    def compressed(plain: bytes) -> bytes:
        packed = bytearray(plain[:61] + encode(plain[61:]))
        packed[22] |= codec
        struct.pack_into(">i", packed, 8, len(packed) - 12)
        struct.pack_into(">I", packed, _CRC_AT, calc_crc32c(bytes(packed[_CHECKED_AT:])))
        return bytes(packed)

    readable = compressed(batch(Random(1), b"abcd"))  # once: gzip writes the current second
    assert with_readable_header_keys(readable) == readable
    bad = batch(Random(1), b"a\xff\xfed")
    with pytest.raises(UnicodeDecodeError):
        fields_of(compressed(bad))
    assert fields_of(with_readable_header_keys(compressed(bad))) == fields_of(with_readable_header_keys(bad))
