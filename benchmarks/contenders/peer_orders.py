"""Validation and enrichment for the other Python frameworks: the contract's rules, with orjson."""

import os
from pathlib import Path
from typing import Any

import orjson

CATALOGUE: dict[str, dict[str, str]] = orjson.loads(Path(os.environ["BENCH_CATALOGUE"]).read_bytes())


def enriched(value: bytes | None) -> dict[str, Any] | None:
    """The order in ``value`` with its product's data, or None if it is invalid."""
    try:
        order = orjson.loads(value or b"")
        amount, timestamp = order["amount"], order["timestamp"]
        order.update(CATALOGUE[order["product_id"]])
        valid = (
            is_id(order["order_id"])
            and is_id(order["user_id"])
            and type(amount) in (int, float)  # True is an int
            and 0 < amount <= 1e6
            and round(amount * 100) / 100 == amount
            and type(timestamp) in (int, float)
            and timestamp >= 0
        )
    except (ValueError, KeyError, TypeError):
        return None
    return order if valid else None


def is_id(value: Any) -> bool:
    """Whether it is a non-empty string."""
    return type(value) is str and value != ""
