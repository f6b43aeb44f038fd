#!/bin/sh
# Kafka Connect 4.4.0 (also 3.9.2), JsonConverter (connect-json).
#
# What one would expect: a number that a field cannot hold, or a text where the record's own schema says a number, is an error, which
# errors.tolerance and the dead letter queue are for.
# What happens: the converter takes what it wants from whatever is there. Without schemas, an integer beyond 63 bits keeps its lowest
# 64 bits: an unsigned id is negative, and one above 64 bits is the id of another order. With schemas, a text is 0 or false, also if
# it is a number, and a number is null where a string is due; an integer loses its fraction; int32 wraps around. A sink writes that,
# and no dead letter tells of it.
# Seen, without schemas: 13835058055282163712 -> -4611686018427387904
#       18446744073709551617 -> 1
#       with schemas: int64 "4990" -> 0
#       double "49.90" -> 0.0
#       int64 49.90 -> 49
#       int32 3000000000 -> -1294967296
#       boolean "true" -> false
#       string 4990 -> null
# What to do: ids and amounts as strings, in the schema, too; StringConverter where the sink can parse JSON itself.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >pom.xml <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-json</artifactId><version>4.4.0</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
mvn -B -q -ntp org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=libs -DincludeScope=runtime
cat >Orders.java <<'JAVA'
import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Map;
import java.util.Objects;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.json.JsonConverter;

public class Orders {
    /** The field's value as a sink gets it, or "refused". */
    static Object read(String json, boolean schemas) {
        JsonConverter converter = new JsonConverter();
        converter.configure(Map.of("converter.type", "value", "schemas.enable", schemas));
        try {
            return converter.toConnectData("orders", json.getBytes(UTF_8)).value();
        } catch (DataException refused) {
            return "refused";
        }
    }

    static void expect(String described, Object read, Object stated) {
        System.out.println(described + " -> " + read);
        if (!Objects.equals(stated, read)) {
            throw new AssertionError("changed: expected " + stated);
        }
    }

    static void expectId(String id, long stated) {
        expect("id " + id, ((Map<?, ?>) read("{\"order_id\": " + id + "}", false)).get("order_id"), stated);
    }

    static void expectTyped(String type, String sent, Object stated) {
        String json = "{\"schema\": {\"type\": \"%s\"}, \"payload\": %s}".formatted(type, sent);
        expect(type + " " + sent, read(json, true), stated);
    }

    public static void main(String[] arguments) {
        expectId("9223372036854775807", 9223372036854775807L);
        expectId("13835058055282163712", -4611686018427387904L);
        expectId("18446744073709551617", 1L);
        expectTyped("int64", "4990", 4990L);
        expectTyped("int64", "\"4990\"", 0L);
        expectTyped("double", "\"49.90\"", 0.0);
        expectTyped("int64", "49.90", 49L);
        expectTyped("int32", "3000000000", -1294967296);
        expectTyped("boolean", "\"true\"", false);
        expectTyped("string", "4990", null);
        System.out.println("as stated: eight values are others, and none of them is refused");
    }
}
JAVA
java -cp 'libs/*' Orders.java
