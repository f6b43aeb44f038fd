#!/bin/sh
# Avro 1.12.2 for Java (org.apache.avro:avro), a version of a schema with another scale of a decimal, or another unit of a timestamp.
#
# What one would expect: by the specification, decimals match only if their scales do. So the versions are not compatible, or
# values are converted. fastavro 1.13.1 for Python reads each value by the schema that it was written with.
# What happens: SchemaCompatibility and SchemaValidator, which are there to check it, compare only bytes with bytes and long with
# long, and find the versions compatible in both directions. The reader takes the stored number with its own schema's scale or
# unit: with two more decimals each old amount is a hundredth of what it was, with microseconds each old time is in 1970. A
# consumer in Java and one in Python read different amounts from the same bytes. There is no error and no warning.
# Seen, for 49.90 and 2026-11-27T10:00:00Z:
#       scale 2 to 4: COMPATIBLE, Java 0.4990, fastavro 49.90
#       scale 4 to 2: COMPATIBLE, Java 4990.00, fastavro 49.9000
#       timestamp-millis to timestamp-micros: COMPATIBLE, Java 1970-01-21T18:49:33.600Z, fastavro 2026-11-27T10:00:00+00:00
# What to do: a field with a new name, and a check of one's own that logical types stay as they are.
# Also reported, of decimals: https://github.com/apache/avro/pull/247
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >pom.xml <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.avro</groupId><artifactId>avro</artifactId><version>1.12.2</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>2.0.17</version></dependency>
  </dependencies>
</project>
POM
mvn -B -q -ntp org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=libs -DincludeScope=runtime
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check fastavro==1.13.1
cat >Versions.java <<'JAVA'
import java.io.File;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import org.apache.avro.Conversions.DecimalConversion;
import org.apache.avro.LogicalType;
import org.apache.avro.LogicalTypes;
import org.apache.avro.Schema;
import org.apache.avro.SchemaBuilder;
import org.apache.avro.SchemaCompatibility;
import org.apache.avro.SchemaValidatorBuilder;
import org.apache.avro.data.TimeConversions.TimestampMicrosConversion;
import org.apache.avro.data.TimeConversions.TimestampMillisConversion;
import org.apache.avro.file.DataFileReader;
import org.apache.avro.file.DataFileWriter;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;

public class Versions {
    static Schema version(LogicalType type, Schema.Type stored) {
        return SchemaBuilder.record("Order").fields().name("value").type(type.addToSchema(Schema.create(stored))).noDefault().endRecord();
    }

    static void read(String name, Schema written, Schema current, Object value) throws Exception {
        var data = new GenericData();
        data.addLogicalTypeConversion(new DecimalConversion());
        data.addLogicalTypeConversion(new TimestampMillisConversion());
        data.addLogicalTypeConversion(new TimestampMicrosConversion());
        var file = new File(name + ".avro");
        try (var writer = new DataFileWriter<GenericRecord>(new GenericDatumWriter<>(written, data)).create(written, file)) {
            writer.append(new GenericRecordBuilder(written).set("value", value).build());
        }
        Files.writeString(Path.of(name + ".avsc"), current.toString());
        new SchemaValidatorBuilder().mutualReadStrategy().validateAll().validate(current, List.of(written)); // raises if they do not match
        try (var reader = new DataFileReader<GenericRecord>(file, new GenericDatumReader<>(written, current, data))) {
            System.out.println(name + ": " + SchemaCompatibility.checkReaderWriterCompatibility(current, written).getType()
                + ", Java " + reader.next().get("value"));
        }
    }

    public static void main(String[] arguments) throws Exception {
        Schema cents = version(LogicalTypes.decimal(12, 2), Schema.Type.BYTES);
        Schema hundredthsOfCents = version(LogicalTypes.decimal(12, 4), Schema.Type.BYTES);
        Schema milliseconds = version(LogicalTypes.timestampMillis(), Schema.Type.LONG);
        Schema microseconds = version(LogicalTypes.timestampMicros(), Schema.Type.LONG);
        read("scale_2_to_2", cents, cents, new BigDecimal("49.90"));
        read("scale_2_to_4", cents, hundredthsOfCents, new BigDecimal("49.90"));
        read("scale_4_to_2", hundredthsOfCents, cents, new BigDecimal("49.9000"));
        read("millis_to_micros", milliseconds, microseconds, Instant.parse("2026-11-27T10:00:00Z"));
    }
}
JAVA
cat >versions.py <<'PYTHON'
import fastavro
from fastavro.schema import load_schema

for name in ("scale_2_to_2", "scale_2_to_4", "scale_4_to_2", "millis_to_micros"):
    with open(f"{name}.avro", "rb") as file:
        (record,) = fastavro.reader(file, reader_schema=load_schema(f"{name}.avsc"))
    print(f"{name}: fastavro {record['value']}")
PYTHON
java -cp 'libs/*' Versions.java 2>run.err | tee seen
venv/bin/python versions.py | tee -a seen
cat >stated <<'SEEN'
scale_2_to_2: COMPATIBLE, Java 49.90
scale_2_to_4: COMPATIBLE, Java 0.4990
scale_4_to_2: COMPATIBLE, Java 4990.00
millis_to_micros: COMPATIBLE, Java 1970-01-21T18:49:33.600Z
scale_2_to_2: fastavro 49.90
scale_2_to_4: fastavro 49.90
scale_4_to_2: fastavro 49.9000
millis_to_micros: fastavro 2026-11-27 10:00:00+00:00
SEEN
diff seen stated || { cat run.err; echo "changed: see above"; exit 1; }
echo "as stated: 49.90 is read as 0.4990, with a schema that is said to be compatible"
