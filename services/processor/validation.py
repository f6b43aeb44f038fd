"""Validates the value of one record by the rules of the contract."""

import json
from collections.abc import Container
from itertools import chain
from typing import Any

import orjson

from libs.events.dead_letters import Reason, RejectedError
from libs.events.money import cents_of_computed

ORDER_FIELDS = frozenset({"order_id", "user_id", "product_id", "amount", "timestamp"})
MAX_ID_CHARS = 64
MAX_AHEAD_S = 60.0

# The nesting depth that can be parsed depends on the parser, and in Python's own on the stack. This limit is the same
# everywhere, and below that of all common parsers.
MAX_DEPTH = 100

Order = dict[str, Any]


def validate(value: bytes | None, known_products: Container[str], arrived_s: float) -> Order:
    """The order in ``value``: its fields as parsed, extra ones included.

    ``arrived_s`` is the arrival time in epoch seconds. The event time may be at most a minute ahead of it, since a single
    event in the future would close all windows before it.

    Raises:
        RejectedError: a rule is violated; the first one is named.
    """
    order = _parse(value)
    try:
        order_id, user_id, product_id = order["order_id"], order["user_id"], order["product_id"]
        amount, timestamp = order["amount"], order["timestamp"]
    except KeyError as error:
        raise RejectedError(Reason.MISSING_FIELD, f"the field {error} is missing") from None
    if not (type(order_id) is str and type(user_id) is str and type(product_id) is str):
        raise RejectedError(Reason.WRONG_TYPE, "order_id, user_id and product_id must be strings")
    # `type() in` and not isinstance: True is an int
    if type(amount) not in (int, float) or type(timestamp) not in (int, float):
        raise RejectedError(Reason.WRONG_TYPE, "amount and timestamp must be numbers")
    if not (0 < len(order_id) <= MAX_ID_CHARS and 0 < len(user_id) <= MAX_ID_CHARS):
        raise RejectedError(Reason.INVALID_ID, f"order_id and user_id must have 1 to {MAX_ID_CHARS} characters")
    if product_id not in known_products:
        raise RejectedError(Reason.UNKNOWN_PRODUCT, f"no product {product_id[:MAX_ID_CHARS]!r} in the catalogue")
    cents = cents_of_computed(amount)
    if cents is None or cents <= 0:
        raise RejectedError(
            Reason.INVALID_AMOUNT, f"amount must be positive with at most two decimals, got {_short(amount)}"
        )
    if timestamp < 0:
        raise RejectedError(Reason.INVALID_TIMESTAMP, f"timestamp must not be before 1970, got {_short(timestamp)}")
    if timestamp > arrived_s + MAX_AHEAD_S:
        raise RejectedError(
            Reason.FUTURE_TIMESTAMP,
            f"timestamp must be in epoch seconds, at most {MAX_AHEAD_S:.0f} s ahead of its arrival at {arrived_s:.3f}, got {_short(timestamp)}",
        )
    return order


def _parse(value: bytes | None) -> Order:
    try:
        order: Order = orjson.loads(value or b"")
    except orjson.JSONDecodeError as error:
        raise RejectedError(Reason.MALFORMED, f"not JSON: {error}") from None
    if type(order) is not dict:
        raise RejectedError(Reason.MALFORMED, f"not a JSON object but {type(order).__name__}")
    assert value is not None
    # As many colons as fields and no array: a flat object without a repeated field, which orjson would silently drop.
    # Anything else needs the slower check.
    if value.count(b":") != len(order) or b"[" in value:
        _refuse_deep(order)
        _refuse_repeated_fields(value)
    return order


def _refuse_deep(order: Order) -> None:
    level: list[Any] = [order]
    for _ in range(MAX_DEPTH):
        inner = chain.from_iterable(each.values() if type(each) is dict else each for each in level)
        level = [each for each in inner if type(each) in (dict, list)]
        if not level:
            return
    raise RejectedError(Reason.MALFORMED, f"nested deeper than {MAX_DEPTH} levels")


def _refuse_repeated_fields(value: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise RejectedError(Reason.MALFORMED, "a field is named twice")
        return fields

    try:
        json.loads(value, object_pairs_hook=unique)
    except RecursionError:  # the deep value belongs to a repeated field, and orjson has dropped it
        raise RejectedError(Reason.MALFORMED, "nested too deeply") from None
    except ValueError as error:
        raise RejectedError(Reason.MALFORMED, f"not JSON: {error}") from None


def _short(number: float) -> str:
    return f"{number!r:.40}"
