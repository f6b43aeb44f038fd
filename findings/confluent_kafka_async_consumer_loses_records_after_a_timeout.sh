#!/bin/sh
# confluent-kafka 2.16.1 for Python, AIOConsumer (confluent_kafka.aio), with the mock cluster that its librdkafka contains.
#
# What one would expect: an await that times out or is cancelled has read nothing; the next poll() returns the next record.
# What happens: poll() blocks in a thread, which nobody stops. It goes on after its await has ended, takes the next record, and drops
# it. That record's offset is stored and committed like any other, so it is not read after a restart either. Each timeout costs
# a record: the threads take turns, and a later poll() waits for all of them. The exception comes before the record does, so nothing
# says that one is missing.
# Seen, for orders o-1 to o-6 sent after three timeouts of asyncio.timeout() around poll():
#       read: o-4 o-5 o-6, committed: 7 of 7
#       with the limit in poll(timeout) instead: o-1 o-2 o-3 o-4 o-5 o-6, committed: 7 of 7
# What to do: limit the time by poll(timeout) alone, and cancel no task that waits for poll().
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
cd "$folder"
cat >orders.py <<'PYTHON'
import asyncio
from concurrent.futures import ThreadPoolExecutor, wait

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.aio import AIOConsumer

mock = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 3})
kafka = {"bootstrap.servers": str(next(iter(mock.list_topics(timeout=10).brokers.values()))), "log_level": 3}
limit = 0.2  # seconds


class Threads(ThreadPoolExecutor):
    """Remembers the last call, so that it can be waited for after its await has ended."""

    def submit(self, *call):
        self.last = super().submit(*call)
        return self.last


def send(topic, *numbers):
    producer = Producer(kafka)
    for number in numbers:
        producer.produce(topic, b"o-%d" % number, partition=0)
    assert producer.flush(30) == 0


async def timed_out(consumer):
    try:
        async with asyncio.timeout(limit):
            return await consumer.poll(60)
    except TimeoutError:
        return None


async def limited(consumer):
    return await consumer.poll(limit)


async def read(topic, poll):
    """What is read of six orders, the first three of them sent after three polls that time out, and what is committed."""
    send(topic, 0)
    threads = Threads()
    consumer = AIOConsumer({**kafka, "group.id": topic, "auto.offset.reset": "earliest"}, executor=threads)
    await consumer.subscribe([topic])
    assert (await consumer.poll(60)).value() == b"o-0"  # it has joined the group
    calls = []
    for _ in range(3):
        assert await poll(consumer) is None, "changed: no timeout"
        calls.append(threads.last)
    send(topic, 1, 2, 3)
    await asyncio.to_thread(wait, calls, timeout=90)
    send(topic, 4, 5, 6)
    orders = []
    while not orders or orders[-1] != "o-6":
        message = await consumer.poll(60)
        assert message is not None, f"changed: no record after {orders}"
        orders.append(message.value().decode())
    await consumer.close()  # commits
    threads.shutdown()
    reader = Consumer({**kafka, "group.id": topic})
    (committed,) = reader.committed([TopicPartition(topic, 0)], timeout=30)
    reader.close()
    return orders, committed.offset


async def main():
    lossy, committed = await read("timed-out", timed_out)
    print(f"read: {' '.join(lossy)}, committed: {committed} of 7")
    whole, committed_too = await read("limited", limited)
    print(f"with the limit in poll(timeout) instead: {' '.join(whole)}, committed: {committed_too} of 7")
    assert lossy == ["o-4", "o-5", "o-6"], "changed: a timeout does not cost a record"
    assert whole == [f"o-{number}" for number in range(1, 7)], "changed: poll(timeout) does not help"
    assert committed == committed_too == 7, "changed: not all records are committed"
    print("as stated: each timeout around poll() costs a record, and its offset is committed")


asyncio.run(main())
PYTHON
timeout 200 venv/bin/python orders.py 2>run.err || { tail -n 20 run.err; exit 1; }
