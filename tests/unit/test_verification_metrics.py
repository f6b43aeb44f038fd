import json
import math
import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from libs.events.product_metrics import ProductMetric, encode_metric
from verification.metrics import Metric, PlacedMetric, read_metric, read_metric_record
from verification.output_damage import not_reached_by_sink
from verification.output_database import OutputDatabase, read_rows
from verification.output_file import read_lines
from verification.report import Damage, Report
from verification.watermarks import Watermarks
from verification.window_sums import Total, mean_cents


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("orders", "cents", "mean"), [(3, 10, 3), (3, 11, 4), (2, 5, 2), (2, 7, 4), (4, 10, 2), (1, 9, 9)]
)
def test_averages_are_rounded_half_to_even(orders: int, cents: int, mean: int) -> None:
    assert mean_cents(Total(orders, cents)) == mean


METRIC = {
    "window_start": 60,
    "window_end": 120,
    "product_id": "p",
    "order_count": 3,
    "total_revenue": 10.0,
    "avg_order_value": 3.33,
}


def test_a_metric_is_decoded() -> None:
    assert read_metric(dump(METRIC), 60) == Metric(60, 120, "p", 3, 1000, 333)
    assert read_metric_record(b"p", dump(METRIC), 60).window == ("p", 60)
    with pytest.raises(ValueError, match="key"):
        read_metric_record(b"q", dump(METRIC), 60)


@pytest.mark.parametrize("cents", [10**15, 9_007_199_254_740_993, 10**18 - 1])
def test_a_sum_beyond_double_precision_is_decoded_exactly(cents: int) -> None:
    value = encode_metric(ProductMetric(60, 120, "p", 10**5, cents))
    assert read_metric(value, 60).revenue_cents == cents


@pytest.mark.parametrize("literal", ["10000000000000.001", "1e16", "1e400", "1e999999999"])
def test_a_large_sum_that_is_not_whole_cents_is_rejected(literal: str) -> None:
    value = dump(METRIC).replace(b"10.0", literal.encode())
    with pytest.raises(ValueError, match="two decimals"):
        read_metric(value, 60)


@pytest.mark.parametrize(
    "changes",
    [
        {"window_start": 60.5},
        {"window_start": 61, "window_end": 121},
        {"window_end": 180},
        {"order_count": "3"},
        {"order_count": True},
        {"product_id": 5},
        {"total_revenue": "10.0"},
        {"total_revenue": 10.001},
        {"avg_order_value": None},
        {"more": 1},
    ],
)
def test_a_metric_that_violates_the_contract_is_rejected(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_metric(dump(METRIC | changes), 60)
    with pytest.raises(ValueError, match="fields"):
        read_metric(dump({"window_start": 60}), 60)


def test_lines_are_read_up_to_the_last_newline(tmp_path: Path) -> None:
    path, report = tmp_path / "metrics.json", Report()
    assert read_lines(path, 60) == {}
    path.write_bytes(dump(METRIC) + b"\n" + b"{\n" + dump(METRIC) + b"\n" + dump(METRIC)[:-5])
    assert read_lines(path, 60, report) == {Metric(60, 120, "p", 3, 1000, 333): 2}
    assert report.damage == {Damage.LINE_MALFORMED: 1}


def test_finished_files_from_before_the_beginning_of_the_topic_are_ignored(tmp_path: Path) -> None:
    finished = tmp_path / "metrics-1970-01-01T00-01Z--1970-01-01T00-01Z.json"
    finished.write_bytes(dump(METRIC) + b"\n{\n")
    assert read_lines(tmp_path / "metrics.json", 60).total() == 1
    # The name has minute precision: a window of 60 s that begins then ends at 180 at the latest.
    for since_s, is_read in ((179, True), (180, False)):
        report = Report()
        read_lines(tmp_path / "metrics.json", 60, report, since_s=since_s)
        assert bool(report.damage) is is_read


def test_windows_from_before_the_beginning_of_the_topic_are_not_kept(tmp_path: Path) -> None:
    """Regression: of the live file and the database all metrics were kept in memory, however old."""
    live, database = tmp_path / "metrics.json", tmp_path / "metrics.db"
    metrics = [Metric(start, start + 60, "p", 3, 1000, 333) for start in (0, 60, 120)]
    live.write_bytes(
        b"".join(dump(METRIC | {"window_start": each[0], "window_end": each[1]}) + b"\n" for each in metrics)
    )
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table product_metrics (window_start, window_end, product_id, n, revenue, average)")
        connection.executemany("insert into product_metrics values (?, ?, ?, ?, ?, ?)", metrics)
    for since_s, kept in ((-math.inf, 3), (60, 3), (61, 2), (120, 2), (121, 1), (math.inf, 0)):
        expected = Counter(metrics[3 - kept :])
        assert read_lines(live, 60, since_s=since_s) == expected
        assert read_rows(OutputDatabase(f"sqlite:///{database}"), 60, since_s=since_s) == expected


def test_event_time_is_the_minimum_over_all_sources() -> None:
    watermarks = Watermarks()
    watermarks.add(3, dump({"source": 0, "sources": 2, "watermark": 100.5}))
    assert watermarks.passed_s(3) == float("-inf")
    watermarks.add(3, dump({"source": 1, "sources": 2, "watermark": 90}))
    watermarks.add(3, dump({"source": 1, "sources": 2, "watermark": 80}))
    assert watermarks.passed_s(3) == 90
    assert watermarks.passed_s(0) == float("-inf")
    watermarks.add(3, dump({"source": [0, 1], "sources": 2, "watermark": 95}))
    assert watermarks.passed_s(3) == 95
    for source in (2, [0, 2], [], [0, "1"], None):
        with pytest.raises(ValueError, match="watermark"):
            watermarks.add(3, dump({"source": source, "sources": 2, "watermark": 100}))


def metric_at(partition: int, offset: int) -> Metric:
    return Metric(60 * offset, 60 * offset + 60, f"p{partition}", 1, 1, 1)


@pytest.mark.parametrize(
    ("written", "committed", "not_reached"),
    [
        ((), {}, {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)}),
        (((0, 0), (1, 0)), {0: 1, 1: 1}, {(0, 1), (0, 2), (1, 1)}),
        (((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)), {0: 1}, set()),  # committed after the write
        (((0, 1), (1, 0), (1, 1)), {0: 2, 1: 2}, {(0, 2)}),  # committed, but not written
        (((0, 0), (0, 2), (1, 0), (1, 1)), {0: 1, 1: 2}, set()),  # a later one is written
        (((0, 0), (0, 1), (0, 3)), {0: 1}, {(1, 0), (1, 1)}),  # one from after the ends is written
        (((1, 0), (1, 1)), {0: 4, 1: 4}, set()),
    ],
)
def test_metrics_after_all_that_is_committed_or_written_are_not_reached(
    written: Collection[tuple[int, int]], committed: Mapping[int, int], not_reached: Collection[tuple[int, int]]
) -> None:
    ends = {0: 3, 1: 2}
    placed = [
        PlacedMetric(part, offset, metric_at(part, offset)) for part, end in ends.items() for offset in range(end + 1)
    ]
    found = not_reached_by_sink(Counter(metric_at(*each) for each in written), placed, committed, ends)
    assert found == Counter(metric_at(*each) for each in not_reached)


def test_the_first_of_two_equal_metrics_counts_as_written() -> None:
    metric = metric_at(0, 0)
    placed = [PlacedMetric(0, 0, metric), PlacedMetric(0, 1, metric)]
    assert not_reached_by_sink(Counter([metric]), placed, {0: 1}, {0: 2}) == {metric: 1}
    assert not not_reached_by_sink(Counter([metric]), placed, {0: 2}, {0: 2})
