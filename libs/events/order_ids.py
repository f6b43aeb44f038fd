"""Extracts an order's id from a record, for debug logs."""

import orjson


def order_id_in(value: bytes | None) -> str | None:
    """The ``order_id`` in a record's value; None if there is none or the value is not a JSON object."""
    try:
        order = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    order_id = order.get("order_id") if type(order) is dict else None
    return order_id if type(order_id) is str else None
