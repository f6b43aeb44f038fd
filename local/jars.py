"""Kafka's and ZooKeeper's jars, resolved by Maven once and kept in ``.local/kafka-libs``."""
# ruff: noqa: S603, S607 - this file starts programs

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from local.errors import LocalModeError
from local.paths import ROOT

_POM = ROOT / "local" / "pom.xml"
_RESOLVE_TIMEOUT_S = 900


def java_command() -> str:
    """The Java program: JAVA_HOME's, or else the first on the path."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else "java"


def kafka_libs(pom: Path = _POM, name: str = "kafka-libs", *properties: str) -> Path:
    """The folder with the jars of ``pom``, ``.local/{name}``; at the first call Maven downloads them.

    ``properties`` are passed to Maven (``-Dname=value``).

    Raises:
        LocalModeError: Java or Maven is missing, or Maven failed.
    """
    check_machine()
    libs = ROOT / ".local" / name
    stamp = libs / "pom.sha256"
    wanted = hashlib.sha256(b"\0".join([pom.read_bytes(), *map(str.encode, properties)])).hexdigest()
    libs.parent.mkdir(exist_ok=True)
    with (libs.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            sys.stderr.write("Fetching Kafka's jars with Maven (once, some 60 MB) ...\n")
            _resolve(pom, libs, *properties)
            stamp.write_text(wanted)
    return libs


def check_machine() -> None:
    """Raise LocalModeError naming Java or Maven, or both, if they are missing."""
    check = subprocess.run(
        ["sh", ROOT / "local" / "prerequisites.sh", "java", "maven"], capture_output=True, text=True, check=False
    )
    if check.returncode:
        raise LocalModeError(check.stderr.strip(), advice="install it, then start again")


def _resolve(pom: Path, libs: Path, *properties: str) -> None:
    shutil.rmtree(libs, ignore_errors=True)
    command = ["mvn", "-B", "-q", "-ntp", "--strict-checksums", "-f", str(pom), *properties]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={libs}", "-DincludeScope=runtime"]
    try:
        maven = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_RESOLVE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LocalModeError(
            f"Maven took longer than {_RESOLVE_TIMEOUT_S} s", advice="check the network, then start again"
        ) from error
    if maven.returncode:
        raise LocalModeError(
            f"Maven could not fetch Kafka:\n{maven.stdout[-2000:].strip()}",
            advice="check the network, then start again",
        )
