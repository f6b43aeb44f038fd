#!/bin/sh
# confluent-kafka 2.16.1 for Python, AIOProducer (confluent_kafka.aio), with the mock cluster that its librdkafka contains.
#
# What one would expect: a record that cannot be sent fails by itself. Records of other topics are sent once, the more so with
# enable.idempotence, and those that come later are sent.
# What happens: records are buffered and sent topic by topic. If a topic's batch is refused, all that was in the buffer goes back
# into it, also the topics before, which are on their way already, and the refused record, too. So each flush() sends the delivered
# records again, and fails again; each copy is a new record to Kafka. The task that empties the buffer after buffer_timeout ends at
# the first error: a record that comes later waits until somebody calls flush(). One refused record is enough, such as one with a
# timestamp, which produce() says that it takes.
# Seen, for o-1, then o-0 with a timestamp into another topic, then o-2, then flush() twice:
#       before flush(): o-0 failed; in the topic: o-1
#       after it: o-1 o-1 o-2 o-1 o-2
# What to do: no timestamp; purge(in_queue=False, in_flight=False) after a failed record, which empties the buffer alone.
# Also reported, of the refused timestamp alone: https://github.com/confluentinc/confluent-kafka-python/issues/2320
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
cd "$folder"
cat >orders.py <<'PYTHON'
import asyncio

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.aio import AIOProducer

mock = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 3})
kafka = {"bootstrap.servers": str(next(iter(mock.list_topics(timeout=10).brokers.values())))}
buffer_timeout = 0.2  # seconds


def orders(topic):
    """The order ids in the topic, up to its end."""
    consumer = Consumer({**kafka, "group.id": "reader", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    messages = iter(lambda: consumer.poll(10), None)
    ids = []
    while not (message := next(messages)).error():
        ids.append(message.value().decode())
    consumer.close()
    return ids


async def flush(producer):
    try:
        await producer.flush()
    except NotImplementedError:
        return "failed"
    return "succeeded"


async def orders_after(expected, topic):
    """The topic's order ids, once there are as many as expected, or after ten seconds."""
    for _ in range(100):
        if len(ids := orders(topic)) >= len(expected):
            break
        await asyncio.sleep(0.1)
    return ids


async def send(topic, then_purge, expected):
    producer = AIOProducer({**kafka, "enable.idempotence": True}, buffer_timeout=buffer_timeout)
    await producer.produce(topic, b"o-1", partition=0)
    refused = await producer.produce("replayed", b"o-0", partition=0, timestamp=1795363680000)
    await asyncio.wait([refused], timeout=30)
    assert refused.done(), "changed: the record with a timestamp does not fail"
    failed = refused.exception() is not None
    if then_purge:
        await producer.purge(in_queue=False, in_flight=False)
    await producer.produce(topic, b"o-2", partition=0)
    await asyncio.sleep(10 * buffer_timeout)
    before = orders(topic)
    flushes = [await flush(producer) for _ in range(2)]
    return failed, before, flushes, await orders_after(expected, topic)


async def main():
    stated = ["o-1", "o-1", "o-2", "o-1", "o-2"]
    failed, before, flushes, after = await send("orders", then_purge=False, expected=stated)
    print("before flush(): o-0", "failed;" if failed else "was sent;", "in the topic:", *before)
    print("after it:", *after, "flush():", *flushes)
    assert failed, "changed: the record with a timestamp is sent"
    assert before == ["o-1"], "changed: o-2 is sent in time"
    assert flushes == ["failed", "failed"], "changed: the refused record is dropped"
    assert after == stated, "changed: no record is sent again"
    _, _, flushes, after = await send("purged", then_purge=True, expected=["o-1", "o-2"])
    print("with purge():", *after, "flush():", *flushes)
    assert flushes == ["succeeded", "succeeded"] and after == ["o-1", "o-2"], "changed: purge() does not help"
    print("as stated: one refused record, and each flush() sends delivered records again")


asyncio.run(main())
PYTHON
timeout 120 venv/bin/python orders.py 2>run.err || { tail -n 20 run.err; exit 1; }
