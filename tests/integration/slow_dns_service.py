"""Runs a service, given by the path of its entry file, with DNS look-ups that take SLOW_DNS_S seconds each."""

import os
import runpy
import socket
import sys
import time
from typing import Any

_look_up = socket.getaddrinfo


def _slow_look_up(*arguments: Any, **options: Any) -> Any:
    time.sleep(float(os.environ["SLOW_DNS_S"]))  # asyncio does look-ups in a thread
    return _look_up(*arguments, **options)


if __name__ == "__main__":
    socket.getaddrinfo = _slow_look_up
    entry_file = sys.argv.pop(1)
    runpy.run_path(entry_file, run_name="__main__")
