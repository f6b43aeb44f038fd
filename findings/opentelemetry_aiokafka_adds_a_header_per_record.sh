#!/bin/sh
# opentelemetry-instrumentation-aiokafka 0.66b1 with aiokafka 0.14.0, AIOKafkaProducer.send(), a list of headers used for each record.
#
# What one would expect: each record has the given headers, and one traceparent of its own.
# What happens: traceparent is appended to the caller's list. A list that is used again, such as a constant with the sender's name,
# grows with each record, and each record has the traceparent of all records before it. The consumer's instrumentation reads the
# first one: all records appear to belong to the trace of the first.
# Seen, for three records with headers=HEADERS:
#       traceparent headers in each record: 1 2 3
#       the consumer's spans are in the trace of record 1 1 1
#       with headers=list(HEADERS): 1 1 1, in the trace of record 1 2 3
# What to do: headers=list(HEADERS).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiokafka==0.14.0 confluent-kafka==2.16.1 \
    opentelemetry-instrumentation-aiokafka==0.66b1 opentelemetry-sdk==1.45.1
cd "$folder"
cat >headers.py <<'PYTHON'
import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka import Producer
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

mock = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 3})  # librdkafka's mock cluster
kafka = str(next(iter(mock.list_topics(timeout=10).brokers.values()))).split("/")[0]
HEADERS = [("source", b"shop")]
spans = InMemorySpanExporter()


def traces(kind):
    return [span.context.trace_id for span in spans.get_finished_spans() if span.kind is kind]


async def send_and_read(topic, headers):
    """How many traceparent headers each record has, and the number of the record whose trace the consumer continues."""
    spans.clear()
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for number in range(3):
            await producer.send_and_wait(topic, b"o-%d" % number, partition=0, headers=headers())
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
    async with consumer:
        consumer.assign([TopicPartition(topic, 0)])
        records = [await consumer.getone() for _ in range(3)]
    parents = [[key for key, _ in record.headers].count("traceparent") for record in records]
    sent = traces(SpanKind.PRODUCER)
    return parents, [sent.index(trace) + 1 for trace in traces(SpanKind.CONSUMER)]


async def main():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    AIOKafkaInstrumentor().instrument(tracer_provider=provider)
    parents, trace = await send_and_read("copied", lambda: list(HEADERS))
    grown, first_trace = await send_and_read("orders", lambda: HEADERS)
    print("traceparent headers in each record:", *grown)
    print("the consumer's spans are in the trace of record", *first_trace)
    print(f"with headers=list(HEADERS): {' '.join(map(str, parents))}, in the trace of record", *trace)
    assert grown == [1, 2, 3] and len(HEADERS) == 4, "changed: the caller's list does not grow"
    assert first_trace == [1, 1, 1], "changed: the consumer does not continue the first trace"
    assert parents == [1, 1, 1] and trace == [1, 2, 3], "changed: a copy does not help"
    print("as stated: each record has the trace headers of all before it, and belongs to the first one's trace")


asyncio.run(main())
PYTHON
timeout 120 venv/bin/python headers.py 2>run.err || { tail -n 20 run.err; exit 1; }
