"""Faults of the broker, of ZooKeeper, and of topics and their configuration."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random

import orjson
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from libs.events.topics import ANALYTICS_STATE, LATE_ORDERS, ORDERS_DLQ, PROCESSED_ORDERS, PRODUCT_METRICS
from libs.runtime.topics.topic import Topic
from tests.chaos.faults import Fault
from tests.chaos.new_lines import NewLines
from tests.chaos.stack import Stack
from tests.integration.services import eventually

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


BROKER_KILLED = Fault("broker killed and started again", _kill_broker)


async def _stop_broker(stack: Stack, random: Random) -> None:
    stack.say(f"broker stopped for {_OUTAGE_S:.0f} s")
    await asyncio.to_thread(stack.broker.stop_broker)
    await asyncio.sleep(_OUTAGE_S)
    await asyncio.to_thread(stack.broker.start)


BROKER_STOPPED = Fault("broker stopped for 60 s", _stop_broker)


async def _restart_zookeeper(stack: Stack, random: Random) -> None:
    down_s = random.uniform(0, 8)  # sometimes longer than the broker's ZooKeeper session, sometimes shorter
    stack.say(f"ZooKeeper stopped, back in {down_s:.1f} s")
    await asyncio.to_thread(stack.broker.stop_zookeeper)
    await asyncio.sleep(down_s)
    await asyncio.to_thread(stack.broker.start)


ZOOKEEPER_RESTARTED = Fault("ZooKeeper restarted", _restart_zookeeper)


def _refused(name: str, *topics: Topic) -> Fault:
    async def inject(stack: Stack, random: Random) -> None:
        topic, refused_s = random.choice(topics), random.uniform(*_REFUSED_S)
        stack.say(f"records too large for {topic.name} for {refused_s:.1f} s")
        lines = NewLines(stack)
        await _configure(stack, topic, {"max.message.bytes": "100"})
        refusal = f"topic {stack.pipeline.prefix + topic.name!r} takes no batch"
        # Metrics are written only when windows close.
        await stack.has_effect(lambda: lines.contain(refusal), f"{topic.name} refuses records")
        await asyncio.sleep(refused_s)
        await _configure(stack, topic, {})

    return Fault(name, inject)


RECORDS_REFUSED = _refused("records refused as too large", PROCESSED_ORDERS, PRODUCT_METRICS, ANALYTICS_STATE)
ORDERS_REFUSED = _refused("processed orders refused as too large", PROCESSED_ORDERS)


async def _delete_dead_letters(stack: Stack, random: Random) -> None:
    """Delete the topic before the first dead letter, since its content could not be restored."""
    stack.say(f"{ORDERS_DLQ.name} deleted, and {_REFUSED_RECORDS} orders that belong there sent")
    await _delete(stack, ORDERS_DLQ)
    await stack.pipeline.send([(random.randrange(6), [b"no order"]) for _ in range(_REFUSED_RECORDS)])


DEAD_LETTERS_DELETED = Fault("orders-dlq deleted", _delete_dead_letters)


async def _delete_late_orders(stack: Stack, random: Random) -> None:
    stack.say(f"{LATE_ORDERS.name} deleted, and {_REFUSED_RECORDS} orders that belong there sent")
    await _delete(stack, LATE_ORDERS)
    late = {"user_id": "user", "product_id": "prod-1", "amount": 12.5, "timestamp": time.time() - 3600}
    orders = [orjson.dumps(late | {"order_id": f"late-{number}"}) for number in range(_REFUSED_RECORDS)]
    await stack.pipeline.send([(random.randrange(6), [order]) for order in orders])


LATE_ORDERS_DELETED = Fault("late-orders deleted", _delete_late_orders)


async def _delete(stack: Stack, topic: Topic) -> None:
    async with admin_of(stack) as admin:
        response = await admin.delete_topics([stack.pipeline.prefix + topic.name])
    # aiokafka raises nothing for them.
    for name, code in response.topic_error_codes:  # type: ignore[attr-defined]  # aiokafka's base class has no fields
        if code:
            raise for_code(code)(f"{name} was not deleted")


async def _configure(stack: Stack, topic: Topic, changed: Mapping[str, str]) -> None:
    """Set the topic's configuration to the declared one with the changes in ``changed``."""
    name = stack.pipeline.prefix + topic.name
    resource = ConfigResource(ConfigResourceType.TOPIC, name, configs={**topic.config, **changed})

    async def done() -> bool:
        try:
            async with admin_of(stack) as admin:
                (response,) = await admin.alter_configs([resource])
        except (KafkaError, OSError, AssertionError):
            return False  # another fault may be active
        ((code, *_),) = response.resources  # type: ignore[attr-defined]  # aiokafka's base class has no fields
        return bool(code == 0)

    await eventually(done, what=f"{name} is configured")


@asynccontextmanager
async def admin_of(stack: Stack) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client for the brokers."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.broker.bootstrap_servers)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()
