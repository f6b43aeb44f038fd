"""The socket that a server listens on."""

import socket


def listening_socket(host: str, port: int) -> socket.socket:
    """A listening TCP socket on ``host``, which may be a name, an IPv4 or an IPv6 address.

    A name with addresses of both kinds stands for the IPv4 one. ``::`` listens on all addresses, those of IPv4 included
    where the system has it so. Port 0 takes a free one.

    Raises:
        OSError: ``host`` has no address on this machine, or the port is in use.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(addresses, key=lambda found: found[0] != socket.AF_INET)
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    return socket.create_server(address[:2], family=family, dualstack_ipv6=both)
