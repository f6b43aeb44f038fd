"""A fast path for nearly all valid orders; ``validation`` handles everything else."""

from typing import Annotated

import msgspec

from libs.events.money import MAX_CENTS
from services.processor.validation import MAX_AHEAD_S, MAX_ID_CHARS

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS)]


class PlainOrder(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An order with the contract's five fields and no other."""

    order_id: _Id
    user_id: _Id
    product_id: str
    amount: float
    timestamp: float


_decode = msgspec.json.Decoder(PlainOrder).decode
_MAX_CENTS = float(MAX_CENTS)
_COLONS = len(PlainOrder.__struct_fields__)


def read_plain_order(value: bytes | None, arrived_s: float) -> PlainOrder | None:
    """The order in ``value`` if it is valid and of the usual form; its product is not checked. Otherwise None.

    ``arrived_s`` as for ``validate``, which accepts every order that is accepted here.
    """
    # More colons than fields: a repeated field, which the decoder would not notice, or a colon in an id.
    if value is None or value.count(b":") != _COLONS:
        return None
    try:
        order = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    # Whole cents? The same check as in ``cents_of``, in floats only, which is twice as fast.
    cents = (order.amount * 100.0 + 0.5) // 1.0
    if (
        cents / 100.0 == order.amount
        and 0.0 < cents <= _MAX_CENTS
        and 0.0 <= order.timestamp <= arrived_s + MAX_AHEAD_S
    ):
        return order
    return None
