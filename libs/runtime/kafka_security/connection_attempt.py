"""The target and the login parameters of a connection attempt."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ConnectionAttempt:
    """The parameters of a connection attempt that an error message needs; no secrets."""

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
