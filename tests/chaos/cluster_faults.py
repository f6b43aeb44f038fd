"""Faults of single brokers in a cluster of three, with min.insync.replicas 2."""

import asyncio
from collections.abc import Sequence
from random import Random

from aiokafka.errors import KafkaError

from tests.brokers.cluster import BROKERS, ThreeBrokers
from tests.chaos.broker_faults import admin_of
from tests.chaos.faults import Fault
from tests.chaos.stack import Stack
from tests.integration.services import eventually

_ONE_DOWN_S = (2.0, 15.0)
# Longer than eight retries: a failure (unlike an outage) would end a service by then.
_TWO_DOWN_S = 60.0
_BETWEEN_TWO_S = 1.0
# Shorter and longer than a broker's ZooKeeper session, after which others become leaders of its partitions.
_CUT_OFF_S = (3.0, 20.0)
# Shorter and longer than the paused controller's ZooKeeper session, after which another broker becomes controller.
_WITHOUT_CONTROLLER_S = (3.0, 12.0)


def _cluster(stack: Stack) -> ThreeBrokers:
    assert isinstance(stack.broker, ThreeBrokers), "the episode needs three brokers"
    return stack.broker


async def _kill(stack: Stack, brokers: Sequence[int], down_s: float) -> None:
    cluster = _cluster(stack)
    stack.say(f"SIGKILL of {' and '.join(f'broker {each}' for each in brokers)}, back in {down_s:.1f} s")
    for broker in brokers:
        await asyncio.to_thread(cluster.kill_one, broker)
    await asyncio.sleep(down_s)
    for broker in brokers:
        await asyncio.to_thread(cluster.start_one, broker)
    await _all_in_sync(stack)


async def _kill_one(stack: Stack, random: Random) -> None:
    await _kill(stack, [random.choice(BROKERS)], random.uniform(*_ONE_DOWN_S))


ONE_OF_THREE_KILLED = Fault("one of three brokers killed and started again", _kill_one)


async def _kill_two(stack: Stack, random: Random) -> None:
    await _kill(stack, random.sample(BROKERS, 2), _TWO_DOWN_S)


TWO_OF_THREE_KILLED = Fault("two of three brokers killed for 60 s", _kill_two)


async def _kill_in_turn(stack: Stack, random: Random) -> int:
    """Kill each broker once, the next one as soon as the previous one's replicas have caught up."""
    for broker in random.sample(BROKERS, len(BROKERS)):
        await _kill(stack, [broker], _BETWEEN_TWO_S)
    return len(BROKERS)


KILLED_IN_TURN = Fault("brokers killed one after the other", _kill_in_turn)


async def _rolling_restart(stack: Stack, random: Random) -> int:
    """A rolling restart, as for an upgrade: a graceful stop and a start, and the next one once all replicas are in sync."""
    cluster = _cluster(stack)
    for broker in BROKERS:
        stack.say(f"broker {broker} stopped in order, and started again")
        await asyncio.to_thread(cluster.stop_one, broker)
        await asyncio.to_thread(cluster.start_one, broker)
        await _all_in_sync(stack)
    return len(BROKERS)


ROLLING_RESTART = Fault("rolling restart of three brokers", _rolling_restart)


async def _pause_one(stack: Stack, random: Random) -> None:
    """Pause a broker: it does not respond, and when it continues, it first still considers itself a leader."""
    cluster = _cluster(stack)
    broker, paused_s = random.choice(BROKERS), random.uniform(*_CUT_OFF_S)
    stack.say(f"broker {broker} paused for {paused_s:.1f} s")
    await asyncio.to_thread(cluster.pause_one, broker)
    try:
        await asyncio.sleep(paused_s)
    finally:
        await asyncio.to_thread(cluster.resume_one, broker)
    await _all_in_sync(stack)


CUT_OFF = Fault("one of three brokers paused", _pause_one)


async def _kill_controller(stack: Stack, random: Random) -> None:
    await _kill(stack, [await _controller(stack)], random.uniform(*_ONE_DOWN_S))


CONTROLLER_KILLED = Fault("the controller killed", _kill_controller)


async def _kill_coordinator(stack: Stack, random: Random) -> None:
    """Kill the group coordinator of a stage."""
    group = stack.pipeline.prefix + random.choice(["processor", "analytics"])
    async with admin_of(stack) as admin:
        broker = int(await admin.find_coordinator(group))
    stack.say(f"broker {broker} is the coordinator of {group}")
    await _kill(stack, [broker], random.uniform(*_ONE_DOWN_S))


COORDINATOR_KILLED = Fault("a group's coordinator killed", _kill_coordinator)


async def _start_without_controller(stack: Stack, random: Random) -> None:
    """Start a broker while there is no controller: it has no metadata until a controller sends it."""
    cluster = _cluster(stack)
    controller = await _controller(stack)
    started = random.choice([each for each in BROKERS if each != controller])
    paused_s = random.uniform(*_WITHOUT_CONTROLLER_S)
    stack.say(
        f"broker {started} started again while broker {controller}, the controller, is paused for {paused_s:.1f} s"
    )
    await asyncio.to_thread(cluster.kill_one, started)
    await asyncio.to_thread(cluster.pause_one, controller)
    try:
        starting = asyncio.create_task(asyncio.to_thread(cluster.start_one, started))
        await asyncio.sleep(paused_s)
    finally:
        await asyncio.to_thread(cluster.resume_one, controller)
    await starting
    await _all_in_sync(stack)


STARTED_WITHOUT_CONTROLLER = Fault("a broker started while the controller is paused", _start_without_controller)


async def _controller(stack: Stack) -> int:
    async with admin_of(stack) as admin:
        return int((await admin.describe_cluster())["controller_id"])


async def _all_in_sync(stack: Stack) -> None:
    """Wait until all replicas of all partitions are in sync."""

    async def in_sync() -> bool:
        try:
            async with admin_of(stack) as admin:
                topics = await admin.describe_topics()
        except (KafkaError, OSError):
            return False
        partitions = [partition for topic in topics for partition in topic["partitions"]]
        return bool(partitions) and all(len(each["isr"]) == len(BROKERS) for each in partitions)

    await eventually(in_sync, what="all replicas are in sync")
