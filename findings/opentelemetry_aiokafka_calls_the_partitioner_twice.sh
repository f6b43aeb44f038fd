#!/bin/sh
# opentelemetry-instrumentation-aiokafka 0.66b1 with aiokafka 0.14.0, AIOKafkaProducer with a partitioner that takes turns.
#
# What one would expect: instrumentation observes send(), and records go to the same partitions as without it.
# What happens: before each send() the instrumentation calls the partitioner by itself, to note the partition in the span. A
# partitioner with a state, such as round robin, takes a step for the span and another one for the record. With an even number of
# partitions, half of them get no record any more, and the spans name the other half. With aiokafka's own partitioner, which chooses
# at random for records without a key, the span names a partition that the record is mostly not in.
# Seen, for eight records without a key, four partitions and a partitioner that takes turns:
#       without instrumentation: 0 1 2 3 0 1 2 3
#       with it: 1 3 1 3 1 3 1 3, in the spans: 0 2 0 2 0 2 0 2
#       with partition= in send(): 0 1 2 3 0 1 2 3, in the spans: 0 1 2 3 0 1 2 3
# What to do: choose the partition before, and give it to send(partition=...).
# Also reported, of the wrong attribute in the instrumentation of kafka-python, where it has been mended since:
# https://github.com/open-telemetry/opentelemetry-python-contrib/issues/4625
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiokafka==0.14.0 confluent-kafka==2.16.1 \
    opentelemetry-instrumentation-aiokafka==0.66b1 opentelemetry-sdk==1.45.1
cd "$folder"
cat >partitions.py <<'PYTHON'
import asyncio
from itertools import cycle

from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

mock = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 3})  # its topics have four partitions
kafka = str(next(iter(mock.list_topics(timeout=10).brokers.values()))).split("/")[0]
spans = InMemorySpanExporter()
turns = [0, 1, 2, 3, 0, 1, 2, 3]


def text(numbers):
    return " ".join(map(str, numbers))


async def partitions(given=None):
    """The partitions of eight records, and those in the spans."""
    spans.clear()
    turn = cycle(range(4))
    producer = AIOKafkaProducer(bootstrap_servers=kafka, partitioner=lambda key, partitions, available: next(turn))
    async with producer:
        sent = [
            await producer.send_and_wait("orders", b"o-%d" % number, partition=given[number] if given else None)
            for number in range(8)
        ]
    noted = [int(span.attributes["messaging.destination.partition.id"]) for span in spans.get_finished_spans()]
    return [record.partition for record in sent], noted


async def main():
    without, _ = await partitions()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    AIOKafkaInstrumentor().instrument(tracer_provider=provider)
    chosen, noted = await partitions()
    given, given_noted = await partitions(turns)
    print("without instrumentation:", text(without))
    print(f"with it: {text(chosen)}, in the spans: {text(noted)}")
    print(f"with partition= in send(): {text(given)}, in the spans: {text(given_noted)}")
    assert without == turns, "changed: the partitioner does not take turns"
    assert chosen == [1, 3] * 4 and noted == [0, 2] * 4, "changed: the partitioner is called once for each record"
    assert given == given_noted == turns, "changed: a given partition does not help"
    print("as stated: with instrumentation half of the partitions get no record")


asyncio.run(main())
PYTHON
timeout 120 venv/bin/python partitions.py 2>run.err || { tail -n 20 run.err; exit 1; }
