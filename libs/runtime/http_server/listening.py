"""The socket that a server listens on."""

import errno
import socket
from ipaddress import ip_address

_ALL = "::"
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def listening_socket(host: str, port: int) -> socket.socket:
    """A listening TCP socket on ``host``, which may be a name, an IPv4 or an IPv6 address.

    For a name with addresses of both kinds, the IPv4 one is used. ``::`` listens on all addresses, including IPv4 if the
    system is configured so, and on those of IPv4 alone if it has no IPv6. Port 0 means any free port.

    Raises:
        OSError: ``host`` has no address on this machine, or the port is in use.
    """
    family, address = _address_of(host)
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((address, port), family=family, dualstack_ipv6=both)
    except OSError as error:
        if address != _ALL or error.errno not in _NO_IPV6:
            raise
        return socket.create_server(("0.0.0.0", port))  # noqa: S104 - all addresses are asked for


def _address_of(host: str) -> tuple[socket.AddressFamily, str]:
    try:
        version = ip_address(host).version  # without a DNS look-up, which may take long if no name server responds
    except ValueError:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        return family, str(address[0])
    return socket.AF_INET if version == 4 else socket.AF_INET6, host
