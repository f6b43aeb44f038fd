"""Runs a separate PostgreSQL server for a test, in its own folder, as an ordinary user."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

_READY_S = 60.0
_POLL_S = 0.05
SUPERUSER = "admin"

# A watchdog that ends the server when the tests end, however they end: the pipe to its stdin then closes.
_WATCHDOG = 'read -r _; kill -QUIT "$0" 2>/dev/null'


def binaries() -> Path | None:
    """The folder with ``initdb`` and ``postgres`` of the newest installed version; None if there is none."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return debian[-1].parent if debian else None


class PostgresServer:
    """A server on a free port of this machine that can be killed and restarted.

    Leaving the ``with`` block ends it and deletes its data. It allows passwords only (SCRAM), for the superuser
    ``SUPERUSER`` with ``password``.
    """

    def __init__(self) -> None:
        folder = binaries()
        assert folder, "no PostgreSQL is installed"
        self._binaries = folder
        self._folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.password = secrets.token_hex(8)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            if user := _system_user():
                shutil.chown(self._folder, user)
            password_file = self._folder / "password"
            password_file.write_text(self.password)
            password_file.chmod(0o644)
            self._run(
                "initdb", "-D", self._data, "-U", SUPERUSER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8",
                f"--pwfile={password_file}", "--no-sync", "--no-instructions",
            )  # fmt: skip
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        assert self._process
        return self._process.pid

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """Its address as SINK_DATABASE_URL has it."""
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._binaries / "postgres", "-D", self._data, "-p", str(self.port), "-k", self._folder,
                    "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=32MB", "-c", "max_connections=50",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                user=_system_user(), group=_system_user(), extra_groups=[] if _system_user() else None,
            )  # fmt: skip
        self._watchdog = subprocess.Popen(
            ["sh", "-c", _WATCHDOG, str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )
        deadline = time.monotonic() + _READY_S
        while True:
            with contextlib.suppress(psycopg.OperationalError), self.connect():
                return
            assert self._process.poll() is None, f"PostgreSQL did not start:\n{self.log}"
            assert time.monotonic() < deadline, f"PostgreSQL accepts no connection:\n{self.log}"
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """An immediate shutdown; nothing keeps running."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """A fast shutdown, as by an operator, and a start."""
        self._end(signal.SIGINT)
        self.start()

    def kill(self) -> None:
        """Kill all processes of the server at once."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._dismiss_watchdog()

    def _dismiss_watchdog(self) -> None:
        if self._watchdog:
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None

    def pause(self) -> None:
        """Suspend all processes of the server (SIGSTOP); see ``resume``."""
        assert self._process
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process
        os.killpg(self._process.pid, signal.SIGCONT)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A connection of the superuser in autocommit mode."""
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=10)

    def create_database(self, name: str) -> str:
        """Make an empty database; returns its URL."""
        with self.connect() as connection:
            connection.execute(f'create database "{name}"')  # type: ignore[call-overload,unused-ignore]
        return self.url(name)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _end(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        self._dismiss_watchdog()

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._binaries / program, *arguments], capture_output=True, text=True, check=False,
            user=_system_user(), group=_system_user(), extra_groups=[] if _system_user() else None,
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stderr}"


def _system_user() -> str | None:
    """The user that runs the server if the tests are run by root, as which PostgreSQL does not start."""
    return None if os.getuid() else "postgres"


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
