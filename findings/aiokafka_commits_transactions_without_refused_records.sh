#!/bin/sh
# aiokafka 0.14.0 with Kafka 4.4.0, AIOKafkaProducer with a transactional id, a record that the broker refuses.
#
# What one would expect: commit_transaction(), or the end of a transaction()'s block, raises if a record of the transaction was
# refused, and the transaction is aborted, as with Java's producer. So the input offsets that were sent to it are not committed.
# What happens: only the record's own future knows of the refusal, and nothing else asks it; the documentation's example of a stage
# that consumes, processes and produces does not, either. The transaction is committed without what was refused, and with the input
# offsets. The producer goes on with sequence numbers that the broker does not expect: each record that it sends to that partition
# from then on is refused, too, in one committed transaction after the other.
# Seen, for five orders, each in a transaction with its input offset, where the second order is larger than the topic allows:
#       Java's producer: committed: o-1; commitTransaction() raised for o-2; input offset: 1
#       aiokafka: committed: o-1; five transactions ended without an error; input offset: 5
# What to do: await the future of each record inside of the transaction, as send_and_wait() does, and after an error start a new
# producer.
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
PROPERTIES
java -cp 'libs/*' kafka.tools.StorageTool format --cluster-id "$(java -cp 'libs/*' kafka.tools.StorageTool random-uuid)" \
    --config server.properties >format.log
java -Xmx512m -cp 'libs/*' kafka.Kafka server.properties >broker.log 2>&1 &
broker=$!
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check aiokafka==0.14.0
cat >Orders.java <<'JAVA'
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Orders {
    public static void main(String[] arguments) throws Exception {
        Map<String, Object> kafka = Map.of("bootstrap.servers", arguments[0]);
        try (Admin admin = Admin.create(kafka)) {
            Map<String, String> limit = Map.of("max.message.bytes", "1000");
            admin.createTopics(List.of(
                new NewTopic("orders", 1, (short) 1),
                new NewTopic("java", 1, (short) 1).configs(limit),
                new NewTopic("aiokafka", 1, (short) 1).configs(limit))).all().get();
        }
        Map<String, Object> transactional = Map.of("bootstrap.servers", arguments[0], "transactional.id", "java");
        StringSerializer text = new StringSerializer();
        Map<String, Object> group = Map.of("bootstrap.servers", arguments[0], "group.id", "java");
        try (var producer = new KafkaProducer<>(transactional, text, text);
                var reader = new KafkaConsumer<>(group, new StringDeserializer(), new StringDeserializer())) {
            producer.initTransactions();
            for (int order = 1; order <= 2; order++) {
                producer.beginTransaction();
                producer.send(new ProducerRecord<>("java", 0, "o-" + order, order == 2 ? "x".repeat(2000) : "49.90"));
                try {
                    producer.sendOffsetsToTransaction(
                        Map.of(new TopicPartition("orders", 0), new OffsetAndMetadata(order)), reader.groupMetadata());
                    producer.commitTransaction();
                } catch (KafkaException refused) {
                    producer.abortTransaction();
                    System.out.println("raised for o-" + order);
                }
            }
        }
    }
}
JAVA
cat >orders.py <<'PYTHON'
import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

ORDERS = TopicPartition("orders", 0)
kafka = {"bootstrap_servers": sys.argv[1]}


async def send():
    """Five orders, whose futures nobody awaits inside of a transaction. Returns what raised, and what the futures say."""
    raised, refused = [], []
    async with AIOKafkaProducer(transactional_id="aiokafka", **kafka) as producer:
        for order in range(1, 6):
            try:
                async with producer.transaction():
                    value = b"x" * 2000 if order == 2 else b"49.90"
                    sent = await producer.send("aiokafka", value, key=b"o-%d" % order, partition=0)
                    await producer.send_offsets_to_transaction({ORDERS: order}, "aiokafka")
            except Exception as error:
                raised.append(f"o-{order}: {error!r}")
            await asyncio.wait([sent])
            refused += [f"o-{order}: {type(sent.exception()).__name__}"] if sent.exception() else []
    return raised, refused


async def outcome(name):
    """The committed orders of a topic, and the input offset of the group that has its name."""
    topic = TopicPartition(name, 0)
    async with AIOKafkaConsumer(group_id=name, isolation_level="read_committed", enable_auto_commit=False, **kafka) as consumer:
        consumer.assign([topic])
        await consumer.seek_to_beginning()
        end = (await consumer.end_offsets([topic]))[topic]
        committed = []
        while await consumer.position(topic) < end:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                committed += [record.key.decode() for record in records]
        return committed, await consumer.committed(ORDERS)


async def main():
    raised, refused = await send()
    print("aiokafka: raised:", *(raised or ["nothing"]))
    print("aiokafka: futures:", *refused)
    java, aiokafka = await outcome("java"), await outcome("aiokafka")
    print("Java's producer: committed:", *java[0], "input offset:", java[1])
    print("aiokafka: committed:", *aiokafka[0], "input offset:", aiokafka[1])
    assert java == (["o-1"], 1), "changed: Java's producer commits more, or less"
    assert not raised, "changed: the end of the transaction raises"
    assert aiokafka == (["o-1"], 5), "changed: the orders after the refused one are there, or their offsets are not"
    print("as stated: four of five orders are lost, and their input offsets are committed")


asyncio.run(main())
PYTHON
java -cp 'libs/*' Orders.java "$kafka" | tee java.log
[ "$(cat java.log)" = "raised for o-2" ] || { echo "changed: Java's producer does not raise"; exit 1; }
timeout 120 venv/bin/python orders.py "$kafka" 2>run.err || { tail -n 20 run.err; exit 1; }
