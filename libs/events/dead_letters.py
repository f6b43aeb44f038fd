"""``orders-dlq``: records that cannot be an order, kept byte for byte, with the reason in their headers."""

from enum import StrEnum

from libs.events.records import Headers, Record

_MAX_MESSAGE_CHARS = 500


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


class RejectedError(Exception):
    """The record cannot be an order."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def dead_letter_headers(record: Record, error: RejectedError) -> Headers:
    """The headers that say why ``record`` was rejected and where it stands."""
    return [
        ("error.reason", error.reason.encode()),
        ("error.message", str(error)[:_MAX_MESSAGE_CHARS].encode(errors="backslashreplace")),
        ("source.topic", record.topic.encode()),
        ("source.partition", b"%d" % record.partition),
        ("source.offset", b"%d" % record.offset),
    ]
