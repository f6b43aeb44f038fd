#!/bin/sh
# Flink 2.3.0, the json format (flink-json) with a DECIMAL column, and CAST to DECIMAL.
#
# What one would expect: an amount that is larger than the column allows fails the job, as an integer that is too large does;
# json.ignore-parse-errors is there for those who want null instead, and TRY_CAST for those who want null from a cast. A column that
# is NOT NULL has no null.
# What happens: too many digits before the point make the DECIMAL null, and nothing looks at that. The largest orders of all are not in
# the sum, and no filter finds them. NOT NULL changes nothing: COUNT(amount) counts each row, since no null can be there, and the
# sum lacks the amount all the same. CAST gives null like TRY_CAST. Too many digits after the point are rounded.
# Seen, for orders of 49.90, 12500.00 and 100.00:
#       DECIMAL(8, 2): 3 orders, 3 amounts, sum 12649.90
#       DECIMAL(6, 2): 3 orders, 2 amounts, sum 149.90
#       DECIMAL(6, 2) NOT NULL: 3 orders, 3 amounts, sum 149.90
#       SMALLINT, 49, 40000 and 100: Fail to deserialize at field: amount.
#       CAST(12500.00 AS DECIMAL(6, 2)): null
# What to do: DECIMAL(38, 2) for each amount that comes from outside, and a filter of one's own for what is too large.
# Also reported, of Flink CDC, which builds decimals the same way: https://github.com/apache/flink-cdc/issues/663; of CAST: FLINK-41038.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >pom.xml <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-clients</artifactId><version>2.3.0</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-connector-files</artifactId><version>2.3.0</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-json</artifactId><version>2.3.0</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-table-api-java-bridge</artifactId><version>2.3.0</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-table-planner-loader</artifactId><version>2.3.0</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-table-runtime</artifactId><version>2.3.0</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
mvn -B -q -ntp org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=libs -DincludeScope=runtime
cat >Amounts.java <<'JAVA'
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.types.Row;

public class Amounts {
    static final String TOTALS = "SELECT COUNT(*), COUNT(amount), SUM(amount) FROM orders";

    /** The result's last row, or the message of what has failed. */
    static String queried(String type, String query, String... amounts) throws Exception {
        Path orders = Files.createTempFile(Path.of("."), "orders", ".json").toAbsolutePath();
        for (String amount : amounts) {
            Files.writeString(orders, Files.readString(orders) + "{\"amount\": " + amount + "}\n");
        }
        var tables = TableEnvironment.create(EnvironmentSettings.newInstance().inStreamingMode().build());
        tables.getConfig().set("parallelism.default", "1");
        tables.executeSql("CREATE TABLE orders (amount " + type + ") WITH ('connector' = 'filesystem', 'format' = 'json', "
            + "'json.ignore-parse-errors' = 'false', 'path' = '" + orders + "')");
        String last = "nothing";
        try (var rows = tables.executeSql(query).collect()) {
            while (rows.hasNext()) {
                Row row = rows.next();
                last = row.toString().replaceFirst("^\\W.?.?\\[", "[");
            }
        } catch (RuntimeException error) {
            Throwable cause = error;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            last = cause.getMessage();
        }
        return last;
    }

    static void expect(String how, String seen, String stated) {
        System.out.println(how + ": " + seen);
        if (!seen.contains(stated)) {
            throw new AssertionError("changed: expected " + stated);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String[] amounts = {"49.90", "12500.00", "100.00"};
        expect("DECIMAL(8, 2)", queried("DECIMAL(8, 2)", TOTALS, amounts), "[3, 3, 12649.90]");
        expect("DECIMAL(6, 2)", queried("DECIMAL(6, 2)", TOTALS, amounts), "[3, 2, 149.90]");
        expect("DECIMAL(6, 2) NOT NULL", queried("DECIMAL(6, 2) NOT NULL", TOTALS, amounts), "[3, 3, 149.90]");
        expect("amount > 10000", queried("DECIMAL(6, 2)", "SELECT amount FROM orders WHERE amount > 10000", amounts), "nothing");
        expect("SMALLINT", queried("SMALLINT", TOTALS, "49", "40000", "100"), "Fail to deserialize at field: amount");
        expect("INT", queried("INT", TOTALS, "49", "3000000000", "100"), "Fail to deserialize at field: amount");
        String cast = "SELECT CAST(amount AS DECIMAL(6, 2)), TRY_CAST(amount AS DECIMAL(6, 2)) FROM orders";
        expect("CAST and TRY_CAST", queried("DECIMAL(8, 2)", cast, "12500.00"), "[null, null]");
        System.out.println("as stated: the order of 12500.00 is not in the sum");
    }
}
JAVA
mkdir tmp
timeout 150 java -Djava.io.tmpdir="$folder/tmp" --add-opens=java.base/java.lang=ALL-UNNAMED \
    --add-opens=java.base/java.util=ALL-UNNAMED -cp 'libs/*' Amounts.java 2>run.err || { cat run.err; exit 1; }
