"""`pipeline doctor` against a real broker: a healthy pipeline, and one with changed topics."""

import json
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from libs.events.topics import LATE_ORDERS, ORDERS
from tests.integration.command_line import run_command
from tests.integration.pipeline import Pipeline

Findings = dict[str, list[dict[str, str]]]


async def examine(pipeline: Pipeline, **settings: str) -> tuple[int, Findings]:
    """The exit code, and the findings by subject."""
    exit_code, out, err = await run_command(pipeline, "doctor", "--json", **settings)
    assert out, err
    report: dict[str, Any] = json.loads(out)
    assert report["ok"] == (exit_code == 0)
    found: Findings = {}
    for finding in report["findings"]:
        found.setdefault(finding["subject"], []).append(finding)
    return exit_code, found


def levels(found: Findings, *subjects: str) -> list[str]:
    return [finding["level"] for subject in subjects for finding in found[subject]]


async def test_a_healthy_pipeline_has_no_problems(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    async with pipeline.service("generator", GENERATOR_RATE="50"):
        exit_code, found = await examine(pipeline)
    cluster = ("broker version", "rights", "topics", "partitions", "topic settings", "replication", "transactions")
    assert set(levels(found, *cluster, "broker settings")) == {"ok"}, found
    assert "6 in each topic" in found["partitions"][0]["message"]
    # The broker has the same clock; only a machine that is busy for seconds delays an order so much.
    assert found["clock"][0]["level"] in {"ok", "warning"}
    assert "no order arrived" not in found["clock"][0]["message"]
    assert exit_code == any(
        level == "problem" for findings in found.values() for level in (f["level"] for f in findings)
    )


async def test_changed_topic_settings_are_reported(pipeline: Pipeline, admin: AIOKafkaAdminClient) -> None:
    compacted = {"cleanup.policy": "compact", "retention.ms": "1000"}
    await admin.create_topics(
        [NewTopic(pipeline.prefix + ORDERS.name, num_partitions=3, replication_factor=1, topic_configs=compacted)]
    )
    await pipeline.make_topics_except(ORDERS)
    topic = pipeline.prefix + LATE_ORDERS.name
    owner = f"{pipeline.prefix}processor-1-left-0"
    later = f"{pipeline.prefix}processor-1-later-0"
    producers = [
        AIOKafkaProducer(bootstrap_servers=pipeline.kafka, transactional_id=name, transaction_timeout_ms=900_000)
        for name in (owner, later)
    ]
    for producer in producers:
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"never committed", partition=2)
    exit_code, found = await examine(pipeline, TOPIC_PARTITIONS="6")
    for producer in producers:
        await producer.abort_transaction()
        await producer.stop()

    assert exit_code == 1
    assert levels(found, "partitions") == ["problem"]
    assert "orders 3" in found["partitions"][0]["message"]
    settings = {finding["message"].partition(":")[0]: finding["level"] for finding in found["topic settings"]}
    name = pipeline.prefix + ORDERS.name
    assert settings[f"topic '{name}' has cleanup.policy=compact, it must be delete"] == "problem"
    assert settings[f"topic '{name}' has retention.ms=1000, it must be a day or more"] == "warning"
    [left] = found["transactions"]
    assert left["level"] == "warning"
    assert f"the transaction of '{owner}' has blocked readers of partition 2 of {topic}" in left["message"]
    assert "no order arrived" in found["clock"][0]["message"]


async def test_an_unreachable_cluster_is_a_problem(pipeline: Pipeline) -> None:
    pipeline.kafka = "127.0.0.1:1"
    exit_code, found = await examine(pipeline)
    assert exit_code == 1
    assert levels(found, "cluster") == ["problem"]
    assert "127.0.0.1:1" in found["cluster"][0]["message"]
