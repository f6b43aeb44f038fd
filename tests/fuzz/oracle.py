"""The expected result for a record, computed without the code under test."""

import re
from typing import Any

from services.processor.processor_settings import ProcessorSettings
from verification.reference_processor import AllowedOutcome, ReferenceProcessor, cents_of, read_catalogue
from verification.strict_json import Literal, NotAnObjectError, number, overflows, parse_object

CATALOGUE = ProcessorSettings.model_fields["processor_catalogue_path"].default
MAX_DEPTH = 100
LATEST_S = 253_402_300_799

REFERENCE = ReferenceProcessor(read_catalogue(CATALOGUE))
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def allowed_outcome(value: bytes | None, arrived_s: float) -> AllowedOutcome:
    """The allowed results for a record of ``orders`` that arrived at ``arrived_s`` (epoch seconds)."""
    return REFERENCE.allowed_outcome(value, arrived_s, arrived_s)


def depth(value: bytes) -> int:
    """The nesting depth of arrays and objects, if ``value`` is JSON."""
    if value.count(b"[") + value.count(b"{") <= MAX_DEPTH:
        return 0
    deepest = now = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", value)):
        now += 1 if bracket in b"[{" else -1
        deepest = max(deepest, now)
    return deepest


def processed_order(value: bytes | None) -> tuple[str, float, int] | None:
    """Product, event time and cents in a record of ``processed-orders``; None if a field is missing or invalid.

    Other fields are ignored, even a number beyond the range of doubles.

    Raises:
        NotAnObjectError: it is not a JSON object, or has a repeated field, or is nested too deep.
    """
    fields = _fields(value)
    product_id, time_s = fields.get("product_id"), number(fields.get("timestamp"))
    dollars = number(fields.get("amount"))
    cents = None if dollars is None else cents_of(dollars)
    if type(product_id) is not str or time_s is None or cents is None:
        return None
    return (product_id, time_s, cents) if 0 < cents <= 10**13 and 0 <= time_s <= LATEST_S else None


def watermark(value: bytes | None) -> tuple[list[int], int, float] | None:
    """Sources, their count and time in a watermark record; None and ``NotAnObjectError`` as in ``processed_order``."""
    fields = _fields(value)
    named, count, time_s = fields.get("source"), _whole(fields.get("sources")), number(fields.get("watermark"))
    sources = [_whole(each) for each in (named if type(named) is list else [named])]
    if count is None or time_s is None or overflows(fields):
        return None
    known = [each for each in sources if each is not None and 0 <= each < count]
    sound = 0 < len(known) == len(sources) <= count <= 1000 and abs(time_s) <= LATEST_S
    return (known, count, time_s) if sound else None


def _fields(value: bytes | None) -> dict[str, Any]:
    if depth(value or b"") > MAX_DEPTH:
        raise NotAnObjectError("how deep one may be depends on the parser")
    return parse_object(value)


def _whole(value: object) -> int | None:
    text = str(value) if type(value) is Literal else ""
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 20 else None


def may_be_accepted_by_lenient_parsers(value: bytes | None) -> bool:
    """Whether a lenient parser may accept what ``parse_object`` rejects: a repeated field, or deep nesting."""
    return bool(value) and (b":" in (value or b"") or depth(value or b"") > MAX_DEPTH)
