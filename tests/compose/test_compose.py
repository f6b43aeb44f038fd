"""`docker compose up --build --scale processor=3 --scale analytics=2`, and what a user expects of it.

The tests share one pipeline and run in this order; each leaves it running and whole for the next one.
"""

import json
import os
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from tests.compose.conftest import USER, verify
from tests.compose.groups import Member, committed_offsets, eventually, members_of
from tests.compose.project import Project, docker

REPLICAS = {"zookeeper": 1, "kafka": 1, "generator": 1, "processor": 3, "analytics": 2, "sink": 1}
OURS = ("generator", "processor", "analytics", "sink")
PARTITIONS = 6


async def states(project: Project) -> list[tuple[str, str]]:
    """(service, health, or state where it is not running) of each container."""
    return sorted(
        (
            container["Config"]["Labels"]["com.docker.compose.service"],
            container["State"]["Health"]["Status"] if container["State"]["Running"] else container["State"]["Status"],
        )
        for container in project.containers()
    )


async def all_healthy(project: Project, without: Collection[str] = ()) -> None:
    whole = sorted(
        (service, "exited" if service in without else "healthy")
        for service, count in REPLICAS.items()
        for _ in range(count)
    )
    await eventually(lambda: states(project), lambda seen: seen == whole, "every container healthy")


async def works_on_every_partition(project: Project, group: str, replicas: int) -> set[str]:
    """Wait until each of ``replicas`` members has partitions, and every partition moves on; their addresses."""
    members: list[Member] = []
    before: dict[int, int] = {}

    async def moved() -> set[int]:
        nonlocal members, before
        now = await committed_offsets(project.bootstrap, group)
        seen = await members_of(project.bootstrap, group)
        if seen != members:  # a crashed member counts until its session ends
            members, before = seen, now
        shared = len(members) == replicas and all(member.partitions for member in members)
        return {partition for partition, offset in now.items() if shared and offset > before.get(partition, 0)}

    await eventually(moved, lambda seen: len(seen) == PARTITIONS, f"{replicas} replicas of {group} work")
    return {member.address for member in members}


def addresses(project: Project, service: str) -> set[str]:
    return {
        network["IPAddress"]
        for container in project.containers(service)
        for network in container["NetworkSettings"]["Networks"].values()
    }


async def test_every_replica_becomes_healthy(pipeline: Project) -> None:
    await all_healthy(pipeline)


@pytest.mark.parametrize("service", ["processor", "analytics"])
async def test_every_replica_works(pipeline: Project, service: str) -> None:
    working = await works_on_every_partition(pipeline, service, REPLICAS[service])

    assert working == addresses(pipeline, service)


def test_nothing_is_published_beyond_loopback(pipeline: Project) -> None:
    published = {
        (container["Config"]["Labels"]["com.docker.compose.service"], binding["HostIp"])
        for container in pipeline.containers()
        for bindings in container["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }

    assert published == {("kafka", "127.0.0.1")}


def users(container: dict[str, Any]) -> set[str]:
    """The users that the service in ``container`` runs as, its init included."""
    processes = docker("top", container["Id"], "-o", "uid,pid,args").splitlines()[1:]
    return {process.split()[0] for process in processes if "services/" in process}


def test_no_service_runs_as_root(pipeline: Project) -> None:
    for container in pipeline.containers(*OURS):
        assert users(container), container["Name"]
        assert "0" not in users(container), container["Name"]


async def restarts(project: Project, service: str) -> int:
    return sum(container["RestartCount"] for container in project.containers(service))


async def test_the_result_is_exact_after_crashes(pipeline: Project) -> None:
    victim = pipeline.containers("processor")[0]["Id"]
    docker("kill", "--signal", "KILL", victim)  # the engine takes this for a stop and does not restart it
    await works_on_every_partition(pipeline, "processor", 2)
    docker("start", victim)
    # A crash in the engine's eyes: everything dies but the init, which then ends as well.
    docker("exec", pipeline.containers("analytics")[0]["Id"], "sh", "-c", "kill -9 -1")
    sink = pipeline.containers("sink")[0]["Id"]
    docker("kill", "--signal", "KILL", sink)
    docker("start", sink)
    await eventually(lambda: restarts(pipeline, "analytics"), lambda count: count > 0, "analytics restarted")
    await works_on_every_partition(pipeline, "processor", 3)
    await works_on_every_partition(pipeline, "analytics", 2)

    pipeline.compose("stop", "generator")

    assert exit_codes(pipeline, "generator") == {0}
    assert_exact(pipeline, pipeline.metrics)
    await all_healthy(pipeline, without=("generator",))


def exit_codes(project: Project, *services: str) -> set[int]:
    return {container["State"]["ExitCode"] for container in project.containers(*services)}


def assert_exact(project: Project, metrics: Path) -> None:
    verification = verify(project, metrics)
    assert verification.returncode == 0, verification.stdout + verification.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of root's")
def test_a_folder_of_root_s_gets_all_metrics_too(pipeline: Project, tmp_path: Path) -> None:
    moved = pipeline.writing_to(tmp_path)
    moved.compose("up", "--detach", "--no-deps", "--no-build", "sink")

    assert_exact(moved, moved.metrics)
    [container] = moved.containers("sink")
    assert users(container) == {"10001"}


def test_stopping_ends_every_service_cleanly_within_its_grace(pipeline: Project) -> None:
    pipeline.compose("stop", *OURS)

    assert exit_codes(pipeline, *OURS) == {0}  # the engine's SIGKILL after the grace period would be 137


def run_as(uid: int, *command: str) -> str:
    """What ``command`` prints when run as a user without root's rights; as ourselves where we are not root."""
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if os.geteuid() == 0 else []
    return subprocess.run([*drop, *command], stdout=subprocess.PIPE, text=True, check=True).stdout


def test_the_owner_of_the_output_folder_can_read_and_delete_the_metrics(pipeline: Project) -> None:
    first_line = run_as(USER, "head", "-n", "1", str(pipeline.metrics))
    run_as(USER, "sh", "-c", f"rm {pipeline.output}/*")

    assert json.loads(first_line)["order_count"] > 0
