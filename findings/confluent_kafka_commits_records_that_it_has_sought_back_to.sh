#!/bin/sh
# confluent-kafka 2.16.1 for Python (librdkafka 2.16.0) with Kafka 4.4.0, seek() back to a record that could not be processed.
#
# What one would expect: seek() moves the consumer's position, and commit(), the automatic commit and close() commit the position. So
# a consumer that seeks back to a failed record, to try it again later, reads it again after a restart, too, as Java's consumer does.
# What happens: what is committed is not the position but the stored offset, the one after the last record that poll() returned. seek()
# leaves it as it was, so the failed record counts as processed until it has been returned again. If the consumer stops while it waits,
# or an automatic commit comes and the process dies, the group goes on behind it: the record is lost, without an error. After seek(),
# position() is -1001, and not the offset sought.
# Seen, for a consumer that has read o-1 to o-3, seeks back to o-2 and stops; the next one in its group begins with:
#       Java, automatic commit: o-2, commitSync(): o-2
#       confluent-kafka, automatic commit: o-4, commit(): o-4
#       confluent-kafka, enable.auto.offset.store=False and store_offsets() after o-1: o-2
# What to do: enable.auto.offset.store=False, and store_offsets(message) when a record has been processed.
# Also reported: https://github.com/confluentinc/confluent-kafka-python/issues/693
set -eu
folder=$(mktemp -d)
broker=
stop() {
    if [ -n "$broker" ]; then kill "$broker" && wait "$broker"; fi >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
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
group.initial.rebalance.delay.ms=0
PROPERTIES
java -cp 'libs/*' kafka.tools.StorageTool format --cluster-id "$(java -cp 'libs/*' kafka.tools.StorageTool random-uuid)" \
    --config server.properties >format.log
java -Xmx512m -cp 'libs/*' kafka.Kafka server.properties >broker.log 2>&1 &
broker=$!
cat >Seek.java <<'JAVA'
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Seek {
    static KafkaConsumer<String, String> consumer(String kafka, String group, boolean automatic) {
        Map<String, Object> settings = Map.of("bootstrap.servers", kafka, "group.id", group, "auto.offset.reset", "earliest",
            "enable.auto.commit", automatic, "max.poll.records", 1);
        var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        consumer.subscribe(List.of("orders"));
        return consumer;
    }

    static String next(KafkaConsumer<String, String> consumer) {
        while (true) {
            for (var order : consumer.poll(Duration.ofSeconds(1))) {
                return order.value();
            }
        }
    }

    static void expect(String kafka, boolean automatic) {
        String group = "java-" + automatic;
        try (var consumer = consumer(kafka, group, automatic)) {
            for (int order = 0; order < 3; order++) {
                next(consumer);
            }
            consumer.seek(new TopicPartition("orders", 0), 1);
            if (!automatic) {
                consumer.commitSync();
            }
        }
        try (var consumer = consumer(kafka, group, automatic)) {
            String seen = next(consumer);
            System.out.println("Java, " + (automatic ? "automatic commit" : "commitSync()") + ": " + seen);
            if (!seen.equals("o-2")) {
                throw new AssertionError("changed: Java's consumer has committed another offset");
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        try (var admin = Admin.create(Map.of("bootstrap.servers", arguments[0]))) {
            admin.createTopics(List.of(new NewTopic("orders", 1, (short) 1))).all().get();
        }
        StringSerializer text = new StringSerializer();
        try (var producer = new KafkaProducer<>(Map.<String, Object>of("bootstrap.servers", arguments[0]), text, text)) {
            for (int order = 1; order <= 6; order++) {
                producer.send(new ProducerRecord<>("orders", "o-" + order)).get();
            }
        }
        expect(arguments[0], true);
        expect(arguments[0], false);
    }
}
JAVA
timeout 60 java -cp 'libs/*' Seek.java "$kafka"
timeout 60 venv/bin/python - "$kafka" <<'PYTHON'
import sys

from confluent_kafka import Consumer, TopicPartition


def consumer(group, settings):
    names = {"bootstrap.servers": sys.argv[1], "group.id": group, "auto.offset.reset": "earliest"}
    created = Consumer(names | settings)
    created.subscribe(["orders"])
    return created


def following(reader):
    while True:
        message = reader.poll(1)
        if message and not message.error():
            return message


def expect(how, stated, settings, commit=False, store=False):
    reader = consumer(how, settings)
    messages = [following(reader) for _ in range(3)]
    if store:
        reader.store_offsets(messages[0])
    reader.seek(TopicPartition("orders", 0, 1))
    (position,) = reader.position([TopicPartition("orders", 0)])
    assert position.offset == -1001, f"changed: the position is {position.offset}"
    if commit:
        reader.commit(asynchronous=False)
    reader.close()
    reader = consumer(how, settings)
    seen = following(reader).value().decode()
    reader.close()
    print(f"confluent-kafka, {how}: {seen}")
    assert seen == stated, f"changed: expected {stated}"


expect("automatic commit", "o-4", {})
expect("commit()", "o-4", {"enable.auto.commit": False}, commit=True)
expect("store_offsets()", "o-2", {"enable.auto.offset.store": False}, store=True)
print("as stated: o-2, which the consumer has sought back to, is not read again")
PYTHON
