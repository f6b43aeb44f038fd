"""The connectors of ``connect/`` in a real worker: their output, and the limitations documented in connect/README.md."""

import itertools
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from connect.register import connectors
from libs.events.topics import ALL_TOPICS
from local.broker import LocalBroker
from tests.compose.groups import members_of
from tests.connect.conftest import JAVA, ConnectPipeline
from tests.connect.worker import ConnectWorker
from tests.integration.services import eventually
from tests.integration.test_sink import PARTITIONS

FAILING_TRANSFORM = {
    "transforms": "number",
    "transforms.number.type": "org.apache.kafka.connect.transforms.Cast$Value",
    "transforms.number.spec": "int32",
}

JSON_CONVERTER = {
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter.schemas.enable": "false",
}


async def test_each_committed_metric_is_written_as_an_identical_line(pipeline: ConnectPipeline) -> None:
    async with pipeline.metrics() as metrics:
        await metrics.write(30)
        await metrics.write(30, commit=False)
        await pipeline.registered()
        await metrics.write(30)
        await eventually(lambda: len(pipeline.lines()) >= 60, what="the metrics are in the file")
        again = await pipeline.register()
        assert again.code == 0
        assert again.output.count("registered already") == 2
        await metrics.write(30, commit=False)
        await metrics.write(30)
        await eventually(
            lambda: len(pipeline.lines()) >= 90, what="metrics after a second registration are in the file, too"
        )
        assert sorted(pipeline.lines()) == sorted(metrics.committed)


async def test_dead_letters_are_written_as_text(pipeline: ConnectPipeline) -> None:
    as_they_are = [b"no order", b'{"order_id": "o-1"}', b'{"amount": ']
    changed = {b"two\nlines": [b"two", b"lines"], b"no UTF-8: \xff": ["no UTF-8: \N{REPLACEMENT CHARACTER}".encode()]}
    wanted = [*as_they_are, *itertools.chain(*changed.values()), b"null"]
    await pipeline.registered()
    async with pipeline.service("processor"):
        await pipeline.send([(1, [*as_they_are, *changed, None])])
        await eventually(
            lambda: len(pipeline.lines("dead-letters.txt")) >= len(wanted), what="the dead letters are written"
        )
    assert sorted(pipeline.lines("dead-letters.txt")) == sorted(wanted)


async def test_a_failed_task_is_reported_and_restarted(pipeline: ConnectPipeline) -> None:
    pipeline.path("metrics.json").mkdir()  # a folder where the file should be
    failed = await pipeline.register("--timeout", "6")
    assert failed.code == 1
    assert "metrics-file: failed, restarted" in failed.output
    assert "connector RUNNING, tasks FAILED" in failed.output
    assert "Couldn't find or create file" in failed.output
    assert (await pipeline.register("--check")).code == 1
    assert not pipeline.is_healthy()

    pipeline.path("metrics.json").rmdir()
    pipeline.post("restart")
    await eventually(
        lambda: pipeline.states("metrics-file")["connector"] == ["RUNNING"], what="the connector has been restarted"
    )
    assert pipeline.states("metrics-file") == {"connector": ["RUNNING"], "tasks": ["FAILED"]}, (
        "the task is not included"
    )
    await pipeline.registered()
    assert (await pipeline.register("--check")).code == 0
    assert pipeline.is_healthy()
    async with pipeline.metrics() as metrics:
        await metrics.write(6)
        await eventually(lambda: len(pipeline.lines()) >= 6, what="the metrics are in the file")


async def test_records_that_connect_cannot_transform_go_to_its_own_dead_letter_topic(pipeline: ConnectPipeline) -> None:
    pipeline.put("failing", **FAILING_TRANSFORM)
    await eventually(
        lambda: pipeline.states("failing")["tasks"] == ["RUNNING"], what="it runs, and has created connect-dlq"
    )
    async with pipeline.metrics() as metrics:
        await metrics.write(6)

        async def all_dead_lettered() -> bool:
            return len(await pipeline.read("connect-dlq")) >= 6

        await eventually(all_dead_lettered, what="the records are in connect-dlq")
    letters = await pipeline.read("connect-dlq")
    assert sorted(each.value or b"" for each in letters) == sorted(metrics.committed)
    assert dict(letters[0].headers)["__connect.errors.stage"] == b"TRANSFORMATION"
    assert pipeline.states("failing") == {"connector": ["RUNNING"], "tasks": ["RUNNING"]}


async def test_the_json_converter_changes_the_json(pipeline: ConnectPipeline) -> None:
    pipeline.put("converting", **JSON_CONVERTER)
    await eventually(
        lambda: pipeline.states("converting")["tasks"] == ["RUNNING"], what="it runs, and has created connect-dlq"
    )
    changed = {
        b'{"product_id":"prod-1"}': b"{product_id=prod-1}",
        b'{"cents":9223372036854775808}': b"{cents=-9223372036854775808}",
        b'{"order_count":1}{"order_count":2}': b"{order_count=1}",
    }
    async with pipeline.metrics() as metrics:
        await metrics.write_values([*changed, b"no JSON"])

        async def all_written() -> bool:
            return len(pipeline.lines()) >= len(changed) and bool(await pipeline.read("connect-dlq"))

        await eventually(all_written, what="lines are in the file, and invalid JSON is in connect-dlq")
    assert sorted(pipeline.lines()) == sorted(changed.values())
    [letter] = await pipeline.read("connect-dlq")
    assert letter.value == b"no JSON"
    assert dict(letter.headers)["__connect.errors.stage"] == b"VALUE_CONVERTER"


async def test_a_full_disk_silently_loses_lines(pipeline: ConnectPipeline) -> None:
    async with pipeline.metrics() as metrics:
        await metrics.write(60)
    pipeline.put("full-disk", file="/dev/full")

    async def all_committed() -> bool:
        offsets = await pipeline.committed("full-disk")
        return len(offsets) == PARTITIONS and min(offsets.values()) >= 60 // PARTITIONS

    await eventually(all_committed, what="offsets are committed of lines that were not written")
    assert pipeline.states("full-disk") == {"connector": ["RUNNING"], "tasks": ["RUNNING"]}


async def test_a_killed_worker_loses_nothing(pipeline: ConnectPipeline) -> None:
    await pipeline.registered()
    async with pipeline.metrics() as metrics:
        await metrics.write(60)
        await eventually(lambda: len(pipeline.lines()) >= 30, what="it has begun to write")
        pipeline.connect.kill()
        await metrics.write(60)
        pipeline.connect.start()
        await eventually(lambda: set(pipeline.lines()) == set(metrics.committed), what="all metrics are in the file")


async def test_no_topic_of_the_pipeline_is_created_by_asking_for_it(topic_prefix: str, tmp_path: Path) -> None:
    """It would have the broker's number of partitions, which the services refuse."""
    broker = LocalBroker(tmp_path / "kafka", more_properties={"auto.create.topics.enable": "true"})
    with broker, ConnectWorker(broker.bootstrap_servers, tmp_path, topic_prefix, JAVA) as worker:
        pipeline = ConnectPipeline(broker.bootstrap_servers, topic_prefix, tmp_path, worker)
        await pipeline.registered()
        for name in connectors(topic_prefix):

            async def has_joined(group: str = f"connect-{name}") -> bool:
                return bool(await members_of(pipeline.kafka, group))

            await eventually(has_joined, what=f"the consumer of {name} has asked for its topic")
        admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.kafka)
        await admin.start()
        topics = await admin.list_topics()
        await admin.close()
        assert not {topic_prefix + topic.name for topic in ALL_TOPICS} & set(topics)
