"""A Kafka broker with its ZooKeeper, as processes of this program."""
# ruff: noqa: S603, S607 - this file starts programs

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from local.errors import LocalModeError
from local.jars import kafka_libs
from local.kafka_files import KafkaFiles, Listener, ProxyPorts
from local.ports import free_ports
from local.probes import kafka_answers, zookeeper_answers

_POLL_S = 0.1
_STOP_S = 20.0
START_S = 180.0
"""The time limit of a start, for a slow machine with other load."""

# A watchdog that kills the process when this program ends, however it ends: the pipe to the watchdog's stdin then closes.
_WATCHDOG = 'read -r _; kill -KILL "$0" 2>/dev/null'


class LocalBroker:
    """Starts and stops a broker on 127.0.0.1 with its files in ``directory``; a context manager, which discards them.

    All calls block. No process outlives this one, even if this one is killed. With ``proxy`` the broker has an additional
    listener for a proxy, which the caller runs.
    """

    def __init__(
        self,
        directory: Path,
        kafka_port: int | None = None,
        zookeeper_port: int | None = None,
        proxy: ProxyPorts | None = None,
        more_listeners: tuple[Listener, ...] = (),
        more_properties: Mapping[str, str] | None = None,
    ) -> None:
        free = free_ports(2)
        self._files = KafkaFiles(
            directory,
            kafka_libs(),
            kafka_port or free[0],
            zookeeper_port or free[1],
            proxy,
            more_listeners,
            more_properties or {},
        )
        self.proxy = proxy
        self._zookeeper = BrokerProcess(self._files.zookeeper_command, directory / "zookeeper.log")
        self._kafka = BrokerProcess(self._files.kafka_command, directory / "kafka.log")

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._files.kafka_port}"

    def start(self, timeout_s: float = START_S) -> None:
        """Start what is not running, and wait until the broker responds.

        Raises:
            LocalModeError: it did not respond within ``timeout_s``; the message ends with the last lines of its log.
        """
        self._files.write()
        deadline = time.monotonic() + timeout_s
        self._zookeeper.start_until(lambda: zookeeper_answers(self._files.zookeeper_port), deadline)
        self._kafka.start_until(lambda: kafka_answers(self._files.kafka_port), deadline)

    def stop(self) -> None:
        """Shut down the broker gracefully, then ZooKeeper."""
        self._kafka.stop()
        self._zookeeper.stop()

    def discard(self) -> None:
        """End both at once, for data that nobody needs again: a graceful stop first writes every partition to the disk."""
        self.kill()
        self._zookeeper.kill()

    def kill(self) -> None:
        """Kill the broker, as a power cut would; ZooKeeper keeps running. ``start`` restarts the broker."""
        self._kafka.kill()

    def pause(self) -> None:
        """Suspend the broker (SIGSTOP); ``resume`` continues it."""
        self._kafka.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End ``pause``."""
        self._kafka.send_signal(signal.SIGCONT)

    def stop_broker(self) -> None:
        """Shut down the broker gracefully; ZooKeeper keeps running. ``start`` restarts the broker."""
        self._kafka.stop()

    def stop_zookeeper(self) -> None:
        """Shut down ZooKeeper; the broker keeps running. ``start`` restarts ZooKeeper."""
        self._zookeeper.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


class BrokerProcess:
    """One program, which is restarted if it ends before it is ready."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def start_until(self, ready: Callable[[], bool], deadline: float) -> None:
        while True:
            if self._process is None or self._process.poll() is not None:
                # A broker that was killed leaves its ZooKeeper session behind. Until that expires, a new one exits
                # (NodeExists), so more than one start can be needed.
                self.kill()
                self._start()
            elif ready():
                return
            if time.monotonic() > deadline:
                tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
                self.kill()
                raise LocalModeError(f"{self._log.stem} did not start in time:\n{tail}", advice=f"see {self._log}")
            time.sleep(_POLL_S)

    @property
    def pid(self) -> int:
        assert self._process, f"{self._log.stem} was not started"
        return self._process.pid

    def _start(self) -> None:
        with self._log.open("ab") as log:
            # In its own session: Ctrl-C in a terminal reaches only this program, which then stops the broker gracefully.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._watchdog = subprocess.Popen(
            ["sh", "-c", _WATCHDOG, str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
        self.kill()

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process, f"{self._log.stem} was not started"
        self._process.send_signal(number)

    def kill(self) -> None:
        # The watchdog first: when its pipe closes later, the process id may have been reused.
        if self._watchdog:
            self._watchdog.kill()
            self._watchdog.communicate()
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = self._watchdog = None
