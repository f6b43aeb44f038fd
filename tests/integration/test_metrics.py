"""`/metrics` of real services on a real broker, compared with the orders that were sent."""

import http.client
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from math import nan
from random import Random

import orjson
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.pipeline import Pipeline, history
from tests.integration.services import ServiceProcess, eventually

ORDERS = 3000
FAULTS = {"unknown_product": 70, "invalid_amount": 40, "malformed": 13}
PARTITIONS = {str(number) for number in range(6)}

Labels = tuple[tuple[str, str], ...]


class Scrape:
    """The metrics of one service at one time."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, dict[Labels, float]] = {}
        for metric in text_string_to_metric_families(text):
            for sample in metric.samples:
                self._samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value

    def __call__(self, name: str, **labels: str) -> float:
        """The one series with these labels; NaN, which is unequal to everything, if there is none (yet)."""
        return self._samples.get(name, {}).get(tuple(sorted(labels.items())), nan)

    def by(self, label: str, name: str) -> dict[str, float]:
        """All series of a name by one of their labels."""
        return {dict(labels)[label]: value for labels, value in self._samples.get(name, {}).items()}


async def scrape(service: ServiceProcess) -> Scrape:
    port = (await service.wait_for("service started"))["http_port"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/metrics")
        return Scrape(connection.getresponse().read().decode())
    finally:
        connection.close()


def with_faults(orders: list[dict[str, object]]) -> list[bytes]:
    """The orders, including faulty ones: as many of each kind as ``FAULTS`` says."""
    broken = [{**orders[0], "product_id": "nothing"}] * FAULTS["unknown_product"]
    broken += [{**orders[0], "amount": -1}] * FAULTS["invalid_amount"]
    values = [orjson.dumps(each) for each in [*orders, *broken]] + [b"{"] * FAULTS["malformed"]
    Random(7).shuffle(values)
    return values


def expected_sums(orders: Iterable[dict[str, object]]) -> tuple[Counter[str], Counter[str]]:
    """Orders and cents by product, computed independently of the services."""
    counts, cents = Counter[str](), Counter[str]()
    for each in orders:
        product, amount = str(each["product_id"]), each["amount"]
        assert isinstance(amount, float | int)
        counts[product] += 1
        cents[product] += round(amount * 100)
    return counts, cents


async def test_counters_match_the_sent_orders_and_all_lags_reach_zero(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    orders = history(ORDERS, span_s=60, seed=3)
    values = with_faults(orders)
    await pipeline.send([(number, values[number::6]) for number in range(6)])
    async with AsyncExitStack() as stack:
        processor, analytics, sink = [
            await stack.enter_async_context(pipeline.service(name)) for name in ("processor", "analytics", "sink")
        ]

        async def all_closed() -> bool:
            scraped = await scrape(analytics)
            return sum(scraped.by("product_id", "pipeline_closed_orders_total").values()) == ORDERS

        async def all_lags_are_zero() -> bool:
            # 0 and not 1 in each: a transaction marker is not counted.
            lags = [(await scrape(each)).by("partition", "pipeline_consumer_lag_records") for each in (analytics, sink)]
            scraped, marked = await scrape(analytics), await scrape(processor)
            written = (await scrape(sink))("pipeline_metrics_written_total", output="file")
            return (
                all(set(each) == PARTITIONS and not any(each.values()) for each in lags)
                and not any(marked.by("partition", "pipeline_consumer_lag_records").values())
                and written == scraped("pipeline_windows_closed_total")
                and not any(
                    scraped.by("partition", "pipeline_state_entries").values()
                )  # updated several times a second
            )

        await eventually(all_closed, what="all windows are closed")
        await eventually(all_lags_are_zero, what="every lag is 0 at the same time")
        await _compare_processor(await scrape(processor), len(values))
        _compare_analytics(await scrape(analytics), orders)
        lines = pipeline.output.read_bytes()
        scraped = await scrape(sink)
        assert scraped("pipeline_metrics_written_total", output="file") == lines.count(b"\n")
        assert scraped("pipeline_output_bytes", output="file") == len(lines)
        assert scraped("pipeline_records_consumed_total", topic="product-metrics", output="file") == lines.count(b"\n")
        assert scraped("pipeline_foreign_records_total", output="file") == 0
        assert scraped("pipeline_event_latency_seconds_count", output="file") >= 12
        assert scraped("pipeline_checkpoint_timestamp_seconds", output="file") >= scraped("process_start_time_seconds")


async def _compare_processor(scraped: Scrape, sent: int) -> None:
    dead = scraped.by("reason", "pipeline_dead_letters_total")
    assert {reason: count for reason, count in dead.items() if count} == FAULTS
    assert scraped("pipeline_orders_processed_total") == ORDERS
    assert scraped("pipeline_records_consumed_total", topic="orders") == sent
    assert scraped("pipeline_transaction_records_sum") == sent
    assert scraped("pipeline_records_produced_total", topic="orders-dlq") == sent - ORDERS
    marks = scraped("pipeline_records_produced_total", topic="processed-orders") - ORDERS
    assert marks > 0
    assert marks % 6 == 0
    outcomes = scraped.by("outcome", "pipeline_transactions_total")
    assert outcomes["committed"] == scraped("pipeline_transaction_duration_seconds_count") > 0
    assert sum(outcomes.values()) == outcomes["committed"]
    assert set(scraped.by("partition", "pipeline_watermark_timestamp_seconds")) == PARTITIONS
    assert scraped("pipeline_assigned_partitions") == 6
    assert scraped("pipeline_rebalances_total") >= 1
    # All orders are from the last minute, and each partition of a transaction is observed once or twice.
    assert 6 <= scraped("pipeline_event_latency_seconds_count") <= 2 * 6 * outcomes["committed"]
    assert scraped("pipeline_healthy") == 1


def _compare_analytics(scraped: Scrape, orders: list[dict[str, object]]) -> None:
    counts, cents = expected_sums(orders)
    assert scraped.by("product_id", "pipeline_closed_orders_total") == counts
    revenue = scraped.by("product_id", "pipeline_closed_revenue_dollars_total")
    assert {product: round(dollars * 100) for product, dollars in revenue.items()} == cents
    assert scraped("pipeline_orders_processed_total") == ORDERS
    assert scraped("pipeline_late_orders_total") == 0
    assert scraped("pipeline_records_produced_total", topic="product-metrics") == scraped(
        "pipeline_windows_closed_total"
    )
    assert not any(scraped.by("partition", "pipeline_state_entries").values())


async def test_each_partition_is_reported_by_the_replica_that_owns_it(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    gauges = ("pipeline_consumer_lag_records", "pipeline_watermark_timestamp_seconds")
    await pipeline.send([(number, [orjson.dumps(history(1, 1, seed=number)[0])]) for number in range(6)])
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(pipeline.service("processor"))

        async def reported_partitions(*replicas: ServiceProcess) -> list[list[set[str]]]:
            return [[set((await scrape(each)).by("partition", name)) for each in replicas] for name in gauges]

        async def first_has_all() -> bool:
            return all(one == [PARTITIONS] for one in await reported_partitions(first))

        async def all_processed() -> bool:
            return (await scrape(first))("pipeline_orders_processed_total") == 6

        await eventually(all_processed, what="the orders are processed")
        await eventually(first_has_all, what="the only replica reports all partitions")
        second = await stack.enter_async_context(pipeline.service("processor"))

        async def both_have_three() -> bool:
            return all(
                len(one) == len(other) == 3 and one | other == PARTITIONS
                for one, other in await reported_partitions(first, second)
            )

        await eventually(both_have_three, what="each replica reports three partitions")
        assert (await scrape(first))("pipeline_orders_processed_total") == 6
        second.terminate()
        assert await second.wait() == 0
        await eventually(first_has_all, what="the remaining replica reports all partitions again")
        assert (await scrape(first))("pipeline_rebalances_total") >= 3


async def test_a_restart_logs_the_restored_state(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    # One partition of orders only: the others' watermarks hold every window open.
    await pipeline.send([(0, [orjson.dumps(order) for order in history(500, span_s=20, seed=5)])])
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(pipeline.service("processor", IDLE_AFTER_SECONDS="3600"))
        analytics = await stack.enter_async_context(pipeline.service("analytics"))

        async def counted() -> bool:
            scraped = await scrape(analytics)
            entries = sum(scraped.by("partition", "pipeline_state_entries").values())  # updated once a second
            return scraped("pipeline_orders_processed_total") == 500 and entries >= 5 * 4  # products, windows

        await eventually(counted, what="all orders are counted")
        before = await scrape(analytics)
        entries = sum(before.by("partition", "pipeline_state_entries").values())
        assert before("pipeline_state_restored_records_total") == 0
        analytics.kill()
        await analytics.wait()
        analytics.start()

        async def restored() -> bool:
            scraped = await scrape(analytics)
            return sum(scraped.by("partition", "pipeline_state_entries").values()) == entries

        await eventually(restored, what="the state is restored")
        after = await scrape(analytics)
        assert after("pipeline_state_restored_records_total") >= entries
        assert after("pipeline_state_restore_seconds_count") == 1  # all partitions in one pass
        assert after("pipeline_orders_processed_total") == 0


async def test_a_generator_counts_sent_and_faulty_orders(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    async with (
        pipeline.service("processor") as processor,
        pipeline.service(
            "generator",
            GENERATOR_RATE="2000",
            GENERATOR_SEED="4",
            GENERATOR_FAULTS="malformed=0.02,unknown_product=0.03",
        ) as generator,
    ):

        async def enough() -> bool:
            return (await scrape(generator))("pipeline_orders_sent_total") >= 2000

        await eventually(enough, what="2,000 orders are sent")
        scraped = await scrape(generator)
        # Each batch is observed once, and an order is sent when it is due.
        assert 6 <= scraped("pipeline_event_latency_seconds_count") <= scraped("pipeline_orders_sent_total")
        ran_s = time.time() - scraped("process_start_time_seconds")
        assert scraped("pipeline_event_latency_seconds_sum") <= ran_s * scraped("pipeline_event_latency_seconds_count")
        generator.terminate()
        assert await generator.wait() == 0
        ended = await generator.wait_for("all orders sent")
        sent, faulty = int(ended["sent"]), int(ended["faulty"])

        async def arrived() -> bool:
            scraped = await scrape(processor)
            return scraped("pipeline_records_consumed_total", topic="orders") == sent

        await eventually(arrived, what="all sent orders are processed")
        dead = (await scrape(processor)).by("reason", "pipeline_dead_letters_total")
        assert sum(dead.values()) == faulty == dead["malformed"] + dead["unknown_product"]
        assert faulty > 0
