"""Turns facts about this machine into findings."""

from collections.abc import Iterable, Iterator

from doctor.finding import Finding, Level, ok, problem, skipped, warning
from doctor.machine_facts import Disk, Docker, MachineFacts, Port

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 14)
OLDEST_JAVA = 17
OLDEST_COMPOSE = (2, 21, 0)  # `--progress`, which test_pipeline.sh and bonus_airflow use, came shortly before
_OLDEST_COMPOSE_FOR_OVERLAYS = (2, 24, 4)  # the first with !override and !reset
_OVERLAYS = "compose.cluster.yml, compose.external-kafka.yml and compose.secure.yml"

_GIB = 1024**3
_LITTLE_DISK = 5 * _GIB
_NO_DISK = _GIB // 2

# A broker with this pipeline's topics has 600 files and connections open, and each further partition needs three.
_FEWEST_OPEN_FILES = 1024


def machine_findings(facts: MachineFacts) -> list[Finding]:
    """At least one finding for each check."""
    return [
        _python(facts.python),
        *_ways_to_run(facts),
        *_overlays(facts.docker),
        *_local_ports(facts),
        *_compose_ports(facts.compose_ports),
        *map(_disk, facts.disks),
        _open_files(*facts.open_files),
        _paths(facts.odd_paths),
        _line_ends(facts.scripts_with_crlf),
    ]


def _python(version: tuple[int, int]) -> Finding:
    text = "Python {}.{}".format(*version)
    if OLDEST_PYTHON <= version <= NEWEST_PYTHON:
        return ok("Python", text)
    return problem("Python", f"{text}; 3.11 to 3.14 are supported", "install one of these, remove .venv, `make setup`")


def _ways_to_run(facts: MachineFacts) -> Iterator[Finding]:
    """Local mode needs Java and Maven, Compose needs Docker. It is a problem only if neither can run."""
    local, docker = [*_local_mode(facts)], _docker(facts)
    local_works = all(finding.level is Level.OK for finding in local)
    docker_works = docker.level is Level.OK
    for finding in (*local, docker):
        if finding.level is Level.WARNING and not (local_works or docker_works):
            yield problem(finding.subject, finding.message, finding.advice)
        else:
            yield finding


def _local_mode(facts: MachineFacts) -> Iterator[Finding]:
    without = "local mode needs it (`make run`, `make test`)"
    if facts.java is None:
        yield warning("Java", f"not found; {without}", "Debian, Ubuntu: apt install default-jre-headless")
    elif facts.java < OLDEST_JAVA:
        yield warning(
            "Java", f"Java {facts.java}; {OLDEST_JAVA} or later is needed", "install one, or set JAVA_HOME to one"
        )
    else:
        yield ok("Java", f"Java {facts.java}")
    if facts.maven is None:
        yield warning("Maven", f"not found; {without}", "Debian, Ubuntu: apt install maven")
    else:
        yield ok("Maven", f"Maven {facts.maven}")


def _docker(facts: MachineFacts) -> Finding:
    docker = facts.docker
    if docker.engine is None:
        message = f"no engine answers: {docker.problem}" if docker.problem else "not installed"
        return warning("Docker", message, "install or start Docker to run the pipeline in containers")
    if docker.compose is None:
        return warning("Docker", f"engine {docker.engine}, without Compose", "install the plugin docker-compose-plugin")
    if _numbers_of(docker.compose) < OLDEST_COMPOSE:
        return warning("Docker", f"Compose {docker.compose}; 2.21 or later is needed", "update the Compose plugin")
    return ok("Docker", f"engine {docker.engine}, Compose {docker.compose}")


def _overlays(docker: Docker) -> list[Finding]:
    if docker.engine is None or docker.compose is None:
        return []
    if not OLDEST_COMPOSE <= _numbers_of(docker.compose) < _OLDEST_COMPOSE_FOR_OVERLAYS:
        return []
    message = f"Compose {docker.compose}; {_OVERLAYS} need 2.24.4 or later"
    return [warning("Docker", message, "update the Compose plugin to use these files")]


def _numbers_of(version: str) -> tuple[int, ...]:
    """The first three; a missing one is 0."""
    numbers = [int(number) for number in version.split(".")[:3]]
    return (*numbers, 0, 0)[:3]


def _local_ports(facts: MachineFacts) -> list[Finding]:
    ports = facts.local_ports
    if facts.local_mode_runs:
        return [ok("ports of local mode", "used by the running pipeline")]
    taken = [
        warning(
            "ports of local mode",
            f"port {port.number} for {port.purpose} is taken by another program: `make run` will not start",
            f"set {port.setting} to another port",
        )
        for port in ports
        if port.taken
    ]
    return taken or [ok("ports of local mode", f"free: {_numbers(ports)}")]


def _compose_ports(ports: Iterable[Port]) -> list[Finding]:
    subject = "ports of Docker"
    ports = list(ports)
    if any(port.has_broker for port in ports):
        return [ok(subject, f"a broker answers at {next(port.number for port in ports if port.has_broker)}")]
    taken = [
        warning(
            subject,
            f"port {port.number} for {port.purpose} is taken by another program: `docker compose up` will not start",
            f"set {port.setting} to another port",
        )
        for port in ports
        if port.taken
    ]
    return taken or [ok(subject, f"free: {_numbers(ports)}")]


def _numbers(ports: Iterable[Port]) -> str:
    return ", ".join(str(port.number) for port in ports)


def _disk(disk: Disk) -> Finding:
    message = f"{disk.free_bytes / _GIB:.1f} GiB free for {disk.purpose} ({disk.folder})"
    if disk.free_bytes < _NO_DISK:
        return problem("disk", message, "make room: the broker stops on a full disk, and the sink waits")
    if disk.free_bytes < _LITTLE_DISK:
        return warning("disk", message, "make room: Kafka keeps seven days of records")
    return ok("disk", message)


def _open_files(soft: int, hard: int) -> Finding:
    # Java raises its own soft limit to the hard one; all others have the soft one.
    for limit, name in ((soft, "soft"), (hard, "hard")):
        if limit != -1 and limit < _FEWEST_OPEN_FILES:
            return warning(
                "open files",
                f"the {name} limit is {limit}; Kafka and the tests need at least {_FEWEST_OPEN_FILES}",
                f"`ulimit -n {_FEWEST_OPEN_FILES}` in the shell that starts the pipeline; permanently in /etc/security/limits.conf",
            )
    return ok("open files", f"limits {'none' if soft == -1 else soft} and {'none' if hard == -1 else hard}")


def _paths(odd: tuple[str, ...]) -> Finding:
    if odd:
        return problem("paths", "; ".join(odd), "move the checkout, or set LOCAL_DIR, to a path of plain ASCII")
    return ok("paths", "the checkout and LOCAL_DIR have usable names")


def _line_ends(scripts: tuple[str, ...]) -> Finding:
    if scripts:
        return problem(
            "line ends",
            f"Windows line ends in {', '.join(scripts)}: no shell runs these scripts, and their images do not start",
            "`git config core.autocrlf input`, then `git rm -rq --cached . && git reset --hard`, which drops local changes",
        )
    return ok("line ends", "Unix line ends in all scripts")


def no_cluster(reason: str) -> Finding:
    """The finding that replaces all checks of a cluster."""
    return skipped("cluster", reason)
