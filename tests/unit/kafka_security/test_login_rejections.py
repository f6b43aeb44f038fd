"""A final rejection ends the work; a temporary one is retried."""

import asyncio
import contextlib

import pytest

from libs.runtime.errors import BrokerLoginError, PipelineError
from libs.runtime.kafka_security.login_rejections import (
    LoginRejections,
    current_rejections,
    raise_final_rejection,
    unless_rejected,
)
from libs.runtime.life_cycle import REFUSED_PATIENCE_S

REFUSED = BrokerLoginError("refused", advice="mend it")


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def test_a_rejection_is_final_if_there_was_never_a_login() -> None:
    rejections = LoginRejections(patience_s=10, monotonic_s=Clock())
    rejections.connected("a:1")
    rejections.rejected("b:1", REFUSED)
    assert rejections.final is REFUSED


async def test_a_rejection_after_an_earlier_login_is_retried_for_a_while() -> None:
    clock = Clock()
    rejections = LoginRejections(patience_s=10, monotonic_s=clock)
    rejections.connected("a:1")
    rejections.rejected("a:1", REFUSED)
    clock.now_s += 9
    rejections.rejected("a:1", REFUSED)
    assert rejections.final is None
    rejections.connected("a:1")
    clock.now_s += 9
    rejections.rejected("a:1", REFUSED)
    assert rejections.final is None
    clock.now_s += 10
    rejections.rejected("a:1", REFUSED)
    assert rejections.final is REFUSED


async def test_a_service_waits_until_kubernetes_has_replaced_the_file_of_a_changed_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The kubelet looks for changes about once a minute, and may take the Secret from a cache."""
    clock = Clock()
    rejections = LoginRejections(REFUSED_PATIENCE_S, clock)
    rejections.connected("a:1")
    for _ in range(11):
        rejections.rejected("a:1", REFUSED)
        clock.now_s += 10
    assert "refused (mend it); trying again for" in caplog.text
    rejections.connected("a:1")
    assert rejections.final is None
    for _ in range(13):
        assert rejections.final is None
        rejections.rejected("a:1", REFUSED)
        clock.now_s += 10
    assert rejections.final is REFUSED


async def test_a_rejection_of_long_ago_does_not_use_up_the_patience(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    rejections = LoginRejections(patience_s=10, monotonic_s=clock)
    rejections.connected("a:1")
    rejections.connected("b:1")
    rejections.rejected("a:1", REFUSED)
    clock.now_s += 3
    rejections.connected("b:1")  # with the new password; a:1 is not asked again
    clock.now_s += 90 * 86_400
    rejections.rejected("a:1", REFUSED)
    clock.now_s += 9
    rejections.rejected("a:1", REFUSED)
    assert rejections.final is None
    assert caplog.text.count("trying again for 10 s") == 2
    clock.now_s += 1
    rejections.rejected("a:1", REFUSED)
    assert rejections.final is REFUSED


async def test_a_broker_that_is_seldom_asked_is_not_retried_for_ever() -> None:
    clock = Clock()
    rejections = LoginRejections(patience_s=10, monotonic_s=clock)
    rejections.connected("a:1")
    rejections.rejected("a:1", REFUSED)
    clock.now_s += 45
    rejections.connected("b:1")
    rejections.rejected("a:1", REFUSED)
    assert rejections.final is REFUSED


async def test_a_login_counts_as_recent_for_a_minute() -> None:
    clock = Clock()
    rejections = LoginRejections(0, clock)
    assert not rejections.connected_recently("a:1")
    rejections.connected("a:1")
    assert rejections.connected_recently("a:1")
    clock.now_s += 61
    assert not rejections.connected_recently("a:1")


def refuse() -> None:
    rejections = current_rejections()
    assert rejections is not None
    rejections.rejected("a:1", REFUSED)


async def test_without_a_rejection_the_result_is_returned() -> None:
    async def work() -> int:
        raise_final_rejection()
        return 7

    assert await unless_rejected(work()) == 7
    assert current_rejections() is None


async def test_a_rejection_in_another_task_cancels_the_work() -> None:
    async def connect() -> None:
        refuse()

    async def work() -> None:
        connecting = asyncio.create_task(connect())
        try:
            await asyncio.Event().wait()
        finally:
            await connecting

    with pytest.raises(BrokerLoginError, match="refused"):
        await unless_rejected(work())


async def test_the_rejection_is_raised_instead_of_its_consequences() -> None:
    async def work() -> None:
        refuse()
        with pytest.raises(BrokerLoginError):
            raise_final_rejection()
        raise PipelineError("no broker")

    with pytest.raises(BrokerLoginError, match="refused"):
        await unless_rejected(work())


async def test_work_can_shut_down_in_order_after_a_rejection(caplog: pytest.LogCaptureFixture) -> None:
    stop, ended = asyncio.Event(), []

    async def work() -> None:
        refuse()
        await stop.wait()
        ended.append("in order")
        raise PipelineError("2 orders were not confirmed")

    with pytest.raises(BrokerLoginError):
        await unless_rejected(work(), stop.set)
    assert ended == ["in order"]
    assert "2 orders were not confirmed" in caplog.text


async def test_cancelling_the_caller_cancels_the_work() -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    task = asyncio.create_task(unless_rejected(work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert cancelled.is_set()
