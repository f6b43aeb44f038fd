"""Retention excuses exactly what it may have deleted: damage beside it is found in topics that are cut, too."""

from collections import Counter

import pytest

from tests.unit.verified_outputs import REFERENCE, SENDERS, START, DeadLetter, enriched, order
from tests.unit.verified_outputs import dump as encoded
from verification.history import History
from verification.ledger import Ledger
from verification.metric_comparison import check_metrics
from verification.metrics import Metric
from verification.output_damage import OutputDamage, check_output
from verification.output_database import ROWS
from verification.output_file import LINES
from verification.packed_order import Source
from verification.report import Damage, NotVerified, Report
from verification.window_sums import WindowSums

Result = tuple[dict[Damage, int], dict[NotVerified, int]]
"""What is reported, and what is not verified."""

MISSING_UNTIL_S = START + 30
MISSING_UNTIL_MS = 1000 * MISSING_UNTIL_S
NEVER = float("-inf")
# Of two partitions prod-1 is in 0, prod-2 in 1.
CUT = History(
    begins={"orders": {0: 10, 1: 10}, "processed-orders": {0: 7, 1: 0}},
    kept={
        "processed-orders": {0: 7, 1: 0},
        "orders-dlq": {0: 7, 1: 0},
        "late-orders": {0: 7, 1: 0},
        "product-metrics": {0: 7, 1: 0},
    },
    orders_missing_until_ms=MISSING_UNTIL_MS,
    metrics_missing_until_s={0: START + 240, 1: NEVER},
    late_missing_until_s={0: START + 240, 1: NEVER},
)
ONLY_METRICS_ARE_CUT = History(
    kept={"product-metrics": CUT.kept["product-metrics"]}, metrics_missing_until_s=CUT.metrics_missing_until_s
)
ONLY_LATE_ORDERS_ARE_CUT = History(
    kept={"late-orders": CUT.kept["late-orders"]}, late_missing_until_s=CUT.late_missing_until_s
)


class CutTopics:
    """A ledger of topics whose first records are gone; of ``orders`` those before offset 10."""

    def __init__(self) -> None:
        self.report, self.sums = Report(), WindowSums(60)
        self.ledger = Ledger(REFERENCE, self.sums, {0: 20, 1: 20}, self.report, CUT)

    def order(self, source: Source, product: str = "prod-1") -> bytes:
        """Adds an order to ``orders``; returns what the processor makes of it."""
        fields = order(str(source), product=product)
        self.faulty(source, encoded(fields))
        return enriched(fields)

    def faulty(self, source: Source, value: bytes) -> None:
        now_s = float(START + 300)
        self.ledger.add_source(source, b"k", value, START * 1000, now_s, timestamp_type=SENDERS)

    def processed(self, value: bytes, partition: int = 0, timestamp_ms: int = MISSING_UNTIL_MS + 1) -> None:
        self.ledger.add_processed(value, read_by_analytics=True, partition=partition, timestamp_ms=timestamp_ms)

    def dead_letter(self, letter: DeadLetter) -> None:
        self.ledger.add_dead_letter(letter.headers, "orders", letter.key, letter.value, letter.timestamp_ms)

    def result(self) -> Result:
        self.ledger.settle()
        self.ledger.close()
        return dict(self.report.damage), dict(self.report.not_verified)


LOST: Result = {Damage.LOST: 1}, {}
MAY_BE_GONE: Result = {}, {NotVerified.OUTCOME: 1}


@pytest.mark.parametrize(
    ("source", "product", "expected"),
    [
        (Source(0, 11), "prod-1", MAY_BE_GONE),  # before the first order that is left
        (Source(0, 13), "prod-1", LOST),
        (Source(0, 11), "prod-2", LOST),  # its partition has lost nothing
        (Source(1, 13), "prod-1", MAY_BE_GONE),  # nothing is left of that partition of `orders`
    ],
)
def test_a_lost_order_is_found_unless_its_result_may_have_been_deleted(
    source: Source, product: str, expected: Result
) -> None:
    topics = CutTopics()
    left = topics.order(Source(0, 12))
    topics.order(source, product)
    topics.processed(left)
    assert topics.result() == expected


@pytest.mark.parametrize(
    ("timestamp_ms", "expected"),
    [
        (MISSING_UNTIL_MS, ({}, {NotVerified.PROCESSED: 1})),
        (MISSING_UNTIL_MS + 1, ({Damage.UNEXPECTED: 1}, {})),
    ],
)
def test_a_processed_order_without_an_order_is_found_unless_that_one_may_have_been_deleted(
    timestamp_ms: int, expected: Result
) -> None:
    topics = CutTopics()
    topics.processed(enriched(order("invented")), timestamp_ms=timestamp_ms)
    assert topics.result() == expected


@pytest.mark.parametrize(
    ("timestamp_ms", "expected"),
    [
        (MISSING_UNTIL_MS, ({}, {NotVerified.LATE: 1})),
        (MISSING_UNTIL_MS + 1, ({Damage.LATE_UNEXPECTED: 1}, {})),
    ],
)
def test_a_late_order_without_an_order_is_found_unless_that_one_may_have_been_deleted(
    timestamp_ms: int, expected: Result
) -> None:
    topics = CutTopics()
    topics.ledger.add_late(enriched(order("invented")), timestamp_ms)
    assert topics.result() == expected


@pytest.mark.parametrize(
    ("offset", "expected", "late_count"),
    [
        (11, MAY_BE_GONE, 1),
        (13, ({Damage.LOST: 1, Damage.LATE_UNEXPECTED: 1}, {}), 0),
    ],
)
def test_a_late_order_that_was_not_processed_is_found_unless_the_processed_one_may_have_been_deleted(
    offset: int, expected: Result, late_count: int
) -> None:
    topics = CutTopics()
    left, late = topics.order(Source(0, 12)), topics.order(Source(0, offset))
    topics.ledger.add_late(late, START * 1000)
    topics.processed(left)
    assert topics.result() == expected
    assert topics.sums.late_count() == late_count


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Source(0, 11), MAY_BE_GONE),
        (Source(0, 13), ({Damage.DEAD_LETTER_LOST: 1}, {})),
        (Source(1, 11), ({Damage.DEAD_LETTER_LOST: 1}, {})),
    ],
)
def test_a_lost_dead_letter_is_found_unless_it_may_have_been_deleted(source: Source, expected: Result) -> None:
    topics = CutTopics()
    topics.faulty(source, b"{")
    topics.faulty(Source(0, 12), b"[")
    topics.dead_letter(DeadLetter(12, "malformed", b"k", b"[", START * 1000, partition=0))
    assert topics.result() == expected


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(9, ({}, {NotVerified.DEAD_LETTER: 1})), (10, ({Damage.DEAD_LETTER_UNEXPECTED: 1}, {}))],
)
def test_a_dead_letter_of_no_record_is_found_unless_that_one_is_not_read(offset: int, expected: Result) -> None:
    topics = CutTopics()
    topics.dead_letter(DeadLetter(offset, "malformed", b"k", b"{", partition=0))
    assert topics.result() == expected


def check_window(start_s: int, product: str, counts: list[int], history: History) -> Result:
    """Two orders of a dollar are in the window; ``counts`` has what its metrics say."""
    report, sums = Report(), WindowSums(60)
    for number in range(2):
        read = REFERENCE.processed(enriched(order(f"o-{number}", 1, product, start_s)))
        sums.accept(read)
    metrics = [Metric(start_s, start_s + 60, product, count, 100 * count, 100) for count in counts]
    check_metrics(sums, metrics, set(), dict.fromkeys(sums.windows(), True), report, history)
    return dict(report.damage), dict(report.not_verified)


LEFT_OUT: Result = {}, {NotVerified.WINDOW: 1}
WRONG: Result = {Damage.WINDOW_WRONG: 1}, {}
MISSING: Result = {Damage.WINDOW_MISSING: 1}, {}


@pytest.mark.parametrize(
    ("start_s", "product", "expected"),
    [
        (START + 180, "prod-1", LEFT_OUT),
        (START + 240, "prod-1", MISSING),
        (START + 180, "prod-2", MISSING),  # its partition has lost no metric
    ],
)
def test_a_missing_metric_is_found_unless_it_may_have_been_deleted(
    start_s: int, product: str, expected: Result
) -> None:
    assert check_window(start_s, product, [], ONLY_METRICS_ARE_CUT) == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([1], LEFT_OUT), ([], LEFT_OUT), ([3], WRONG), ([2, 2], ({Damage.WINDOW_DUPLICATED: 1}, {}))],
)
def test_a_metric_with_too_few_orders_is_left_out_if_late_ones_may_have_been_deleted(
    counts: list[int], expected: Result
) -> None:
    assert check_window(START, "prod-1", counts, ONLY_LATE_ORDERS_ARE_CUT) == expected


@pytest.mark.parametrize(
    ("start_s", "product", "is_left_out"),
    [
        (START + 240, "prod-1", True),  # an order is at most a minute older than the end of its window when it is late
        (START + 300, "prod-1", False),
        (START, "prod-2", False),  # its partition has lost no late order
    ],
)
@pytest.mark.parametrize("counts", [[1], []])
def test_late_orders_that_were_deleted_excuse_only_the_windows_that_may_have_had_some(
    start_s: int, product: str, counts: list[int], *, is_left_out: bool
) -> None:
    damage = WRONG if counts else MISSING
    assert check_window(start_s, product, counts, ONLY_LATE_ORDERS_ARE_CUT) == (LEFT_OUT if is_left_out else damage)


def test_a_metric_with_too_few_orders_is_found_if_no_late_one_was_deleted() -> None:
    assert check_window(START, "prod-1", [1], ONLY_METRICS_ARE_CUT) == WRONG


@pytest.mark.parametrize(("start_s", "expected"), [(START + 60, LEFT_OUT), (START + 120, WRONG)])
def test_a_wrong_metric_is_found_unless_orders_of_its_window_may_have_been_deleted(
    start_s: int, expected: Result
) -> None:
    """An order's event time is at most a minute ahead of its record."""
    assert check_window(start_s, "prod-1", [3], CUT) == expected


@pytest.mark.parametrize(("start_s", "damage"), [(START + 60, {}), (START + 120, {Damage.WINDOW_UNEXPECTED: 1})])
def test_a_metric_without_orders_is_found_unless_they_may_have_been_deleted(
    start_s: int, damage: dict[Damage, int]
) -> None:
    report = Report()
    check_metrics(WindowSums(60), [Metric(start_s, start_s + 60, "prod-1", 1, 100, 100)], set(), {}, report, CUT)
    assert report.damage == damage


@pytest.mark.parametrize("kinds", [LINES, ROWS])
@pytest.mark.parametrize(
    ("product", "end_s", "count", "is_found"),
    [
        ("prod-1", START + 240, 1, False),
        ("prod-1", START + 300, 1, True),
        ("prod-2", START + 240, 1, True),  # its partition has lost no metric
        ("prod-1", START + 240, 2, True),  # no metric is written twice
    ],
)
def test_an_unexpected_line_or_row_is_found_unless_its_metric_may_have_been_deleted(
    kinds: OutputDamage, product: str, end_s: int, count: int, is_found: bool
) -> None:
    report, written = Report(), Metric(end_s - 60, end_s, product, 1, 100, 100)
    check_output(Counter({written: count}), Counter(), Counter(), kinds, report, CUT)
    assert report.damage == ({kinds.unexpected: count} if is_found else {})
    assert report.not_verified == ({} if is_found else {NotVerified.METRIC: 1})


def test_a_duplicated_line_is_found_although_metrics_may_have_been_deleted() -> None:
    report, written = Report(), Metric(START, START + 60, "prod-1", 1, 100, 100)
    check_output(Counter({written: 2}), Counter([written]), Counter(), LINES, report, CUT)
    assert report.damage == {Damage.LINE_DUPLICATED: 1}
