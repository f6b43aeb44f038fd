"""A single-broker cluster that is migrated from Kafka 3.9 with ZooKeeper to Kafka 4 by the steps of docs/moving_to_kafka_4.md.

The migration from ZooKeeper to KRaft in 3.9 is KIP-866. The controller is a separate process, because a broker that is its own
controller cannot be migrated.
"""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from local.broker import START_S, BrokerProcess
from local.jars import kafka_libs
from local.kafka_files import BROKER_HEAP, KAFKA_MAIN, KafkaFiles, java
from local.kraft_files import DEFAULT_VERSION, kafka_4_libs
from local.ports import free_ports, is_taken
from local.probes import kafka_answers, zookeeper_answers

_CONTROLLER_ID = 3000

_QUORUM = """\
controller.quorum.voters={controller_id}@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
"""
_MIGRATION = """\
zookeeper.metadata.migration.enable=true
zookeeper.connect=127.0.0.1:{zookeeper_port}
"""
_CONTROLLER = (
    """\
process.roles=controller
node.id={controller_id}
listeners=CONTROLLER://127.0.0.1:{controller_port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={directory}/data/controller
"""
    + _QUORUM
)
_LOG4J = "log4j.logger.org.apache.kafka.metadata.migration=INFO\n"
_MIGRATED = "Completed migration of metadata from ZooKeeper to KRaft"


class MovingCluster:
    """A context manager that starts a cluster of Kafka 3.9 with ZooKeeper; ``steps`` migrate it to Kafka 4 with the same data."""

    def __init__(self, directory: Path, version: str = DEFAULT_VERSION) -> None:
        kafka_port, zookeeper_port, self._controller_port = free_ports(3)
        self._directory = directory
        self._files = KafkaFiles(directory, kafka_libs(), kafka_port, zookeeper_port)
        self._libs, self._libs_4 = self._files.libs, kafka_4_libs(version)
        self._release = version.rpartition(".")[0]
        self._zookeeper = BrokerProcess(self._files.zookeeper_command, directory / "zookeeper.log")
        self._broker = BrokerProcess(self._files.kafka_command, directory / "kafka.log")
        self._controller: BrokerProcess | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._files.kafka_port}"

    @property
    def steps(self) -> list[Callable[[], None]]:
        """The steps in order; each returns once the broker responds again."""
        return [
            self.start_controller,
            self.migrate_metadata,
            self.restart_broker_without_zookeeper,
            self.end_migration,
            self.upgrade,
            self.finalize_features,
        ]

    def start_controller(self) -> None:
        """Format the controller's folder with the cluster's own id, and start it, ready to migrate."""
        self._write_controller(migrating=True)
        meta = (self._directory / "data" / "kafka" / "meta.properties").read_text()
        (cluster_id,) = (line.partition("=")[2] for line in meta.splitlines() if line.startswith("cluster.id="))
        self._run(
            self._libs,
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={cluster_id}",
            "--config",
            self._controller_file,
        )
        self._start_controller(self._libs)

    def migrate_metadata(self) -> None:
        """Restart the broker in migration mode; wait until the controller has copied ZooKeeper's metadata."""
        text = self._kafka_file.read_text().replace("PLAINTEXT:PLAINTEXT", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT")
        self._kafka_file.write_text(
            text
            + self._filled(_QUORUM)
            + "inter.broker.protocol.version=3.9\nzookeeper.metadata.migration.enable=true\n"
        )
        self._restart_broker(self._libs)
        self._wait_until(
            lambda: _MIGRATED in (self._directory / "controller.log").read_text(errors="replace"),
            "ZooKeeper is migrated",
        )

    def restart_broker_without_zookeeper(self) -> None:
        """Let the broker use the controller's metadata; until ``end_migration`` this could be reverted."""
        dropped = ("broker.id=", "zookeeper.", "inter.broker.protocol.version=")
        lines = [line for line in self._kafka_file.read_text().splitlines() if not line.startswith(dropped)]
        self._kafka_file.write_text("\n".join(["process.roles=broker", "node.id=1", *lines]) + "\n")
        self._restart_broker(self._libs)

    def end_migration(self) -> None:
        """Restart the controller without ZooKeeper, and stop ZooKeeper."""
        self._write_controller(migrating=False)
        self._restart_controller(self._libs)
        self._zookeeper.stop()

    def upgrade(self) -> None:
        """Restart with the programs of Kafka 4 and the same configuration and data: first the controller, then the broker."""
        self._restart_controller(self._libs_4)
        self._restart_broker(self._libs_4)

    def finalize_features(self) -> None:
        """Finalize the features of the new version; afterwards a downgrade is no longer possible."""
        self._features("upgrade", "--release-version", self._release)

    def features(self) -> str:
        """The finalized features and their levels, from `kafka-features.sh describe`."""
        return self._features("describe")

    def __enter__(self) -> Self:
        try:
            self._files.write()
            with (self._directory / "log4j.properties").open("a") as log4j:
                log4j.write(_LOG4J)
            deadline = time.monotonic() + START_S
            self._zookeeper.start_until(lambda: zookeeper_answers(self._files.zookeeper_port), deadline)
            self._broker.start_until(lambda: kafka_answers(self._files.kafka_port), deadline)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        for process in (self._broker, self._controller, self._zookeeper):
            if process:
                process.stop()

    @property
    def _kafka_file(self) -> Path:
        return self._directory / "kafka.properties"

    @property
    def _controller_file(self) -> str:
        return str(self._directory / "controller.properties")

    def _filled(self, template: str) -> str:
        return template.format(
            controller_id=_CONTROLLER_ID,
            controller_port=self._controller_port,
            zookeeper_port=self._files.zookeeper_port,
            directory=self._directory,
        )

    def _write_controller(self, *, migrating: bool) -> None:
        Path(self._controller_file).write_text(self._filled(_CONTROLLER + (_MIGRATION if migrating else "")))

    def _start_controller(self, libs: Path) -> None:
        command = [*java(self._directory, libs, KAFKA_MAIN, "-Xmx256m"), self._controller_file]
        self._controller = BrokerProcess(command, self._directory / "controller.log")
        self._controller.start_until(lambda: is_taken(self._controller_port), time.monotonic() + START_S)

    def _restart_controller(self, libs: Path) -> None:
        assert self._controller
        self._controller.stop()
        self._start_controller(libs)

    def _restart_broker(self, libs: Path) -> None:
        self._broker.stop()
        command = [*java(self._directory, libs, KAFKA_MAIN, *BROKER_HEAP), str(self._kafka_file)]
        self._broker = BrokerProcess(command, self._directory / "kafka.log")
        self._broker.start_until(lambda: kafka_answers(self._files.kafka_port), time.monotonic() + START_S)

    def _features(self, *arguments: str) -> str:
        tool = "org.apache.kafka.tools.FeatureCommand"
        return self._run(self._libs_4, tool, "--bootstrap-server", self.bootstrap_servers, *arguments)

    def _run(self, libs: Path, tool: str, *arguments: str) -> str:
        done = subprocess.run(
            [*java(self._directory, libs, tool), *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, f"{tool} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {START_S} s: {what}"
            time.sleep(0.1)
