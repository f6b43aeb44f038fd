"""Sends orders at a steady rate, like live traffic."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable
from random import Random

from aiokafka import AIOKafkaProducer

PARTITIONS = 6
OnSent = Callable[[str, int, float], None]
"""Called for each order with its id, its partition, and its event time, which is when it was due, in epoch seconds."""

_PRODUCTS = tuple(f"prod-{number}" for number in range(1, 6))
# Sending 2,000 orders a second one by one takes more CPU time than the measured services.
_SEND_EVERY_S = 0.004


async def send_orders(producer: AIOKafkaProducer, topic: str, rate: int, on_sent: OnSent) -> None:
    """Send ``rate`` orders a second until cancelled.

    The gaps are random (a Poisson process), since evenly spaced orders would synchronise with the services' intervals. Orders
    that are due within 4 ms are sent together; their latency is measured from the time at which they were due.
    """
    random = Random(rate)  # noqa: S311 - not for cryptography
    due_s = time.time()
    while True:
        due: defaultdict[int, list[tuple[str, float, bytes]]] = defaultdict(list)
        while due_s <= time.time():
            order_id = f"{random.getrandbits(128):032x}"
            order = {
                "order_id": order_id,
                "user_id": f"user-{random.randrange(1000)}",
                "product_id": random.choice(_PRODUCTS),
                "amount": random.randrange(1000, 50_001) / 100,
                "timestamp": round(due_s, 6),
            }
            due[random.randrange(PARTITIONS)].append((order_id, due_s, json.dumps(order).encode()))
            due_s += random.expovariate(rate)
        for partition, orders in due.items():
            batch = producer.create_batch()
            for order_id, _, value in orders:
                batch.append(key=order_id.encode(), value=value, timestamp=None)
            await producer.send_batch(batch, topic, partition=partition)
            for order_id, order_due_s, _ in orders:
                on_sent(order_id, partition, order_due_s)
        await asyncio.sleep(max(due_s - time.time(), _SEND_EVERY_S))
