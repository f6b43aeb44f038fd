"""The product catalogue, and the enrichment of orders with it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from libs.events.money import cents_of_computed, dollars_of
from services.processor.json_fields import with_field, without_fields
from services.processor.validation import MAX_ID_CHARS, ORDER_FIELDS, Order

_SPACE = b" \t\r\n"
_CLOSING_BRACE = ord("}")


class Product(NamedTuple):
    """The fields that are added to an order, also as JSON text that is appended in place of the closing brace."""

    key: bytes
    fields: dict[str, Any]
    closing_json: bytes


Catalogue = dict[str, Product]


def load_catalogue(path: Path) -> Catalogue:
    """The catalogue in the JSON file ``path``: an object with the fields to add to the orders of each product id.

    Raises:
        ValueError: the file cannot be read, or has no such object.
    """
    try:
        content = path.read_bytes()
        products = orjson.loads(content)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if not isinstance(products, dict) or not products:
        raise ValueError("must hold a JSON object of product ids")
    for product_id, fields in products.items():
        # PostgreSQL's text cannot contain a null character, so metrics with one would be left out.
        if not 0 < len(product_id) <= MAX_ID_CHARS or "\0" in product_id:
            raise ValueError(
                f"a product id must have 1 to {MAX_ID_CHARS} characters, none of them null, not {product_id[:MAX_ID_CHARS]!r}"
            )
        if not (isinstance(fields, dict) and {"product_name", "category"} <= fields.keys()):
            raise ValueError(f"{product_id!r} must have product_name and category")
        if own := ORDER_FIELDS & fields.keys():
            raise ValueError(f"{product_id!r} must leave an order's own fields alone, but has {', '.join(sorted(own))}")
    _check_names(content)
    try:
        return {product_id: make_product(product_id, fields) for product_id, fields in products.items()}
    except orjson.JSONEncodeError as error:  # nested deeper than orjson can encode
        raise ValueError(str(error)) from error


def _check_names(content: bytes) -> None:
    """Check that no object names a field twice: orjson would take the last one, and the verification refuses the catalogue."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"names {name[:MAX_ID_CHARS]!r} twice")
            seen.add(name)

    try:
        json.loads(content, object_pairs_hook=check, parse_int=str)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error


def make_product(product_id: str, fields: dict[str, Any]) -> Product:
    """The catalogue's entry for ``product_id``."""
    return Product(product_id.encode(), fields, b"," + orjson.dumps(fields)[1:])


def enrich(value: bytes, order: Order, product: Product) -> bytes:
    """``value`` with the product's fields added; they replace fields of the order with the same names.

    The fields are appended to the order's text, which is otherwise unchanged: that costs a tenth of encoding it again, and
    its numbers keep their digits. Only an amount with rounding noise is replaced by the exact one, so that consumers do
    not need the rule for rounding.
    """
    cents = cents_of_computed(order["amount"])
    assert cents is not None  # it has been validated
    if (exact := dollars_of(cents)) != order["amount"]:
        value = with_field(value, "amount", orjson.dumps(exact))
    if order.keys().isdisjoint(product.fields):
        return continued(value, product.closing_json)
    return without_fields(value, product.fields.keys())[:-1] + product.closing_json


def continued(value: bytes, closing_json: bytes) -> bytes:
    """``enrich`` for an order without any of the product's fields; ``closing_json`` replaces the closing brace."""
    if value[-1] != _CLOSING_BRACE:
        value = value.rstrip(_SPACE)
    return value[:-1] + closing_json
