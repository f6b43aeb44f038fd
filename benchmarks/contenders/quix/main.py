"""Quix Streams 3.28.1, exactly-once; both stages in one application if both are run.

Tuning, from its documentation ("Configuration", "Checkpointing"): a checkpoint, and so a transaction, every 100 ms with
exactly-once and every second without; the producer waits 20 ms for a batch (librdkafka's default batch size is 1 MB).
Short session and transaction timeouts, so that a restarted process soon gets the partitions of a killed one.
Windows are closed by the time of their partition (closing_strategy), as in Kafka Streams.
"""

import os
import sys
from pathlib import Path
from typing import Any

from quixstreams import Application
from quixstreams.dataframe.windows import Count, Sum

sys.path.append(str(Path(__file__).resolve().parents[3]))

from benchmarks.contenders.peer_orders import enriched

PREFIX = os.environ["BENCH_PREFIX"]
STAGE = os.environ["BENCH_STAGE"]
EXACTLY_ONCE = os.environ["BENCH_GUARANTEE"] == "eos"


def processor(app: Application) -> None:
    """From orders to processed orders and dead letters."""
    # A valid order becomes a dict; an invalid one stays bytes.
    validated = app.dataframe(app.topic(PREFIX + "orders", value_deserializer="bytes")).apply(
        lambda value: enriched(value) or value
    )
    validated.filter(lambda value: isinstance(value, dict)).to_topic(
        app.topic(PREFIX + "processed-orders", key_serializer="str"), key=lambda order: order["product_id"]
    )
    validated.filter(lambda value: not isinstance(value, dict)).to_topic(
        app.topic(PREFIX + "orders-dlq", value_serializer="bytes")
    )


def analytics(app: Application) -> None:
    """From processed orders to final metrics."""
    orders = app.topic(
        PREFIX + "processed-orders",
        key_deserializer="str",
        timestamp_extractor=lambda order, *_: int(order["timestamp"] * 1000),
    )
    (
        app.dataframe(orders)
        .tumbling_window(duration_ms=60_000, grace_ms=int(os.environ["BENCH_GRACE_S"]) * 1000)
        .agg(order_count=Count(), total_revenue=Sum("amount"))
        .final(closing_strategy="partition")
        .apply(metric, metadata=True)
        .to_topic(app.topic(PREFIX + "product-metrics", key_serializer="str"))
    )


def metric(window: dict[str, Any], product_id: str, *_: object) -> dict[str, Any]:
    """The metric of a closed window, in the format of the contract."""
    count, revenue = window["order_count"], window["total_revenue"]
    return {
        "window_start": window["start"] // 1000,
        "window_end": window["end"] // 1000,
        "product_id": product_id,
        "order_count": count,
        "total_revenue": round(revenue, 2),
        "avg_order_value": round(revenue / count, 2),
    }


if __name__ == "__main__":
    app = Application(
        os.environ["BENCH_BOOTSTRAP"],
        consumer_group=f"{PREFIX}quix-{STAGE}",
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once" if EXACTLY_ONCE else "at-least-once",
        commit_interval=0.1 if EXACTLY_ONCE else 1.0,
        state_dir=os.environ["BENCH_STATE_DIR"],
        consumer_extra_config={"session.timeout.ms": 10_000},
        producer_extra_config={"linger.ms": 20} | ({"transaction.timeout.ms": 10_000} if EXACTLY_ONCE else {}),
    )
    if STAGE != "analytics":
        processor(app)
    if STAGE != "processor":
        analytics(app)
    app.run()
