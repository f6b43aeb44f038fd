#!/bin/sh
# Kafka Connect 3.9.2, TimestampConverter (connect-transforms), between text with microseconds and a unix time.
#
# What one would expect: with unix.precision=microseconds, and a format with six places for the fraction, microseconds are kept, or
# cut to milliseconds, or the record fails.
# What happens: the format is one of Java's SimpleDateFormat, where any number of S is the number of milliseconds. The six digits
# are read as up to 999,999 ms and added: the time is up to 16 minutes and 39 seconds later than the text says. The other way
# round, milliseconds are written in the places of microseconds, and the fraction is a thousandth of what it was.
# Seen, for 2026-11-27T10:00:00.123456Z:
#       text to unix time: 2026-11-27T10:02:03.456Z
#       unix time to text: 2026-11-27T10:00:00.000123Z
# What to do: send unix times, or text with three digits.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >pom.xml <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-transforms</artifactId><version>3.9.2</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
mvn -B -q -ntp org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=libs -DincludeScope=runtime
cat >Microseconds.java <<'JAVA'
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Map;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.transforms.TimestampConverter;

public class Microseconds {
    static Object convert(String type, Object at) {
        try (TimestampConverter<SinkRecord> converter = new TimestampConverter.Value<>()) {
            converter.configure(Map.of("target.type", type, "field", "at", "unix.precision", "microseconds",
                    "format", "yyyy-MM-dd'T'HH:mm:ss.SSSSSSX"));
            SinkRecord record = new SinkRecord("orders", 0, null, null, null, Map.of("at", at), 0);
            return ((Map<?, ?>) converter.apply(record).value()).get("at");
        }
    }

    static void expect(String way, Object seen, String stated) {
        System.out.println(way + ": " + seen);
        if (!seen.toString().equals(stated)) {
            throw new AssertionError("changed: expected " + stated);
        }
    }

    public static void main(String[] arguments) {
        String text = "2026-11-27T10:00:00.123456Z";
        long unix = ChronoUnit.MICROS.between(Instant.EPOCH, Instant.parse(text));
        Instant read = Instant.EPOCH.plus((Long) convert("unix", text), ChronoUnit.MICROS);
        expect("text to unix time", read, "2026-11-27T10:02:03.456Z");
        expect("unix time to text", convert("string", unix), "2026-11-27T10:00:00.000123Z");
        System.out.println("as stated: text is read two minutes late, and written with a thousandth of its fraction");
    }
}
JAVA
java -cp 'libs/*' Microseconds.java
