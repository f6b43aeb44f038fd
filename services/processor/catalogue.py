"""The product catalogue, and enriching an order with it."""

from pathlib import Path
from typing import Any, NamedTuple

import orjson

from libs.events.money import cents_of_computed, dollars_of
from services.processor.json_fields import with_field, without_fields
from services.processor.validation import MAX_ID_CHARS, ORDER_FIELDS, Order

_SPACE = b" \t\r\n"
_CLOSING_BRACE = ord("}")


class Product(NamedTuple):
    """What an order is enriched with: its ``fields``, and the same as the JSON text that closes an object."""

    key: bytes
    fields: dict[str, Any]
    closing_json: bytes


Catalogue = dict[str, Product]


def load_catalogue(path: Path) -> Catalogue:
    """The catalogue in the JSON file ``path``: an object of product ids, each with the fields to add to its orders.

    Raises:
        ValueError: the file cannot be read, or is no such object.
    """
    try:
        products = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if not isinstance(products, dict) or not products:
        raise ValueError("must hold a JSON object of product ids")
    for product_id, fields in products.items():
        if not 0 < len(product_id) <= MAX_ID_CHARS:
            raise ValueError(
                f"a product id must have 1 to {MAX_ID_CHARS} characters, not {product_id[:MAX_ID_CHARS]!r}"
            )
        if not (isinstance(fields, dict) and {"product_name", "category"} <= fields.keys()):
            raise ValueError(f"{product_id!r} must have product_name and category")
        if own := ORDER_FIELDS & fields.keys():
            raise ValueError(f"{product_id!r} must leave an order's own fields alone, but has {', '.join(sorted(own))}")
    try:
        return {product_id: make_product(product_id, fields) for product_id, fields in products.items()}
    except orjson.JSONEncodeError as error:  # nested deeper than orjson writes
        raise ValueError(str(error)) from error


def make_product(product_id: str, fields: dict[str, Any]) -> Product:
    """The catalogue's entry for ``product_id``."""
    return Product(product_id.encode(), fields, b"," + orjson.dumps(fields)[1:])


def enrich(value: bytes, order: Order, product: Product) -> bytes:
    """``value`` with the product's fields added; where the order brought fields of the same names, ours win.

    The order's own text is kept as it is and only continued: that costs a tenth of encoding it anew, its numbers keep
    their digits, and it grows by no more than our fields. Only an amount with rounding noise becomes the exact cents:
    whoever reads it next need not know of the rule for that.
    """
    cents = cents_of_computed(order["amount"])
    assert cents is not None  # it has been validated
    if (exact := dollars_of(cents)) != order["amount"]:
        value = with_field(value, "amount", orjson.dumps(exact))
    if order.keys().isdisjoint(product.fields):
        return continued(value, product.closing_json)
    return without_fields(value, product.fields.keys())[:-1] + product.closing_json


def continued(value: bytes, closing_json: bytes) -> bytes:
    """``enrich`` for an order that has none of the product's fields, with the JSON text that closes an object."""
    if value[-1] != _CLOSING_BRACE:
        value = value.rstrip(_SPACE)
    return value[:-1] + closing_json
