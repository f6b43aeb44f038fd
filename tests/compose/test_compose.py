"""`docker compose up --build --scale processor=3 --scale analytics=2`, and what a user expects from it.

The tests share one pipeline and run in this order; each leaves it running and undamaged for the next one.
"""

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.compose.conftest import REPLICAS, USER
from tests.compose.faults import (
    fires,
    no_alerts,
    rejecting_processed_orders,
    send,
    stopped,
    with_a_slow_sender,
)
from tests.compose.groups import eventually
from tests.compose.panel_series import problems_of
from tests.compose.project import DockerError, Project, docker
from tests.compose.prometheus import Labels, Prometheus
from tests.compose.stack_checks import (
    addresses,
    all_healthy,
    assert_exact,
    can_be_watched,
    each_partition_reported_once,
    exit_codes,
    restarts,
    run_as,
    users,
    works_on_every_partition,
)
from tests.monitoring.queries import (
    OFFERED,
    RULES,
    Choices,
    PanelQuery,
    annotations,
    choices,
    panel_queries,
    with_all_selected,
)

OURS = ("generator", "processor", "analytics", "sink")
BURST = 500
"""The number of records sent at once: far more than the generator sends meanwhile."""


async def java_pid(container: dict[str, Any]) -> str:
    return docker("exec", container["Id"], "sh", "-c", "grep -l '^java$' /proc/[0-9]*/comm | cut -d / -f 3").strip()


async def test_every_replica_becomes_healthy(pipeline: Project) -> None:
    await all_healthy(pipeline)


@pytest.mark.parametrize("service", ["processor", "analytics"])
async def test_every_replica_processes_its_partitions(pipeline: Project, service: str) -> None:
    working = await works_on_every_partition(pipeline, service, REPLICAS[service])

    assert working == addresses(pipeline, service)


def test_ports_are_published_on_loopback_only(pipeline: Project) -> None:
    published = {
        (container["Config"]["Labels"]["com.docker.compose.service"], binding["HostIp"])
        for container in pipeline.containers()
        for bindings in container["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }

    assert published == {("kafka", "127.0.0.1"), ("live", "127.0.0.1"), ("prometheus", "127.0.0.1")}


def test_no_service_runs_as_root(pipeline: Project) -> None:
    for container in pipeline.containers(*OURS):
        assert users(container), container["Name"]
        assert "0" not in users(container), container["Name"]


async def test_the_terminal_view_runs_on_the_host(pipeline: Project) -> None:
    await can_be_watched(pipeline)


async def test_the_command_runs_in_a_container(pipeline: Project) -> None:
    await eventually(lambda: has_metrics(pipeline), bool, "the first metrics are written")

    def run_json(*arguments: str) -> Any:
        return json.loads(pipeline.compose("run", "--rm", "cli", *arguments, "--json"))

    verified = run_json("verify")
    assert verified["ok"]
    assert verified["lines"] > 0, "the file is compared, too, although only its owner can write it"
    assert run_json("dead-letters", "list")["reasons"]
    assert run_json("metrics")["total"]["order_count"] > 0
    stages = {stage["name"]: stage["replicas"] for stage in run_json("status")["stages"]}
    assert stages == {"processor": 3, "analytics": 2, "sink": None}
    assert run_json("doctor")["ok"]


async def has_metrics(pipeline: Project) -> bool:
    return pipeline.metrics.exists() and pipeline.metrics.stat().st_size > 0


async def test_prometheus_scrapes_every_replica(pipeline: Project, prometheus: Prometheus) -> None:
    expected = sorted((service, "up") for service in (*OURS, "live") for _ in range(REPLICAS[service]))

    async def asked() -> list[tuple[str, str]]:
        return sorted(target for target in await prometheus.targets() if target[0] != "prometheus")

    await eventually(asked, lambda seen: seen == expected, "all are asked, and answer")


@pytest.mark.parametrize("query", panel_queries(), ids=lambda query: f"{query.dashboard}: {query.panel}")
async def test_every_panel_returns_the_expected_series(
    pipeline: Project, prometheus: Prometheus, query: PanelQuery
) -> None:
    expr = with_all_selected(query.expr)

    async def problems() -> list[str]:
        return list(problems_of(query, await prometheus.query(expr)))

    await eventually(problems, lambda seen: not seen, f"what {expr} should find")


@pytest.mark.parametrize("choice", choices(), ids=lambda choice: choice.variable)
def test_every_drop_down_offers_all_values(pipeline: Project, prometheus: Prometheus, choice: Choices) -> None:
    offered = prometheus.ask(f"label/{choice.label}/values", **{"match[]": choice.metric})

    assert set(offered) == OFFERED[choice.variable]


async def instances(prometheus: Prometheus, service: str) -> set[str]:
    """The addresses whose processes' series have not ended."""
    found = await prometheus.query(f'process_start_time_seconds{{job="{service}"}}')
    return {series.labels["instance"] for series in found}


async def test_the_series_of_a_killed_replica_end_and_those_of_a_new_one_begin(
    pipeline: Project, prometheus: Prometheus
) -> None:
    victim = pipeline.containers("processor")[0]
    [network] = victim["NetworkSettings"]["Networks"].values()
    instance = f"{network['IPAddress']}:8080"

    async def processors() -> set[str]:
        return await instances(prometheus, "processor")

    assert instance in await processors()
    docker("kill", "--signal", "KILL", victim["Id"])
    await eventually(processors, lambda seen: len(seen) == 2 and instance not in seen, "its series end")
    await each_partition_reported_once(prometheus, "processor", 2)
    docker("start", victim["Id"])
    await eventually(processors, lambda seen: len(seen) == 3, "a replica's series begin")
    await each_partition_reported_once(prometheus, "processor", 3)


async def test_series_of_partitions_move_between_replicas_when_scaling(
    pipeline: Project, prometheus: Prometheus
) -> None:
    async def count() -> int:
        return len(await instances(prometheus, "processor"))

    for replicas in (REPLICAS["processor"] + 1, REPLICAS["processor"]):
        pipeline.compose(
            "up", "--detach", "--no-recreate", "--no-deps", "--scale", f"processor={replicas}", "processor"
        )

        await each_partition_reported_once(prometheus, "processor", replicas)
        # A stopped replica releases its partitions first; its own series end with its container.
        await eventually(count, replicas.__eq__, f"{replicas} replicas have series")


async def test_alerts_fire_for_a_stage_that_is_stuck(pipeline: Project, prometheus: Prometheus) -> None:
    await no_alerts(prometheus)
    async with stopped(pipeline, "processor"):
        await fires(prometheus, "ServiceDown", job="processor")
        await fires(prometheus, "LagGrowing", consumergroup="processor")
        await fires(prometheus, "WatermarkStuck")
    await no_alerts(prometheus)


def filled(template: str, labels: Labels) -> str:
    """``template`` as Grafana fills it in."""
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), template)


async def test_alerts_fire_for_a_sink_that_is_stuck(pipeline: Project, prometheus: Prometheus) -> None:
    [annotation] = annotations()
    async with stopped(pipeline, "sink"):
        await fires(prometheus, "ServiceDown", job="sink")
        await fires(prometheus, "SinkBehind")
        marked = [series.labels for series in await prometheus.query(annotation["expr"])]
    shown = {(filled(annotation["titleFormat"], labels), filled(annotation["textFormat"], labels)) for labels in marked}
    assert shown >= {("ServiceDown", "sink"), ("SinkBehind", "sink")}
    await no_alerts(prometheus)


async def test_alerts_fire_when_the_lag_is_not_reported(pipeline: Project, prometheus: Prometheus) -> None:
    async with stopped(pipeline, "live"):
        await fires(prometheus, "ServiceDown", job="live")
        await fires(prometheus, "ConsumerLagUnknown")
    await no_alerts(prometheus)


async def test_alert_fires_for_failing_transactions(pipeline: Project, prometheus: Prometheus) -> None:
    async with rejecting_processed_orders(pipeline):
        await fires(prometheus, "TransactionsAborting", job="processor")
    await no_alerts(prometheus)


async def test_alert_fires_for_a_sender_with_a_slow_clock(pipeline: Project, prometheus: Prometheus) -> None:
    async with stopped(pipeline, "generator"), with_a_slow_sender(pipeline, partition=2):
        await fires(prometheus, "EventTimeBehind", partition="2")
    await no_alerts(prometheus)


async def test_alerts_fire_for_invalid_and_late_orders(pipeline: Project, prometheus: Prometheus) -> None:
    late = {"user_id": "user", "product_id": "prod-1", "amount": 12.5, "timestamp": time.time() - 3600}
    await send(pipeline, [b"no order"] * BURST)
    await send(pipeline, [orjson.dumps(late | {"order_id": f"late-{number}"}) for number in range(BURST)])

    await fires(prometheus, "DeadLettersAboveShare")
    await fires(prometheus, "LateOrders")
    await no_alerts(prometheus)


def test_every_alert_fires_in_one_of_these_tests() -> None:
    here = Path(__file__).read_text()

    assert set(re.findall(r'fires\(prometheus, "(\w+)"', here)) == set(re.findall(r"- alert: (\w+)", RULES.read_text()))


async def test_kafka_starts_after_a_crash_and_after_a_failed_start(pipeline: Project) -> None:
    """``docker compose up`` gives up on a container that ends."""
    start = ("up", "--detach", "--no-recreate", "--no-build", "kafka")
    [kafka] = pipeline.containers("kafka")
    docker("kill", "--signal", "KILL", kafka["Id"])
    pipeline.compose(*start, "--wait")
    pipeline.compose("stop", "kafka")
    assert exit_codes(pipeline, "kafka") == {128 + signal.SIGTERM}
    pipeline.compose(*start)
    pid = await eventually(lambda: java_pid(kafka), bool, "Kafka is started")
    docker("exec", kafka["Id"], "sh", "-c", f"kill -KILL {pid}")
    pipeline.compose(*start, "--wait")
    assert await java_pid(kafka) not in ("", pid)
    assert await restarts(pipeline, "kafka") == 0


async def test_kafka_is_healthy_only_while_it_answers(pipeline: Project) -> None:
    [kafka] = pipeline.containers("kafka")
    _, *check = kafka["Config"]["Healthcheck"]["Test"]
    docker("exec", kafka["Id"], *check)
    docker("exec", kafka["Id"], "sh", "-c", "kill -STOP " + await java_pid(kafka))
    with pytest.raises(DockerError):
        docker("exec", kafka["Id"], "timeout", "2", *check)  # it connects, and gets no answer
    docker("exec", kafka["Id"], "sh", "-c", "kill -CONT " + await java_pid(kafka))
    docker("exec", kafka["Id"], *check)


async def test_the_result_is_exact_after_crashes(pipeline: Project) -> None:
    victim = pipeline.containers("processor")[0]["Id"]
    docker("kill", "--signal", "KILL", victim)  # the engine considers this a stop, and does not restart it
    await works_on_every_partition(pipeline, "processor", 2)
    docker("start", victim)
    # A crash from the engine's point of view: every process dies except the init process, which then ends as well.
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can create a folder owned by root")
def test_all_metrics_are_written_into_a_folder_owned_by_root(pipeline: Project, tmp_path: Path) -> None:
    moved = pipeline.writing_to(tmp_path)
    moved.compose("up", "--detach", "--no-deps", "--no-build", "sink")

    assert_exact(moved, moved.metrics)
    [container] = moved.containers("sink")
    assert users(container) == {"10001"}


def test_every_service_stops_cleanly_within_its_grace_period(pipeline: Project) -> None:
    pipeline.compose("stop", *OURS)

    assert exit_codes(pipeline, *OURS) == {0}  # the engine's SIGKILL after the grace period would be 137


def test_the_owner_of_the_output_folder_can_read_and_delete_the_metrics(pipeline: Project) -> None:
    first_line = run_as(USER, "head", "-n", "1", str(pipeline.metrics))
    run_as(USER, "sh", "-c", f"rm {pipeline.output}/*")

    assert json.loads(first_line)["order_count"] > 0
