#!/bin/sh
# Kafka Streams 4.4.0 with Kafka 4.4.0, the dead letter queue (errors.dead.letter.queue.topic.name, KIP-1034) with exactly_once_v2.
#
# What one would expect: a record that stops the application (LogAndFailProcessingExceptionHandler) is in the dead letter queue
# afterwards, whatever processing.guarantee says, so that the alert on that topic fires and somebody finds the record.
# What happens: the dead letter belongs to the transaction that the failure aborts. For consumers with read_committed the queue stays
# empty, also after any number of restarts, while the application stops at the same record each time. With at_least_once, the dead
# letter is there. So is it with exactly_once_v2 and LogAndContinueProcessingExceptionHandler, whose transaction is committed.
# Seen, for the third of four orders, which cannot be processed:
#       at_least_once, fail: stopped, 1 dead letter
#       exactly_once_v2, fail: stopped, 0 dead letters
#       exactly_once_v2, continue: runs on, 1 dead letter
# What to do: watch the application's state and log; with read_uncommitted the dead letter can be read, among those of other aborts.
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
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-streams</artifactId><version>4.4.0</version></dependency>
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
cat >DeadLetters.java <<'JAVA'
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.LogAndContinueProcessingExceptionHandler;
import org.apache.kafka.streams.errors.LogAndFailProcessingExceptionHandler;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

public class DeadLetters {
    static final List<String> ORDERS = List.of("o-1", "o-2", "broken", "o-4");
    static String kafka;

    static String checked(String order) {
        if (order.equals("broken")) {
            throw new IllegalArgumentException(order);
        }
        return order;
    }

    static StreamsBuilder topology(String name) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(name + "-orders").mapValues(DeadLetters::checked).to(name + "-checked");
        return builder;
    }

    static void prepare(String name) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", kafka))) {
            var topics = List.of("orders", "checked", "dead").stream().map(topic -> new NewTopic(name + "-" + topic, 1, (short) 1));
            admin.createTopics(topics.toList()).all().get(120, TimeUnit.SECONDS);
        }
        Map<String, Object> settings = Map.of("bootstrap.servers", kafka);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (String order : ORDERS) {
                producer.send(new ProducerRecord<>(name + "-orders", order, order)).get();
            }
        }
    }

    /** The records of a topic up to its end. */
    static int records(String topic) {
        Map<String, Object> settings = Map.of("bootstrap.servers", kafka, "isolation.level", "read_committed");
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            TopicPartition partition = new TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            int count = 0;
            while (consumer.position(partition) < end) {
                count += consumer.poll(Duration.ofMillis(100)).count();
            }
            return count;
        }
    }

    /** Whether the application stops, and how many dead letters there are then. */
    static String seen(String name, String guarantee, Class<?> handler) throws Exception {
        prepare(name);
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, name);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, kafka);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, "state");
        settings.put("auto.offset.reset", "earliest");
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        settings.put(StreamsConfig.PROCESSING_EXCEPTION_HANDLER_CLASS_CONFIG, handler);
        settings.put(StreamsConfig.ERRORS_DEAD_LETTER_QUEUE_TOPIC_NAME_CONFIG, name + "-dead");
        CountDownLatch stopped = new CountDownLatch(1);
        boolean runsOn = false;
        try (KafkaStreams streams = new KafkaStreams(topology(name).build(), settings)) {
            streams.setUncaughtExceptionHandler(error -> {
                stopped.countDown();
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.start();
            for (int tenths = 0; tenths < 1200 && !runsOn && !stopped.await(100, TimeUnit.MILLISECONDS); tenths++) {
                runsOn = records(name + "-checked") == ORDERS.size() - 1;
            }
        }
        if (!runsOn && stopped.getCount() > 0) {
            throw new AssertionError(name + " neither stopped nor processed the other orders within two minutes");
        }
        int letters = records(name + "-dead");
        return (runsOn ? "runs on" : "stopped") + ", " + letters + (letters == 1 ? " dead letter" : " dead letters");
    }

    static void check(String what, String seen, String stated) {
        System.out.println(what + ": " + seen);
        if (!seen.equals(stated)) {
            throw new AssertionError("changed: " + what);
        }
    }

    public static void main(String[] arguments) throws Exception {
        kafka = arguments[0];
        Class<?> fail = LogAndFailProcessingExceptionHandler.class, proceed = LogAndContinueProcessingExceptionHandler.class;
        check("at_least_once, fail", seen("alo", "at_least_once", fail), "stopped, 1 dead letter");
        check("exactly_once_v2, fail", seen("eos", "exactly_once_v2", fail), "stopped, 0 dead letters");
        check("exactly_once_v2, continue", seen("eos-continue", "exactly_once_v2", proceed), "runs on, 1 dead letter");
        System.out.println("as stated: the dead letter of a record that stops the application is aborted with its transaction");
    }
}
JAVA
java -cp 'libs/*' DeadLetters.java "$kafka" 2>run.err || { tail -n 20 run.err; exit 1; }
