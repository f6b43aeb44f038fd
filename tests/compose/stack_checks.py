"""Checks of the running stack from a user's point of view: containers, consumer groups, metrics, command line."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tests.compose.conftest import REPLICAS, verify
from tests.compose.groups import Member, committed_offsets, eventually, members_of
from tests.compose.project import ROOT, Project, docker
from tests.compose.prometheus import Prometheus
from tests.integration.services import HANGS_AFTER_S

PARTITIONS = 6
_STAGES = re.compile(
    r"\d\d:\d\d:\d\d orders \d+/s, up to [\d,]+ in all → processor \d+/s accepted, lag [\d,]+.* → analytics lag [\d,]+.* → sink lag"
)
_WINDOW = re.compile(r"closed .* prod-\d: \d+ orders, revenue")


async def states(project: Project) -> list[tuple[str, str]]:
    """The service and health of each container; its state if it is not running."""
    return sorted(
        (
            container["Config"]["Labels"]["com.docker.compose.service"],
            container["State"]["Health"]["Status"] if container["State"]["Running"] else container["State"]["Status"],
        )
        for container in project.containers()
    )


async def all_healthy(project: Project, without: Collection[str] = ()) -> None:
    healthy = sorted(
        (service, "exited" if service in without else "healthy")
        for service, count in REPLICAS.items()
        for _ in range(count)
    )
    await eventually(lambda: states(project), lambda seen: seen == healthy, "every container healthy")


async def works_on_every_partition(project: Project, group: str, replicas: int) -> set[str]:
    """Wait until each of ``replicas`` members has partitions, and every partition makes progress; returns their addresses."""
    members: list[Member] = []
    before: dict[int, int] = {}

    async def moved() -> set[int]:
        nonlocal members, before
        now = await committed_offsets(project.bootstrap, group)
        seen = await members_of(project.bootstrap, group)
        if seen != members:  # a crashed member is listed until its session ends
            members, before = seen, now
        shared = len(members) == replicas and all(member.partitions for member in members)
        return {partition for partition, offset in now.items() if shared and offset > before.get(partition, 0)}

    await eventually(moved, lambda seen: len(seen) == PARTITIONS, f"{replicas} replicas of {group} work")
    return {member.address for member in members}


async def each_partition_reported_once(prometheus: Prometheus, service: str, replicas: int) -> None:
    """Wait until Prometheus has one series for each partition, from exactly ``replicas`` replicas."""

    async def reporting_replicas() -> list[tuple[str, str]]:
        found = await prometheus.query(f'pipeline_consumer_lag_records{{job="{service}"}}')
        return sorted((series.labels["partition"], series.labels["instance"]) for series in found)

    def right(seen: list[tuple[str, str]]) -> bool:
        each_once = [partition for partition, _ in seen] == [str(number) for number in range(PARTITIONS)]
        return each_once and len({instance for _, instance in seen}) == replicas

    await eventually(reporting_replicas, right, f"{replicas} replicas of {service} report each partition once")


async def can_be_watched(project: Project) -> None:
    """`make watch BOOTSTRAP=…` through a pipe: wait for a line of the stages, and one of a closed window."""
    where = ("--bootstrap", project.bootstrap, "--window-seconds", project.settings["WINDOW_SECONDS"])
    watch = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", "watch", *where, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert watch.stdout
    try:
        async with asyncio.timeout(HANGS_AFTER_S):
            missing = {_STAGES, _WINDOW}
            while missing:
                line = (await watch.stdout.readline()).decode()
                assert line, "it has ended"
                assert "\x1b" not in line
                missing = {each for each in missing if not each.match(line)}
        watch.terminate()
        assert await watch.wait() == 0
    finally:
        if watch.returncode is None:
            watch.kill()
            await watch.wait()


def addresses(project: Project, service: str) -> set[str]:
    return {
        network["IPAddress"]
        for container in project.containers(service)
        for network in container["NetworkSettings"]["Networks"].values()
    }


def users(container: dict[str, Any]) -> set[str]:
    """The users that the service in ``container`` runs as, including its init process."""
    processes = docker("top", container["Id"], "-o", "uid,pid,args").splitlines()[1:]
    return {process.split()[0] for process in processes if "services/" in process}


async def restarts(project: Project, service: str) -> int:
    return sum(container["RestartCount"] for container in project.containers(service))


def exit_codes(project: Project, *services: str) -> set[int]:
    return {container["State"]["ExitCode"] for container in project.containers(*services)}


def assert_exact(project: Project, metrics: Path) -> None:
    verification = verify(project, metrics)
    assert verification.returncode == 0, verification.stdout + verification.stderr


def run_as(uid: int, *command: str) -> str:
    """The output of ``command``, run as an unprivileged user; as the current user if that is not root."""
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if os.geteuid() == 0 else []
    return subprocess.run([*drop, *command], stdout=subprocess.PIPE, text=True, check=True).stdout
