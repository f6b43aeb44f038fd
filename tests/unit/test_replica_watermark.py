"""One watermark for all sources of a replica."""

from random import Random

import orjson
from prometheus_client import CollectorRegistry

from libs.events.dead_letters import Reason
from libs.events.watermarks import Watermark
from libs.runtime.exactly_once.stage import Progress
from services.processor.event_time_lag import EventTimeLag
from services.processor.order_metrics import OrderMetrics
from services.processor.order_partition import OrderPartition
from services.processor.replica_watermark import CLOCK_SKEW_S, ReplicaWatermark
from services.processor.source_watermark import SourceWatermark
from services.processor.validation import MAX_AHEAD_S
from tests.unit.driver import FakeClock, FakeOutput, LogicDriver, order_record
from tests.unit.test_order_partition import CATALOGUE, WATERMARK

WINDOW_S = 60
QUIET_S = MAX_AHEAD_S + CLOCK_SKEW_S + WINDOW_S


def at(**values_s: float) -> ReplicaWatermark:
    watermark = ReplicaWatermark(6, WINDOW_S)
    for source, value_s in values_s.items():
        watermark.advance(int(source.removeprefix("source_")), value_s)
    return watermark


def test_the_watermark_is_that_of_the_slowest_source() -> None:
    assert at(source_4=1003.5, source_1=1001.5, source_2=1002.0).take() == Watermark((1, 2, 4), 6, 1001.5)


def test_it_follows_the_slowest_source_however_they_advance() -> None:
    random, watermark = Random(1), ReplicaWatermark(6, WINDOW_S)
    values_s: dict[int, float] = {}
    for _ in range(500):
        source = random.randrange(6)
        values_s[source] = values_s.get(source, 1000.0) + random.choice((0.0, 0.5, 3.0))
        watermark.advance(source, values_s[source])
        if random.random() < 0.5:
            assert watermark.take() == Watermark(tuple(sorted(values_s)), 6, min(values_s.values()))
        assert not watermark.is_due() or watermark.take().watermark_s == min(values_s.values())


def test_a_source_without_a_watermark_is_omitted() -> None:
    watermark = ReplicaWatermark(6, WINDOW_S)
    watermark.advance(0, None)
    assert not watermark.is_due()
    watermark.advance(1, 1000.0)
    assert watermark.take() == Watermark((1,), 6, 1000.0)
    assert not watermark.is_due()
    watermark.advance(0, 900.0)
    assert watermark.is_due()
    assert watermark.take() == Watermark((0, 1), 6, 900.0)


def test_a_watermark_is_due_after_each_full_second_that_all_sources_have_passed() -> None:
    watermark = at(source_0=1000.5, source_1=1000.2)
    watermark.take()
    watermark.advance(0, 1010.0)
    assert not watermark.is_due()
    watermark.advance(1, 1000.9)
    assert not watermark.is_due()
    watermark.advance(1, 1001.0)
    assert watermark.is_due()


def test_no_watermark_is_due_once_no_window_can_be_open() -> None:
    watermark = at(source_0=1000.0)
    watermark.saw_quiet(1000.0)
    watermark.take()
    watermark.advance(0, 1000.0 + QUIET_S - 1)
    assert watermark.is_due()
    watermark.take()
    watermark.advance(0, 1000.0 + QUIET_S)
    assert watermark.is_due()
    watermark.take()
    watermark.advance(0, 1000.0 + QUIET_S + 3600)
    assert not watermark.is_due()


def test_a_new_order_anywhere_in_the_topic_makes_a_watermark_due_again() -> None:
    watermark = at(source_0=5000.0)
    watermark.saw_quiet(1000.0)
    watermark.take()
    watermark.advance(0, 5001.0)
    assert not watermark.is_due()
    watermark.saw_quiet(5000.0)
    assert watermark.is_due()


def test_a_processed_order_makes_a_watermark_due_before_the_next_topic_check() -> None:
    watermark = at(source_0=5000.0)
    watermark.saw_quiet(1000.0)
    watermark.take()
    watermark.advance(0, 5001.0)
    watermark.saw_order(5001.0)
    assert watermark.is_due()


def test_watermarks_are_due_while_it_is_unknown_whether_the_topic_is_idle() -> None:
    watermark = at(source_0=5000.0)
    watermark.take()
    watermark.advance(0, 5001.0)
    assert watermark.is_due()


def test_after_a_failure_a_watermark_is_written_once_even_if_idle() -> None:
    """The previous attempt may have failed before writing it."""
    watermark = at(source_0=5000.0)
    watermark.saw_quiet(1000.0)
    assert watermark.is_due()


def two_partitions(clock: FakeClock) -> tuple[LogicDriver, LogicDriver, FakeOutput]:
    output, registry = FakeOutput(), CollectorRegistry()
    metrics, lag, shared = OrderMetrics(registry, Reason), EventTimeLag("orders", None, clock), ReplicaWatermark(6, 60)
    first, second = (
        LogicDriver(
            OrderPartition("orders", source, CATALOGUE, SourceWatermark(5.0, 10.0), shared, lag, clock, metrics),
            output,
            registry=registry,
        )
        for source in (0, 1)
    )
    return first, second, output


def test_a_watermark_of_two_sources_follows_the_orders_of_both() -> None:
    clock = FakeClock(2000.0)
    first, second, output = two_partitions(clock)
    first.logic.process([order_record(timestamp=1500.0)], output)
    second.logic.process([order_record(timestamp=1000.0)], output)
    first.commit()
    second.commit()
    log = output.topic("processed-orders")
    marks = [orjson.loads(record.value or b"") for record in log if record.headers == WATERMARK]
    assert marks == [{"source": [0, 1], "sources": 6, "watermark": 995.0}] * 6
    orders = [record for record in log if record.headers != WATERMARK]
    assert len(orders) == 2
    for partition in {record.partition for record in orders}:
        assert output.records["processed-orders", partition][-1].headers == WATERMARK


def test_a_drained_pipeline_stops_writing_until_the_next_order() -> None:
    clock = FakeClock(1000.0)
    first, second, output = two_partitions(clock)
    first.pipe([order_record(timestamp=1000.0)])
    moments_s = [1000.0 + step / 2 for step in range(1000)]
    for moment_s in moments_s:
        for driver in (first, second):
            driver.logic.punctuate(Progress(10, 10, moment_s, source_started=True, quiet_since_s=1000.0))
            if driver.logic.urgent:
                driver.commit()
        assert first.logic.waits_for_clock or moment_s > 1000.0 + QUIET_S
    marks = [record for record in output.records["processed-orders", 0] if record.headers == WATERMARK]
    newest = orjson.loads(marks[-1].value or b"")
    assert newest["source"] == [0, 1]
    assert 1000.0 + QUIET_S <= newest["watermark"] < 1000.0 + QUIET_S + 1.5
    assert not first.logic.urgent
    assert not second.logic.urgent
    assert not first.logic.waits_for_clock
    assert not second.logic.waits_for_clock
    second.logic.punctuate(Progress(10, 10, 1498.0, source_started=True, quiet_since_s=1497.0))
    assert second.logic.waits_for_clock, "another replica has had an order"
    second.logic.punctuate(Progress(10, 10, 1498.5, source_started=True, quiet_since_s=1000.0))
    clock.time_s = 1499.0
    first.pipe([order_record(timestamp=1499.0)])
    woken = [record for record in output.records["processed-orders", 0] if record.headers == WATERMARK]
    assert len(woken) == len(marks) + 1
