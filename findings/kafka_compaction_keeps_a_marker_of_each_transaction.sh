#!/bin/sh
# Kafka 4.4.0 with aiokafka 0.14.0, a compacted topic that is written in transactions, such as the changelog of a stage.
#
# What one would expect: after a compaction the topic has about one record for each key, so its size depends on the number of keys.
# What happens: each transaction leaves a marker, a batch of 78 bytes with an offset of its own, in each partition that it has written to.
# Compaction removes the records at once, but a marker, like a tombstone, only delete.retention.ms after the first compaction that has seen
# it: a day by default (KIP-534). So the size depends on the number of transactions of a day, and whoever restores state from the topic reads
# all of them. A stage that commits ten times a second leaves 864,000 markers, 67 MB, a day in each partition.
# Seen, after 1,000 transactions with the same key, one after the other, compacted until fewer than 20 records were left:
#       delete.retention.ms=86400000 (the default): 1,000 markers in the log, at least
#       delete.retention.ms=1000: fewer than 100 markers, some seconds later
# What to do: a delete.retention.ms of minutes or hours for a changelog. A restore must not take longer than that: it could read a record and
# miss its tombstone.
set -eu
folder=$(mktemp -d)
broker=
stop() {
    if [ -n "$broker" ]; then kill "$broker" && wait "$broker"; fi >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT
cd "$folder"
cat >pom.xml <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.4.0</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
mvn -B -q -ntp org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=libs -DincludeScope=runtime
free_port() {
    python3 -c 'import socket; free = socket.socket(); free.bind(("127.0.0.1", 0)); print(free.getsockname()[1])'
}
kafka=127.0.0.1:$(free_port) controller=127.0.0.1:$(free_port)
cat >server.properties <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://$kafka,CONTROLLER://$controller
log.dirs=$folder/data
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.cleaner.backoff.ms=500
log.cleaner.dedupe.buffer.size=16777216
PROPERTIES
java -cp 'libs/*' kafka.tools.StorageTool format --cluster-id "$(java -cp 'libs/*' kafka.tools.StorageTool random-uuid)" \
    --config server.properties >format.log
java -Xmx512m -cp 'libs/*' kafka.Kafka server.properties >broker.log 2>&1 &
broker=$!
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check aiokafka==0.14.0
cat >changelog.py <<'PYTHON'
import asyncio
import sys
import time
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError

TRANSACTIONS = 1000
# A segment can be compacted after a second.
SMALL = {"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"}
SHORT = SMALL | {"delete.retention.ms": "1000"}
kafka, data = {"bootstrap_servers": sys.argv[1]}, Path(sys.argv[2])


async def make_topics():
    deadline_s = time.monotonic() + 60
    while True:
        admin = AIOKafkaAdminClient(**kafka)
        try:
            await admin.start()
            await admin.create_topics([NewTopic(name, 1, 1, topic_configs=config) for name, config in (("day", SMALL), ("second", SHORT))])
            return
        except KafkaConnectionError:
            assert time.monotonic() < deadline_s, "the broker did not start"
            await asyncio.sleep(0.5)
        finally:
            await admin.close()


def count(topic):
    """The records and the markers in the partition's log: batches that are control batches, and the records of the others."""
    records = markers = 0
    for segment in (data / f"{topic}-0").glob("*.log"):
        log, at = segment.read_bytes(), 0
        while at + 61 <= len(log):
            attributes = int.from_bytes(log[at + 21 : at + 23], "big")
            in_batch = int.from_bytes(log[at + 57 : at + 61], "big", signed=True)
            if attributes & 0x20:
                markers += in_batch
            else:
                records += in_batch
            at += 12 + int.from_bytes(log[at + 8 : at + 12], "big")
    return records, markers


async def main():
    await make_topics()
    async with AIOKafkaProducer(transactional_id="stage", **kafka) as producer:
        async def commit():
            async with producer.transaction():
                for topic in ("day", "second"):
                    await producer.send(topic, b"state", key=b"prod-1", partition=0)

        for _ in range(TRANSACTIONS):
            await commit()
        deadline_s = time.monotonic() + 120
        while True:
            await commit()  # the newest segment is not compacted
            (day_records, day_markers), (_, second_markers) = count("day"), count("second")
            if day_records < 20 and second_markers < 100:
                break
            assert time.monotonic() < deadline_s, (day_records, day_markers, second_markers)
            await asyncio.sleep(1)
    print(f"delete.retention.ms=86400000: {day_records} records, {day_markers} markers")
    print(f"delete.retention.ms=1000: {second_markers} markers")
    assert day_markers >= TRANSACTIONS


asyncio.run(main())
PYTHON
venv/bin/python changelog.py "$kafka" "$folder/data" || {
    echo "the behaviour has changed, or the broker did not start"
    exit 1
}
