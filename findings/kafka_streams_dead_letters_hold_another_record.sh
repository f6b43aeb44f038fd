#!/bin/sh
# Kafka Streams 4.4.0, the dead letter queue (errors.dead.letter.queue.topic.name, KIP-1034) with emitStrategy(onWindowClose()).
#
# What one would expect: a dead letter holds the record that could not be processed. Once the fault is mended it can be sent again.
# What happens: a dead letter holds the input record that was being processed at that time. The result of a window is processed when a
# record of a later window closes it, mostly one of another key. If the result fails, that record is in the dead letter, and its
# offset in the headers. It is counted in its own window as well. So the result that failed is lost and named
# nowhere, and if the dead letter is sent again, another product's order counts twice. With suppress() the dead letter has a record
# of the window that failed.
# Seen, for two orders of p1 and one of p2 in the first minute, and one of p3 and p1 each in the second. p2's result fails:
#       onWindowClose(): p1=2, dead letter: p3 of offset 3; after it has been sent again: p1=1 p3=2
#       suppress(): p1=2, dead letter: p2 of offset 1; after it has been sent again: p1=1 p3=1
# What to do: suppress(untilWindowCloses()), or catch exceptions after the window, and write its key and time to a topic of your own.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >pom.xml <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-streams-test-utils</artifactId><version>4.4.0</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
mvn -B -q -ntp org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=libs -DincludeScope=runtime
cat >DeadLetters.java <<'JAVA'
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.TestOutputTopic;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.errors.LogAndContinueProcessingExceptionHandler;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindowedKStream;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.test.TestRecord;

public class DeadLetters {
    static boolean mended;

    interface Counting {
        KTable<Windowed<String>, Long> count(TimeWindowedKStream<String, String> orders);
    }

    static String result(String product, long count) {
        if (product.equals("p2") && !mended) {
            throw new IllegalStateException("no such product");
        }
        return product + "=" + count;
    }

    /** An order's value is the second in which it was placed. */
    static StreamsBuilder counts(Counting counting) {
        StreamsBuilder builder = new StreamsBuilder();
        var second = Consumed.with(Serdes.String(), Serdes.String())
            .withTimestampExtractor((record, before) -> 1000 * Long.parseLong((String) record.value()));
        var minutes = TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1));
        counting.count(builder.stream("orders", second).groupByKey().windowedBy(minutes))
            .toStream((window, count) -> window.key())
            .mapValues((product, count) -> result(product, count))
            .to("results", Produced.with(Serdes.String(), Serdes.String()));
        return builder;
    }

    static Properties settings() {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "counts");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "unused:1");
        settings.put(StreamsConfig.PROCESSING_EXCEPTION_HANDLER_CLASS_CONFIG, LogAndContinueProcessingExceptionHandler.class.getName());
        settings.put(StreamsConfig.ERRORS_DEAD_LETTER_QUEUE_TOPIC_NAME_CONFIG, "dead-letters");
        return settings;
    }

    static String header(TestRecord<String, String> record, String name) {
        return new String(record.headers().lastHeader("__streams.errors." + name).value());
    }

    static String seen(Counting counting) {
        mended = false;
        try (TopologyTestDriver driver = new TopologyTestDriver(counts(counting).build(), settings())) {
            TestInputTopic<String, String> orders = driver.createInputTopic("orders", new StringSerializer(), new StringSerializer());
            var results = driver.createOutputTopic("results", new StringDeserializer(), new StringDeserializer());
            var dead = driver.createOutputTopic("dead-letters", new StringDeserializer(), new StringDeserializer());
            for (String[] order : new String[][] {{"p1", "0"}, {"p2", "1"}, {"p1", "2"}, {"p3", "70"}, {"p1", "71"}}) {
                orders.pipeInput(order[0], order[1]);
            }
            List<String> first = results.readValuesToList();
            List<TestRecord<String, String>> letters = dead.readRecordsToList();
            List<String> texts = new ArrayList<>();
            mended = true;
            for (TestRecord<String, String> letter : letters) {
                texts.add(letter.key() + " of offset " + header(letter, "offset"));
                orders.pipeInput(letter.key(), letter.value());
            }
            orders.pipeInput("p4", "140"); // closes the second minute
            return String.join(" ", first) + ", dead letter: " + String.join(" ", texts)
                + "; after it has been sent again: " + String.join(" ", results.readValuesToList());
        }
    }

    public static void main(String[] none) {
        String closing = seen(orders -> orders.emitStrategy(EmitStrategy.onWindowClose()).count());
        String suppressed = seen(orders -> orders.count(Materialized.with(Serdes.String(), Serdes.Long()))
            .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded())));
        System.out.println("onWindowClose(): " + closing);
        System.out.println("suppress(): " + suppressed);
        if (!closing.equals("p1=2, dead letter: p3 of offset 3; after it has been sent again: p1=1 p3=2")) {
            throw new AssertionError("changed: with onWindowClose()");
        }
        if (!suppressed.equals("p1=2, dead letter: p2 of offset 1; after it has been sent again: p1=1 p3=1")) {
            throw new AssertionError("changed: with suppress()");
        }
        System.out.println("as stated: p2's result is lost, and p3's order, which is in its dead letter, counts twice");
    }
}
JAVA
java -cp 'libs/*' DeadLetters.java 2>run.err || { tail -n 20 run.err; exit 1; }
