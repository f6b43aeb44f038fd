"""Ports on loopback.

All of them are below 32768, where Linux's range of ephemeral ports begins. Otherwise a client that reconnects to a broker that
is down could get the broker's own port as source port, and so prevent the broker's restart.
"""

import random
import socket
from collections.abc import Mapping

from libs.runtime.errors import SettingsError

FIRST_EPHEMERAL_PORT = 32_768
_LOWEST = 20_000
_LOWEST_OF_BLOCKS = 10_000


def is_taken(port: int) -> bool:
    """Whether a program on this machine listens on ``port``."""
    with socket.socket() as probe:
        # Connections of an earlier run in TIME_WAIT do not prevent listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def port_setting(environment: Mapping[str, str], name: str, default: int) -> int:
    """The port in a setting; raises SettingsError for a value that is not allowed."""
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 0 < int(text) < 2**16):
        raise SettingsError(f"{name}={text!r}: a port from 1 to 65535 is allowed")
    return int(text)


def free_ports(count: int) -> list[int]:
    """Distinct free ports.

    They are chosen at random, so that concurrent test runs on one machine do not collide.
    """
    candidates = random.SystemRandom().sample(range(_LOWEST, FIRST_EPHEMERAL_PORT), FIRST_EPHEMERAL_PORT - _LOWEST)
    free = (port for port in candidates if not is_taken(port))
    return [next(free) for _ in range(count)]


def free_block(count: int) -> int:
    """The first of ``count`` consecutive free ports, from another range than those of `free_ports`."""
    candidates = random.SystemRandom().sample(
        range(_LOWEST_OF_BLOCKS, _LOWEST - count), _LOWEST - count - _LOWEST_OF_BLOCKS
    )
    return next(first for first in candidates if not any(is_taken(port) for port in range(first, first + count)))
