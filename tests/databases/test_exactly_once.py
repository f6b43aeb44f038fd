"""A real sink, Kafka and database: after kills, pauses and cut connections, database, file and topic are equal."""

import asyncio
import os
import sqlite3
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.databases.postgresql import PostgresServer
from tests.databases.probes import PostgresqlProbe, Probe, SqliteProbe
from tests.databases.proxy import CuttingProxy, randomly
from tests.databases.topic import Outputs, row_of, traffic
from tests.integration.services import ServiceProcess, eventually
from tests.integration.test_sink import Pipeline


@pytest.fixture
async def pipeline(kafka: str, topic_prefix: str, tmp_path: Path) -> Pipeline:
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topic()
    return pipeline


@pytest.fixture
def outputs(pipeline: Pipeline, probe: Probe) -> Outputs:
    return Outputs(pipeline, probe)


async def test_committed_metrics_are_in_both_outputs_and_aborted_ones_in_none(outputs: Outputs) -> None:
    async with outputs.pipeline.metrics() as metrics, outputs.sink() as sink:
        await metrics.write(30)
        await metrics.write(30, commit=False)
        await outputs.wait_until_equal(metrics)
        await sink.healthy()
        await metrics.write_values([b"?", None, b"[]", b'{"window_start":1}', b"{" * 100_000])
        await metrics.write(30)
        event = await sink.wait_for("records that are not metrics were left out", output="database")
        assert event["count"] >= 1
        # Both are awaited, since one may lag behind the other. The file accepts any JSON object as a line, so it has one more.
        await eventually(lambda: (outputs.count(), len(outputs.pipeline.lines())) == (60, 61), what="both are complete")
        sink.terminate()
        assert await sink.wait() == 0
    assert Counter(outputs.probe.rows()) == Counter(map(row_of, metrics.committed))
    database = await report(outputs, "--source", "database")
    assert await report(outputs, "--source", "topic") == database
    assert await report(outputs, "--source", "file") == database


async def test_repeated_kills_while_metrics_arrive_lose_and_duplicate_nothing(outputs: Outputs) -> None:
    random = Random(5)
    async with traffic(outputs.pipeline) as (metrics, running), outputs.sink() as sink:
        await outputs.wait_for_rows()
        for _ in range(2):
            await asyncio.sleep(random.uniform(0, 0.5))
            sink.kill()
            await sink.wait()
            sink.start()
            await outputs.wait_for_rows(by=100)
        await running.end()
        await outputs.wait_until_equal(metrics)


async def test_a_paused_sink_resumes_after_another_has_taken_over(outputs: Outputs) -> None:
    """The resumed sink still holds a batch that it has read, and still considers itself the owner."""
    async with traffic(outputs.pipeline) as (metrics, running), outputs.sink() as first:
        await outputs.wait_for_rows()
        async with outputs.sink() as second:
            await second.wait_for("standing by: another sink writes this output", output="database")
            await pause(first, outputs.probe)
            await second.wait_for("taking over the output", output="database")
            await outputs.wait_for_rows(by=300)
            first.resume()
            await outputs.wait_for_rows(by=300)
            await running.end()
            await first.wait_for("standing by: another sink writes this output", output="database")
            await eventually(lambda: outputs.count() >= running.count)
            first.kill()
            await first.wait()
            await outputs.wait_until_equal(metrics)


async def pause(sink: ServiceProcess, probe: Probe) -> None:
    """Suspend ``sink`` while it does not hold SQLite's lock, which no other process could release."""
    while True:
        sink.pause()
        if not isinstance(probe, SqliteProbe) or is_free(probe.path):
            return
        sink.resume()


def is_free(path: Path) -> bool:
    connection = sqlite3.connect(path, timeout=0.2, isolation_level=None)
    try:
        connection.execute("begin immediate")
        connection.execute("rollback")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


async def test_postgresql_is_killed_and_restarted_while_metrics_arrive(pipeline: Pipeline) -> None:
    with PostgresServer() as server:
        outputs = Outputs(pipeline, PostgresqlProbe(server.create_database("metrics")))
        async with traffic(pipeline) as (metrics, running), outputs.sink() as sink:
            for outage in (server.kill, server.restart):
                await outputs.wait_for_rows(by=100)
                outage()
                await pipeline.wait_for_lines(beyond=len(pipeline.lines()) + 100)
                if outage != server.restart:
                    server.start()
                await outputs.wait_for_rows(by=100)
            server.pause()
            await pipeline.wait_for_lines(beyond=len(pipeline.lines()) + 100)
            server.resume()
            await running.end()
            await outputs.wait_until_equal(metrics)
            interrupted = [each for each in sink.events() if each["event"] == "interrupted"]
            assert {each["output"] for each in interrupted} == {"database"}
            assert len(interrupted) <= 12, "a few lines for each outage, regardless of the number of retries"
            assert [each["output"] for each in sink.events() if each["event"] == "works again"]
            assert server.password not in sink.log.read_text()


async def test_connections_are_cut_during_commits(pipeline: Pipeline, postgres: PostgresServer) -> None:
    probe = PostgresqlProbe(postgres.create_database(f"cut-{os.getpid()}"))
    async with CuttingProxy(postgres.port, randomly(Random(3), share=0.3)) as proxy:
        outputs = Outputs(pipeline, probe, probe.url.replace(f":{postgres.port}/", f":{proxy.port}/"))
        async with traffic(pipeline) as (metrics, running), outputs.sink():
            await eventually(
                lambda: min(proxy.made.count("before"), proxy.made.count("after")) >= 2,
                what="two cuts of each kind",
            )
            await running.end()
            await outputs.wait_until_equal(metrics)


async def test_an_unavailable_output_does_not_delay_the_other(pipeline: Pipeline, postgres: PostgresServer) -> None:
    probe = PostgresqlProbe(postgres.create_database(f"late-{os.getpid()}"))
    outputs = Outputs(pipeline, probe, probe.url.replace(f":{postgres.port}/", ":1/"))
    async with pipeline.metrics() as metrics:
        async with outputs.sink() as sink:
            await metrics.write(30)
            await pipeline.wait_until_written(metrics)
            await sink.wait_for("interrupted", output="database")
            sink.terminate()
            assert await sink.wait() == 0
        # An empty database is filled from the beginning of the topic.
        async with Outputs(pipeline, probe).sink():
            await metrics.write(30)
            await outputs.wait_until_equal(metrics)


async def test_a_recreated_topic_is_never_mixed_with_the_old_rows_and_can_be_rebuilt(outputs: Outputs) -> None:
    pipeline = outputs.pipeline
    async with outputs.sink() as sink:
        async with pipeline.metrics() as metrics:
            await metrics.write(30)
            await outputs.wait_until_equal(metrics)
        before = outputs.probe.rows()
        sink.terminate()
        assert await sink.wait() == 0
    await pipeline.recreate_topic()
    async with pipeline.metrics() as metrics:
        await metrics.write(60)
        async with outputs.sink() as sink:
            event = await sink.wait_for("an output failed, the other one continues", output="database")
            assert "services.sink.rebuild_database" in event["advice"]
            await pipeline.wait_until_written(metrics)
            assert outputs.probe.rows() == before
            await rebuild(outputs)
            await outputs.wait_until_equal(metrics)


async def test_a_database_of_another_topic_ends_a_sink_without_another_output(
    outputs: Outputs, topic_prefix: str
) -> None:
    async with outputs.pipeline.metrics() as metrics, outputs.sink() as sink:
        await metrics.write(12)
        await outputs.wait_until_equal(metrics)
        before = outputs.probe.rows()
        async with outputs.sink(SINK_OUTPUTS="database", TOPIC_PREFIX=f"{topic_prefix}other-") as other:
            assert await other.wait() == 1
            event = await other.wait_for("service failed")
            assert "rebuild_database" in event["advice"]
        await metrics.write(12)
        await outputs.wait_until_equal(metrics)
        assert set(before) < set(outputs.probe.rows())
        await sink.healthy()


async def report(outputs: Outputs, *arguments: str) -> bytes:
    """The output of `make metrics`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cli", "metrics", "--by", "minute", "--format", "csv", *arguments),
        env=os.environ | outputs.pipeline.env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors
    return output


async def rebuild(outputs: Outputs) -> None:
    """Run the command that the error names, in another process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.sink.rebuild_database",
        "--yes",
        env=os.environ | outputs.pipeline.env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors
    assert b"is empty" in output
