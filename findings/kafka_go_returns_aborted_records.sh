#!/bin/sh
# kafka-go 0.4.51 (github.com/segmentio/kafka-go) with Kafka 4.4.0, a Reader whose IsolationLevel is ReadCommitted.
#
# What one would expect: the documentation says that only non-transactional and committed records are visible.
# What happens: the records of aborted transactions are returned, too. The broker sends them in any case, with a list of the aborted
# transactions, and leaves it to the client to drop them; this one parses the list and does not use it. Even the markers that end
# transactions come as messages, with a binary key and value.
# Seen, for three committed payments of 10 and two aborted ones of 1000:
#       Java's consumer: 10 10 10
#       kafka-go: 10 marker 1000 marker 10 marker 1000 marker 10
# What to do: another client for topics with transactions.
# Also reported: https://github.com/segmentio/kafka-go/issues/1332
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
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Payments {
    public static void main(String[] arguments) throws Exception {
        Map<String, Object> kafka = Map.of("bootstrap.servers", arguments[0]);
        try (Admin admin = Admin.create(kafka)) {
            admin.createTopics(List.of(new NewTopic("payments", 1, (short) 1))).all().get();
        }
        Map<String, Object> transactional = Map.of("bootstrap.servers", arguments[0], "transactional.id", "payments");
        try (var producer = new KafkaProducer<>(transactional, new StringSerializer(), new StringSerializer())) {
            producer.initTransactions();
            for (String amount : List.of("10", "1000", "10", "1000", "10")) {
                producer.beginTransaction();
                producer.send(new ProducerRecord<>("payments", 0, "p-1", amount)).get();
                if (amount.equals("10")) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            }
        }
        Map<String, Object> committed = Map.of("bootstrap.servers", arguments[0], "isolation.level", "read_committed");
        try (var consumer = new KafkaConsumer<>(committed, new StringDeserializer(), new StringDeserializer())) {
            TopicPartition partition = new TopicPartition("payments", 0);
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            List<String> amounts = new ArrayList<>();
            while (consumer.position(partition) < end) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
                    amounts.add(record.value());
                }
            }
            System.out.println("Java's consumer: " + String.join(" ", amounts));
        }
    }
}
JAVA
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
)

const lastRecord = 8 // each of the five records is followed by its transaction's marker

func main() {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers:        []string{os.Args[1]},
		Topic:          "payments",
		IsolationLevel: kafka.ReadCommitted,
	})
	context, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Print("kafka-go:")
	for offset := int64(-1); offset < lastRecord; {
		message, err := reader.ReadMessage(context)
		if err != nil {
			log.Fatal(err)
		}
		if string(message.Key) == "p-1" {
			fmt.Print(" ", string(message.Value))
		} else {
			fmt.Print(" marker")
		}
		offset = message.Offset
	}
	fmt.Println()
}
GO
{ go mod init finding && go get github.com/segmentio/kafka-go@v0.4.51 && go build -o reader .; } >go.log 2>&1 || { cat go.log; exit 1; }
java -cp 'libs/*' Payments.java "$kafka" | tee seen
./reader "$kafka" | tee -a seen
cat >stated <<'SEEN'
Java's consumer: 10 10 10
kafka-go: 10 marker 1000 marker 10 marker 1000 marker 10
SEEN
diff seen stated || { echo "changed: see above"; exit 1; }
echo "as stated: with ReadCommitted, aborted payments are read"
