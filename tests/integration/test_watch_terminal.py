"""`pipeline watch` on a terminal."""

import contextlib
import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from tests.integration.pipeline import Pipeline, history
from tests.integration.services import ROOT, eventually

COLUMNS, LINES = 80, 24
CTRL_C = b"\x03"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A program in its own terminal, and its output; a context manager."""

    def __init__(self, *command: str) -> None:
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        env = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
        self.program = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env | {"TERM": "xterm-256color"},
            preexec_fn=lambda: os.login_tty(slave),  # noqa: PLW1509 - Ctrl-C reaches only whose terminal it is
        )
        os.close(slave)
        self._written = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.program.kill()
        self.program.wait()
        if error is not None:
            sys.stdout.write(f"--- the screen at last:\n{self.screen}\n")
        os.close(self._master)

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    @property
    def written(self) -> str:
        with contextlib.suppress(OSError):  # no more output for now, or at all
            while more := os.read(self._master, 65_536):
                self._written += more
        return self._written.decode(errors="ignore")

    @property
    def screen(self) -> str:
        """The last screen, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.written.rpartition("\x1b[2K")[2]).replace("\r", "").rstrip()


async def test_the_view_refreshes_until_ctrl_c(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topics()
    values = [orjson.dumps(order) for order in history(1_200, 30, seed=1)]
    await pipeline.send([(number, values[number::6]) for number in range(6)])
    flags = ("--bootstrap", kafka, "--topic-prefix", topic_prefix, "--window-seconds", str(pipeline.window_s))
    async with pipeline.service("processor"), pipeline.service("analytics"), pipeline.service("sink"):
        with Terminal(sys.executable, "-m", "cli", "watch", *flags) as terminal:

            def is_complete() -> bool:
                words = ("processor", "analytics", "sink", "s behind the clock", "prod-1")
                screen = terminal.screen
                return all(word in screen for word in words) and len(re.findall(r"lag \d", screen)) == 3

            await eventually(is_complete, what="stages, lag, watermark and metrics are on the screen")
            screen = terminal.screen.split("\n")
            assert screen[0] == f"Order pipeline at {kafka}, topics {topic_prefix}*"
            assert len(screen) <= LINES
            assert max(map(len, screen)) <= COLUMNS

            terminal.press(CTRL_C)
            await eventually(lambda: terminal.program.poll() is not None, what="it has ended")
            assert terminal.program.returncode == 0
            assert "Traceback" not in terminal.written
            assert terminal.written.rfind(SHOW_CURSOR) > terminal.written.rfind(HIDE_CURSOR) >= 0
