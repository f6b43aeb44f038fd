"""The fast path accepts the same orders of the usual form as the full validation."""

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from libs.events.dead_letters import RejectedError
from libs.events.money import MAX_CENTS, cents_of
from services.processor.plain_orders import read_plain_order
from services.processor.validation import MAX_AHEAD_S, validate

ARRIVED_S = 1_700_000_000.0
AMOUNTS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 1000),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-5, MAX_CENTS + 5).map(lambda cents: cents / 100),
    st.integers(1, 10**6).map(lambda tenths: tenths / 1000),
)
TIMES = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1, ARRIVED_S + MAX_AHEAD_S + 1))


@given(AMOUNTS, TIMES)
@example(MAX_CENTS / 100, ARRIVED_S + MAX_AHEAD_S)
@example((MAX_CENTS + 1) / 100, 0.0)
@example(0.005, 0.0)
@example(0.1 + 0.2, 0.0)
@example(0.0, 0.0)
@example(-0.01, 0.0)
@example(1.1, -1e-9)
@example(1.1, ARRIVED_S + MAX_AHEAD_S + 0.001)
def test_the_fast_path_accepts_only_what_the_full_validation_accepts(amount: float, timestamp: float) -> None:
    value = orjson.dumps(
        {"order_id": "o", "user_id": "u", "product_id": "prod-1", "amount": amount, "timestamp": timestamp}
    )
    assert (read_plain_order(value, ARRIVED_S) is not None) == (is_valid(value) and cents_of(amount) is not None)


def is_valid(value: bytes) -> bool:
    try:
        validate(value, frozenset({"prod-1"}), ARRIVED_S)
    except RejectedError:
        return False
    return True
