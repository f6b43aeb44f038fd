#!/bin/sh
# Kafka Streams 4.4.0 (also 3.9.2), the left join of two streams with a grace period (JoinWindows.ofTimeDifferenceAndGrace).
#
# What one would expect: a record has a result without a partner only if none has come when its window and the grace period are
# over. So each order is either paid or not paid, in whatever order records come, as long as none is later than the grace period.
# What happens: a record that is late by more than the window is not kept for the grace period. Its result without a partner is
# emitted at once, and a partner that comes a moment later makes another result. If both sides are late together, as after a stall
# of one producer, each pair is in the results twice: the order is paid and not paid, and sums have its amount in both. There is no
# error and no warning, and the metric of dropped records stays 0. The outer join does the same.
# Seen, for 600 orders in ten minutes, each paid after ten seconds, with a window of 5 minutes and a grace period of 30; what was
# sent in two of the ten minutes is late:
#       in order: 600 paid, 0 not paid
#       late by 4 minutes: 600 paid, 0 not paid
#       late by 6 minutes: 600 paid, 120 not paid
# What to do: a window as long as records may be late, and the two times compared after the join.
# Also reported: https://github.com/apache/kafka/pull/22410
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
cat >Payments.java <<'JAVA'
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.ValueJoiner;

public class Payments {
    static final long START = Instant.parse("2026-11-27T10:00:00Z").getEpochSecond();
    static final int ORDERS = 600; // one a second

    /** What is sent of an order, and the second in which it comes. */
    record Sent(String topic, String order, long time, long arrival) {}

    /** The orders of the third and fourth minute, and their payments, come late. */
    static List<Sent> sent(long minutesLate) {
        List<Sent> all = new ArrayList<>();
        for (int order = 0; order < ORDERS; order++) {
            long time = START + order;
            long late = order >= 120 && order < 240 ? minutesLate * 60 : 0;
            all.add(new Sent("orders", "o-" + order, time, time + late));
            all.add(new Sent("payments", "o-" + order, time + 10, time + 10 + late));
        }
        all.sort(Comparator.comparingLong(Sent::arrival));
        for (long hours = 1; hours <= 2; hours++) { // closes all windows
            all.add(new Sent("orders", "end", START + hours * 3600, START + hours * 3600));
            all.add(new Sent("payments", "end", START + hours * 3600, START + hours * 3600));
        }
        return all;
    }

    static String joined(boolean outer, JoinWindows windows, long minutesLate) throws Exception {
        var builder = new StreamsBuilder();
        var strings = Consumed.with(Serdes.String(), Serdes.String());
        var orders = builder.stream("orders", strings);
        var payments = builder.stream("payments", strings);
        ValueJoiner<String, String, String> joiner = (order, payment) -> payment == null ? "not paid" : "paid";
        var stores = StreamJoined.with(Serdes.String(), Serdes.String(), Serdes.String());
        var joined = outer ? orders.outerJoin(payments, joiner, windows, stores) : orders.leftJoin(payments, joiner, windows, stores);
        joined.to("joined", Produced.with(Serdes.String(), Serdes.String()));
        var settings = new Properties();
        settings.put("application.id", "payments");
        settings.put("bootstrap.servers", "not.used:9092");
        settings.put("state.dir", "state");
        int paid = 0;
        int notPaid = 0;
        try (var driver = new TopologyTestDriver(builder.build(), settings, Instant.ofEpochSecond(START))) {
            var inputOrders = driver.createInputTopic("orders", new StringSerializer(), new StringSerializer());
            var inputPayments = driver.createInputTopic("payments", new StringSerializer(), new StringSerializer());
            long now = START;
            for (Sent record : sent(minutesLate)) {
                driver.advanceWallClockTime(Duration.ofSeconds(record.arrival() - now));
                now = record.arrival();
                (record.topic().equals("orders") ? inputOrders : inputPayments).pipeInput(record.order(), "", record.time() * 1000);
            }
            for (var result : driver.createOutputTopic("joined", new StringDeserializer(), new StringDeserializer()).readKeyValuesToList()) {
                if (result.key.startsWith("o-")) {
                    paid += result.value.equals("paid") ? 1 : 0;
                    notPaid += result.value.equals("paid") ? 0 : 1;
                }
            }
            double dropped = driver.metrics().values().stream().filter(metric -> metric.metricName().name().equals("dropped-records-total"))
                .mapToDouble(metric -> (double) metric.metricValue()).sum();
            if (dropped != 0) {
                throw new AssertionError("changed: the metric shows dropped records");
            }
        }
        return paid + " paid, " + notPaid + " not paid";
    }

    static void expect(String how, boolean outer, JoinWindows windows, long minutesLate, String stated) throws Exception {
        String seen = joined(outer, windows, minutesLate);
        System.out.println(how + ": " + seen);
        if (!seen.equals(stated)) {
            throw new AssertionError("changed: expected " + stated);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Duration window = Duration.ofMinutes(5);
        Duration grace = Duration.ofMinutes(30);
        var windows = JoinWindows.ofTimeDifferenceAndGrace(window, grace);
        expect("in order", false, windows, 0, "600 paid, 0 not paid");
        expect("late by 4 minutes", false, windows, 4, "600 paid, 0 not paid");
        expect("late by 6 minutes", false, windows, 6, "600 paid, 120 not paid");
        expect("late by 6 minutes, outer join", true, windows, 6, "600 paid, 120 not paid");
        expect("late by 6 minutes, a window of 30 minutes", false, JoinWindows.ofTimeDifferenceAndGrace(grace, grace), 6, "600 paid, 0 not paid");
        System.out.println("as stated: 120 orders are paid and not paid");
    }
}
JAVA
java -cp 'libs/*' Payments.java 2>run.err || { cat run.err; exit 1; }
