"""Whom a connection was to reach, and how it was to log in."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ConnectionAttempt:
    """What an error message needs to know of an attempt to connect; no secrets."""

    host: str
    port: int
    protocol: str
    mechanism: str | None = None
    username: str | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
