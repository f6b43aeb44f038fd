"""The verification finds every difference between the topic and a database."""

from collections import Counter
from pathlib import Path

import pytest

from libs.events.product_metrics import MetricRow
from libs.runtime.errors import PipelineError
from services.sink.database.session import Move
from services.sink.record_batcher import Position
from tests.databases.probes import Probe
from verification.metrics import Metric
from verification.output_damage import check_output
from verification.output_database import ROWS, OutputDatabase, read_rows
from verification.report import Damage, Report

TOPIC = [Metric(60, 120, "a", 2, 1050, 525), Metric(60, 120, "b", 3, 100, 33)]
NEWER = [Metric(120, 180, "a", 1, 5, 5)]


async def write(probe: Probe, metrics: list[Metric]) -> None:
    session = await probe.session()
    epoch = await session.take_over("test", 10)
    assert epoch
    await session.write(epoch, [MetricRow(*metric) for metric in metrics], [Move(0, None, Position(1, 1))])
    await session.close()


def verified(probe: Probe) -> Report:
    report = Report()
    rows = read_rows(OutputDatabase(probe.url), 60, report)
    check_output(rows, Counter(TOPIC), Counter(NEWER), ROWS, report)
    return report


async def test_correct_rows_pass(probe: Probe) -> None:
    await write(probe, [*TOPIC, *NEWER])
    assert verified(probe).ok


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("delete from product_metrics where product_id = 'b'", {Damage.ROW_MISSING: 1}),
        (
            "update product_metrics set order_count = 4 where product_id = 'b'",
            {Damage.ROW_MISSING: 1, Damage.ROW_UNEXPECTED: 1},
        ),
        (
            "update product_metrics set product_id = 'c' where product_id = 'b'",
            {Damage.ROW_MISSING: 1, Damage.ROW_UNEXPECTED: 1},
        ),
    ],
)
async def test_damage_is_found(probe: Probe, damage: str, found: dict[Damage, int]) -> None:
    await write(probe, TOPIC)
    probe.query(damage)
    assert verified(probe).damage == found


async def test_a_difference_of_one_cent_is_found(probe: Probe) -> None:
    await write(probe, TOPIC)
    cent = "total_revenue = total_revenue + 0.01"
    if probe.dialect == "sqlite":
        cent = "total_revenue_cents = total_revenue_cents + 1"
    probe.query(f"update product_metrics set {cent} where product_id = 'a'")
    assert verified(probe).damage == {Damage.ROW_MISSING: 1, Damage.ROW_UNEXPECTED: 1}


async def test_a_window_of_another_length_is_malformed(probe: Probe) -> None:
    await write(probe, [*TOPIC, Metric(60, 130, "a", 1, 1, 1)])
    assert verified(probe).damage == {Damage.ROW_MALFORMED: 1}


def test_a_database_that_does_not_exist_yet_has_no_rows(probe: Probe) -> None:
    assert read_rows(OutputDatabase(probe.url), 60) == {}


def test_an_unreachable_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "metrics.db").write_bytes(b"something else\n" * 100)
    for url in ("postgresql://nobody:secret@127.0.0.1:1/none", f"sqlite:///{tmp_path}/metrics.db"):
        with pytest.raises(PipelineError, match="cannot be read") as refused:
            read_rows(OutputDatabase(url), 60)
        assert "secret" not in str(refused.value)


async def test_rows_from_before_the_beginning_of_the_topic_are_not_read(probe: Probe) -> None:
    await write(probe, [*TOPIC, *NEWER])
    for since_s, count in ((float("-inf"), 3), (120, 3), (121, 1), (180, 1), (181, 0), (float("inf"), 0)):
        assert read_rows(OutputDatabase(probe.url), 60, since_s=since_s).total() == count
