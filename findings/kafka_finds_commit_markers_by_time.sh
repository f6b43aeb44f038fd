#!/bin/sh
# Kafka 4.4.0 (also 3.9.2), looking up offsets by time (offsetsForTimes) in a topic that a transactional producer writes.
#
# What one would expect: the first record with that timestamp or a later one, and nothing if every record is older.
# What happens: the markers that end transactions take part, although no consumer ever sees one. Records have the timestamps that
# the producer gives them; a marker has the broker's time of the commit. Where transactions write records of the past (a backfill,
# a replay, a stage that catches up), each time after the first transaction's records finds the first marker. A group that is
# reset to a time after all records (kafka-consumer-groups --reset-offsets --to-datetime) reads nearly everything again.
# Seen, for five days with two records each, sent day by day:
#       from 2026-11-23T00:00:00Z: offset 6 of 10 without transactions, offset 2 of 15 with them
#       from 2026-11-25T00:00:00Z: none without transactions, offset 2 of 15 with them
#       a group reset to 2026-11-25T00:00:00.000 is at offset 2 of 15
# What to do: read from the offset that is found, and skip what is older than the time asked for.
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
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.4.0</version></dependency>
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
cat >Times.java <<'JAVA'
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Times {
    static final TopicPartition PLAIN = new TopicPartition("plain", 0);
    static final TopicPartition TRANSACTIONS = new TopicPartition("transactions", 0);
    static KafkaConsumer<String, String> consumer;

    static void send(KafkaProducer<String, String> producer, String topic, int day) throws Exception {
        for (int hour = 10; hour < 12; hour++) {
            long timestamp = Instant.parse("2026-11-%dT%d:00:00Z".formatted(day, hour)).toEpochMilli();
            producer.send(new ProducerRecord<>(topic, 0, timestamp, "o-1", "{\"amount\": 49.90}")).get();
        }
    }

    static void expect(TopicPartition partition, String from, Integer stated) {
        OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, Instant.parse(from).toEpochMilli())).get(partition);
        System.out.println(partition.topic() + " from " + from + ": " + found);
        if (stated == null ? found != null : found == null || found.offset() != stated) {
            throw new AssertionError("changed: expected offset " + stated);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Object> kafka = Map.of("bootstrap.servers", arguments[0]);
        try (Admin admin = Admin.create(kafka)) {
            admin.createTopics(List.of(new NewTopic("plain", 1, (short) 1), new NewTopic("transactions", 1, (short) 1))).all().get();
        }
        StringSerializer text = new StringSerializer();
        Map<String, Object> transactional = Map.of("bootstrap.servers", arguments[0], "transactional.id", "backfill");
        try (var plain = new KafkaProducer<>(kafka, text, text); var producer = new KafkaProducer<>(transactional, text, text)) {
            producer.initTransactions();
            for (int day = 20; day < 25; day++) {
                send(plain, "plain", day);
                producer.beginTransaction();
                send(producer, "transactions", day);
                producer.commitTransaction();
            }
        }
        Map<String, Object> committed = Map.of("bootstrap.servers", arguments[0], "isolation.level", "read_committed");
        consumer = new KafkaConsumer<>(committed, new StringDeserializer(), new StringDeserializer());
        expect(PLAIN, "2026-11-23T00:00:00Z", 6);
        expect(TRANSACTIONS, "2026-11-23T00:00:00Z", 2);
        expect(PLAIN, "2026-11-25T00:00:00Z", null);
        expect(TRANSACTIONS, "2026-11-25T00:00:00Z", 2);
        consumer.close();
    }
}
JAVA
java -cp 'libs/*' Times.java "$kafka"
java -cp 'libs/*' org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$kafka" --group reader \
    --topic transactions --reset-offsets --to-datetime 2026-11-25T00:00:00.000 --execute >reset.log 2>&1 || { cat reset.log; exit 1; }
offset=$(sed -n 's/.* transactions  *0  *\([0-9]*\).*/\1/p' reset.log)
echo "a group reset to 2026-11-25T00:00:00.000: offset $offset"
[ "$offset" = 2 ] || { echo "changed: the group is at another offset"; exit 1; }
echo "as stated: times after the first transaction's records find its marker, at offset 2"
