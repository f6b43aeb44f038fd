"""Bytewax 0.21.1, at-least-once with recovery snapshots each second; both stages in one dataflow if both are run.

Tuning, from its documentation ("Kafka connector", "Performance", `fold_window`, "Recovery"): a batch at a time through
one step, since each step costs a call per item; batches of 10,000, as the sink waits for the broker after each; windows that
do not sort their items, which a sum does not need. librdkafka buffers less than its default of 64 MB per partition, and uses
the partitioner of the Java client.

Its clock has no grace period; BENCH_GRACE_S is how long a window waits for late events. It advances with the system clock
when no order comes.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower, fold_window
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

sys.path.append(str(Path(__file__).resolve().parents[3]))

from benchmarks.contenders.peer_orders import enriched

BROKERS = [os.environ["BENCH_BOOTSTRAP"]]
PREFIX = os.environ["BENCH_PREFIX"]
STAGE = os.environ["BENCH_STAGE"]
WORKERS = int(os.environ["BENCH_THREADS"])
WINDOW_S = 60

PROCESSED = PREFIX + "processed-orders"
DEAD_LETTERS = PREFIX + "orders-dlq"
METRICS = PREFIX + "product-metrics"

Message = KafkaSourceMessage[bytes, bytes]
Output = KafkaSinkMessage[bytes, bytes]
Sums = tuple[int, int]
"""Orders and cents."""


def source(topic: str) -> KafkaSource:
    """A source that reads all of a topic."""
    return KafkaSource(BROKERS, [topic], batch_size=10_000, add_config={"queued.max.messages.kbytes": "16384"})


def sink() -> KafkaSink:
    """A sink for messages of any topic."""
    return KafkaSink(BROKERS, None, add_config={"partitioner": "murmur2"})


def validated(message: Message) -> Output:
    """The output record for a record of `orders`."""
    order = enriched(message.value)
    if order is None:
        return KafkaSinkMessage(message.key, message.value, DEAD_LETTERS)
    return KafkaSinkMessage(order["product_id"].encode(), orjson.dumps(order), PROCESSED)


def parsed(message: Message) -> tuple[str, tuple[datetime, int]]:
    """An order's product, with its event time and its cents."""
    order = orjson.loads(message.value)
    return order["product_id"], (datetime.fromtimestamp(order["timestamp"], UTC), round(order["amount"] * 100))


def metric(item: tuple[str, tuple[int, Sums]]) -> Output:
    """The metric of a closed window, in the format of the contract."""
    product_id, (window, (count, cents)) = item
    value = {
        "window_start": window * WINDOW_S,
        "window_end": (window + 1) * WINDOW_S,
        "product_id": product_id,
        "order_count": count,
        "total_revenue": cents / 100,
        "avg_order_value": round(cents / count) / 100,
    }
    return KafkaSinkMessage(product_id.encode(), orjson.dumps(value), METRICS)


flow = Dataflow("orders")

if STAGE != "analytics":
    orders = op.input("orders", flow, source(PREFIX + "orders"))
    outputs = op.flat_map_batch("validate", orders, lambda batch: [validated(message) for message in batch])
    op.output("processed", outputs, sink())

if STAGE != "processor":
    processed = op.input("processed-orders", flow, source(PROCESSED))
    windows = fold_window(
        "minutes",
        op.flat_map_batch("parse", processed, lambda batch: [parsed(message) for message in batch]),
        EventClock(lambda order: order[0], timedelta(seconds=int(os.environ["BENCH_GRACE_S"]))),
        TumblingWindower(timedelta(seconds=WINDOW_S), align_to=datetime.fromtimestamp(0, UTC)),
        builder=lambda: (0, 0),
        folder=lambda sums, order: (sums[0] + 1, sums[1] + order[1]),
        merger=lambda some, more: (some[0] + more[0], some[1] + more[1]),
        ordered=False,
    )
    op.output("metrics", op.map("metric", windows.down, metric), sink())

if __name__ == "__main__":
    state = Path(os.environ["BENCH_STATE_DIR"])
    if not any(state.iterdir()):
        init_db_dir(state, WORKERS)
    cli_main(
        flow,
        workers_per_process=WORKERS,
        epoch_interval=timedelta(seconds=1),
        recovery_config=RecoveryConfig(state),
    )
