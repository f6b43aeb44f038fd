"""Generates a stream of realistic orders into ``orders``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that this file can be started by its path alone

from libs.runtime.service.startup_signals import exit_on_stop_signals

if __name__ == "__main__":
    exit_on_stop_signals()  # the imports below take a second or more

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from libs.events.rights import GENERATOR
from libs.events.topics import ORDERS
from libs.runtime.backoff import Backoff
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import Kafka
from libs.runtime.kafka_client.closing import close_producer
from libs.runtime.kafka_client.outages import is_outage
from libs.runtime.kafka_client.rebootstrap import rebootstrap_when_silent
from libs.runtime.life_cycle import Context, run_service
from libs.runtime.service.stop_requests import unless_stopped
from libs.runtime.timing import HEALTHY_FOR_S
from services.generator.faults import KINDS
from services.generator.generation import Monitor, generate
from services.generator.generator_metrics import GeneratorMetrics
from services.generator.generator_settings import GeneratorSettings, parse_faults, parse_rate
from services.generator.order_sender import OrderSender, idempotent_producer
from services.generator.order_stream import OrderStream

log = structlog.get_logger()


async def run(context: Context[GeneratorSettings]) -> None:
    """Generate orders until the count is reached or the service is asked to stop."""
    settings = context.settings
    metrics = GeneratorMetrics(context.registry, KINDS, settings.generator_buffer)
    producer = await unless_stopped(started_producer(settings.kafka), context.stop)
    if producer is None:
        return
    sender = OrderSender(
        producer,
        topic=settings.topic_prefix + ORDERS.name,
        partitions=settings.topic_partitions,
        capacity=settings.generator_buffer,
        health=context.health,
        metrics=metrics,
    )
    monitor = Monitor(sender, context.health, metrics)
    try:
        async with sender, rebootstrapping(settings.kafka, producer, sender):
            await generate(
                order_stream(settings, context.clock.now_s()),
                sender,
                monitor,
                context.clock,
                context.stop,
                settings.generator_count,
            )
    finally:
        await close_producer(producer)
    log.info("all orders sent", sent=sender.confirmed, faulty=monitor.faulty)
    if settings.generator_restart in {"unless-stopped", "always"} and not context.stop.is_set():
        log.info("waiting to be stopped", advice="with GENERATOR_RESTART=on-failure the generator would end")
        await _wait(context)


async def _wait(context: Context[GeneratorSettings]) -> None:
    while not context.stop.is_set():
        context.health.beat("connected")
        await unless_stopped(asyncio.sleep(HEALTHY_FOR_S / 3), context.stop)


@asynccontextmanager
async def rebootstrapping(kafka: Kafka, producer: AIOKafkaProducer, sender: OrderSender) -> AsyncIterator[None]:
    """Inside the block, ``producer`` reconnects to brokers whose addresses have changed."""
    task = asyncio.create_task(rebootstrap_when_silent(kafka, producer.client, sender.silent_for_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def order_stream(settings: GeneratorSettings, now_s: float) -> OrderStream:
    """The stream of orders for these settings, starting at ``now_s`` or before it by their backfill time."""
    seed = secrets.randbits(32) if settings.generator_seed is None else settings.generator_seed
    now_ms = int(now_s * 1000)
    start_ms = now_ms - settings.generator_backfill_seconds * 1000
    log.info(
        "generation starts",
        seed=seed,
        rate=settings.generator_rate,
        count=settings.generator_count,
        faults=settings.generator_faults,
        event_time_starts=start_ms / 1000,
    )
    return OrderStream(
        rate=parse_rate(settings.generator_rate),
        faults=parse_faults(settings.generator_faults),
        seed=seed,
        start_ms=start_ms,
        now_s=now_ms / 1000,
    )


async def started_producer(kafka: Kafka) -> AIOKafkaProducer:
    """A producer that is connected to the broker; waits for it however long it takes.

    Raises:
        PipelineError: the broker does not allow this client to produce.
    """
    backoff = Backoff()
    while True:
        producer = idempotent_producer(kafka)
        try:
            await producer.start()
        except KafkaError as error:
            await close_producer(producer)
            if not (error.retriable or is_outage(error)):
                raise PipelineError(
                    f"the producer cannot start: {error!r}", advice="allow this client idempotent writes"
                ) from error
            delay_s = backoff.next_s()
            log.warning("waiting for the broker", error=repr(error), retry_in_s=delay_s)
            await asyncio.sleep(delay_s)
        except BaseException:
            await close_producer(producer)
            raise
        else:
            return producer


def main() -> None:
    """Run the service."""
    run_service("generator", GeneratorSettings, [ORDERS], run, lambda _: GENERATOR)


if __name__ == "__main__":
    main()
