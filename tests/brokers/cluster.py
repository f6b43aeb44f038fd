"""A cluster of three brokers with a ZooKeeper, as in production: replication factor 3, min.insync.replicas 2."""

import signal
import time
from dataclasses import dataclass
from pathlib import Path

from local.broker import START_S, BrokerProcess, LocalBroker
from local.jars import kafka_libs
from local.kafka_files import KafkaFiles
from local.ports import free_ports
from local.probes import kafka_answers, zookeeper_answers

BROKERS = (1, 2, 3)

# If a property occurs twice, the last line wins.
_PROPERTIES = """\
broker.id={broker}
default.replication.factor=3
min.insync.replicas=2
unclean.leader.election.enable=false
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
"""


@dataclass(frozen=True)
class _ClusterFiles(KafkaFiles):
    """The files of one broker and of the ZooKeeper, which only the first broker starts."""

    broker: int = 1

    def write(self) -> None:
        super().write()
        with (self.directory / "kafka.properties").open("a") as properties:
            properties.write(_PROPERTIES.format(broker=self.broker))


class ThreeBrokers(LocalBroker):
    """Has the interface of ``LocalBroker``: starts, stops and kills all brokers or a single one; only single ones can be paused."""

    def __init__(self, directory: Path) -> None:
        self.proxy = None
        libs = kafka_libs()
        zookeeper, *ports = free_ports(1 + len(BROKERS))
        self._all_files = {
            broker: _ClusterFiles(directory / f"broker-{broker}", libs, port, zookeeper, broker=broker)
            for broker, port in zip(BROKERS, ports, strict=True)
        }
        first = self._all_files[BROKERS[0]]
        self._zookeeper = BrokerProcess(first.zookeeper_command, first.directory / "zookeeper.log")
        self._brokers = {
            broker: BrokerProcess(files.kafka_command, files.directory / "kafka.log")
            for broker, files in self._all_files.items()
        }

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"127.0.0.1:{files.kafka_port}" for files in self._all_files.values())

    def start(self, timeout_s: float = START_S) -> None:
        deadline = time.monotonic() + timeout_s
        for files in self._all_files.values():
            files.write()
        zookeeper_port = self._all_files[BROKERS[0]].zookeeper_port
        self._zookeeper.start_until(lambda: zookeeper_answers(zookeeper_port), deadline)
        for process in self._brokers.values():
            process.start_until(lambda: True, deadline)  # all at once
        for broker in BROKERS:
            self.start_one(broker, deadline - time.monotonic())

    def start_one(self, broker: int, timeout_s: float = START_S) -> None:
        """Start this broker, and wait until it is part of the cluster."""
        port = self._all_files[broker].kafka_port
        self._brokers[broker].start_until(lambda: kafka_answers(port), time.monotonic() + timeout_s)

    def stop(self) -> None:
        for process in self._brokers.values():
            process.stop()
        self._zookeeper.stop()

    def stop_broker(self) -> None:
        for process in self._brokers.values():
            process.stop()

    def kill(self) -> None:
        for process in self._brokers.values():
            process.kill()

    def kill_one(self, broker: int) -> None:
        """Kill this broker, as a power cut would; ``start_one`` restarts it."""
        self._brokers[broker].kill()

    def stop_one(self, broker: int) -> None:
        """Shut down this broker gracefully; ``start_one`` restarts it."""
        self._brokers[broker].stop()

    def pause_one(self, broker: int) -> None:
        """Suspend this broker (SIGSTOP); ``resume_one`` continues it."""
        self._brokers[broker].send_signal(signal.SIGSTOP)

    def resume_one(self, broker: int) -> None:
        """End ``pause_one``."""
        self._brokers[broker].send_signal(signal.SIGCONT)
