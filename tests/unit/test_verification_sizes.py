"""The allowed results for a record that may have been too large."""

from hashlib import sha256

import pytest

from libs.events.topic_rules import LARGEST_BATCH_BYTES
from tests.unit.verified_outputs import BROKERS, REFERENCE, dump, enriched, order
from verification.ledger import Ledger
from verification.packed_order import Source
from verification.report import Damage, Report
from verification.sizes import MAY_NOT_FIT_BYTES
from verification.window_sums import WindowSums

MIB = 1024 * 1024
TIME_MS = 1_700_000_100_000
JUNK = b"?" * (3 * MIB)
LARGE = dump(order("large") | {"note": "x" * 3 * MIB})
MIDDLE = dump(order("middle") | {"note": "x" * 400_000})
SMALL = dump(order("small"))
Content = tuple[bytes | None, bytes | None, dict[str, bytes]]


def with_value(value: bytes) -> Content:
    return b"k", value, {}


def without_value(value: bytes, key: bytes | None = b"k", **changed: bytes) -> Content:
    return (
        key,
        None,
        {
            "source.value.bytes": changed.get("size", b"%d" % len(value)),
            "source.value.sha256": changed.get("digest", sha256(value).hexdigest().encode()),
        },
    )


def report_of(
    value: bytes, letter: Content | None, reason: str = "too_large", processed: bytes | None = None
) -> Report:
    report, sums = Report(), WindowSums(60)
    ledger = Ledger(REFERENCE, sums, {0: 1}, report)
    ledger.add_source(Source(0, 0), b"k", value, TIME_MS, 0.0, timestamp_type=BROKERS)
    if letter:
        key, left, more = letter
        headers = {"error.reason": reason.encode(), "source.topic": b"orders", "source.partition": b"0"}
        ledger.add_dead_letter(headers | {"source.offset": b"0"} | more, "orders", key, left, TIME_MS)
    ledger.settle()
    if processed:
        ledger.add_processed(processed, read_by_analytics=True)
    ledger.close()
    return report


@pytest.mark.parametrize(
    ("value", "letter", "reason"),
    [
        (LARGE, with_value(LARGE), "too_large"),
        (LARGE, without_value(LARGE), "too_large"),
        (MIDDLE, with_value(MIDDLE), "too_large"),  # before the topics' limits were raised
        (MIDDLE, without_value(MIDDLE), "too_large"),
        (JUNK, with_value(JUNK), "malformed"),
        (JUNK, without_value(JUNK), "too_large"),
        (JUNK, without_value(JUNK, key=None), "too_large"),
    ],
)
def test_a_large_record_may_be_a_dead_letter_with_or_without_its_value(
    value: bytes, letter: Content, reason: str
) -> None:
    report = report_of(value, letter, reason)
    assert (report.damage, report.dead_letters) == ({}, {reason: 1})


def test_a_large_order_may_also_be_processed() -> None:
    report = report_of(LARGE, None, processed=enriched(order("large") | {"note": "x" * 3 * MIB}))
    assert (report.damage, report.processed) == ({}, 1)


@pytest.mark.parametrize(
    ("value", "letter", "reason", "damage"),
    [
        (SMALL, with_value(SMALL), "too_large", Damage.DEAD_LETTER_UNEXPECTED),
        (b"{", with_value(b"{"), "too_large", Damage.WRONG_REASON),
        (b"{", without_value(b"{"), "malformed", Damage.DEAD_LETTER_CHANGED),
        (JUNK, without_value(JUNK), "malformed", Damage.DEAD_LETTER_CHANGED),
        (JUNK, without_value(JUNK, size=b"1"), "too_large", Damage.DEAD_LETTER_CHANGED),
        (JUNK, without_value(JUNK, digest=b"0" * 64), "too_large", Damage.DEAD_LETTER_CHANGED),
        (JUNK, without_value(JUNK, key=b"other"), "too_large", Damage.DEAD_LETTER_CHANGED),
        (JUNK, (b"k", None, {}), "too_large", Damage.DEAD_LETTER_CHANGED),
        (JUNK, None, "", Damage.DEAD_LETTER_LOST),
        (LARGE, None, "", Damage.LOST),
    ],
)
def test_anything_else_is_damage(value: bytes, letter: Content | None, reason: str, damage: Damage) -> None:
    assert report_of(value, letter, reason).damage[damage] == 1


def test_no_limit_that_the_services_use_is_below_the_size() -> None:
    assert MAY_NOT_FIT_BYTES < LARGEST_BATCH_BYTES
