#!/bin/sh
# Kafka Connect 3.9.2, FileStreamSinkConnector (connect-file).
#
# What one would expect: when the disk is full, put() or flush() fails, so that the task fails and its offsets stay.
# What happens: the task writes by a PrintStream, which keeps its errors to itself, and never asks for them. Neither put() nor
# flush() fails; the worker commits the offsets of lines that are nowhere, and the task goes on RUNNING.
# Seen: 100 records put and flushed without an exception; the file has 0 bytes
# What to do: do not use the file sink where lines count; watch the disk, or compare the file with the topic.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >pom.xml <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-file</artifactId><version>3.9.2</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
mvn -B -q -ntp org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=libs -DincludeScope=runtime
cat >FullDisk.java <<'JAVA'
import java.util.List;
import java.util.Map;
import org.apache.kafka.connect.file.FileStreamSinkTask;
import org.apache.kafka.connect.sink.SinkRecord;

public class FullDisk {
    public static void main(String[] arguments) {
        FileStreamSinkTask task = new FileStreamSinkTask();
        task.start(Map.of("file", "/dev/full"));  // each write to it fails with ENOSPC
        for (int offset = 0; offset < 100; offset++) {
            task.put(List.of(new SinkRecord("metrics", 0, null, null, null, "{\"order_count\":1}", offset)));
        }
        task.flush(Map.of());
        task.stop();
        System.out.println("as stated: 100 records put and flushed without an exception, though nothing can be written");
    }
}
JAVA
java -cp 'libs/*' FullDisk.java
