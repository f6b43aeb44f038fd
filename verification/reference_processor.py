"""An independent implementation of the processor's rules: the expected result of each record of ``orders``."""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from libs.runtime.errors import PipelineError
from verification.strict_json import NotAnObjectError, number, overflows, parse_object, repr_utf8

Catalogue = Mapping[str, Mapping[str, Any]]

_FIELDS = ("order_id", "user_id", "product_id", "amount", "timestamp")
_TEXTS = _FIELDS[:3]
_MAX_ID_CHARS = 64
_MAX_CENTS = 10**13
_MAX_AHEAD_S = 60.0
_INFINITY = float("inf")
_EXACT = Context(prec=1200)  # any double has fewer digits


class Order(NamedTuple):
    """An order as it has to be in ``processed-orders``.

    ``identity`` is a digest of the contract's five fields, ``rest`` (64 bits) one of all other fields: those of the
    catalogue, and additional ones of the sender.
    """

    identity: bytes
    rest: int
    product_id: str
    timestamp_s: float
    cents: int

    @property
    def summary(self) -> str:
        """The order as reports show it."""
        return f"{self.product_id}, {self.cents / 100:.2f}, event time {self.timestamp_s!r}"


class AllowedOutcome(NamedTuple):
    """The allowed results for a record: the order, or a dead letter with one of ``reasons``; with both, either is correct.

    ``rests`` holds the ``rest`` by each catalogue that has the order's product, that of ``order`` first.
    """

    order: Order | None
    reasons: frozenset[str]
    rests: tuple[int, ...] = ()


_NONE: frozenset[str] = frozenset()


def read_catalogue(path: Path) -> Catalogue:
    """The catalogue in a file: a JSON object of product ids; raises ``PipelineError`` if the file has none."""
    advice = "give another --catalogue"
    try:
        catalogue = parse_object(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PipelineError(f"no catalogue in {path}: {error}", advice=advice) from error
    if any(type(entry) is not dict for entry in catalogue.values()):
        raise PipelineError(f"no catalogue in {path}: a product is no object", advice=advice)
    return catalogue


class ReferenceProcessor:
    """Computes the allowed results of records, for the catalogues that the processor has had.

    It is not known when the processor had which catalogue, so the result by any of them is correct.
    """

    def __init__(self, *catalogues: Catalogue) -> None:
        # For each product its different entries, by their digest: the `rest` of an order without additional fields.
        self._entries: dict[str, dict[int, Mapping[str, Any]]] = {}
        for catalogue in catalogues:
            for product, entry in catalogue.items():
                self._entries.setdefault(product, {})[_digest64(dict(entry))] = entry
        self._plain_rests = {product: tuple(entries) for product, entries in self._entries.items()}
        self._always_known = frozenset(self._entries).intersection(*catalogues)

    def knows(self, product_id: str) -> bool:
        """Whether any of the catalogues has this product."""
        return product_id in self._entries

    def allowed_outcome(self, value: bytes | None, written_s: float, now_s: float) -> AllowedOutcome:
        """The allowed results of a record of ``orders``.

        The processor validated it at some time between ``written_s`` (the record's timestamp) and ``now_s``. If the order's
        timestamp is between the limits for these two times, it is unknown whether it was more than a minute ahead. If both
        are the arrival time, it is known.
        """
        try:
            fields = parse_object(value)
        except NotAnObjectError:
            return AllowedOutcome(None, frozenset(["malformed"]))
        amount, timestamp_s = _amount_sent(fields), number(fields.get("timestamp"))
        reasons = self._faults(fields, amount, timestamp_s)
        may_be_either = {"future_timestamp"}
        if "unknown_product" in reasons and fields["product_id"] in self._entries:
            may_be_either.add("unknown_product")
        if (reasons or len(fields) > len(_FIELDS)) and overflows(fields):
            may_be_either.add("malformed")
            reasons.add("malformed")
        if timestamp_s is not None and timestamp_s > written_s + _MAX_AHEAD_S:
            reasons.add("future_timestamp")
            if timestamp_s > now_s + _MAX_AHEAD_S:
                return AllowedOutcome(None, frozenset(reasons))
        if amount is None or timestamp_s is None or reasons - may_be_either:
            return AllowedOutcome(None, frozenset(reasons))
        rests = self._rests_of(fields)
        order = _order(fields, timestamp_s, amount, rests[0])
        return AllowedOutcome(order, frozenset(reasons) if reasons else _NONE, rests)

    def _faults(self, fields: Mapping[str, Any], cents: int | None, timestamp_s: float | None) -> set[str]:
        """All reasons that apply independently of the time of processing."""
        faults: set[str] = set()
        for name in _TEXTS:
            text = fields.get(name)
            if type(text) is str:
                if not 1 <= len(text) <= _MAX_ID_CHARS:
                    faults.add("invalid_id")
                if name == "product_id" and text not in self._always_known:
                    faults.add("unknown_product")
            else:
                faults.add("wrong_type" if name in fields else "missing_field")
        if cents is None or not 0 < cents <= _MAX_CENTS:
            faults |= _number_faults(fields, "amount", "invalid_amount")
        if timestamp_s is None or not 0 <= timestamp_s < _INFINITY:
            faults |= _number_faults(fields, "timestamp", "invalid_timestamp")
        return faults

    def processed(self, value: bytes | None) -> Order:
        """The order in a record of ``processed-orders`` or ``late-orders``; raises ``ValueError``."""
        fields = parse_object(value)
        if any(name not in fields for name in _FIELDS):
            raise ValueError("a field is missing")
        amount, timestamp_s = _amount(fields), number(fields["timestamp"])
        if amount is None or timestamp_s is None or any(type(fields[name]) is not str for name in _TEXTS):
            raise ValueError("a field has the wrong type, or the amount has sub-cent digits")
        product_id = fields["product_id"]
        for rest, entry in self._entries.get(product_id, {}).items():
            if len(fields) == len(_FIELDS) + len(entry) and all(
                type(text) is str and type(fields.get(name)) is str and fields[name] == text
                for name, text in entry.items()
            ):
                return _order(fields, timestamp_s, amount, rest)
        rest = _digest64({name: fields[name] for name in fields if name not in _FIELDS})
        return _order(fields, timestamp_s, amount, rest)

    def _rests_of(self, fields: Mapping[str, Any]) -> tuple[int, ...]:
        product_id = fields["product_id"]
        if len(fields) == len(_FIELDS):
            return self._plain_rests[product_id]
        carried = {name: fields[name] for name in fields if name not in _FIELDS}
        return tuple(_digest64({**carried, **entry}) for entry in self._entries[product_id].values())


def cents_of(dollars: float) -> int | None:
    """Whole cents, by the shortest decimal representation of the double; None if it has sub-cent digits or is not finite.

    >>> cents_of(12.34), cents_of(100.0), cents_of(0.001), cents_of(1e-7)
    (1234, 10000, None, None)
    """
    whole, point, fraction = repr(dollars).partition(".")
    # Only infinity and doubles below 0.0001 or from 10**16 on are written with an exponent, or without a point.
    if not point or len(fraction) > 2 or "e" in fraction:
        return None
    return int(whole + fraction.ljust(2, "0"))


def cents_sent(dollars: float) -> int | None:
    """Whole cents of an order's amount, which its sender may have computed: rounding noise in the last digits is ignored.

    It is rounded to 14 significant digits, or to 11 decimals if that is coarser; then it has at most two decimals.

    >>> cents_sent(1821.6399999999999), cents_sent(0.001), cents_sent(100.1 - 100)
    (182164, None, 10)
    """
    cents = cents_of(dollars)
    if cents is not None or not isfinite(dollars):
        return cents
    exact = Decimal(dollars)
    last_digit = max(exact.adjusted() - 13, -11)
    rounded = exact.quantize(Decimal(1).scaleb(last_digit), ROUND_HALF_EVEN, _EXACT) * 100
    return int(rounded) if rounded == int(rounded) else None


def _amount_sent(fields: Mapping[str, Any]) -> int | None:
    dollars = number(fields.get("amount"))
    return None if dollars is None else cents_sent(dollars)


def _amount(fields: Mapping[str, Any]) -> int | None:
    dollars = number(fields.get("amount"))
    return None if dollars is None else cents_of(dollars)


def _number_faults(fields: Mapping[str, Any], name: str, out_of_range: str) -> set[str]:
    if name not in fields:
        return {"missing_field"}
    value = number(fields[name])
    if value is None:
        return {"wrong_type"}
    faults = set() if value == _INFINITY and name == "timestamp" else {out_of_range}  # infinity is a "future_timestamp"
    return faults | {"malformed"} if overflows(fields[name]) else faults


def _order(fields: Mapping[str, Any], timestamp_s: float, cents: int, rest: int) -> Order:
    order_id, product_id = fields["order_id"], fields["product_id"]
    # The lengths make the joined text unambiguous.
    text = f"{cents} {timestamp_s!r} {len(order_id)} {len(product_id)} {order_id}{product_id}{fields['user_id']}"
    return Order(blake2b(text.encode("utf-8"), digest_size=16).digest(), rest, product_id, timestamp_s, cents)


def _digest64(fields: dict[str, Any]) -> int:
    return int.from_bytes(blake2b(repr_utf8(fields), digest_size=8).digest())
