import asyncio

import pytest
from aiokafka.errors import GroupAuthorizationFailedError

from libs.runtime.errors import AnswerLostError
from libs.runtime.exactly_once.stable_offsets import stable_offsets
from libs.runtime.transactions.connection import GROUP
from tests.unit.exactly_once.fakes import ORDERS
from tests.unit.transactions.fake_connection import FakeConnection
from tests.unit.transactions.requests import answer_to

UNSTABLE, NOT_COORDINATOR, LOADING, NOT_ALLOWED = 88, 16, 14, 30


async def fetch(connection: FakeConnection) -> dict[object, int | None]:
    async with asyncio.timeout(30):
        committed = await stable_offsets(connection.as_connection(), "group", ORDERS)
        return {source: found and found.offset for source, found in committed.items()}


async def test_stable_offsets_of_all_partitions_are_requested_at_once() -> None:
    connection = FakeConnection()
    connection.script("StableOffsetFetch", lambda request: answer_to(request, offsets={ORDERS[0]: 5, ORDERS[1]: 0}))
    assert await fetch(connection) == {ORDERS[0]: 5, ORDERS[1]: 0, ORDERS[2]: None}
    [request] = connection.requests
    assert request.to == (GROUP, "group")
    assert request.fields["group_id"] == "group"
    assert request.fields["require_stable"] is True
    assert request.fields["topics"] == [("orders", [0, 1, 2], {})]


async def test_only_partitions_with_a_pending_transaction_are_requested_again() -> None:
    connection = FakeConnection()
    undecided = {ORDERS[0]: UNSTABLE, ORDERS[2]: UNSTABLE}
    before = dict.fromkeys(ORDERS, 5)
    connection.script(
        "StableOffsetFetch",
        lambda request: answer_to(request, codes=undecided, offsets=before),
        lambda request: answer_to(request, codes=undecided, offsets=before),
        lambda request: answer_to(request, offsets={ORDERS[0]: 6, ORDERS[2]: 7}),
    )
    assert await fetch(connection) == {ORDERS[0]: 6, ORDERS[1]: 5, ORDERS[2]: 7}
    assert [request.partitions() for request in connection.requests] == [ORDERS, ORDERS[::2], ORDERS[::2]]


@pytest.mark.parametrize("code", [NOT_COORDINATOR, LOADING])
async def test_a_coordinator_that_is_not_ready_is_looked_up_and_retried(code: int) -> None:
    connection = FakeConnection()
    connection.script("StableOffsetFetch", code)
    assert await fetch(connection) == dict.fromkeys(ORDERS)
    assert connection.refreshes == 1
    assert len(connection.requests) == 2


async def test_a_rejection_is_an_error() -> None:
    connection = FakeConnection()
    connection.script("StableOffsetFetch", NOT_ALLOWED)
    with pytest.raises(GroupAuthorizationFailedError, match="committed offset"):
        await fetch(connection)


async def test_a_lost_response_is_an_error() -> None:
    connection = FakeConnection()
    connection.script("StableOffsetFetch", AnswerLostError("no answer"))
    with pytest.raises(AnswerLostError):
        await fetch(connection)
