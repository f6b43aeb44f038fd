import pytest
from structlog.testing import capture_logs

from libs.runtime.exactly_once.open_transaction_check import REPORT_AFTER_S, OpenTransactionCheck
from libs.runtime.exactly_once.processing import FRESH_S
from libs.runtime.timing import TRANSACTION_TIMEOUT_MS


class FakeTime:
    now_s = 1000.0


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def check(time: FakeTime) -> OpenTransactionCheck:
    return OpenTransactionCheck("processed-orders-3", lambda: time.now_s)


def reports(
    check: OpenTransactionCheck,
    time: FakeTime,
    *offsets: tuple[int | None, int | None],
    apart_s: float = REPORT_AFTER_S / 4,
) -> list[int]:
    """The offsets that were reported, with so many seconds before each look."""
    with capture_logs() as lines:
        for stable_offset, end_offset in offsets:
            time.now_s += apart_s
            check.update(stable_offset, end_offset)
    assert {line["partition"] for line in lines} <= {"processed-orders-3"}
    return [line["offset"] for line in lines]


def test_records_behind_an_open_transaction_are_reported_once_per_time_limit(
    check: OpenTransactionCheck, time: FakeTime
) -> None:
    assert reports(check, time, *[(7, 9)] * 4) == []
    assert reports(check, time, (7, 10)) == [7]
    assert reports(check, time, *[(7, 12)] * 3) == []
    assert reports(check, time, (7, 12)) == [7]


def test_a_partition_that_moves_on_or_is_read_to_its_end_is_not_reported(
    check: OpenTransactionCheck, time: FakeTime
) -> None:
    assert reports(check, time, *[(7, 9)] * 4, *[(8, 9)] * 4, *[(9, 12)] * 4) == []
    assert reports(check, time, *[(12, 12)] * 8) == []
    assert reports(check, time, *[(12, 14)] * 4) == []


def test_nothing_is_known_before_the_first_response(check: OpenTransactionCheck, time: FakeTime) -> None:
    assert reports(check, time, *[(None, None)] * 8, (None, 4)) == []


def test_an_outage_or_a_pause_counts_for_a_third_of_the_limit_only(check: OpenTransactionCheck, time: FakeTime) -> None:
    """There is no look meanwhile, but for a moment the last response still counts as recent. Afterwards the transaction ends in time."""
    before_s, after_s = int(FRESH_S) + 5, TRANSACTION_TIMEOUT_MS // 1000 + 5
    assert reports(check, time, *[(7, 9)] * before_s, apart_s=1) == []
    time.now_s += 3600
    assert reports(check, time, *[(7, 9)] * after_s, apart_s=1) == []
    assert reports(check, time, *[(7, 9)] * int(REPORT_AFTER_S), apart_s=1) == [7]


def test_looks_may_be_minutes_apart(check: OpenTransactionCheck, time: FakeTime) -> None:
    """For so long a fetch may be processed under a quota."""
    assert set(reports(check, time, *[(7, 9)] * 5, apart_s=300)) == {7}
