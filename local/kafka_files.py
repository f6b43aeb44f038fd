"""The configuration files of a broker and its ZooKeeper, and the commands that run them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from local.jars import java_command
from local.paths import check_path

ZOOKEEPER_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
KAFKA_MAIN = "kafka.Kafka"

ZOOKEEPER_SESSION_MS = 6_000

_ZOOKEEPER = """\
dataDir={data}/zookeeper
clientPortAddress=127.0.0.1
clientPort={zookeeper_port}
maxClientCnxns=0
admin.enableServer=false
autopurge.snapRetainCount=3
autopurge.purgeInterval=24
"""

# One replica of everything, fast elections and rebalances, and little memory, so that all fits on a laptop.
# Internal topics have 50 partitions by default: with one broker that only slows down its start.
# Group offsets are kept longer than records (7 days), so that a service that was down that long notices what it missed.
# The coordinator looks for timed-out transactions each second instead of every ten: readers wait for them.
SMALL_CLUSTER = """\
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=10
offsets.retention.minutes=43200
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=10
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
"""

_KAFKA = (
    """\
broker.id=1
{listeners}zookeeper.connect=127.0.0.1:{zookeeper_port}
zookeeper.session.timeout.ms={session_ms}
log.dirs={data}/kafka
"""
    + SMALL_CLUSTER
)

_LISTENERS = """\
listeners={bound}
advertised.listeners={advertised}
listener.security.protocol.map={protocols}
inter.broker.listener.name=PLAINTEXT
"""

_LOG4J = """\
log4j.rootLogger=WARN, console
log4j.logger.kafka.server.KafkaServer=INFO
log4j.logger.kafka.server.KafkaRaftServer=INFO
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n
"""


class ProxyPorts(NamedTuple):
    """Ports of a proxy in front of the broker: the proxy's own port for clients, and the broker's port for the proxy.

    The broker advertises the proxy's port to clients that connect through the proxy.
    """

    clients: int
    broker: int


class Listener(NamedTuple):
    """An additional listener of the broker; ``properties`` are Kafka's settings for a single listener.

    https://kafka.apache.org/39/documentation.html#listener_configuration
    """

    name: str
    port: int
    protocol: str
    properties: Mapping[str, str] = {}
    advertised_port: int | None = None
    advertised_host: str = "127.0.0.1"

    def lines(self) -> str:
        """The listener's own lines in the broker's configuration."""
        prefix = f"listener.name.{self.name.lower()}."
        return "".join(f"{prefix}{name}={value}\n" for name, value in self.properties.items())


def broker_listeners(kafka_port: int, proxy: ProxyPorts | None, more: Sequence[Listener] = ()) -> list[Listener]:
    """The plaintext listener, those in ``more``, and the one for a proxy."""
    listeners = [Listener("PLAINTEXT", kafka_port, "PLAINTEXT"), *more]
    if proxy:
        listeners.append(Listener("PROXIED", proxy.broker, "PLAINTEXT", advertised_port=proxy.clients))
    return listeners


def listener_lines(listeners: Sequence[Listener], controller: Listener | None = None) -> str:
    """The broker's configuration of ``listeners``, and of the internal one of a ``controller`` in the same process."""
    bound = [*listeners, controller] if controller else listeners
    lines = _LISTENERS.format(
        bound=",".join(f"{each.name}://127.0.0.1:{each.port}" for each in bound),
        advertised=",".join(
            f"{each.name}://{each.advertised_host}:{each.advertised_port or each.port}" for each in listeners
        ),
        protocols=",".join(f"{each.name}:{each.protocol}" for each in bound),
    )
    return lines + "".join(each.lines() for each in listeners)


def write_log4j(directory: Path) -> None:
    """Write the logging configuration for the programs in ``directory``."""
    (directory / "log4j.properties").write_text(_LOG4J)


def java(directory: Path, libs: Path, main: str, *options: str) -> list[str]:
    """The command that runs the class ``main`` of ``libs``; the caller appends arguments."""
    archive = class_archive(libs, main)
    shared = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []
    # Exit on OutOfMemoryError: a restart is better than a broker in an undefined state.
    log4j = f"-Dlog4j.configuration=file:{directory / 'log4j.properties'}"
    return [java_command(), *options, *shared, "-XX:+ExitOnOutOfMemoryError", log4j, "-cp", f"{libs}/*", main]


def class_archive(libs: Path, main: str) -> Path:
    """The path of the class-data archive of ``main``, which may not exist (local/class_archives.py)."""
    return libs / f"{main}.jsa"


BROKER_HEAP = ("-Xms256m", "-Xmx512m")


@dataclass(frozen=True)
class KafkaFiles:
    """The files of one broker and its ZooKeeper."""

    directory: Path
    libs: Path
    kafka_port: int
    zookeeper_port: int
    proxy: ProxyPorts | None = None
    more_listeners: tuple[Listener, ...] = ()
    more_properties: Mapping[str, str] = field(default_factory=dict)

    def write(self) -> None:
        """Write the configuration files; existing data is kept.

        Raises:
            LocalModeError: the folder's path cannot be represented in them.
        """
        check_path(self.directory)
        check_path(self.libs)
        values = {
            "data": self.directory / "data",
            "listeners": listener_lines(broker_listeners(self.kafka_port, self.proxy, self.more_listeners)),
            "zookeeper_port": self.zookeeper_port,
            "session_ms": ZOOKEEPER_SESSION_MS,
        }
        (self.directory / "data").mkdir(parents=True, exist_ok=True)
        for name, template in (("zookeeper", _ZOOKEEPER), ("kafka", _KAFKA)):
            (self.directory / f"{name}.properties").write_text(template.format(**values))
        with (self.directory / "kafka.properties").open("a") as properties:
            properties.writelines(f"{name}={value}\n" for name, value in self.more_properties.items())
        write_log4j(self.directory)

    @property
    def zookeeper_command(self) -> list[str]:
        options = ("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        properties = str(self.directory / "zookeeper.properties")
        return [*java(self.directory, self.libs, ZOOKEEPER_MAIN, *options), properties]

    @property
    def kafka_command(self) -> list[str]:
        properties = str(self.directory / "kafka.properties")
        return [*java(self.directory, self.libs, KAFKA_MAIN, *BROKER_HEAP), properties]
