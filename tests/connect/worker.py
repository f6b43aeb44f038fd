"""Runs a Kafka Connect worker with the settings of ``connect/worker.env`` as a process."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from connect.register import Worker
from local.broker import BrokerProcess
from local.jars import java_command, kafka_libs
from local.paths import ROOT
from local.ports import free_ports

SETTINGS = ROOT / "connect" / "worker.env"
_POM = Path(__file__).with_name("pom.xml")
_STARTS_WITHIN_S = 600.0
_LOG4J = """\
log4j.rootLogger=WARN, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n
"""


def image_settings() -> dict[str, str]:
    """The properties that the image creates from ``connect/worker.env``."""
    lines = [line for line in SETTINGS.read_text().splitlines() if line and not line.startswith("#")]
    named = (line.removeprefix("CONNECT_").split("=", 1) for line in lines)
    return {name.lower().replace("_", "."): value for name, value in named}


class ConnectWorker:
    """A distributed worker in ``directory``; a context manager, whose calls block.

    Args:
        bootstrap: the broker.
        directory: the working directory; the connectors' files are relative to it.
        prefix: put before its group and topics.
        java: options of the JVM.
        settings: override those of ``connect/worker.env``.
    """

    def __init__(
        self,
        bootstrap: str,
        directory: Path,
        prefix: str,
        java: Sequence[str],
        settings: Mapping[str, str] | None = None,
    ) -> None:
        (port,) = free_ports(1)
        self.worker = Worker(f"http://127.0.0.1:{port}")
        self.files = directory / "output" / "connect"
        self.files.mkdir(parents=True, exist_ok=True)
        plugins = directory / "plugins"
        plugins.mkdir()
        # The connectors are separate from the worker's own jars, as in the image.
        jars = sorted(kafka_libs(_POM, "connect-libs").glob("*.jar"))
        for jar in jars:
            if jar.name.startswith("connect-file"):
                (plugins / jar.name).symlink_to(jar)
        own = {
            "bootstrap.servers": bootstrap,
            "listeners": self.worker.url,
            "group.id": prefix + "connect",
            "plugin.path": str(plugins),
            "session.timeout.ms": "6000",  # a killed worker's successor waits so long; the broker's minimum
        }
        own |= {f"{kind}.storage.topic": f"{prefix}connect-{kind}" for kind in ("config", "offset", "status")}
        own |= settings or {}
        properties = directory / "worker.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in (image_settings() | own).items()))
        log4j = directory / "log4j.properties"
        log4j.write_text(_LOG4J)
        class_path = ":".join(str(jar) for jar in jars if not jar.name.startswith("connect-file"))
        command = ["env", "-C", str(directory), java_command(), *java, f"-Dlog4j.configuration=file:{log4j}"]
        command += ["-cp", class_path, "org.apache.kafka.connect.cli.ConnectDistributed", str(properties)]
        self._process = BrokerProcess(command, directory / "connect.log")

    @property
    def url(self) -> str:
        return self.worker.url

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Start or restart it, and wait until it responds."""
        deadline = time.monotonic() + _STARTS_WITHIN_S
        self._process.start_until(lambda: self.worker.request("GET", "/connectors")[0] == 200, deadline)

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self._process.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
