"""The configuration, data folder and command of a Kafka 4 broker that is its own controller (KRaft)."""

# ruff: noqa: S603 - this file starts programs

import base64
import re
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from local.errors import LocalModeError
from local.jars import kafka_libs
from local.kafka_files import (
    BROKER_HEAP,
    KAFKA_MAIN,
    SMALL_CLUSTER,
    Listener,
    ProxyPorts,
    broker_listeners,
    java,
    listener_lines,
    write_log4j,
)
from local.paths import check_path

DEFAULT_VERSION = "4.4.0"
VERSION = re.compile(r"4\.\d+\.\d+")

_POM = Path(__file__).with_name("kafka_4.pom.xml")

_KAFKA = (
    """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
{listeners}log.dirs={data}
"""
    + SMALL_CLUSTER
)


def kafka_4_libs(version: str) -> Path:
    """The folder with the jars of this version of Kafka 4, which the first call downloads.

    Raises:
        ValueError: it is not a version of Kafka 4.
        LocalModeError: Maven could not download it.
    """
    if not VERSION.fullmatch(version):
        raise ValueError(f"{version!r} is not a version of Kafka 4, such as {DEFAULT_VERSION}")
    return kafka_libs(_POM, f"kafka-{version}-libs", f"-Dkafka.version={version}")


@dataclass(frozen=True)
class KraftFiles:
    """The files of one Kafka 4 broker."""

    directory: Path
    libs: Path
    kafka_port: int
    controller_port: int
    proxy: ProxyPorts | None = None

    def write(self) -> None:
        """Write the configuration, and format the data folder if it is new.

        Raises:
            LocalModeError: the folder's path cannot be represented in a configuration, or its data is not of KRaft.
        """
        check_path(self.directory)
        check_path(self.libs)
        controller = Listener("CONTROLLER", self.controller_port, "PLAINTEXT")
        listeners = listener_lines(broker_listeners(self.kafka_port, self.proxy), controller)
        self._data.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(
            _KAFKA.format(controller_port=self.controller_port, listeners=listeners, data=self._data)
        )
        write_log4j(self.directory)
        if not (self._data / "meta.properties").exists():
            self._format()

    @property
    def kafka_command(self) -> list[str]:
        return [*java(self.directory, self.libs, KAFKA_MAIN, *BROKER_HEAP), str(self._properties)]

    @property
    def _properties(self) -> Path:
        return self.directory / "kafka.properties"

    @property
    def _data(self) -> Path:
        return self.directory / "data" / "kafka"

    def _format(self) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [*java(self.directory, self.libs, "kafka.tools.StorageTool"), "format"]
        # One argument with an equals sign: an id may begin with a hyphen.
        done = subprocess.run(
            [*tool, f"--cluster-id={cluster_id}", "--config", str(self._properties)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LocalModeError(f"the folder {self._data} could not be formatted:\n{done.stdout}{done.stderr}")
