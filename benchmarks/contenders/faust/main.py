"""Faust (faust-streaming 0.15.3), at-least-once or its exactly-once; both stages in one app if both are run.

Tuning, from its documentation ("Configuration Reference"): raw topics with orjson, larger producer batches that wait 100 ms,
a larger stream buffer, a commit each second (100 ms with exactly-once), no web server, no reply and leader topics, no
standby tables; aiokafka's loggers at WARNING, since they would create a log record for every message; uvloop.

Windows are kept in a table and closed explicitly, by the stream time of their partition and the grace period, as in Kafka
Streams: Faust's own windows are closed by wall-clock time, and silently lose most of a backlog.
"""

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any

import faust
import orjson
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from mode import loop

sys.path.append(str(Path(__file__).resolve().parents[3]))

from benchmarks.contenders.peer_orders import enriched

PREFIX = os.environ["BENCH_PREFIX"]
STAGE = os.environ["BENCH_STAGE"]
EXACTLY_ONCE = os.environ["BENCH_GUARANTEE"] == "eos"
GRACE_S = int(os.environ["BENCH_GRACE_S"])
PARTITIONS = 6
WINDOW_S = 60

for name in ("aiokafka", "faust"):
    logging.getLogger(name).setLevel(logging.WARNING)

app = faust.App(
    f"{PREFIX}faust-{STAGE}",
    broker=f"aiokafka://{os.environ['BENCH_BOOTSTRAP']}",
    datadir=os.environ["BENCH_STATE_DIR"],
    processing_guarantee="exactly_once" if EXACTLY_ONCE else "at_least_once",
    broker_commit_interval=0.1 if EXACTLY_ONCE else 1.0,
    broker_session_timeout=10.0,
    producer_linger=0.1,
    producer_max_batch_size=256 * 1024,
    stream_buffer_maxsize=16 * 1024,
    table_standby_replicas=0,
    topic_partitions=PARTITIONS,
    topic_disable_leader=True,
    reply_create_topic=False,
    web_enabled=False,
)


def raw(name: str) -> Any:
    """A topic of bytes."""
    return app.topic(PREFIX + name, key_serializer="raw", value_serializer="raw", partitions=PARTITIONS)


processed = raw("processed-orders")

if STAGE != "analytics":
    dead_letters = raw("orders-dlq")

    @app.agent(raw("orders"))
    async def process(stream: Any) -> None:
        """From orders to processed orders and dead letters."""
        async for event in stream.events():
            order = enriched(event.value)
            if order is None:
                await dead_letters.send(key=event.key, value=event.value)
            else:
                await processed.send(key=order["product_id"].encode(), value=orjson.dumps(order))


if STAGE != "processor":
    metrics = raw("product-metrics")
    windows = app.Table("windows", partitions=PARTITIONS)
    closed_until = app.Table("closed-until", default=int, partitions=PARTITIONS)

    @app.agent(processed)
    async def analyse(stream: Any) -> None:
        """From processed orders to final metrics."""
        async for event in stream.events():
            order, partition = orjson.loads(event.value), event.message.partition
            timestamp = order["timestamp"]
            start = int(timestamp // WINDOW_S) * WINDOW_S
            if start + WINDOW_S > closed_until[partition]:
                key = (partition, start, order["product_id"])
                count, cents = windows.get(key) or (0, 0)
                windows[key] = (count + 1, cents + round(order["amount"] * 100))
            # Windows are whole minutes, so the next one to close is known.
            now = int((timestamp - GRACE_S) // WINDOW_S) * WINDOW_S
            if now > closed_until[partition]:
                closed_until[partition] = now
                await close_windows(partition)

    async def close_windows(partition: int) -> None:
        """Write and remove the windows that the partition's stream time has passed."""
        for key, (count, cents) in list(windows.items()):
            of, start, product_id = key
            if of == partition and start + WINDOW_S <= closed_until[partition]:
                metric = {
                    "window_start": start,
                    "window_end": start + WINDOW_S,
                    "product_id": product_id,
                    "order_count": count,
                    "total_revenue": cents / 100,
                    "avg_order_value": round(cents / count) / 100,
                }
                await metrics.send(key=product_id.encode(), value=orjson.dumps(metric))
                del windows[key]


async def make_changelogs() -> None:
    """Create the changelog topics: workers that start concurrently crash if another one is just creating a missing one."""
    admin = AIOKafkaAdminClient(bootstrap_servers=os.environ["BENCH_BOOTSTRAP"])
    await admin.start()
    names = [f"{app.conf.id}-{table}-changelog" for table in ("windows", "closed-until")]
    compacted = {"cleanup.policy": "compact"}
    await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=compacted) for name in names])
    await admin.close()


if __name__ == "__main__":
    if STAGE != "processor":
        asyncio.run(make_changelogs())
    loop.use("uvloop")
    faust.Worker(app, loglevel="WARNING").execute_from_commandline()
