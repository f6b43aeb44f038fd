"""The contenders' environments in ``.local/bench``, created when first needed and kept."""
# ruff: noqa: S603 - this file starts programs

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from benchmarks.processes import ROOT
from benchmarks.registry import Contender, Kind
from libs.runtime.errors import PipelineError

FOLDERS = ROOT / "benchmarks" / "contenders"
_HOME = ROOT / ".local" / "bench"
_TIMEOUT_S = 900
_DISTRIBUTIONS_PYTHON = "/usr/bin/python3"


class EnvironmentMissingError(PipelineError):
    """A contender cannot be run on this machine; the message says why."""


def command_of(contender: Contender, say: Callable[[str], None]) -> list[str]:
    """The command that starts a contender; creates its environment if needed.

    Raises:
        EnvironmentMissingError: the environment could not be created.
    """
    folder = FOLDERS / contender.folder
    if not folder.is_dir():
        raise EnvironmentMissingError("there is no program of it")
    if contender.kind is Kind.SERVICES:
        return [services_python(say), str(folder / "main.py")]
    sources = sorted(path for path in folder.iterdir() if path.suffix in (".java", ".xml", ".txt"))
    make = _make_java if contender.kind is Kind.JAVA else _make_venv
    home = _made(contender.folder, f"the environment of {contender.title}", sources, make, say)
    if contender.kind is Kind.JAVA:
        options = (folder / "jvm.options").read_text().split()
        return ["java", *options, "-cp", f"{home / 'classes'}:{home / 'jars'}/*", "KafkaStreamsContender"]
    return [str(home / "venv" / "bin" / "python"), str(folder / "main.py")]


@cache
def base_python() -> str:
    """The interpreter for all Python contenders: the distribution's, if it is new enough and complete, or else this one.

    Distributions build Python with profile-guided optimisation, as it is in the containers. Builds of version managers
    often lack it, and are slower.
    """
    usable = "import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))"
    try:
        _run(_DISTRIBUTIONS_PYTHON, "-c", usable)
    except (EnvironmentMissingError, OSError):
        return sys.executable
    return _DISTRIBUTIONS_PYTHON


@cache
def base_python_version() -> str:
    """The version of ``base_python``, its build's date, and its compiler."""
    return _run(base_python(), "-c", "import sys; print(*sys.version.split())")


def services_python(say: Callable[[str], None]) -> str:
    """The interpreter of an environment with the same packages as the services' containers.

    Raises:
        EnvironmentMissingError: it could not be created.
    """
    home = _made("services", "the services' environment", [ROOT / "requirements.txt"], _make_venv, say)
    return str(home / "venv" / "bin" / "python")


def _made(
    name: str, title: str, sources: Sequence[Path], make: Callable[[Path, Path], None], say: Callable[[str], None]
) -> Path:
    home = _HOME / name
    made_from = [base_python_version().encode(), *(path.read_bytes() for path in sources)]
    stamp = hashlib.sha256(b"\0".join(made_from)).hexdigest()
    stamp_file = home / "made-from.sha256"
    if not stamp_file.exists() or stamp_file.read_text() != stamp:
        say(f"making {title} in {home.relative_to(ROOT)}")
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        make(sources[0].parent, home)
        stamp_file.write_text(stamp)
    return home


def _make_venv(folder: Path, home: Path) -> None:
    _run(base_python(), "-m", "venv", str(home / "venv"))
    pip = (str(home / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "--only-binary", ":all:", "-r", str(folder / "requirements.txt"))


def _make_java(folder: Path, home: Path) -> None:
    for tool in ("java", "javac", "mvn"):
        if not shutil.which(tool):
            raise EnvironmentMissingError(f"{tool} is not installed")
    jars = home / "jars"
    maven = ("mvn", "-B", "-q", "-ntp", "--strict-checksums", "-f", str(folder / "pom.xml"))
    _run(*maven, "dependency:copy-dependencies", f"-DoutputDirectory={jars}", "-DincludeScope=runtime")
    sources = [str(path) for path in sorted(folder.glob("*.java"))]
    _run("javac", "-cp", f"{jars}/*", "-d", str(home / "classes"), *sources)


def _run(*command: str) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentMissingError(f"{command[0]} took longer than {_TIMEOUT_S} s") from error
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["no output"]
        raise EnvironmentMissingError(f"{Path(command[0]).name} failed: {last[0]}")
    return done.stdout.strip()
