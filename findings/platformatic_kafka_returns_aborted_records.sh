#!/bin/sh
# @platformatic/kafka 2.12.1 (Node 22.23.3) with Kafka 4.4.0, a consumer with isolationLevel READ_COMMITTED.
#
# What one would expect: records of aborted transactions are not delivered.
# What happens: they are dropped per answer of the broker, by one range for each producer, and a range counts only if its marker is
# in the same answer. Where a producer has aborted two transactions, the records of the first one are delivered. So are those of an
# aborted transaction that is longer than one answer (maxBytes), but for its last part.
# With one small aborted transaction, as a test would have it, all is well.
# Seen: one aborted: 2 committed
#       two aborted: 3 committed, 1 aborted
#       a long one aborted: 1 committed, 6 aborted
# What to do: another client for topics with transactions.
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
cat >Payments.java <<'JAVA'
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class Payments {
    static KafkaProducer<String, String> producer;

    static void commit(String topic) throws Exception {
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, "committed", "")).get();
        producer.commitTransaction();
    }

    static void abort(String topic, int records, String value) throws Exception {
        producer.beginTransaction();
        for (int number = 0; number < records; number++) {
            producer.send(new ProducerRecord<>(topic, 0, "aborted", value)).get();
        }
        producer.abortTransaction();
    }

    public static void main(String[] arguments) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", arguments[0]))) {
            for (String topic : List.of("one", "two", "long")) {
                admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
            }
        }
        Map<String, Object> transactional = Map.of("bootstrap.servers", arguments[0], "transactional.id", "payments");
        producer = new KafkaProducer<>(transactional, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        commit("one");
        abort("one", 1, "");
        commit("one");
        commit("two");
        abort("two", 1, "");
        commit("two");
        abort("two", 1, "");
        commit("two");
        abort("long", 8, "x".repeat(300_000));
        commit("long");
        producer.close();
    }
}
JAVA
cat >count.mjs <<'NODE'
import { Consumer, FetchIsolationLevels, MessagesStreamModes, stringDeserializers } from '@platformatic/kafka'

const topics = [['one aborted', 'one', 2], ['two aborted', 'two', 3], ['a long one aborted', 'long', 1]]
for (const [what, topic, committed] of topics) {
  const consumer = new Consumer({
    groupId: topic,
    clientId: topic,
    bootstrapBrokers: [process.argv[2]],
    deserializers: stringDeserializers
  })
  const stream = await consumer.consume({
    topics: [topic],
    mode: MessagesStreamModes.EARLIEST,
    isolationLevel: FetchIsolationLevels.READ_COMMITTED,
    maxBytes: 1_048_576
  })
  const found = { committed: 0 }
  for await (const message of stream) {
    found[message.key] = (found[message.key] ?? 0) + 1
    if (found.committed === committed) break // each topic ends with a committed record
  }
  console.log(`${what}: ${Object.entries(found).map(([key, count]) => `${count} ${key}`).join(', ')}`)
  await consumer.close(true)
}
process.exit()
NODE
npm install --silent --no-audit --no-fund --no-save node@22.23.3 @platformatic/kafka@2.12.1 >npm.log 2>&1 || { cat npm.log; exit 1; }
java -cp 'libs/*' Payments.java "$kafka"
timeout 120 node_modules/node/bin/node count.mjs "$kafka" | tee seen
cat >stated <<'SEEN'
one aborted: 2 committed
two aborted: 3 committed, 1 aborted
a long one aborted: 1 committed, 6 aborted
SEEN
diff seen stated || { echo "changed: see above"; exit 1; }
echo "as stated: with READ_COMMITTED, aborted payments are read"
