"""The short form of ``make fuzz``: all targets with a fixed seed, and property tests by hypothesis."""

import json
import subprocess
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.watermarks import ORDER_HEADERS, WATERMARK_HEADERS
from libs.runtime.records import Headers
from tests.fuzz.analytics import ProcessedOrders
from tests.fuzz.orders import Orders
from tests.fuzz.records import NOW_S
from tests.fuzz.run import run
from tests.fuzz.targets import TARGETS
from tests.integration.services import ROOT
from tests.unit.driver import FakeRecord

COUNT = 5_000
ORDERS_COUNT = 20_000  # so many have each value of the pool: a disagreement about one value is found


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize("name", TARGETS)
def test_each_input_is_accepted_or_rejected_as_expected(name: str) -> None:
    outcome = run(name, "short", ORDERS_COUNT if name == "orders" else COUNT)
    assert not outcome.crashes, outcome.examples[0]
    assert outcome.accepted > outcome.inputs / 20, (
        "hardly any input is valid: the damage hides the results of valid ones"
    )
    assert outcome.refused > outcome.inputs / 4


def test_the_same_seed_gives_the_same_orders() -> None:
    first, again, other = (Orders(Random(seed)) for seed in (1, 1, 2))
    values = [first.value() for _ in range(500)]
    assert values == [again.value() for _ in range(500)]
    assert values != [other.value() for _ in range(500)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
orders = st.fixed_dictionaries(
    {
        "order_id": st.just("o") | st.text() | json_values,
        "user_id": st.just("u") | json_values,
        "product_id": st.just("prod-1") | json_values,
        "amount": st.integers(1, 10**13).map(lambda cents: cents / 100) | st.floats() | json_values,
        "timestamp": st.floats(0, NOW_S + 61) | st.integers() | json_values,
    },
    optional=dict.fromkeys(["product_name", "category", "type", "x:y"], json_values),
)


@given(orders | json_values, st.sampled_from([None, 0, 2]), st.booleans())
def test_the_processor_and_the_oracle_agree_on_any_json(value: object, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    Orders(Random(0)).check([FakeRecord(text.encode(errors="surrogatepass"))])


@pytest.mark.usefixtures("_silent")
@given(
    st.fixed_dictionaries({"source": st.integers() | json_values, "sources": json_values, "watermark": json_values})
    | orders,
    st.sampled_from([WATERMARK_HEADERS, ORDER_HEADERS]),
)
def test_analytics_accounts_for_any_json(value: object, headers: Headers) -> None:
    ProcessedOrders(Random(0)).check([FakeRecord(json.dumps(value).encode(), headers=tuple(headers))])


def test_the_command_prints_one_table() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--count", "2000", "--seed", "1", "--target", "orders"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (row,) = [line.split("│")[1:-1] for line in result.stdout.splitlines() if line.startswith("│")]
    target, inputs, accepted, refused, crashes, growth_mib = (cell.strip() for cell in row)
    assert (target, inputs, crashes) == ("orders", "2,000", "0")
    assert int(accepted.replace(",", "")) + int(refused.replace(",", "")) == 2000
    assert float(growth_mib) >= 0
