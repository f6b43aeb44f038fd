from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from typing import Any

import orjson
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from libs.events.dead_letters import HEADERS, Reason, read_dead_letter_headers
from libs.events.limits import DECLARED_LIMITS, DerivedLimits
from libs.events.processed_orders import read_processed_order
from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.records import LOG_APPEND_TIME, Headers
from services.processor.catalogue import make_product
from services.processor.event_time_lag import EventTimeLag
from services.processor.order_metrics import OrderMetrics
from services.processor.order_partition import OrderPartition
from services.processor.order_processor import make_stage
from services.processor.processor_settings import ProcessorSettings
from services.processor.replica_watermark import ReplicaWatermark
from services.processor.source_watermark import SourceWatermark
from tests.unit.driver import FakeClock, FakeOutput, FakeRecord, LogicDriver, order, order_record

CATALOGUE = {"prod-1": make_product("prod-1", {"product_name": "Lamp", "category": "Home"})}
WATERMARK = (("type", b"watermark"),)


class CountingOutput(FakeOutput):
    """Notes each key whose partition it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.routed: list[bytes | None] = []

    def partition_for(self, topic: str, key: bytes | None) -> int:
        self.routed.append(key)
        return super().partition_for(topic, key)


def driver_at(
    clock: FakeClock, source: int = 2, max_event_age_s: float | None = None, limits: DerivedLimits = DECLARED_LIMITS
) -> LogicDriver:
    registry = CollectorRegistry()
    watermark, metrics = SourceWatermark(5.0, 10.0, max_event_age_s), OrderMetrics(registry, Reason)
    lag = EventTimeLag("orders", None, clock)
    logic = OrderPartition("orders", source, CATALOGUE, watermark, ReplicaWatermark(6, 60), lag, clock, metrics, limits)
    return LogicDriver(logic, registry=registry)


def test_an_order_is_enriched_and_partitioned_by_product() -> None:
    driver = driver_at(FakeClock())
    driver.pipe([order_record(3)])
    (processed,) = [r for r in driver.output.topic("processed-orders") if r.headers == (("type", b"order"),)]
    assert orjson.loads(processed.value or b"") == {**order(3), "product_name": "Lamp", "category": "Home"}
    assert processed.key == b"prod-1"
    assert processed.partition == partition_for(b"prod-1", 6)
    assert processed.timestamp == order_record(3).timestamp
    assert driver.committed == {"orders_processed": 1}


def test_the_partitions_of_a_stage_share_the_routes_of_products() -> None:
    """One entry for each product, however many partitions a replica has."""
    stage = make_stage(ProcessorSettings(), FakeClock(), CollectorRegistry())
    sources = [TopicPartition("orders", number) for number in range(2)]
    first, second = stage.logics(sources).values()
    output = CountingOutput()
    for logic in (first, second):
        logic.process([order_record(1), order_record(2, product_id="prod-2"), order_record(3)], output)
    assert output.routed == [b"prod-1", b"prod-2"]
    for product, count in (("prod-1", 4), ("prod-2", 2)):
        log = output.records["processed-orders", partition_for(product.encode(), 6)]
        assert [record.key for record in log].count(product.encode()) == count


def test_an_amount_with_a_rounding_error_becomes_exact_cents() -> None:
    driver = driver_at(FakeClock())
    driver.pipe([order_record(3, amount=863.37), order_record(4, amount=863.3700000000001)])
    processed = [r for r in driver.output.topic("processed-orders") if r.headers == (("type", b"order"),)]
    assert [read_processed_order(record.value)[2] for record in processed] == [86_337, 86_337]
    assert driver.committed == {"orders_processed": 2}


def test_the_senders_headers_are_copied_and_the_input_order_is_kept() -> None:
    sent: Headers = [("traceparent", b"00-1"), ("type", b"theirs"), ("tenant", None), ("tenant", b"b")]
    driver = driver_at(FakeClock())
    driver.pipe([order_record(1), replace(order_record(2), headers=tuple(sent)), order_record(3)])
    processed = [record for record in driver.output.topic("processed-orders") if record.headers != WATERMARK]
    assert [orjson.loads(record.value or b"")["order_id"] for record in processed] == [
        order(number)["order_id"] for number in (1, 2, 3)
    ]
    carried = (("type", b"order"), ("traceparent", b"00-1"), ("tenant", None), ("tenant", b"b"))
    assert [record.headers for record in processed] == [carried[:1], carried, carried[:1]]
    assert driver.committed == {"orders_processed": 3}


def test_a_dead_letter_has_the_senders_headers_and_ours_take_precedence() -> None:
    sent = (("error.reason", b"theirs"), ("traceparent", b"00-1"), ("source.offset", None), ("type", b"theirs"))
    driver = driver_at(FakeClock())
    driver.pipe([FakeRecord(b"{", headers=sent, offset=41)])
    (letter,) = driver.output.topic("orders-dlq")
    assert read_dead_letter_headers(letter.headers).reason == "malformed"
    assert letter.headers[len(HEADERS) :] == (("traceparent", b"00-1"), ("type", b"theirs"))


def test_a_dead_letter_has_the_unchanged_value_of_an_invalid_record() -> None:
    driver = driver_at(FakeClock())
    bad = FakeRecord(b'{"order_id": \xff', key=b"\x00k", offset=41, partition=2, timestamp=1234)
    driver.pipe([order_record(1), bad, order_record(2, amount=-1)])
    first, second = sorted(driver.output.topic("orders-dlq"), key=lambda r: r.timestamp)
    assert (first.key, first.value, first.timestamp) == (b"\x00k", bad.value, 1234)
    headers = dict(first.headers)
    assert headers["error.reason"] == b"malformed"
    assert headers["error.message"]
    assert (headers["source.topic"], headers["source.partition"], headers["source.offset"]) == (b"orders", b"2", b"41")
    assert dict(second.headers)["error.reason"] == b"invalid_amount"
    assert driver.committed == {"orders_processed": 1, "dead_letters_malformed": 1, "dead_letters_invalid_amount": 1}


def test_the_watermark_follows_the_orders_of_its_transaction_in_every_partition() -> None:
    clock = FakeClock()
    driver = driver_at(clock, source=4)
    driver.pipe([order_record(1), order_record(9)])
    clock.time_s += 100
    driver.pipe([order_record(50)])
    for partition in range(6):
        log = driver.output.records["processed-orders", partition]
        marks = [orjson.loads(r.value or b"") for r in log if r.headers == WATERMARK]
        first_s = min(order(9)["timestamp"], FakeClock().time_s) - 5.0
        assert marks == [
            {"source": [4], "sources": 6, "watermark": first_s},
            {"source": [4], "sources": 6, "watermark": order(50)["timestamp"] - 5.0},
        ]
        assert log[-1].headers == WATERMARK
        assert all(r.key is None for r in log if r.headers == WATERMARK)


def test_a_watermark_that_can_close_no_window_is_not_written() -> None:
    clock = FakeClock()
    driver = driver_at(clock)
    for time_s in (1000.2, 1000.9, 1001.0, 1001.5, 1000.0, 1003.5):
        driver.pipe([order_record(timestamp=time_s)])
    log = driver.output.records["processed-orders", 0]
    assert [orjson.loads(r.value or b"")["watermark"] for r in log if r.headers == WATERMARK] == [995.2, 996.0, 998.5]


def test_an_event_time_ahead_of_arrival_advances_the_watermark_only_to_its_arrival() -> None:
    """A client whose clock is ahead must not make other orders late, neither live nor when a backlog is read."""
    driver = driver_at(FakeClock(2000.0))
    driver.pipe([replace(order_record(timestamp=1059.0), timestamp=1_000_000, timestamp_type=LOG_APPEND_TIME)])
    assert driver.logic.watermark_s == 995.0
    driver.pipe([order_record(timestamp=2059.0)])  # without the broker's timestamp the clock is used
    assert driver.logic.watermark_s == 1995.0


def stamped(arrived_s: float, **fields: object) -> FakeRecord:
    """A record, valid or not, that arrived at the broker at this time."""
    return replace(order_record(**fields), timestamp=int(arrived_s * 1000), timestamp_type=LOG_APPEND_TIME)


def test_with_a_bound_an_old_order_is_processed_and_the_watermark_passes_it() -> None:
    driver = driver_at(FakeClock(5000.0), max_event_age_s=60.0)
    driver.pipe([stamped(2000, timestamp=1000.0)])
    log = driver.output.records["processed-orders", partition_for(b"prod-1", 6)]
    assert [record.headers for record in log] == [(("type", b"order"),), WATERMARK]
    assert orjson.loads(log[-1].value or b"")["watermark"] == 1940.0
    assert driver.logic.event_time_lag_s == 1000.0


def test_only_broker_timestamps_are_arrival_times() -> None:
    driver = driver_at(FakeClock(5000.0), max_event_age_s=60.0)
    driver.pipe([replace(order_record(timestamp=1000.0), timestamp=2_000_000)])
    assert driver.logic.watermark_s == 995.0
    assert driver.logic.event_time_lag_s is None


def test_a_future_timestamp_is_rejected_however_late_it_is_read() -> None:
    driver = driver_at(FakeClock(2000.0))
    driver.pipe([replace(order_record(timestamp=1061.0), timestamp=1_000_000, timestamp_type=LOG_APPEND_TIME)])
    assert driver.committed == {"dead_letters_future_timestamp": 1}


def test_invalid_records_do_not_advance_the_watermark() -> None:
    driver = driver_at(FakeClock())
    driver.pipe([order_record(1, product_id="unknown")])
    assert driver.output.topic("processed-orders") == []
    assert driver.logic.watermark_s is None


def test_bad_records_do_not_keep_the_watermark_of_a_drained_partition_back() -> None:
    clock = FakeClock()
    driver = driver_at(clock)
    for number in range(40):
        driver.pipe([order_record(number, product_id="unknown")])
        driver.idle([clock.now_s() + number / 2], position=number + 1)
    assert driver.logic.watermark_s == clock.now_s() + 19 - 5


def test_drained_the_watermark_follows_the_clock_in_steps() -> None:
    driver = driver_at(FakeClock())
    driver.idle([1000 + step / 2 for step in range(41)])
    marks = [v["watermark"] for v in driver.output.values("processed-orders")]
    assert len(marks) % 6 == 0
    each_once = sorted(set(marks))
    assert len(each_once) == len(marks) / 6
    assert each_once[0] == 1005.0
    assert each_once[-1] >= 1013.5
    assert all(later - earlier == 1.0 for earlier, later in pairwise(each_once))


def test_without_a_watermark_there_is_nothing_to_commit() -> None:
    driver = driver_at(FakeClock())
    driver.idle([1000 + step / 2 for step in range(41)], position=0, source_started=False)
    assert not driver.logic.urgent
    assert driver.output.topic("processed-orders") == []


SMALL = DerivedLimits(processed_order=2_000, late_order=2_100, dead_letter=3_000)


def padded(size: int, number: int = 1) -> FakeRecord:
    record = order_record(number, padding="")
    assert record.value is not None
    return replace(record, value=record.value.replace(b'"padding":""', b'"padding":"' + b"x" * size + b'"'))


def batch_size(record: FakeRecord) -> int:
    """The batch that the client's own builder creates."""
    builder = DefaultRecordBatchBuilder(2, 0, 1, -1, -1, 0, 10_000_000)
    builder.append(0, 0, record.key, record.value, [*record.headers])
    return int(builder.size())


def orders_in(driver: LogicDriver) -> list[FakeRecord]:
    return [record for record in driver.output.topic("processed-orders") if record.headers != WATERMARK]


def test_an_order_above_the_size_limit_is_a_dead_letter() -> None:
    for padding in range(1_700, 1_800):
        driver = driver_at(FakeClock(), limits=SMALL)
        driver.pipe([padded(padding)])
        if processed := orders_in(driver):
            assert batch_size(processed[0]) <= SMALL.processed_order
        else:
            (letter,) = driver.output.topic("orders-dlq")
            assert read_dead_letter_headers(letter.headers).reason == "too_large"
            assert letter.value == padded(padding).value
            break
    else:
        raise AssertionError("nothing was too large")
    smaller = driver_at(FakeClock(), limits=SMALL)
    smaller.pipe([padded(padding - 1)])
    assert batch_size(orders_in(smaller)[0]) == SMALL.processed_order
    assert driver.committed == {"dead_letters_too_large": 1}


def test_orders_around_a_large_one_keep_their_order() -> None:
    driver = driver_at(FakeClock(), limits=SMALL)
    driver.pipe([order_record(1), padded(1_200, 2), order_record(3), padded(5_000, 4), order_record(5)])
    names = [orjson.loads(record.value or b"")["order_id"] for record in orders_in(driver)]
    assert names == ["order-1", "order-2", "order-3", "order-5"]
    assert driver.committed == {"orders_processed": 4, "dead_letters_too_large": 1}


def test_headers_count_towards_the_size_limit() -> None:
    driver = driver_at(FakeClock(), limits=SMALL)
    driver.pipe([replace(order_record(1), headers=(("baggage", b"x" * 2_000),))])
    (letter,) = driver.output.topic("orders-dlq")
    assert (letter.value, letter.headers[-1]) == (order_record(1).value, ("baggage", b"x" * 2_000))
    assert driver.committed == {"dead_letters_too_large": 1}


@pytest.mark.parametrize("large", [padded(5_000), FakeRecord(b"?" * 5_000, b"k", (("traceparent", b"00-1"),))])
def test_a_dead_letter_that_is_too_large_is_written_without_value(large: FakeRecord) -> None:
    driver = driver_at(FakeClock(), limits=SMALL)
    driver.pipe([replace(large, offset=7), order_record(2)])
    (letter,) = driver.output.topic("orders-dlq")
    assert (letter.key, letter.value, letter.timestamp) == (large.key, None, large.timestamp)
    rejection = read_dead_letter_headers(letter.headers)
    assert (rejection.reason, rejection.topic, rejection.partition, rejection.offset) == ("too_large", "orders", 2, 7)
    headers = dict(letter.headers)
    assert large.value is not None
    assert headers["source.value.bytes"] == b"%d" % len(large.value)
    assert headers["source.value.sha256"] == sha256(large.value).hexdigest().encode()
    assert letter.headers[len(HEADERS) + 2 :] == large.headers
    assert driver.committed == {"orders_processed": 1, "dead_letters_too_large": 1}


@pytest.mark.parametrize("part", [{"key": b"k" * 5_000}, {"headers": (("baggage", b"x" * 5_000),)}])
def test_a_key_or_headers_that_are_too_large_are_omitted_as_well(part: dict[str, Any]) -> None:
    driver = driver_at(FakeClock(), limits=SMALL)
    driver.pipe([replace(FakeRecord(b"no order"), **part)])
    (letter,) = driver.output.topic("orders-dlq")
    assert (letter.key, letter.value) == (None, None)
    assert batch_size(letter) <= SMALL.dead_letter
    assert "malformed" in read_dead_letter_headers(letter.headers).message
