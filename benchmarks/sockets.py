"""Counts the bytes that a process has received from the broker, as the kernel reports them.

Linux only (NETLINK_SOCK_DIAG, sock_diag(7); struct tcp_info since 4.1).
"""

import contextlib
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DUMP_REQUEST = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2
_INET_DIAG_INFO = 2
_TCP_ESTABLISHED = 1 << 1
_HEADER = struct.Struct("=IHHII")
_BYTES_RECEIVED_AT = 128  # tcp_info.tcpi_bytes_received
_MESSAGE_BYTES = 72  # struct inet_diag_msg
_REMOTE_PORT_AT = 6
_INODE_AT = 68


class ReceivedBytes:
    """Sums up the bytes that all sockets of some processes have received from ``port``, including closed ones."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._by_inode: dict[int, int] = {}

    def total(self, pids: Iterable[int]) -> int:
        """Bytes received so far by ``pids``."""
        own = {inode for pid in pids for inode in _socket_inodes(pid)}
        for family in (socket.AF_INET, socket.AF_INET6):  # Java opens IPv6 sockets for IPv4 too
            for inode, received in _connections_to(self._port, family):
                if inode in own:
                    self._by_inode[inode] = received
        return sum(self._by_inode.values())


def _socket_inodes(pid: int) -> Iterable[int]:
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                yield int(target[8:-1])


def _connections_to(port: int, family: int) -> Iterable[tuple[int, int]]:
    """Inode and bytes received of each connection of this machine to ``port``."""
    anything = bytes(48)  # struct inet_diag_sockid
    query = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), _TCP_ESTABLISHED) + anything
    request = _HEADER.pack(_HEADER.size + len(query), _SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST, 1, 0) + query
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(1.0)
        netlink.send(request)
        while True:
            data = netlink.recv(1 << 16)
            position = 0
            while position < len(data):
                length, kind, *_ = _HEADER.unpack_from(data, position)
                if kind in (_DONE, _ERROR):
                    return
                message = data[position + _HEADER.size : position + length]
                if struct.unpack_from("!H", message, _REMOTE_PORT_AT)[0] == port:
                    yield struct.unpack_from("=I", message, _INODE_AT)[0], _bytes_received(message)
                position += (length + 3) & ~3


def _bytes_received(message: bytes) -> int:
    position = _MESSAGE_BYTES
    while position + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, position)
        if kind == _INET_DIAG_INFO and length >= 4 + _BYTES_RECEIVED_AT + 8:
            return int(struct.unpack_from("=Q", message, position + 4 + _BYTES_RECEIVED_AT)[0])
        position += max(4, (length + 3) & ~3)
    return 0
