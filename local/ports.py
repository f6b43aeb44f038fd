"""Ports on loopback.

All of them lie below 32768, where Linux begins to take ports for outgoing connections: a client that reconnects to a
broker which is down could otherwise be given the broker's own port, and keep it from coming back.
"""

import random
import socket

FIRST_EPHEMERAL_PORT = 32_768
_LOWEST = 20_000
_LOWEST_OF_BLOCKS = 10_000


def is_taken(port: int) -> bool:
    """Whether something on this machine listens on ``port``."""
    with socket.socket() as probe:
        # Connections of an earlier run that linger in TIME_WAIT keep nobody from listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def free_ports(count: int) -> list[int]:
    """Distinct ports that nobody listens on now.

    Chosen at random, so that test runs at the same time on one machine keep out of each other's way.
    """
    candidates = random.SystemRandom().sample(range(_LOWEST, FIRST_EPHEMERAL_PORT), FIRST_EPHEMERAL_PORT - _LOWEST)
    free = (port for port in candidates if not is_taken(port))
    return [next(free) for _ in range(count)]


def free_block(count: int) -> int:
    """The first of ``count`` consecutive ports that nobody listens on now, apart from those of `free_ports`."""
    candidates = random.SystemRandom().sample(
        range(_LOWEST_OF_BLOCKS, _LOWEST - count), _LOWEST - count - _LOWEST_OF_BLOCKS
    )
    return next(first for first in candidates if not any(is_taken(port) for port in range(first, first + count)))
