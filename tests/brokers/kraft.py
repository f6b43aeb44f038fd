"""A Kafka 4 broker in KRaft mode, which is its own controller."""

import time
from pathlib import Path

from local.broker import START_S, BrokerProcess, LocalBroker
from local.kafka_files import ProxyPorts
from local.kraft_files import DEFAULT_VERSION, KraftFiles, kafka_4_libs
from local.ports import free_ports
from local.probes import kafka_answers


class KraftBroker(LocalBroker):
    """Has the interface of ``LocalBroker``, without a ZooKeeper.

    Raises:
        ValueError: ``version`` is not one of Kafka 4.
        LocalModeError: Maven could not fetch it.
    """

    def __init__(self, directory: Path, proxy: ProxyPorts | None = None, version: str = DEFAULT_VERSION) -> None:
        self.proxy = proxy
        kafka_port, controller_port = free_ports(2)
        self._kraft = KraftFiles(directory, kafka_4_libs(version), kafka_port, controller_port, proxy)
        self._kafka = BrokerProcess(self._kraft.kafka_command, directory / "kafka.log")

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._kraft.kafka_port}"

    def start(self, timeout_s: float = START_S) -> None:
        deadline = time.monotonic() + timeout_s
        self._kraft.write()
        self._kafka.start_until(lambda: kafka_answers(self._kraft.kafka_port), deadline)

    def stop(self) -> None:
        self._kafka.stop()

    def discard(self) -> None:
        self.kill()

    def stop_zookeeper(self) -> None:
        raise NotImplementedError("Kafka 4 has no ZooKeeper")
