"""Parses Kafka's request framing, and the fields of requests and responses that the faults need.

Layouts: https://kafka.apache.org/protocol; flexible versions: KIP-482; record batches: KIP-98.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class Api(IntEnum):
    """The requests of a transaction."""

    PRODUCE = 0
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


_FIRST_FLEXIBLE = {
    Api.PRODUCE: 9,
    Api.ADD_PARTITIONS_TO_TXN: 3,
    Api.ADD_OFFSETS_TO_TXN: 3,
    Api.END_TXN: 3,
    Api.TXN_OFFSET_COMMIT: 3,
}
_FIRST_WITH_ANOTHER_LAYOUT = {Api.PRODUCE: 13, Api.ADD_PARTITIONS_TO_TXN: 4}
_FIRST_PRODUCE_WITH_TRANSACTIONS = 3
_PRODUCER_ID_IN_BATCH = 43


class Producer(NamedTuple):
    """A producer id and its epoch."""

    id: int
    epoch: int


@dataclass(frozen=True)
class Request:
    """A request of a transactional producer.

    ``group`` and ``sources``, the partitions whose offsets are committed, are empty if the request has none.
    """

    api: Api
    version: int
    correlation_id: int
    client_id: str
    transactional_id: str
    producer: Producer
    group: str = ""
    sources: frozenset[tuple[str, int]] = frozenset()
    commits: bool = True
    """False for an EndTxn that aborts."""


def correlation_id_of_request(frame: bytes) -> int:
    """The correlation id of a request; ``frame`` is without its four bytes of size, as everywhere here."""
    return int.from_bytes(frame[4:8], "big", signed=True)


def correlation_id_of_answer(frame: bytes) -> int:
    return int.from_bytes(frame[:4], "big", signed=True)


def parse_request(frame: bytes) -> Request | None:
    """The request; None if it is not of a transactional producer, or has an unknown layout."""
    key, version = struct.unpack_from(">hh", frame)
    if key not in _FIRST_FLEXIBLE or version >= _FIRST_WITH_ANOTHER_LAYOUT.get(Api(key), 1000):
        return None
    api = Api(key)
    fields = _Fields(frame, 4, flexible=version >= _FIRST_FLEXIBLE[api])
    correlation_id = fields.integer(4)
    client_id = fields.plain_string()
    fields.tags()
    if api is Api.PRODUCE:
        return _parse_produce(fields, version, correlation_id, client_id)
    transactional_id = fields.string()
    group = fields.string() if api is Api.TXN_OFFSET_COMMIT else ""
    producer = Producer(fields.integer(8), fields.integer(2))
    sources: frozenset[tuple[str, int]] = frozenset()
    commits = True
    if api is Api.ADD_OFFSETS_TO_TXN:
        group = fields.string()
    elif api is Api.END_TXN:
        commits = bool(fields.integer(1))
    elif api is Api.TXN_OFFSET_COMMIT:
        if version >= 3:
            fields.integer(4)  # generation
            fields.string()  # member id
            fields.string()  # group instance id
        sources = frozenset(_offset_partitions(fields, version))
    return Request(api, version, correlation_id, client_id, transactional_id, producer, group, sources, commits)


def _offset_partitions(fields: "_Fields", version: int) -> Iterator[tuple[str, int]]:
    for _ in range(fields.length()):
        topic = fields.string()
        for _ in range(fields.length()):
            yield topic, fields.integer(4)
            fields.integer(8)  # offset
            if version >= 2:
                fields.integer(4)  # leader epoch
            fields.string()  # metadata
            fields.tags()
        fields.tags()


def _parse_produce(fields: "_Fields", version: int, correlation_id: int, client_id: str) -> Request | None:
    if version < _FIRST_PRODUCE_WITH_TRANSACTIONS:
        return None
    transactional_id = fields.string()
    fields.integer(2)  # acks
    fields.integer(4)  # timeout
    if not transactional_id or not fields.length():
        return None
    fields.string()  # topic
    if not fields.length():
        return None
    fields.integer(4)  # partition
    batch = fields.blob()
    producer = Producer(*struct.unpack_from(">qh", batch, _PRODUCER_ID_IN_BATCH))
    return Request(Api.PRODUCE, version, correlation_id, client_id, transactional_id, producer)


def error_codes(request: Request, answer: bytes) -> set[int]:
    """All error codes in the response to ``request``; for a produce request, those of its first partition; 0 is success."""
    fields = _Fields(answer, 4, flexible=request.version >= _FIRST_FLEXIBLE[request.api])
    fields.tags()
    if request.api is Api.PRODUCE:
        fields.length()
        fields.string()
        fields.length()
        fields.integer(4)  # partition
        return {fields.integer(2)}
    fields.integer(4)  # throttle time
    if request.api in (Api.END_TXN, Api.ADD_OFFSETS_TO_TXN):
        return {fields.integer(2)}
    codes = set()
    for _ in range(fields.length()):
        fields.string()  # topic
        for _ in range(fields.length()):
            fields.integer(4)  # partition
            codes.add(fields.integer(2))
            fields.tags()
        fields.tags()
    return codes


class _Fields:
    """Reads one field after the other; ``flexible`` lengths are unsigned varints of the length plus one."""

    def __init__(self, frame: bytes, position: int, *, flexible: bool) -> None:
        self._frame = frame
        self._position = position
        self._flexible = flexible

    def integer(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big", signed=True)

    def length(self, size: int = 4) -> int:
        """The length of an array or of bytes; 0 for null."""
        return max(self._varint() - 1 if self._flexible else self.integer(size), 0)

    def string(self) -> str:
        return self._take(self.length(2)).decode()

    def plain_string(self) -> str:
        """A string of an inflexible version, as the client id always is."""
        return self._take(max(self.integer(2), 0)).decode()

    def blob(self) -> bytes:
        return self._take(self.length(4))

    def tags(self) -> None:
        if self._flexible:
            for _ in range(self._varint()):
                self._varint()
                self._take(self._varint())

    def _take(self, size: int) -> bytes:
        taken = self._frame[self._position : self._position + size]
        if len(taken) < size:
            raise ValueError(f"a field of {size} bytes at {self._position} of a frame of {len(self._frame)}")
        self._position += size
        return taken

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
