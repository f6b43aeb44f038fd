"""Faults of the broker, of ZooKeeper, and of what the broker takes."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random

import orjson
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from libs.events.topics import ANALYTICS_STATE, LATE_ORDERS, ORDERS_DLQ, PROCESSED_ORDERS, PRODUCT_METRICS, Topic
from tests.chaos.faults import Fault
from tests.chaos.stack import Stack

_START_S = 15.0
_LONGEST_KILL_S = 4.0
_OUTAGE_S = 60.0
_REFUSED_S = (2.0, 6.0)
_REFUSED_RECORDS = 50


async def _kill_broker(stack: Stack, random: Random) -> None:
    down_s = random.uniform(0, _LONGEST_KILL_S)
    stack.say(f"SIGKILL of the broker, back in {down_s:.1f} s")
    await asyncio.to_thread(stack.broker.kill)
    await asyncio.sleep(down_s)
    await asyncio.to_thread(stack.broker.start)


BROKER_KILLED = Fault("broker killed and started again", _kill_broker, outage_s=_LONGEST_KILL_S + _START_S)


async def _stop_broker(stack: Stack, random: Random) -> None:
    stack.say(f"broker stopped for {_OUTAGE_S:.0f} s")
    await asyncio.to_thread(stack.broker.stop_broker)
    await asyncio.sleep(_OUTAGE_S)
    await asyncio.to_thread(stack.broker.start)


BROKER_STOPPED = Fault("broker stopped for 60 s", _stop_broker, outage_s=_OUTAGE_S + 2 * _START_S)


async def _restart_zookeeper(stack: Stack, random: Random) -> None:
    down_s = random.uniform(0, 8)  # longer, and shorter, than the broker's session with it
    stack.say(f"ZooKeeper stopped, back in {down_s:.1f} s")
    await asyncio.to_thread(stack.broker.stop_zookeeper)
    await asyncio.sleep(down_s)
    await asyncio.to_thread(stack.broker.start)


ZOOKEEPER_RESTARTED = Fault("ZooKeeper restarted", _restart_zookeeper, outage_s=8 + _START_S)


async def _refuse_records(stack: Stack, random: Random) -> None:
    topics = random.choice([[PROCESSED_ORDERS], [PRODUCT_METRICS], [ANALYTICS_STATE]])
    refused_s = random.uniform(*_REFUSED_S)
    stack.say(f"records too large for {topics[0].name} for {refused_s:.1f} s")
    async with _admin(stack) as admin:
        await _configure(admin, stack, topics[0], {"max.message.bytes": "100"})
        await asyncio.sleep(refused_s)
        await _configure(admin, stack, topics[0], {})


RECORDS_REFUSED = Fault("records refused as too large", _refuse_records, outage_s=_REFUSED_S[1])


async def _refuse_order_records(stack: Stack, random: Random) -> None:
    stack.say(f"records too large for {PROCESSED_ORDERS.name} for {_REFUSED_S[0]:.1f} s")
    async with _admin(stack) as admin:
        await _configure(admin, stack, PROCESSED_ORDERS, {"max.message.bytes": "100"})
        await asyncio.sleep(_REFUSED_S[0])
        await _configure(admin, stack, PROCESSED_ORDERS, {})


ORDERS_REFUSED = Fault("processed orders refused as too large", _refuse_order_records, outage_s=_REFUSED_S[0])


async def _delete_dead_letters(stack: Stack, random: Random) -> None:
    """Before the first dead letter: a topic's deletion takes along what it holds, which nobody could make good."""
    stack.say(f"{ORDERS_DLQ.name} deleted, and {_REFUSED_RECORDS} orders that belong there sent")
    async with _admin(stack) as admin:
        await admin.delete_topics([stack.pipeline.prefix + ORDERS_DLQ.name])
    await stack.pipeline.send([(random.randrange(6), [b"no order"]) for _ in range(_REFUSED_RECORDS)])


DEAD_LETTERS_DELETED = Fault("orders-dlq deleted", _delete_dead_letters)


async def _delete_late_orders(stack: Stack, random: Random) -> None:
    stack.say(f"{LATE_ORDERS.name} deleted, and {_REFUSED_RECORDS} orders that belong there sent")
    async with _admin(stack) as admin:
        await admin.delete_topics([stack.pipeline.prefix + LATE_ORDERS.name])
    late = {"user_id": "user", "product_id": "prod-1", "amount": 12.5, "timestamp": time.time() - 3600}
    orders = [orjson.dumps(late | {"order_id": f"late-{number}"}) for number in range(_REFUSED_RECORDS)]
    await stack.pipeline.send([(random.randrange(6), [order]) for order in orders])


LATE_ORDERS_DELETED = Fault("late-orders deleted", _delete_late_orders)


@asynccontextmanager
async def _admin(stack: Stack) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.broker.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _configure(admin: AIOKafkaAdminClient, stack: Stack, topic: Topic, changed: Mapping[str, str]) -> None:
    """Set the topic's configuration: as declared, and what is ``changed``."""
    name = stack.pipeline.prefix + topic.name
    configs = {**topic.config, **changed}
    (response,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=configs)])
    (answer,) = response.resources  # type: ignore[attr-defined]  # aiokafka's base class has no fields
    assert answer[0] == 0, f"configuring {name}: {answer}"
