#!/bin/sh
# aiokafka 0.14.0 with Kafka 4.4.0, AIOKafkaConsumer with isolation_level="read_committed" and a compacted topic that is written in
# transactions, such as the changelog of a stage.
#
# What one would expect: compaction removes records and transaction markers, and a reader goes on with what is left, as Java's
# consumer does.
# What happens: of the last batch of each producer that is still known, compaction removes the content and keeps the header, since it
# has the producer's sequence number. Where a producer's last transaction left nothing in a partition, because its record was refused or
# it had crashed before it sent one, that batch is the one of the marker. aiokafka takes a batch of markers without a marker for an
# error (Java's consumer had this fault until KAFKA-7467). Every consumer raises it at that place, a restarted one as well, until a later
# compaction drops the header. That happens only once the broker has forgotten the producer, a day after its last transaction by default.
# Seen, after a transaction whose only record was refused, and three records by another producer:
#       aiokafka: KafkaError('Control batch did not contain any records')
#       aiokafka, read_uncommitted: 3
#       Java's consumer, read_committed: 3
# What to do: keep markers for longer than the broker knows a producer (delete.retention.ms above producer.id.expiration.ms). With the
# defaults, a day each, the time in which it can happen is short; with a smaller delete.retention.ms it is not.
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
cat >ReadState.java <<'JAVA'
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

public class ReadState {
    public static void main(String[] arguments) {
        TopicPartition state = new TopicPartition("state", 0);
        StringDeserializer text = new StringDeserializer();
        Map<String, Object> kafka = Map.of("bootstrap.servers", arguments[0], "isolation.level", "read_committed");
        try (var consumer = new KafkaConsumer<>(kafka, text, text)) {
            consumer.assign(List.of(state));
            consumer.seekToBeginning(List.of(state));
            long end = consumer.endOffsets(List.of(state)).get(state);
            String last = "nothing";
            while (consumer.position(state) < end) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) last = record.value();
            }
            System.out.println(last);
        }
    }
}
JAVA
cat >state.py <<'PYTHON'
import asyncio
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError

STATE = TopicPartition("state", 0)
# Markers are removed by the second compaction instead of after a day, and a segment can be compacted after a second.
SMALL = {"cleanup.policy": "compact", "delete.retention.ms": "0", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"}
kafka = {"bootstrap_servers": sys.argv[1]}


async def make_topic():
    deadline_s = time.monotonic() + 60
    while True:
        admin = AIOKafkaAdminClient(**kafka)
        try:
            await admin.start()
            await admin.create_topics([NewTopic("state", 1, 1, topic_configs=SMALL | {"max.message.bytes": "1000"})])
            return
        except KafkaConnectionError:
            assert time.monotonic() < deadline_s, "the broker did not start"
            await asyncio.sleep(0.5)
        finally:
            await admin.close()


async def read(isolation_level="read_committed"):
    async with AIOKafkaConsumer(isolation_level=isolation_level, enable_auto_commit=False, **kafka) as consumer:
        consumer.assign([STATE])
        await consumer.seek_to_beginning()
        end = (await consumer.end_offsets([STATE]))[STATE]
        values = []
        while await consumer.position(STATE) < end:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                values += [record.value for record in records]
        return values


async def main():
    await make_topic()
    async with AIOKafkaProducer(transactional_id="stage", **kafka) as producer:
        await producer.begin_transaction()
        sent = await producer.send("state", b"x" * 2000, key=b"prod-1", partition=0)
        await asyncio.wait([sent])
        assert isinstance(sent.exception(), MessageSizeTooLargeError)
        await producer.abort_transaction()
    raised = None
    async with AIOKafkaProducer(**kafka) as producer:
        for count in range(1, 31):  # until the second compaction, which needs new records
            await producer.send_and_wait("state", b"%d" % count, key=b"prod-1", partition=0)
            await asyncio.sleep(1.5)
            try:
                values = await read()
                assert values[-1] == b"%d" % count
            except KafkaError as error:
                raised = error
                break
    print(f"aiokafka, after {count} records: {raised!r}")
    assert raised is not None, "changed: aiokafka reads a topic whose markers were compacted"
    assert "did not contain any records" in str(raised), "changed: another error"
    try:
        await read()
    except KafkaError:
        print("aiokafka, a new consumer: the same")
    else:
        raise SystemExit("changed: a second consumer reads it")
    uncommitted = await read("read_uncommitted")
    print("aiokafka, read_uncommitted:", uncommitted[-1].decode())
    assert uncommitted[-1] == b"%d" % count, "changed: with read_uncommitted it stops, too"
    print(count, file=open("count", "w"))


asyncio.run(main())
PYTHON
timeout 120 venv/bin/python state.py "$kafka" 2>run.err || { tail -n 20 run.err; exit 1; }
java=$(java -cp 'libs/*' ReadState.java "$kafka")
echo "Java's consumer: $java of $(cat count) records"
[ "$java" = "$(cat count)" ] || { echo "changed: Java's consumer does not read it, either"; exit 1; }
echo "as stated: aiokafka stops at a marker that was compacted"
