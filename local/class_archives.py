"""Class-data archives for Kafka and ZooKeeper, with which their JVMs start in half the CPU time.

Application class-data sharing (JEP 350, Java 13): a JVM writes its loaded classes into an archive when it ends, and later JVMs
map it. A JVM that cannot use an archive, because another version of Java wrote it, starts without it.

``python -m local.class_archives`` creates missing archives for this version of Java, and downloads the jars first.
"""
# ruff: noqa: S603 - this file starts programs

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from local.broker import START_S, BrokerProcess
from local.errors import LocalModeError
from local.jars import java_command, kafka_libs
from local.kafka_files import KAFKA_MAIN, ZOOKEEPER_MAIN, KafkaFiles, class_archive
from local.ports import free_ports
from local.probes import kafka_answers, zookeeper_answers


def make_class_archives(libs: Path) -> None:
    """Run a broker once and keep its archives in ``libs``; none if this version of Java writes none.

    Raises:
        LocalModeError: the broker does not start.
    """
    with tempfile.TemporaryDirectory(dir=libs.parent) as folder:
        kafka_port, zookeeper_port = free_ports(2)
        files = KafkaFiles(Path(folder), libs, kafka_port, zookeeper_port)
        files.write()
        made = {main: Path(folder) / f"{main}.jsa" for main in (ZOOKEEPER_MAIN, KAFKA_MAIN)}
        zookeeper = BrokerProcess(
            _writing(made[ZOOKEEPER_MAIN], files.zookeeper_command), Path(folder) / "zookeeper.log"
        )
        kafka = BrokerProcess(_writing(made[KAFKA_MAIN], files.kafka_command), Path(folder) / "kafka.log")
        try:
            deadline = time.monotonic() + START_S
            zookeeper.start_until(lambda: zookeeper_answers(files.zookeeper_port), deadline)
            kafka.start_until(lambda: kafka_answers(files.kafka_port), deadline)
        finally:
            kafka.stop()
            zookeeper.stop()
        for main, archive in made.items():
            if _is_usable(archive, libs):
                archive.replace(class_archive(libs, main))


def _writing(archive: Path, command: list[str]) -> list[str]:
    return [command[0], f"-XX:ArchiveClassesAtExit={archive}", *command[1:]]


def _is_usable(archive: Path, libs: Path) -> bool:
    command = [java_command(), "-Xshare:on", f"-XX:SharedArchiveFile={archive}", "-cp", f"{libs}/*", "-version"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def _java_version() -> str:
    command = [java_command(), "--version"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout


def main() -> None:
    """Create the archives, unless it was already tried with this version of Java."""
    try:
        libs = kafka_libs()
    except LocalModeError as error:
        sys.exit(f"{error}\n{error.advice}")
    stamp, version = libs / "class-archives.java-version", _java_version()
    if stamp.exists() and stamp.read_text() == version:
        return
    for main_class in (ZOOKEEPER_MAIN, KAFKA_MAIN):
        class_archive(libs, main_class).unlink(missing_ok=True)
    try:
        make_class_archives(libs)
    except LocalModeError as error:
        sys.stderr.write(f"brokers will start without archives of their classes: {error}\n")
    stamp.write_text(version)


if __name__ == "__main__":
    main()
