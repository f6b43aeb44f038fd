"""FastStream 0.7.8 on aiokafka: the processor, at-least-once. It has no windows, so there is no analytics.

Tuning, from its documentation ("Batch Processing" of consuming and of publishing, "Acknowledgement", "CLI: uvloop"):
batches in and out, offsets committed when a batch is done and its messages are confirmed, a decoder that returns the raw
records, no argument checks (apply_types), uvloop. A published batch goes to one partition, so there is one for each product,
in the partition of its key; its size limit is above 2,000 orders of one product.

BENCH_GUARANTEE and the commit interval have no counterpart: it commits after each batch.
"""

import asyncio
import logging
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiokafka.partitioner import DefaultPartitioner
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage, KafkaPublishMessage

sys.path.append(str(Path(__file__).resolve().parents[3]))

from benchmarks.contenders.peer_orders import CATALOGUE, enriched

PREFIX = os.environ["BENCH_PREFIX"]
PARTITIONS = list(range(6))
PARTITION_OF = {name: DefaultPartitioner()(name.encode(), PARTITIONS, PARTITIONS) for name in CATALOGUE}

broker = KafkaBroker(
    os.environ["BENCH_BOOTSTRAP"], apply_types=False, max_batch_size=1_000_000, log_level=logging.DEBUG
)
app = FastStream(broker)


async def as_they_are(message: KafkaMessage) -> Any:
    """Return the raw record: a dead letter needs its bytes and key."""
    return message.raw_message


@broker.subscriber(
    PREFIX + "orders",
    batch=True,
    max_records=2000,
    decoder=as_they_are,
    ack_policy=AckPolicy.NACK_ON_ERROR,
    group_id=PREFIX + "faststream",
    auto_offset_reset="earliest",
    session_timeout_ms=10_000,
)
async def process(records: Any) -> None:
    """From orders to processed orders and dead letters."""
    dead = []
    products = defaultdict(list)
    for record in records:
        order = enriched(record.value)
        if order is None:
            dead.append(broker.publish(record.value, PREFIX + "orders-dlq", key=record.key))
        else:
            product_id = order["product_id"]
            products[product_id].append(KafkaPublishMessage(orjson.dumps(order), key=product_id.encode()))
    await asyncio.gather(
        *dead,
        *(
            broker.publish_batch(*orders, topic=PREFIX + "processed-orders", partition=PARTITION_OF[product_id])
            for product_id, orders in products.items()
        ),
    )


if __name__ == "__main__":
    if os.environ["BENCH_STAGE"] != "processor":
        sys.exit("FastStream has no windows: of the stages it does the processor only")
    uvloop.run(app.run())
