"""The stored state of addresses, with a clock that the test sets."""

import logging

import pytest

from libs.runtime.kafka_security.addresses import BrokerAddresses

FIRST, SECOND, THIRD = [("broker", port, 0) for port in (9092, 9093, 9094)]
REFUSED = ConnectionRefusedError("refused")


class SetClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_failed_servers_are_tried_last_in_order_of_their_failures() -> None:
    clock = SetClock()
    addresses = BrokerAddresses(clock)
    addresses.failed("broker:9092", REFUSED, advertised=False)
    clock.now_s += 1
    addresses.failed("broker:9093", REFUSED, advertised=False)
    assert addresses.reachable_first([SECOND, FIRST, THIRD]) == [THIRD, FIRST, SECOND]


def test_a_server_that_is_reachable_again_is_no_longer_last() -> None:
    addresses = BrokerAddresses(SetClock())
    addresses.failed("broker:9092", REFUSED, advertised=False)
    addresses.reached("broker:9092")
    assert addresses.reachable_first([FIRST, SECOND]) == [FIRST, SECOND]


def test_an_unreachable_advertised_address_is_logged_every_half_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = SetClock()
    addresses = BrokerAddresses(clock)
    warned = []
    for seconds in (0, 1, 29, 1):
        clock.now_s += seconds
        caplog.clear()
        addresses.failed("inside:9092", TimeoutError(), advertised=True)
        warned.append(len(caplog.records))
    assert warned == [1, 0, 1, 0]


def test_the_warning_has_address_and_cause(caplog: pytest.LogCaptureFixture) -> None:
    BrokerAddresses(SetClock()).failed("inside:9092", OSError("no such host"), advertised=True)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "inside:9092" in record.getMessage()
    assert "no such host" in record.getMessage()


@pytest.mark.parametrize("advertised", [True, False])
def test_an_outage_of_an_address_that_was_reachable_is_not_logged(
    caplog: pytest.LogCaptureFixture, advertised: bool
) -> None:
    addresses = BrokerAddresses(SetClock())
    addresses.reached("broker:9092")
    addresses.failed("broker:9092", REFUSED, advertised=advertised)
    assert caplog.records == []


def test_an_unreachable_bootstrap_server_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    BrokerAddresses(SetClock()).failed("broker:9092", REFUSED, advertised=False)
    assert caplog.records == []
