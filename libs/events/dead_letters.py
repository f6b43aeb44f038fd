"""``orders-dlq``: records that are not valid orders, kept byte for byte, with the reason in their headers.

Only a record that is too large for the topic is kept without its value. Then the headers have the value's size and digest.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from libs.events.record_sizes import batch_bytes
from libs.runtime.records import Headers, Record, carried_headers

_MAX_MESSAGE_CHARS = 500
_MAX_OFFSET = 2**63 - 1

HEADERS = ("error.reason", "error.message", "source.topic", "source.partition", "source.offset")

VALUE_BYTES, VALUE_SHA256 = "source.value.bytes", "source.value.sha256"
OMITTED_HEADERS = (VALUE_BYTES, VALUE_SHA256)
"""The headers of a letter without its value: how many bytes it had, and their SHA-256 in hexadecimal digits."""


class Reason(StrEnum):
    """Why a record is a dead letter: a small closed set, fit for a metric label."""

    MALFORMED = "malformed"  # no JSON object: broken JSON, invalid UTF-8, an array, a null value, a field named twice
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    INVALID_ID = "invalid_id"  # empty or overlong order_id or user_id
    UNKNOWN_PRODUCT = "unknown_product"
    INVALID_AMOUNT = "invalid_amount"  # not positive, sub-cent digits, or too large to be exact
    INVALID_TIMESTAMP = "invalid_timestamp"  # before 1970
    FUTURE_TIMESTAMP = "future_timestamp"  # more than a minute ahead of the clock
    TOO_LARGE = "too_large"  # larger than the limit of the output topic


class RejectedError(Exception):
    """The record cannot be an order."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def dead_letter_headers(
    topic: str, partition: int, offset: int, error: RejectedError, sent: Iterable[tuple[str, bytes | None]] = ()
) -> Headers:
    """The headers with the reason and the position of a rejected record, followed by those that were ``sent`` with it."""
    return [
        ("error.reason", error.reason.encode()),
        ("error.message", str(error)[:_MAX_MESSAGE_CHARS].encode(errors="backslashreplace")),
        ("source.topic", topic.encode()),
        ("source.partition", b"%d" % partition),
        ("source.offset", b"%d" % offset),
        *carried_headers(sent, (*HEADERS, *OMITTED_HEADERS)),
    ]


class DeadLetterRecord(NamedTuple):
    """A record for ``orders-dlq``; ``reason`` is the one in its headers."""

    reason: Reason
    key: bytes | None
    value: bytes | None
    headers: Headers


def dead_letter(topic: str, partition: int, record: Record, error: RejectedError, limit_bytes: int) -> DeadLetterRecord:
    """The dead letter for a record of ``topic`` and ``partition``.

    If its batch would be larger than ``limit_bytes``, the value is left out, and if that is not enough, the key and the
    sender's headers, too.
    """
    key, value, offset = record.key, record.value, record.offset
    headers = dead_letter_headers(topic, partition, offset, error, record.headers)
    if batch_bytes(key, value, headers) <= limit_bytes:
        return DeadLetterRecord(error.reason, key, value, headers)
    cause = str(error) if error.reason is Reason.TOO_LARGE else f"{error.reason}: {error}"
    too_large = RejectedError(
        Reason.TOO_LARGE, f"kept without its value, a dead letter has {limit_bytes} bytes; {cause}"
    )
    size_and_digest: Headers = [
        (VALUE_BYTES, b"%d" % len(value or b"")),
        (VALUE_SHA256, sha256(value or b"").hexdigest().encode()),
    ]
    place = [*dead_letter_headers(topic, partition, offset, too_large), *size_and_digest]
    with_sent = [*place, *carried_headers(record.headers, (*HEADERS, *OMITTED_HEADERS))]
    if batch_bytes(key, None, with_sent) <= limit_bytes:
        return DeadLetterRecord(Reason.TOO_LARGE, key, None, with_sent)
    return DeadLetterRecord(Reason.TOO_LARGE, None, None, place)


class Rejection(NamedTuple):
    """The content of a dead letter's headers: why the record was rejected, and its position.

    The reason is one of ``Reason`` unless another program wrote the dead letter.
    """

    reason: str
    message: str
    topic: str
    partition: int
    offset: int


def read_dead_letter_headers(headers: Sequence[tuple[str, bytes | None]]) -> Rejection:
    """Decode the headers of ``dead_letter_headers``; raises ``ValueError`` naming the header that is missing or damaged."""
    found = dict(headers)
    return Rejection(
        _text(found, "error.reason"),
        _text(found, "error.message"),
        _text(found, "source.topic"),
        _number(found, "source.partition"),
        _number(found, "source.offset"),
    )


def _text(headers: dict[str, bytes | None], name: str) -> str:
    value = headers.get(name)
    if value is None:
        raise ValueError(f"the header {name} is missing")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the header {name} is not UTF-8") from None


def _number(headers: dict[str, bytes | None], name: str) -> int:
    text = _text(headers, name)
    # Check the length first: int() raises for thousands of digits.
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_OFFSET)) and int(text) <= _MAX_OFFSET):
        raise ValueError(f"the header {name} is not a whole number")
    return int(text)
