import json
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.dead_letters import Reason, RejectedError
from services.processor.validation import validate
from tests.unit.driver import order

NOW_S = 1_700_000_000.0
PRODUCTS = frozenset({"prod-1"})


def reason_of(value: bytes | None) -> Reason | None:
    try:
        validate(value, PRODUCTS, NOW_S)
    except RejectedError as error:
        assert str(error)
        return error.reason
    return None


def reason_of_order(**fields: object) -> Reason | None:
    return reason_of(orjson.dumps(order(**fields)))


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"null",
        b"[1]",
        b'"order"',
        b"12",
        b"{",
        b'{"order_id":"\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}',
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        json.dumps(order())[:-1].encode() + b',"amount":1}',
        json.dumps(order())[:-1].encode() + b',"extra":{"a":1,"a":2}}',
    ],
)
def test_a_value_that_is_not_a_json_object_is_malformed(value: bytes | None) -> None:
    assert reason_of(value) is Reason.MALFORMED


@pytest.mark.parametrize("name", list(order()))
def test_every_field_is_required(name: str) -> None:
    assert reason_of_order(**{name: ...}) is Reason.MISSING_FIELD


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("order_id", 7),
        ("user_id", None),
        ("product_id", ["prod-1"]),
        ("amount", "12.34"),
        ("amount", True),
        ("amount", None),
        ("timestamp", "2023-11-14"),
        ("timestamp", False),
    ],
)
def test_types_are_checked(name: str, value: object) -> None:
    assert reason_of_order(**{name: value}) is Reason.WRONG_TYPE


@pytest.mark.parametrize("name", ["order_id", "user_id"])
def test_ids_have_1_to_64_characters(name: str) -> None:
    assert reason_of_order(**{name: ""}) is Reason.INVALID_ID
    assert reason_of_order(**{name: "x" * 65}) is Reason.INVALID_ID
    assert reason_of_order(**{name: "ü" * 64}) is None


def test_products_must_be_known() -> None:
    assert reason_of_order(product_id="prod-9") is Reason.UNKNOWN_PRODUCT
    assert reason_of_order(product_id="") is Reason.UNKNOWN_PRODUCT


@pytest.mark.parametrize("amount", [0, -1, -0.01, 10.001, 0.001, 1e300, 10**30])
def test_amounts_are_positive_whole_cents(amount: float) -> None:
    value = json.dumps(order(amount=amount)).encode()
    assert reason_of(value) is Reason.INVALID_AMOUNT


@pytest.mark.parametrize("text", ["10", "10.0", "10.10", "1e1", "0.01", "499.99", "100000000000.00"])
def test_any_number_format_of_whole_cents_is_an_amount(text: str) -> None:
    value = json.dumps(order(amount=0)).replace('"amount": 0', f'"amount": {text}').encode()
    assert reason_of(value) is None


@given(st.integers(min_value=1, max_value=10**13))
def test_every_amount_of_whole_cents_is_exact(cents: int) -> None:
    text = str(Decimal(cents) / 100)
    value = json.dumps(order(amount=0)).replace('"amount": 0', f'"amount": {text}').encode()
    assert round(validate(value, PRODUCTS, NOW_S)["amount"] * 100) == cents


@pytest.mark.parametrize("amount", [0.1 + 0.2, 863.3700000000001, 1821.6399999999999, 19.99 * 3, 100.1 - 100])
def test_rounding_errors_are_not_sub_cent_digits(amount: float) -> None:
    assert reason_of_order(amount=amount) is None


@given(st.decimals(min_value=Decimal("0.001"), max_value=10**6, places=3).filter(lambda d: d * 100 % 1 != 0))
def test_sub_cent_digits_are_rejected(amount: Decimal) -> None:
    value = json.dumps(order(amount=0)).replace('"amount": 0', f'"amount": {amount}').encode()
    assert reason_of(value) is Reason.INVALID_AMOUNT


def test_event_time_is_not_before_1970_and_not_more_than_a_minute_ahead() -> None:
    assert reason_of_order(timestamp=-0.001) is Reason.INVALID_TIMESTAMP
    assert reason_of_order(timestamp=0) is None
    assert reason_of_order(timestamp=NOW_S + 60) is None
    assert reason_of_order(timestamp=NOW_S + 60.001) is Reason.FUTURE_TIMESTAMP
    assert reason_of_order(timestamp=NOW_S * 1000) is Reason.FUTURE_TIMESTAMP  # milliseconds
    assert reason_of(json.dumps(order(timestamp=10**300)).encode()) is Reason.FUTURE_TIMESTAMP


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_the_nesting_limit_does_not_depend_on_the_parser(opening: str, closing: str) -> None:
    def nested(levels: int) -> bytes:
        times = levels // sum(map(opening.count, "[{"))
        return json.dumps(order())[:-1].encode() + f',"x":{opening * times}1{closing * times}}}'.encode()

    assert reason_of(nested(98)) is None
    for levels in (100, 102, 200, 900, 990, 1022, 5000):
        assert reason_of(nested(levels)) is Reason.MALFORMED


def test_the_nesting_limit_also_applies_to_overwritten_values_of_a_repeated_field() -> None:
    deep = b'{"a":' * 1000 + b"1" + b"}" * 1000
    assert reason_of(json.dumps(order())[:-1].encode() + b',"x":' + deep + b',"x":1}') is Reason.MALFORMED


def test_extra_fields_and_any_spacing_and_field_order_are_accepted() -> None:
    fields = order(coupon="SPRING:1", nested={"a": [1, {"b": 2}]})
    value = json.dumps(dict(reversed(fields.items())), indent=3).encode() + b"\n "
    assert validate(value, PRODUCTS, NOW_S) == fields


@given(st.binary())
def test_validation_never_crashes_on_arbitrary_bytes(value: bytes) -> None:
    assert reason_of(value) in set(Reason)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*order(), "extra"]), json_values))
def test_validation_never_crashes_on_arbitrary_json(fields: dict[str, object]) -> None:
    reason_of(json.dumps(fields).encode())
