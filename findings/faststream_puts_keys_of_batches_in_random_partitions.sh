#!/bin/sh
# FastStream 0.7.8 with aiokafka 0.14.0, KafkaBroker.publish_batch() with message keys (KafkaPublishMessage).
#
# What one would expect: a message is in the partition of its key, as with publish(), so that messages of one key stay in order.
# What happens: a batch goes to one partition as a whole. Unless partition= is given, it is chosen as for a message without a key:
# at random, again for each call. The messages have their keys, but those of one key are spread over all partitions: they are read in
# another order, by several consumers of a group, joins miss them, and a compacted topic keeps several values of one key. The same
# program with FastStream's confluent broker puts each message into its key's partition.
# Seen, for 40 messages with the key user-7 in a topic of four partitions:
#       publish(): 1 partition
#       publish_batch(), a message in each call: 4 partitions
#       publish_batch() of faststream.confluent: 1 partition
# What to do: partition= in publish_batch(), for messages of that partition only, or publish() with no_confirm=True.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check faststream==0.7.8 aiokafka==0.14.0 confluent-kafka==2.16.1
cd "$folder"
cat >keys.py <<'PYTHON'
import asyncio
import logging

from confluent_kafka import Consumer, Producer, TopicPartition
from faststream import confluent, kafka

logging.disable()
mock = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 3})  # its topics have four partitions
address = str(next(iter(mock.list_topics(timeout=10).brokers.values()))).split("/")[0]
key, messages = b"user-7", 40


def partitions(topic):
    """The partitions that have messages, once all messages are there."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "reader", "log_level": 3})
    sizes = [consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[1] for partition in range(4)]
    consumer.close()
    assert sum(sizes) == messages, f"changed: {sum(sizes)} messages in {topic}"
    return sum(size > 0 for size in sizes)


def text(count):
    return "1 partition" if count == 1 else f"{count} partitions"


async def main():
    async with kafka.KafkaBroker(address) as broker:
        for number in range(messages):
            await broker.publish(f"o-{number}", topic="single", key=key)
        for number in range(messages):
            await broker.publish_batch(kafka.KafkaPublishMessage(f"o-{number}", key=key), topic="batches")
    async with confluent.KafkaBroker(address) as broker:
        for number in range(messages):
            await broker.publish_batch(confluent.KafkaPublishMessage(f"o-{number}", key=key), topic="confluent")
    single, batches, other = map(partitions, ("single", "batches", "confluent"))
    print("publish():", text(single))
    print("publish_batch(), a message in each call:", text(batches))
    print("publish_batch() of faststream.confluent:", text(other))
    assert single == 1, "changed: publish() spreads a key"
    assert batches > 1, "changed: publish_batch() puts a key into one partition"
    assert other == 1, "changed: the confluent broker spreads a key"
    print("as stated: messages of one key are spread over the partitions")


asyncio.run(main())
PYTHON
timeout 120 venv/bin/python keys.py 2>run.err || { tail -n 20 run.err; exit 1; }
