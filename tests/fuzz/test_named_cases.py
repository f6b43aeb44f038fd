"""Named bad inputs, each through the processor's logic."""

from random import Random

import pytest

from libs.events.dead_letters import RejectedError
from libs.events.limits import DECLARED_LIMITS
from services.processor.catalogue import load_catalogue
from services.processor.validation import validate
from tests.fuzz.named_cases import Case, named_cases
from tests.fuzz.oracle import CATALOGUE
from tests.fuzz.orders import Orders
from tests.fuzz.records import NOW_S
from tests.fuzz.target import Tally
from tests.unit.driver import FakeRecord

A_MILLION = Case("a million elements", b"[" + b"0," * 999_999 + b"0]", named_cases(0)[0].reason)
CASES = [*named_cases(NOW_S), A_MILLION]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_case_is_one_order_or_one_dead_letter(case: Case) -> None:
    record = FakeRecord(case.value, case.key, case.headers, timestamp=int(NOW_S * 1000), timestamp_type=1)
    orders = Orders(Random(0), limits=DECLARED_LIMITS)
    assert orders.check([record]) == (Tally(1, 0) if case.reason is None else Tally(0, 1))
    if case.reason is not None:
        with pytest.raises(RejectedError) as raised:
            validate(case.value, frozenset(load_catalogue(CATALOGUE)), NOW_S)
        assert raised.value.reason is case.reason
