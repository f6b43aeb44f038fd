#!/bin/sh
# Kafka Streams 4.4.0 (also 3.9.2), session windows with EmitStrategy.onWindowClose().
#
# What one would expect: each session's result is emitted once, after the session has closed, as suppress(untilWindowCloses) does.
# What happens: a closed session is looked up in the store, and the store keeps a session for its retention, which by default is the
# gap and the grace: as long as the session takes to close. In memory it is always gone by then, and nothing is ever emitted. RocksDB
# forgets by segments of a minute, so it depends on when in the minute a session has ended and how soon records follow; after a quiet
# time all that were open are lost. There is no error and no warning, and the metric of dropped records stays 0.
# Seen, for 30 sessions of 600 orders, one a second, in three spells with two quiet hours between them:
#       suppress: 30 sessions, 600 orders
#       onWindowClose: 14 sessions, 280 orders
#       onWindowClose in memory: 0 sessions, 0 orders
#       onWindowClose, retention of a day: 30 sessions, 600 orders
# What to do: suppress, or a retention (Materialized.withRetention) that is longer than any quiet time.
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
cat >Sessions.java <<'JAVA'
import java.time.Duration;
import java.time.Instant;
import java.util.Properties;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.LongSerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Materialized.StoreType;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.SessionStore;

public class Sessions {
    static final Duration DAY = Duration.ofDays(1);
    static final long QUIET_SECONDS = 7200;
    static TestInputTopic<String, Long> orders;
    static TopologyTestDriver driver;
    static long time;

    /** 200 orders, one a second; every 20 seconds another user orders. */
    static void spell(String name) {
        for (int order = 0; order < 200; order++, time++) {
            orders.pipeInput(name + order / 20, 1L, time * 1000);
            driver.advanceWallClockTime(Duration.ofSeconds(1));
        }
    }

    static void expect(String how, boolean onWindowClose, StoreType store, Duration retention, String stated) throws Exception {
        Materialized<String, Long, SessionStore<Bytes, byte[]>> sums = Materialized.with(Serdes.String(), Serdes.Long());
        sums.withStoreType(store);
        if (retention != null) {
            sums.withRetention(retention);
        }
        StreamsBuilder builder = new StreamsBuilder();
        var sessions = builder.stream("orders", Consumed.with(Serdes.String(), Serdes.Long())).groupByKey()
            .windowedBy(SessionWindows.ofInactivityGapAndGrace(Duration.ofMinutes(1), Duration.ofSeconds(5)));
        KTable<Windowed<String>, Long> results = onWindowClose
            ? sessions.emitStrategy(EmitStrategy.onWindowClose()).reduce(Long::sum, sums)
            : sessions.reduce(Long::sum, sums).suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()));
        results.toStream((window, sum) -> window.key()).to("sessions", Produced.with(Serdes.String(), Serdes.Long()));
        Properties settings = new Properties();
        settings.put("application.id", "sessions");
        settings.put("bootstrap.servers", "not.used:9092");
        settings.put("state.dir", "state");
        time = Instant.parse("2026-11-27T10:00:00Z").getEpochSecond();
        int count = 0;
        long sum = 0;
        try (var run = new TopologyTestDriver(builder.build(), settings, Instant.ofEpochSecond(time))) {
            driver = run;
            orders = run.createInputTopic("orders", new StringSerializer(), new LongSerializer());
            for (String name : new String[] {"a", "b", "c"}) {
                spell(name);
                time += name.equals("c") ? 0 : QUIET_SECONDS;
            }
            spell("end"); // closes the sessions of c
            for (var session : run.createOutputTopic("sessions", new StringDeserializer(), new LongDeserializer()).readKeyValuesToList()) {
                if (!session.key.startsWith("end")) {
                    count++;
                    sum += session.value;
                }
            }
            double dropped = run.metrics().values().stream().filter(metric -> metric.metricName().name().equals("dropped-records-total"))
                .mapToDouble(metric -> (double) metric.metricValue()).sum();
            System.out.println(how + ": " + count + " sessions, " + sum + " orders, dropped-records-total: " + dropped);
            if (dropped != 0) {
                throw new AssertionError("changed: the metric shows the loss");
            }
        }
        if (!stated.equals(count + " " + sum)) {
            throw new AssertionError("changed: expected " + stated);
        }
    }

    public static void main(String[] arguments) throws Exception {
        expect("suppress", false, StoreType.ROCKS_DB, null, "30 600");
        expect("suppress in memory", false, StoreType.IN_MEMORY, null, "30 600");
        expect("onWindowClose", true, StoreType.ROCKS_DB, null, "14 280");
        expect("onWindowClose in memory", true, StoreType.IN_MEMORY, null, "0 0");
        expect("onWindowClose, retention of a day", true, StoreType.ROCKS_DB, DAY, "30 600");
        expect("onWindowClose in memory, retention of a day", true, StoreType.IN_MEMORY, DAY, "30 600");
        System.out.println("as stated: sessions are dropped before they close, all of them in memory");
    }
}
JAVA
java -cp 'libs/*' Sessions.java 2>run.err || { cat run.err; exit 1; }
