"""Named special inputs with their expected results."""

import json
from typing import NamedTuple

from libs.events.dead_letters import Reason
from services.processor.validation import MAX_DEPTH
from tests.fuzz.records import RecordHeaders

_MALFORMED = Reason.MALFORMED
_HEADERS: RecordHeaders = tuple((f"header-{number}", b"x" * 20) for number in range(10_000))
_MANY = 480_000  # elements: an array that just fits into a record


class Case(NamedTuple):
    """A record of ``orders``; ``reason`` is the one of its dead letter, None for a valid order."""

    name: str
    value: bytes | None
    reason: Reason | None
    key: bytes | None = b"key"
    headers: RecordHeaders = ()


def named_cases(time_s: float) -> list[Case]:
    """All cases, with the event time ``time_s`` (epoch seconds)."""
    return [*_no_objects(), *_texts(time_s), *_numbers(time_s), *_structures(time_s), *_around_the_value(time_s)]


def order_text(name: str, time_s: float, **fields: str) -> bytes:
    """A valid order with the id ``name``; ``fields`` are JSON texts that replace its own or are added."""
    texts = {
        "order_id": json.dumps(name[:64]),
        "user_id": '"user"',
        "product_id": '"prod-1"',
        "amount": "12.34",
        "timestamp": f"{time_s:.3f}",
    }
    return ("{" + ",".join(f'"{field}":{text}' for field, text in (texts | fields).items()) + "}").encode()


def _no_objects() -> list[Case]:
    values = {
        "null value": None,
        "empty": b"",
        "whitespace only": b" \t\r\n",
        "JSON null": b"null",
        "string": b'"order"',
        "number": b"12.34",
        "array of an order": b"[" + order_text("array", 0) + b"]",
        "long array": b"[" + b"0," * _MANY + b"0]",
        "100,000 arrays deep": b"[" * 100_000 + b"]" * 100_000,
        "100,000 brackets": b"[" * 100_000,
        "100,000 objects deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "NUL bytes": b"\x00" * 100,
        "random bytes": bytes(range(256)),
        "XML": b"<order/>",
    }
    return [Case(name, value, _MALFORMED) for name, value in values.items()]


def _texts(time_s: float) -> list[Case]:
    def order_id(name: str, text: bytes, reason: Reason | None) -> Case:
        return Case(name, order_text("@", time_s).replace(b"@", text), reason)

    return [
        order_id("invalid UTF-8", b"\xff", _MALFORMED),
        order_id("overlong UTF-8", b"\xc0\xaf", _MALFORMED),
        order_id("surrogate in UTF-8", b"\xed\xa0\x80", _MALFORMED),
        order_id("lone high surrogate", rb"\ud800", _MALFORMED),
        order_id("lone low surrogate", rb"\udc00", _MALFORMED),
        order_id("surrogates in the wrong order", rb"\udc00\ud800", _MALFORMED),
        order_id("surrogate pair", rb"\ud83d\ude00", None),
        order_id("raw NUL", b"\x00", _MALFORMED),
        order_id("escaped NUL", rb"\u0000", None),
        order_id("line separator", "\u2028".encode(), None),
        order_id("64 characters of four bytes", "\U0001f600".encode() * 64, None),
        order_id("65 characters", b"x" * 65, Reason.INVALID_ID),
        order_id("a million characters", b"x" * 1_000_000, Reason.INVALID_ID),
        Case("BOM", b"\xef\xbb\xbf" + order_text("bom", time_s), _MALFORMED),
        Case("UTF-16", order_text("utf-16", time_s).decode().encode("utf-16"), _MALFORMED),
        Case("trailing garbage", order_text("garbage", time_s) + b" x", _MALFORMED),
        Case("trailing NUL", order_text("nul", time_s) + b"\x00", _MALFORMED),
        Case("two orders", order_text("two", time_s) * 2, _MALFORMED),
        Case("spaces around", b" \r\n\t" + order_text("spaces", time_s) + b"\n \t", None),
    ]


def _numbers(time_s: float) -> list[Case]:
    amounts: dict[str, Reason | None] = {
        "1e400": _MALFORMED,
        "1" + "0" * 400: _MALFORMED,
        "9" * 5000: _MALFORMED,
        "NaN": _MALFORMED,
        "Infinity": _MALFORMED,
        "-Infinity": _MALFORMED,
        "01": _MALFORMED,
        "0x10": _MALFORMED,
        "1" + "0" * 30: Reason.INVALID_AMOUNT,
        "1e300": Reason.INVALID_AMOUNT,
        "-0": Reason.INVALID_AMOUNT,
        "-0.0": Reason.INVALID_AMOUNT,
        "1e-400": Reason.INVALID_AMOUNT,
        "0.001": Reason.INVALID_AMOUNT,
        "863.3701": Reason.INVALID_AMOUNT,
        "863.3700000000001": None,
        "0.30000000000000004": None,
        "12." + "3" * 5000: Reason.INVALID_AMOUNT,
        "true": Reason.WRONG_TYPE,
        '"12.34"': Reason.WRONG_TYPE,
        "1234e-2": None,
        "12.34" + "0" * 5000: None,
    }
    times: dict[str, Reason | None] = {
        "1e400": _MALFORMED,
        "NaN": _MALFORMED,
        "1" + "0" * 30: Reason.FUTURE_TIMESTAMP,
        "1e300": Reason.FUTURE_TIMESTAMP,
        "-1e-300": Reason.INVALID_TIMESTAMP,
        "-0": None,
        "1e-400": None,
    }
    return [
        *(
            Case(f"amount {text:.20}", order_text(f"a{text}", time_s, amount=text), why)
            for text, why in amounts.items()
        ),
        *(Case(f"time {text:.20}", order_text(f"t{text}", time_s, timestamp=text), why) for text, why in times.items()),
    ]


def _structures(time_s: float) -> list[Case]:
    def extra(name: str, text: str, reason: Reason | None, **fields: str) -> Case:
        return Case(name, order_text(name, time_s, extra=text, **fields), reason)

    def nested(levels: int) -> str:
        return "[" * levels + "]" * levels

    order = order_text("repeated", time_s)
    return [
        Case("repeated field", order[:-1] + b',"amount":1}', _MALFORMED),
        Case("repeated field with the same value", order[:-1] + b',"amount":12.34}', _MALFORMED),
        Case("repeated field, once escaped", order[:-1] + rb',"\u0061mount":1}', _MALFORMED),
        extra("repeated field in a nested object", '[{"a":1,"a":1}]', _MALFORMED),
        extra("maximum nesting depth", nested(MAX_DEPTH - 1), None),
        extra("one level too deep", nested(MAX_DEPTH), _MALFORMED),
        extra("300 levels and a reserved field", nested(300), _MALFORMED, category='"x"'),
        extra("1,000 levels", nested(1000), _MALFORMED),
        extra("100,000 levels", nested(100_000), _MALFORMED),
        extra("long nested array", "[" + "0," * _MANY + "0]", None),
        extra("numbers that grow when re-encoded", "[" + "1e15," * (_MANY // 3) + "1]", None, product_name="1"),
        extra("reserved fields", "1", None, product_name='"mine"', category="null", type='"watermark"'),
        extra("all fields of a watermark", "1", None, source="0", sources="1", watermark="1e18"),
        Case(
            "escaped name of a reserved field",
            order_text("escaped", time_s)[:-1] + rb',"c\u0061tegory":[{"}":"]"}]}',
            None,
        ),
        Case("only reserved fields", b'{"product_name":1,"category":2}', Reason.MISSING_FIELD),
    ]


def _around_the_value(time_s: float) -> list[Case]:
    def good(name: str) -> bytes:
        return order_text(name, time_s)

    return [
        Case("null key", good("null key"), None, key=None),
        Case("null key, null value", None, _MALFORMED, key=None),
        Case("empty key", good("empty key"), None, key=b""),
        Case("long key", good("long key"), None, key=b"k" * 1_000_000),
        Case("long key, invalid value", b"{", _MALFORMED, key=b"k" * 1_000_000),
        Case("key that is not UTF-8", b"{", _MALFORMED, key=b"\xff\x00"),
        Case("10,000 headers", good("headers"), None, headers=_HEADERS),
        Case("10,000 headers, null value", None, _MALFORMED, headers=_HEADERS),
        Case("reserved headers", good("ours"), None, headers=(("type", b"watermark"), ("error.reason", b"x"))),
        Case(
            "reserved headers, invalid value",
            b"{",
            _MALFORMED,
            headers=(("error.reason", b"x"), ("source.offset", b"9")),
        ),
    ]
