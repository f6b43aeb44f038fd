"""The checkpoint's encoding: stored checkpoints are decoded exactly, and anything else is rejected."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sink.file import checkpoint as checkpoint_module
from services.sink.file.checkpoint import Checkpoint, DamagedCheckpointError, decode_checkpoint, encode_checkpoint
from services.sink.record_batcher import Position

COUNTS = st.integers(0, 2**63 - 1)
CHECKPOINTS = st.builds(
    Checkpoint,
    cluster_id=st.text(st.characters(codec="utf-8")),
    topic=st.text(st.characters(codec="utf-8")),
    length=COUNTS,
    crc=COUNTS,
    positions=st.dictionaries(st.integers(0, 999), st.builds(Position, COUNTS, COUNTS)),
)
GOOD: dict[str, Any] = {
    "version": 1,
    "cluster_id": "c",
    "topic": "t",
    "length": 1,
    "crc32": 2,
    "positions": {"0": {"next_offset": 3, "crc32_before": 4}},
}


def signed(fields: Any) -> bytes:
    return orjson.dumps(fields | {"checksum": checkpoint_module._checksum(fields)})


@given(CHECKPOINTS)
def test_a_checkpoint_is_decoded_to_the_same_values(checkpoint: Checkpoint) -> None:
    assert decode_checkpoint(encode_checkpoint(checkpoint)) == checkpoint


@given(CHECKPOINTS, st.data())
def test_every_flipped_bit_is_detected(checkpoint: Checkpoint, data: st.DataObject) -> None:
    encoded = bytearray(encode_checkpoint(checkpoint)[:-1])
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        decoded = decode_checkpoint(bytes(encoded))
    except DamagedCheckpointError:
        return
    assert decoded == checkpoint  # JSON can encode some characters in two ways: \u001f is \u001F


@given(st.binary() | st.from_regex(rb"[\[\]{}\",:0-9a-z]*", fullmatch=True))
def test_other_content_is_rejected_as_damaged(data: bytes) -> None:
    with pytest.raises(DamagedCheckpointError):
        decode_checkpoint(data)


def test_the_reference_checkpoint_is_valid() -> None:
    assert decode_checkpoint(signed(GOOD)) == Checkpoint("c", "t", 1, 2, {0: Position(3, 4)})


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 2},
        {"version": None},
        {"cluster_id": None},
        {"topic": 5},
        {"length": -1},
        {"length": True},
        {"length": 1.0},
        {"crc32": "2"},
        {"positions": []},
        {"positions": {"0": 3}},
        {"positions": {"0": {"next_offset": 3}}},
        {"positions": {"0": {"next_offset": None, "crc32_before": 4}}},
        {"positions": {"0": {"next_offset": -3, "crc32_before": 4}}},
        {"positions": {"-1": {"next_offset": 3, "crc32_before": 4}}},
        {"positions": {"00": {"next_offset": 3, "crc32_before": 4}}},
        {"positions": {"x": {"next_offset": 3, "crc32_before": 4}}},
    ],
)
def test_invalid_values_with_a_correct_checksum_are_damage(wrong: dict[str, Any]) -> None:
    with pytest.raises(DamagedCheckpointError):
        decode_checkpoint(signed(GOOD | wrong))


@pytest.mark.parametrize("name", sorted(GOOD))
def test_missing_fields_are_damage(name: str) -> None:
    with pytest.raises(DamagedCheckpointError):
        decode_checkpoint(signed({key: value for key, value in GOOD.items() if key != name}))
