"""Settings of local mode from environment variables: folder, ports, Kafka version, and settings that other commands need."""

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from local.errors import LocalModeError
from local.kraft_files import DEFAULT_VERSION, VERSION
from local.paths import ROOT
from local.ports import FIRST_EPHEMERAL_PORT

MOST_REPLICAS = 50

# Each service has its own range of ports, so that adding or removing replicas does not change the ports of others.
_HTTP_BLOCKS = {"generator": 0, "sink": 1, "live": 2, "processor": 100, "analytics": 200}
HTTP_PORTS = 300
"""The number of ports in all ranges, from `LocalSettings.http_port` on."""
_HIGHEST_HTTP_BASE = FIRST_EPHEMERAL_PORT - HTTP_PORTS
_KAFKA_SECURITY = ("KAFKA_SECURITY_", "KAFKA_SASL_", "KAFKA_SSL_")
_CATALOGUE = "services/processor/catalogue.json"
_WITH_ZOOKEEPER = "3.9"


@dataclass(frozen=True)
class LocalSettings:
    """The files and ports of a pipeline on this machine; all ports are on 127.0.0.1.

    ``kafka_4`` is the version of Kafka 4, None for Kafka 3.9 with ZooKeeper; with Kafka 4 the controller uses ZooKeeper's port.
    The other fields are the services' settings of the same names, which are needed to interpret their output.
    """

    directory: Path
    kafka_port: int
    zookeeper_port: int
    http_port: int
    kafka_4: str | None
    topic_prefix: str
    window_seconds: int
    sink_outputs: str
    sink_output_path: Path
    sink_database_url: str
    processor_catalogue_path: Path

    @classmethod
    def from_environment(cls) -> Self:
        """Settings for a new run: LOCAL_DIR, LOCAL_KAFKA, LOCAL_KAFKA_PORT, LOCAL_ZOOKEEPER_PORT, LOCAL_HTTP_PORT, the services'.

        Raises:
            LocalModeError: naming a setting that is not a valid port, address, number or version, or a port above the safe range.
        """
        _check_http_host()
        return cls(
            directory=local_directory(),
            kafka_port=_port("LOCAL_KAFKA_PORT", 19_092),
            zookeeper_port=_port("LOCAL_ZOOKEEPER_PORT", 12_181),
            http_port=_port("LOCAL_HTTP_PORT", 18_080, _HIGHEST_HTTP_BASE),
            kafka_4=_kafka_4(),
            topic_prefix=os.environ.get("TOPIC_PREFIX", ""),
            window_seconds=_window_seconds(),
            sink_outputs=os.environ.get("SINK_OUTPUTS") or "file",
            sink_output_path=Path(os.environ.get("SINK_OUTPUT_PATH") or ROOT / "output" / "metrics.json").resolve(),
            sink_database_url=_database_url(),
            # Relative to ROOT, where the services run.
            processor_catalogue_path=ROOT / (os.environ.get("PROCESSOR_CATALOGUE_PATH") or _CATALOGUE),
        )

    @classmethod
    def of_running(cls) -> Self:
        """The settings with which the pipeline in LOCAL_DIR was started.

        Raises:
            LocalModeError: it was started by another version of this program.
        """
        values = json.loads((local_directory() / "settings.json").read_text())
        try:
            paths = {name: Path(values[name]) for name in ("sink_output_path", "processor_catalogue_path")}
            return cls(**{**values, **paths, "directory": local_directory()})
        except (KeyError, TypeError) as error:
            raise LocalModeError(
                f"this checkout has changed since the start: no {error}", advice="stop and start the pipeline"
            ) from error

    def save(self) -> None:
        """Save them for ``of_running``: a later command may run in a shell with other settings."""
        path = self.directory / "settings.json"
        path.touch(mode=0o600)  # the database's URL may contain the password
        path.write_text(json.dumps(asdict(self), default=str))

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.kafka_port}"

    @property
    def writes_file(self) -> bool:
        return "file" in self.sink_outputs.lower()

    @property
    def writes_database(self) -> bool:
        return "database" in self.sink_outputs.lower()

    @property
    def written_outputs(self) -> list[str]:
        """``file``, ``database`` or both."""
        return [name for name, written in (("file", self.writes_file), ("database", self.writes_database)) if written]

    @property
    def outputs(self) -> str:
        """The outputs as text, without passwords."""
        places = [str(self.sink_output_path)] if self.writes_file else []
        if self.writes_database:
            places.append(re.sub(r"//([^/@:]*):[^/]*@", r"//\1@", self.sink_database_url).partition("?")[0])
        return " and ".join(places)

    @property
    def live_page(self) -> str:
        return f"http://127.0.0.1:{self.http_port_of('live')}/"

    def http_port_of(self, program: str) -> int:
        """The port of a service's ``/health``; ``program`` is ``sink`` or ``processor-2``."""
        service, _, replica = program.partition("-")
        return self.http_port + _HTTP_BLOCKS[service] + int(replica or 0)


def forget_kafka_security() -> None:
    """Remove login settings from the environment: local mode's broker has no authentication."""
    for name in [each for each in os.environ if each.startswith(_KAFKA_SECURITY)]:
        del os.environ[name]


def local_directory() -> Path:
    """LOCAL_DIR: the folder of all files of a run, except the metrics."""
    return Path(os.environ.get("LOCAL_DIR") or ROOT / ".local").resolve()


def _check_http_host() -> None:
    """The services' health is asked for at 127.0.0.1."""
    host = os.environ.get("HTTP_HOST") or "127.0.0.1"
    if host not in ("127.0.0.1", "localhost", "0.0.0.0"):  # noqa: S104 - compared, not listened at
        raise LocalModeError(
            f"HTTP_HOST={host!r}: 127.0.0.1 (or localhost) and 0.0.0.0 are allowed", advice="set another one, or none"
        )


def _kafka_4() -> str | None:
    text = os.environ.get("LOCAL_KAFKA") or _WITH_ZOOKEEPER
    if text == _WITH_ZOOKEEPER:
        return None
    if text == "4":
        return DEFAULT_VERSION
    if VERSION.fullmatch(text):
        return text
    raise LocalModeError(
        f"LOCAL_KAFKA={text!r}: {_WITH_ZOOKEEPER} (with ZooKeeper), 4, or a version such as {DEFAULT_VERSION} is allowed",
        advice="set another LOCAL_KAFKA",
    )


def _window_seconds() -> int:
    text = os.environ.get("WINDOW_SECONDS") or "60"
    if text.isdecimal() and int(text):
        return int(text)
    raise LocalModeError(f"WINDOW_SECONDS={text!r}: a whole number from 1 is allowed", advice="set another one")


def _database_url() -> str:
    """A file's path is made absolute, as that of the metrics file: the sink runs in another folder than this command."""
    url = os.environ.get("SINK_DATABASE_URL") or f"sqlite:///{ROOT / 'output' / 'metrics.db'}"
    scheme, found, path = url.partition("sqlite:///")
    if scheme or not found or not path or path.startswith("/"):
        return url
    return f"sqlite:///{quote(str(Path.cwd()))}/{path}"


def _port(name: str, default: int, highest: int = FIRST_EPHEMERAL_PORT - 1) -> int:
    text = os.environ.get(name) or str(default)
    if text.isdecimal() and 1024 <= int(text) <= highest:
        return int(text)
    raise LocalModeError(f"{name}={text!r}: a port from 1024 to {highest} is allowed", advice=f"set another {name}")
