from decimal import ROUND_HALF_EVEN, Decimal

import orjson
import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from libs.events.dead_letters import Reason, RejectedError, dead_letter_headers
from libs.events.money import MAX_CENTS, cents_of, cents_of_computed, dollars_of, mean_cents
from libs.events.processed_orders import read_processed_order
from libs.events.product_metrics import ProductMetric, encode_metric
from libs.events.topics import ALL_TOPICS
from libs.events.watermarks import LATEST_TIME_S, MAX_SOURCES, Watermark, decode_watermark, encode_watermark
from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.service.settings import ServiceSettings
from tests.unit.driver import order

cents = st.integers(min_value=1, max_value=MAX_CENTS)


@given(cents)
def test_cents_survive_json(amount: int) -> None:
    text = orjson.dumps(dollars_of(amount))
    assert Decimal(text.decode()) * 100 == amount
    assert cents_of(orjson.loads(text)) == amount


prices = st.integers(1, 10**7)


@given(prices, st.integers(1, 1000))
def test_a_price_times_a_quantity_is_exact_cents(price: int, quantity: int) -> None:
    assert cents_of_computed(price / 100 * quantity) == price * quantity


@given(st.lists(prices, min_size=1, max_size=40))
def test_a_sum_of_prices_is_exact_cents(basket: list[int]) -> None:
    assert cents_of_computed(sum(price / 100 for price in basket)) == sum(basket)


@given(prices, st.integers(0, 10**5))
def test_a_difference_is_exact_cents(price: int, discount: int) -> None:
    assert cents_of_computed((price + discount) / 100 - discount / 100) == price


@given(cents)
def test_a_computed_amount_of_whole_cents_is_unchanged(amount: int) -> None:
    assert cents_of_computed(dollars_of(amount)) == amount


@given(st.decimals(0, 10**11, places=3).filter(lambda dollars: dollars * 100 % 1 != 0))
def test_a_third_decimal_is_not_a_rounding_error(dollars: Decimal) -> None:
    assert cents_of_computed(float(dollars)) is None


@given(st.integers(10**13, 10**14 - 1), st.integers(3, 11))
def test_written_sub_cent_digits_are_not_rounding_errors(digits: int, decimals: int) -> None:
    dollars = Decimal(digits).scaleb(-decimals)
    assert (cents_of_computed(float(dollars)) is None) == (dollars * 100 % 1 != 0)


@given(st.integers(1, 10**15), st.integers(1, 10**6))
def test_the_mean_is_rounded_half_to_even(total: int, count: int) -> None:
    expected = (Decimal(total) / Decimal(count)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    assert mean_cents(total, count) == int(expected)


def test_a_metric_is_encoded_as_in_the_contract() -> None:
    value = encode_metric(ProductMetric(1704470400, 1704470460, "prod-1", 45, 1245050))
    assert value == (
        b'{"window_start":1704470400,"window_end":1704470460,"product_id":"prod-1",'
        b'"order_count":45,"total_revenue":12450.5,"avg_order_value":276.68}'
    )


@given(st.lists(st.integers(0, 99), min_size=1, max_size=100), st.floats(-LATEST_TIME_S, LATEST_TIME_S))
def test_watermarks_survive_json(sources: list[int], watermark_s: float) -> None:
    mark = Watermark(tuple(sources), 100, watermark_s)
    assert decode_watermark(encode_watermark(mark)) == mark


def test_watermarks_of_versions_before_0_2_are_decoded() -> None:
    assert decode_watermark(b'{"source":4,"sources":6,"watermark":1.5}') == Watermark((4,), 6, 1.5)


@given(st.binary() | st.none())
def test_bytes_that_are_not_a_watermark_are_rejected(value: bytes | None) -> None:
    with pytest.raises(ValueError, match="watermark"):
        decode_watermark(value)


@pytest.mark.parametrize(
    "text",
    [
        b'{"source":6,"sources":6,"watermark":1}',
        b'{"source":-1,"sources":6,"watermark":1}',
        b'{"source":true,"sources":6,"watermark":1}',
        b'{"source":0,"sources":6,"watermark":"1"}',
        b'{"source":0,"sources":6}',
        b"[0,6,1]",
        b'{"source":[],"sources":6,"watermark":1}',
        b'{"source":[0,6],"sources":6,"watermark":1}',
        b'{"source":[-1],"sources":6,"watermark":1}',
        b'{"source":[0,true],"sources":6,"watermark":1}',
        b'{"source":[[0]],"sources":6,"watermark":1}',
        b'{"source":[0,0,0],"sources":2,"watermark":1}',
        b'{"source":{"0":1},"sources":6,"watermark":1}',
        b'{"source":0,"sources":6.0,"watermark":1}',
        b'{"source":0,"sources":0,"watermark":1}',
        b'{"source":0,"sources":1001,"watermark":1}',
        b'{"source":0,"sources":1000000000,"watermark":1}',
        b'{"source":0,"sources":6,"watermark":1700000000000}',  # milliseconds
        b'{"source":0,"sources":6,"watermark":1e300}',
        b'{"source":0,"sources":6,"watermark":-1e300}',
        b'{"source":0,"sources":6,"watermark":1e400}',
        b'{"source":0,"sources":6,"watermark":NaN}',
        b'{"source":0,"sources":6,"watermark":' + b"[" * 1000 + b"]" * 1000 + b"}",
    ],
)
def test_inconsistent_watermarks_are_rejected(text: bytes) -> None:
    with pytest.raises(ValueError, match="watermark") as raised:
        decode_watermark(text)
    assert len(str(raised.value)) < 500


def test_a_watermark_can_have_the_maximum_number_of_partitions_as_sources() -> None:
    (most,) = [each.le for each in ServiceSettings.model_fields["topic_partitions"].metadata if hasattr(each, "le")]
    assert most <= MAX_SOURCES


def test_a_processed_order_is_decoded() -> None:
    value = orjson.dumps(order(amount=12.3, timestamp=1_700_000_000))
    assert read_processed_order(value) == ("prod-1", 1_700_000_000, 1230)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("product_id", (None, 5, True, [], {}, ...)),
        ("timestamp", (None, "1", True, [], -1, 1e300, 1_700_000_000_000, ...)),
        ("amount", (None, "1", True, [0] * 1000, 0, -1, 0.001, 1e300, ...)),
    ],
)
def test_a_record_similar_to_a_processed_order_is_rejected(name: str, values: tuple[object, ...]) -> None:
    for value in values:
        with pytest.raises(ValueError, match="not a processed order"):
            read_processed_order(orjson.dumps(order(**{name: value})))


def test_topics_are_uncompressed() -> None:
    """Without further packages aiokafka can read only gzip, and a compressed record of 1 MB could expand to a gigabyte."""
    assert {topic.config["compression.type"] for topic in ALL_TOPICS} == {"uncompressed"}


@given(st.binary(max_size=40) | st.binary(min_size=32, max_size=32), st.integers(1, 100))
def test_partitions_match_kafkas_default_partitioner(key: bytes, partitions: int) -> None:
    numbers = list(range(partitions))
    assert partition_for(key, partitions) == DefaultPartitioner()(key, numbers, numbers)


def test_the_error_message_of_a_dead_letter_is_bounded_and_valid_utf8() -> None:
    error = RejectedError(Reason.UNKNOWN_PRODUCT, "\ud800" + "x" * 100_000)
    headers = dict(dead_letter_headers("orders", 3, 12, error))
    message = headers["error.message"] or b""
    assert 0 < len(message) < 1000
    message.decode()
    assert headers["error.reason"] == b"unknown_product"
