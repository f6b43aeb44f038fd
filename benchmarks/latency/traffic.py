"""Orders sent one by one at a steady rate, as live traffic is."""

import asyncio
import json
import time
from collections.abc import Callable
from random import Random

from aiokafka import AIOKafkaProducer

PARTITIONS = 6
OnSent = Callable[[str, int, float], None]
"""Hears of each order: its id, its partition, and its event time, which is when it was sent, in epoch seconds."""

_PRODUCTS = tuple(f"prod-{number}" for number in range(1, 6))


async def send_orders(producer: AIOKafkaProducer, topic: str, rate: int, on_sent: OnSent) -> None:
    """Send ``rate`` orders a second until cancelled.

    Their gaps are random (a Poisson process), since evenly spaced orders would fall into step with what they meet.
    """
    random = Random(rate)  # noqa: S311 - no secret
    due_s = time.time()
    while True:
        due_s += random.expovariate(rate)
        if due_s > time.time():
            await asyncio.sleep(due_s - time.time())
        order_id = f"{random.getrandbits(128):032x}"
        sent_s, partition = round(time.time(), 6), random.randrange(PARTITIONS)
        order = {
            "order_id": order_id,
            "user_id": f"user-{random.randrange(1000)}",
            "product_id": random.choice(_PRODUCTS),
            "amount": random.randrange(1000, 50_001) / 100,
            "timestamp": sent_s,
        }
        await producer.send(topic, json.dumps(order).encode(), key=order_id.encode(), partition=partition)
        on_sent(order_id, partition, sent_s)
