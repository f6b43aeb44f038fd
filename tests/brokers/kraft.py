"""A Kafka 4 broker in KRaft mode, which is its own controller."""

import re
import subprocess
import time
from pathlib import Path

from local.broker import START_S, BrokerProcess, LocalBroker
from local.jars import java_command, kafka_libs
from local.kafka_files import SMALL_CLUSTER, ProxyPorts
from local.paths import check_path
from local.ports import free_ports
from local.probes import kafka_answers

DEFAULT_VERSION = "4.4.0"

_POM = Path(__file__).with_name("kafka_4.pom.xml")
_CLUSTER_ID = "cm9vdC1vZi1hbGwtb3JkZXI"

# As local mode's broker, but for the controller.
_PROPERTIES = (
    """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners={listeners},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={directory}/data
"""
    + SMALL_CLUSTER
)


class KraftBroker(LocalBroker):
    """In place of a ``LocalBroker``; there is no ZooKeeper to stop.

    Raises:
        ValueError: ``version`` is not one of Kafka 4.
        LocalModeError: Maven could not fetch it.
    """

    def __init__(self, directory: Path, proxy: ProxyPorts | None = None, version: str = DEFAULT_VERSION) -> None:
        if not re.fullmatch(r"4\.\d+\.\d+", version):
            raise ValueError(f"{version!r} is not a version of Kafka 4, such as {DEFAULT_VERSION}")
        self.proxy = proxy
        self._directory = directory
        self._libs = kafka_libs(_POM, f"kafka-{version}-libs", f"-Dkafka.version={version}")
        self._port, self._controller_port = free_ports(2)
        self._properties = directory / "kafka.properties"
        command = self._java("-Xms256m", "-Xmx512m", "kafka.Kafka", str(self._properties))
        self._kafka = BrokerProcess(command, directory / "kafka.log")

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self, timeout_s: float = START_S) -> None:
        deadline = time.monotonic() + timeout_s
        if not self._properties.exists():
            self._format()
        self._kafka.start_until(lambda: kafka_answers(self._port), deadline)

    def stop(self) -> None:
        self._kafka.stop()

    def stop_zookeeper(self) -> None:
        raise NotImplementedError("Kafka 4 has no ZooKeeper")

    def _format(self) -> None:
        check_path(self._directory)
        check_path(self._libs)
        self._directory.mkdir(parents=True, exist_ok=True)
        listeners = advertised = f"PLAINTEXT://{self.bootstrap_servers}"
        if self.proxy:
            listeners += f",PROXIED://127.0.0.1:{self.proxy.broker}"
            advertised += f",PROXIED://127.0.0.1:{self.proxy.clients}"
        self._properties.write_text(
            _PROPERTIES.format(
                listeners=listeners,
                advertised=advertised,
                controller_port=self._controller_port,
                directory=self._directory,
            )
        )
        tool = self._java("kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(self._properties))
        subprocess.run(tool, check=True, capture_output=True)

    def _java(self, *arguments: str) -> list[str]:
        return [java_command(), "-cp", f"{self._libs}/*", *arguments]
