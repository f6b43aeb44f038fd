import pytest
from structlog.testing import capture_logs

from libs.runtime.exactly_once.open_transaction_check import REPORT_AFTER_S, OpenTransactionCheck


class FakeTime:
    now_s = 1000.0


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def check(time: FakeTime) -> OpenTransactionCheck:
    return OpenTransactionCheck("processed-orders-3", lambda: time.now_s)


def reports(check: OpenTransactionCheck, time: FakeTime, *offsets: tuple[int | None, int | None]) -> list[int]:
    """The offsets that were reported, with half of the time limit between two looks."""
    with capture_logs() as lines:
        for stable_offset, end_offset in offsets:
            check.update(stable_offset, end_offset)
            time.now_s += REPORT_AFTER_S / 2
    assert {line["partition"] for line in lines} <= {"processed-orders-3"}
    return [line["offset"] for line in lines]


def test_records_behind_an_open_transaction_are_reported_once_per_time_limit(
    check: OpenTransactionCheck, time: FakeTime
) -> None:
    assert reports(check, time, (7, 9), (7, 9)) == []
    assert reports(check, time, (7, 10)) == [7]
    assert reports(check, time, (7, 12)) == []
    assert reports(check, time, (7, 12)) == [7]


def test_a_partition_that_moves_on_or_is_read_to_its_end_is_not_reported(
    check: OpenTransactionCheck, time: FakeTime
) -> None:
    assert reports(check, time, (7, 9), (7, 9), (8, 9), (8, 9), (9, 12), (9, 12)) == []
    assert reports(check, time, (12, 12), (12, 12), (12, 12), (12, 12)) == []
    assert reports(check, time, (12, 14), (12, 14)) == []


def test_nothing_is_known_before_the_first_response(check: OpenTransactionCheck, time: FakeTime) -> None:
    assert reports(check, time, (None, None), (None, None), (None, None), (None, 4)) == []
