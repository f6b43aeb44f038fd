"""Remembers which broker addresses this process could connect to."""

import logging
import time
from collections.abc import Callable, Iterable

from libs.runtime.kafka_security.bootstrap_servers import address_in_url

log = logging.getLogger(__name__)

_SAY_AGAIN_AFTER_S = 30.0


class BrokerAddresses:
    """Remembers how the last connection to each ``host:port`` went."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._reached: set[str] = set()
        self._failed_s: dict[str, float] = {}
        self._said_s: dict[str, float] = {}

    def reached(self, address: str) -> None:
        """A connection to ``address`` has been made."""
        self._reached.add(address)
        self._failed_s.pop(address, None)

    def failed(self, address: str, error: BaseException, *, advertised: bool) -> None:
        """Connecting to ``address`` failed with ``error``.

        An advertised address that has never been reached is logged as a warning, because aiokafka only reports that no
        broker is ready. If it was reached before, it is an outage, which is reported elsewhere.
        """
        now_s = self._monotonic_s()
        self._failed_s[address] = now_s
        if not advertised or address in self._reached:
            return
        if now_s - self._said_s.get(address, -_SAY_AGAIN_AFTER_S) < _SAY_AGAIN_AFTER_S:
            return
        self._said_s[address] = now_s
        log.warning(
            "a broker advertises the address %s, which cannot be reached from here (%s): check its advertised.listeners, or the"
            " way there (name look-up, firewall)",
            address,
            str(error) or type(error).__name__,
        )

    def reachable_first(self, servers: Iterable[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
        """``servers``, each a host, a port and an address family; those whose last connection failed come last."""

        def failed_s(server: tuple[str, int, int]) -> float:
            host, port, _ = server
            return self._failed_s.get(f"{address_in_url(host)}:{port}", float("-inf"))

        return sorted(servers, key=failed_s)
