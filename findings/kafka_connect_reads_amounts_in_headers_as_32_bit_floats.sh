#!/bin/sh
# Kafka Connect 3.9.2, SimpleHeaderConverter (connect-api), the header converter of a worker that is not told of another one.
#
# What one would expect: the text of a header arrives as it was sent, or as a number that holds it.
# What happens: the type is guessed, and a number with a fraction becomes a 32-bit float, however many digits it has: from 131,072
# on cents are wrong. A comma ends the number, and what follows is dropped. So are leading zeros. No error, no warning, and what
# the same converter writes is another text than what it has read.
# Seen: 131072.01 -> FLOAT32 131072.02
#       123456789.12 -> FLOAT32 1.23456792E8
#       12,34 -> INT8 12
#       0012 -> INT8 12
# What to do: header.converter=org.apache.kafka.connect.storage.StringConverter, or ByteArrayConverter.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >pom.xml <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-api</artifactId><version>3.9.2</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
mvn -B -q -ntp org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=libs -DincludeScope=runtime
cat >Headers.java <<'JAVA'
import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.storage.SimpleHeaderConverter;

public class Headers {
    static final SimpleHeaderConverter CONVERTER = new SimpleHeaderConverter();

    static void expect(String sent, String type, String written) {
        SchemaAndValue read = CONVERTER.toConnectHeader("orders", "header", sent.getBytes(UTF_8));
        String again = new String(CONVERTER.fromConnectHeader("orders", "header", read.schema(), read.value()), UTF_8);
        System.out.println(sent + " -> " + read.schema().type() + " " + again);
        if (!read.schema().type().toString().equals(type) || !again.equals(written)) {
            throw new AssertionError("changed: expected " + type + " " + written);
        }
    }

    public static void main(String[] arguments) {
        expect("131072.01", "FLOAT32", "131072.02");
        expect("123456789.12", "FLOAT32", "1.23456792E8");
        expect("12,34", "INT8", "12");
        expect("0012", "INT8", "12");
        System.out.println("as stated: none of the four headers is what was sent");
    }
}
JAVA
java -cp 'libs/*' Headers.java
