"""Parses bootstrap servers: ``host:port``, or several separated by commas."""

import ipaddress
import re

_SERVER = re.compile(r"(?:\[(?P<ipv6>[^\s\[\]]+)\]|(?P<host>[^\s:,\[\]]+)):(?P<port>[0-9]{1,5})")


def parse_bootstrap_servers(text: str) -> str:
    """``text`` without blanks; each server in it has a valid form.

    IPv6 addresses are in brackets.

    >>> parse_bootstrap_servers("[::1]:9092, kafka:9092")
    '[::1]:9092,kafka:9092'

    Raises:
        ValueError: naming the part, address or port that is not valid, unless it may hold a password.
    """
    if "@" in text:
        raise ValueError(
            "allowed is host:port without a user and a password, which have their own settings: KAFKA_SASL_..."
        )
    servers = [server.strip() for server in text.split(",")]
    for server in servers:
        match = _SERVER.fullmatch(server)
        if match is None:
            raise ValueError(f"{server!r:.100} is no host:port or [IPv6 address]:port")
        if match["ipv6"]:
            ipaddress.IPv6Address(match["ipv6"])
        else:
            _check_host(match["host"])
        if int(match["port"]) > 65_535:
            raise ValueError(f"there is no port {match['port']}")
    return ",".join(servers)


def _check_host(name: str) -> None:
    try:
        name.encode("idna")  # as the DNS look-up does, whose error would come much later
    except UnicodeError as error:
        raise ValueError(f"{name!r:.100} is no host name: {error}") from error


def address_in_url(host: str) -> str:
    """``host`` as in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
