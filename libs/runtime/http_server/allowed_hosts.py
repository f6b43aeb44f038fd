"""Checks the Host header, as a defence against DNS rebinding.

An attacker's web page can let its own host name resolve to this machine's address. The browser then lets the page read
this server's responses, because it takes them for the page's own origin. But the Host header has the attacker's name. An
IP address in the header cannot be used for this attack, so it needs no entry in the list.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address

ANY_HOST = "*"

_HOST_AND_PORT = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:@/\[\]]+))(?::[0-9]{0,5})?", re.ASCII)
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.ASCII)


def parse_host_names(text: str) -> tuple[str, ...]:
    """Host names separated by commas, in lower case, or ``*``; raises ValueError for anything else."""
    names = tuple(name.strip().lower().removesuffix(".") for name in text.split(",") if name.strip())
    for name in names:
        if name != ANY_HOST and not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a host name: no scheme, port or path")
    return names


class AllowedHosts:
    """IP addresses, ``localhost``, names below it, and ``names``; with ``*`` among these, any Host.

    Args:
        names: in lower case, as from ``parse_host_names``.
        setting: the setting that a name can be added to, for the message.
    """

    def __init__(self, names: Iterable[str] = (), setting: str = "") -> None:
        self._names = frozenset(names)
        self.advice = f"; add it to {setting}" if setting else ""

    def allows(self, host: str) -> bool:
        """Whether the value of a Host header is allowed. A port and letter case make no difference."""
        if ANY_HOST in self._names:
            return True
        found = _HOST_AND_PORT.fullmatch(host)
        if not found:
            return False
        if found["ipv6"]:
            return _is_address(found["ipv6"], version=6)
        name = found["name"].lower().removesuffix(".")
        return name == "localhost" or name.endswith(".localhost") or name in self._names or _is_address(name, version=4)


def is_loopback(host: str) -> bool:
    """Whether a server that listens on ``host`` can be reached from this machine only."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(text: str, version: int | None = None) -> bool:
    try:
        return version in {None, ip_address(text).version}
    except ValueError:
        return False
