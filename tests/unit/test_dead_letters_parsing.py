import pytest
from hypothesis import given
from hypothesis import strategies as st

from dead_letters.dead_letter import DAMAGED, DeadLetter, Place, parse_place, read_letter
from dead_letters.reader import Topics
from dead_letters.rendering import letter_text
from dead_letters.replay_marks import (
    DamagedReplayMarkError,
    MarkKey,
    Replayed,
    ReplayMark,
    decode_mark,
    encode_key,
    encode_mark,
)
from dead_letters.selection import obstacle
from libs.events.dead_letters import (
    Reason,
    RejectedError,
    Rejection,
    dead_letter,
    dead_letter_headers,
    read_dead_letter_headers,
)
from tests.unit.driver import FakeRecord

GOOD = dead_letter_headers("orders", 3, 12, RejectedError(Reason.MALFORMED, "käse"))


def changed(name: str, value: bytes | None) -> list[tuple[str, bytes | None]]:
    return [(each, value if each == name else kept) for each, kept in GOOD]


def letter(value: bytes | None = b"x", offset: int = 7, timestamp: int = 1_000, key: bytes | None = None) -> DeadLetter:
    return read_letter(FakeRecord(value, key, tuple(GOOD), offset, 2, timestamp=timestamp))


def test_headers_are_decoded() -> None:
    assert read_dead_letter_headers(GOOD) == Rejection("malformed", "käse", "orders", 3, 12)


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ([], "error.reason is missing"),
        (GOOD[:-1], "source.offset is missing"),
        (changed("error.message", None), "error.message is missing"),
        (changed("error.reason", b"\xff"), "error.reason is not UTF-8"),
        (changed("source.partition", b"-1"), "source.partition is not a whole number"),
        (changed("source.partition", b""), "source.partition is not a whole number"),
        (changed("source.offset", "٣".encode()), "source.offset is not a whole number"),
        (changed("source.offset", b"9" * 100_000), "source.offset is not a whole number"),
        (changed("source.offset", b"9" * 19), "source.offset is not a whole number"),
    ],
)
def test_a_letter_with_damaged_headers_has_its_own_reason(
    headers: list[tuple[str, bytes | None]], problem: str
) -> None:
    record = FakeRecord(b"kept", headers=tuple(headers))
    found = read_letter(record)
    assert (found.reason, found.value, found.other_headers()) == (DAMAGED, b"kept", tuple(headers))
    assert problem in found.message


@given(st.lists(st.tuples(st.sampled_from([name for name, _ in GOOD]) | st.text(), st.none() | st.binary())))
def test_any_headers_can_be_decoded(headers: list[tuple[str, bytes | None]]) -> None:
    found = read_letter(FakeRecord(b"", headers=tuple(headers)))
    assert found.reason
    assert isinstance(found.fingerprint(), int)


def test_positions_are_parsed() -> None:
    assert parse_place("3/1207") == Place(3, 1207)
    assert str(Place(3, 1207)) == "3/1207"
    for text in ("", "3", "3/", "/3", "-1/3", "3/4/5", " 3/4", "٣/4", "3/" + "9" * 1000):
        with pytest.raises(ValueError, match="is no place of a dead letter"):
            parse_place(text)


@given(st.integers(0, 2**64 - 1), st.integers(0, 10**6), st.integers(0, 10**15))
def test_replay_marks_survive_json(fingerprint: int, partition: int, offset: int) -> None:
    mark = ReplayMark(fingerprint, 1_700_000_000.125, partition, offset)
    assert decode_mark(b"2/7", encode_mark(mark)) == (MarkKey(Place(2, 7), None), mark)
    assert decode_mark(encode_key(letter()), encode_mark(mark)) == (MarkKey(Place(2, 7), letter().fingerprint()), mark)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"\xff", b"{}"),
        (b"2/7", b"{}"),
        (b"2/7", b"[]"),
        (b"2/7", b'{"fingerprint":1}'),
        (b"2/7", b""),
        (b"2/7/", None),
    ],
)
def test_an_unreadable_replay_mark_is_an_error(key: bytes | None, value: bytes) -> None:
    """Skipping it might replay a letter twice."""
    with pytest.raises(DamagedReplayMarkError):
        decode_mark(key, value)


def test_a_replay_mark_matches_only_its_own_letter_wherever_it_is() -> None:
    """A recreated topic has other letters at the old places, and the same letters at other places."""
    replayed = Replayed()
    assert letter() not in replayed
    replayed.add(MarkKey(letter().place, None), ReplayMark(letter().fingerprint(), 0.0, 0, 0))
    assert letter() in replayed
    for other in (letter(b"y"), letter(None), letter(timestamp=1_001), letter(key=b"")):
        assert other not in replayed
    assert letter(offset=8) in replayed
    replayed.add(MarkKey(letter().place, None), ReplayMark(letter(b"y").fingerprint(), 0.0, 0, 0))
    assert letter(b"y") in replayed
    assert letter() in replayed
    replayed.add(*decode_mark(b"2/7", None))
    assert letter(b"y") not in replayed


def test_a_record_that_is_rejected_again_for_another_reason_counts_as_replayed() -> None:
    """After a recomputation with another catalogue, a damaged order has its next fault as the reason."""
    other = dead_letter_headers(
        "orders", 3, 12, RejectedError(Reason.INVALID_AMOUNT, "12.345 has more than two decimals")
    )
    again = read_letter(FakeRecord(b"x", None, tuple(other), 9, 2, timestamp=1_000))
    elsewhere = tuple(dead_letter_headers("orders", 3, 13, RejectedError(Reason.MALFORMED, "käse")))
    replayed = Replayed()
    replayed.add(*decode_mark(encode_key(letter()), encode_mark(ReplayMark(letter().fingerprint(), 0.0, 0, 0))))
    assert again in replayed
    assert read_letter(FakeRecord(b"x", None, elsewhere, 7, 2, timestamp=1_000)) not in replayed


def test_marks_of_former_versions_are_still_valid() -> None:
    replayed = Replayed()
    replayed.add(*decode_mark(b"2/7", b'{"fingerprint":"8e1a3844cdb7a5b2","replayed_at":0.0,"partition":0,"offset":0}'))
    assert letter() in replayed


def test_the_marks_of_two_letters_at_one_place_survive_compaction() -> None:
    """It keeps the newest record of each key. A mark is removed by a tombstone with its key."""
    marks = {
        encode_key(each): encode_mark(ReplayMark(each.fingerprint(), 0.0, 0, 0)) for each in (letter(), letter(b"y"))
    }
    replayed = Replayed()
    for key, value in marks.items():
        replayed.add(*decode_mark(key, value))
    assert letter() in replayed
    assert letter(b"y") in replayed
    replayed.add(*decode_mark(encode_key(letter()), None))
    assert letter() not in replayed
    assert letter(b"y") in replayed


def test_fingerprints_distinguish_key_and_value() -> None:
    assert len({letter(b"a", key=b"b").fingerprint(), letter(b"b", key=b"a").fingerprint()}) == 2
    assert letter(None).fingerprint() != letter(b"").fingerprint() != letter(b"-").fingerprint()


def test_a_letter_without_value_is_marked_and_cannot_be_replayed() -> None:
    large = FakeRecord(b"?" * 5_000, b"k", offset=3)
    key, value, headers = dead_letter("orders", 1, large, RejectedError(Reason.MALFORMED, "no JSON"), 2_000)[1:]
    kept = read_letter(FakeRecord(value, key, tuple(headers)))
    assert kept.is_without_value()
    assert not letter(None).is_without_value()
    topics = Topics("cluster-1", "orders", "orders-dlq", "marks", 6, 1_000_000, 6, 1, marks_partitions=0)
    assert "too large to be kept" in obstacle(kept, topics)
    assert obstacle(letter(None), topics) == ""
    shown = letter_text(kept, None, "orders")
    assert "value: not kept" in shown
    assert "5000" in shown
