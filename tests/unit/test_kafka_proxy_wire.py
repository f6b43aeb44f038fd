"""The proxy's parser reads requests of real clients: aiokafka's own request classes, and ours."""

from typing import Any

import pytest
from aiokafka.protocol.metadata import MetadataRequest_v0
from aiokafka.protocol.produce import ProduceRequest_v3
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest_v0,
    AddOffsetsToTxnResponse_v0,
    AddPartitionsToTxnRequest_v0,
    AddPartitionsToTxnResponse_v0,
    EndTxnRequest_v0,
    EndTxnResponse_v0,
    TxnOffsetCommitRequest_v0,
)
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from libs.runtime.kafka_requests.txn_offset_commit import TxnOffsetCommitRequestV3, TxnOffsetCommitResponseV3
from tests.kafka_proxy.wire_format import Api, Producer, correlation_id_of_request, error_codes, parse_request

PRODUCER = Producer(7_000_000_001, 12)
SOURCES = frozenset({("orders", 3), ("orders", 5), ("other", 0)})


def framed(request: Any) -> bytes:
    header = request.build_request_header(correlation_id=41, client_id="client-ä")
    return bytes(header.encode() + request.encode())


def batch(producer: Producer) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=True,
        producer_id=producer.id,
        producer_epoch=producer.epoch,
        base_sequence=0,
        batch_size=1000,
    )
    builder.append(0, timestamp=1, key=b"key", value=b"value", headers=[])
    return bytes(builder.build())


def offsets_v3() -> TxnOffsetCommitRequestV3:
    topics: list[tuple[object, ...]] = [
        ("orders", [(3, 100, -1, "", {}), (5, 2**40, -1, "m", {})], {}),
        ("other", [(0, 1, -1, "", {})], {}),
    ]
    return TxnOffsetCommitRequestV3("id", "group", *PRODUCER, 9, "member", None, topics, {})


@pytest.mark.parametrize(
    ("request_struct", "expected"),
    [
        (EndTxnRequest_v0("id", *PRODUCER, True), (Api.END_TXN, "", frozenset(), True)),
        (EndTxnRequest_v0("id", *PRODUCER, False), (Api.END_TXN, "", frozenset(), False)),
        (AddOffsetsToTxnRequest_v0("id", *PRODUCER, "group"), (Api.ADD_OFFSETS_TO_TXN, "group", frozenset(), True)),
        (
            AddPartitionsToTxnRequest_v0("id", *PRODUCER, [("out", [1, 2])]),
            (Api.ADD_PARTITIONS_TO_TXN, "", frozenset(), True),
        ),
        (
            TxnOffsetCommitRequest_v0(
                "id", "group", *PRODUCER, [("orders", [(3, 1, ""), (5, 2, "")]), ("other", [(0, 1, "m")])]
            ),
            (Api.TXN_OFFSET_COMMIT, "group", SOURCES, True),
        ),
        (offsets_v3(), (Api.TXN_OFFSET_COMMIT, "group", SOURCES, True)),
        (
            ProduceRequest_v3("id", -1, 1000, [("out", [(1, batch(PRODUCER))])]),
            (Api.PRODUCE, "", frozenset(), True),
        ),
    ],
)
def test_requests_of_a_transaction_are_parsed(request_struct: Any, expected: tuple[object, ...]) -> None:
    frame = framed(request_struct)
    request = parse_request(frame)
    assert request
    assert (request.api, request.group, request.sources, request.commits) == expected
    assert (request.transactional_id, request.producer, request.client_id) == ("id", PRODUCER, "client-ä")
    assert request.correlation_id == correlation_id_of_request(frame) == 41
    assert request.version == request_struct.API_VERSION


def test_end_txn_with_flexible_fields_is_parsed() -> None:
    # EndTxn v3, byte for byte: header with client id "c" and no tags, transactional id "id", producer, epoch, commit.
    frame = bytes.fromhex("001a 0003 00000005 0001 63 00 03 6964 0000000000000007 0002 01 00")
    request = parse_request(frame)
    assert request
    assert (request.transactional_id, request.producer, request.commits) == ("id", Producer(7, 2), True)


@pytest.mark.parametrize(
    "request_struct",
    [
        MetadataRequest_v0([]),
        ProduceRequest_v3(None, -1, 1000, [("out", [(1, batch(Producer(1, 0)))])]),
    ],
)
def test_all_other_requests_are_ignored(request_struct: Any) -> None:
    assert parse_request(framed(request_struct)) is None


def test_a_truncated_request_is_an_error() -> None:
    with pytest.raises(ValueError, match="a field of 2 bytes"):
        parse_request(framed(EndTxnRequest_v0("id", *PRODUCER, True))[:-2])


def test_error_codes_are_parsed() -> None:
    def answer(response: Any, *, flexible: bool = False) -> bytes:
        return (41).to_bytes(4, "big") + (b"\0" if flexible else b"") + bytes(response.encode())

    def request(struct: Any) -> Any:
        return parse_request(framed(struct))

    end_txn = request(EndTxnRequest_v0("id", *PRODUCER, True))
    assert error_codes(end_txn, answer(EndTxnResponse_v0(0, 47))) == {47}
    add_offsets = request(AddOffsetsToTxnRequest_v0("id", *PRODUCER, "group"))
    assert error_codes(add_offsets, answer(AddOffsetsToTxnResponse_v0(0, 0))) == {0}
    add_partitions = request(AddPartitionsToTxnRequest_v0("id", *PRODUCER, [("out", [1, 2])]))
    both = AddPartitionsToTxnResponse_v0(0, [("out", [(1, 0), (2, 51)])])
    assert error_codes(add_partitions, answer(both)) == {0, 51}
    offsets = TxnOffsetCommitResponseV3(0, [("orders", [(3, 25, {}), (5, 0, {})], {}), ("other", [(0, 0, {})], {})], {})
    assert error_codes(request(offsets_v3()), answer(offsets, flexible=True)) == {0, 25}
