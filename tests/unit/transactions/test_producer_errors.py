"""The exceptions for rejected requests of a transaction."""

import asyncio

import pytest
from aiokafka.errors import ClusterAuthorizationFailedError, KafkaError
from aiokafka.structs import TopicPartition

from libs.runtime.errors import BatchTooLargeError, NotAMemberError, TransactionFencedError
from libs.runtime.transactions.error_codes import _MEANINGS, Meaning
from libs.runtime.transactions.producer import TransactionalProducer, init_producer_id
from tests.unit.transactions.fake_connection import FakeConnection
from tests.unit.transactions.requests import answer_to
from tests.unit.transactions.test_producer import MEMBER, OUT, STEPS, commit, outputs, started, until_idle

FENCED = [code for code, meaning in _MEANINGS.items() if meaning is Meaning.FENCED]
NOT_A_MEMBER = [code for code, meaning in _MEANINGS.items() if meaning is Meaning.NOT_A_MEMBER]
TOO_LARGE = [code for code, meaning in _MEANINGS.items() if meaning is Meaning.TOO_LARGE]
REFUSED, NOT_ATTEMPTED = 31, 55


async def refused(name: str, code: int, error: type[Exception]) -> str:
    """The error's message; checks that no request of a later step was sent."""
    connection = FakeConnection()
    producer = await started(connection)
    connection.script(name, code)
    with pytest.raises(error) as caught:
        await commit(producer)
    await until_idle()
    assert connection.names.count(name) == 1
    if name != "EndTxn":
        assert "EndTxn" not in connection.names
    return str(caught.value)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("code", FENCED)
async def test_a_transaction_that_was_ended_by_another_is_fenced(name: str, code: int) -> None:
    assert f"of id: error code {code}" in await refused(name, code, TransactionFencedError)


@pytest.mark.parametrize("code", NOT_A_MEMBER)
async def test_a_former_member_gets_an_error(code: int) -> None:
    await refused("MemberOffsetCommit", code, NotAMemberError)


@pytest.mark.parametrize("code", TOO_LARGE)
async def test_the_error_for_a_batch_that_is_too_large_names_the_topic_and_has_advice(code: int) -> None:
    assert "'mine.out'" in await refused("Produce", code, BatchTooLargeError)


@pytest.mark.parametrize("name", STEPS)
async def test_any_other_code_raises_its_own_error(name: str) -> None:
    assert name in await refused(name, REFUSED, ClusterAuthorizationFailedError)
    await refused(name, 45, KafkaError)  # OUT_OF_ORDER_SEQUENCE_NUMBER: the broker has lost acknowledged records


async def test_the_rejected_one_of_several_partitions_determines_the_error() -> None:
    connection = FakeConnection()
    producer = await started(connection)
    codes = {OUT[0]: NOT_ATTEMPTED, OUT[1]: 47, OUT[2]: NOT_ATTEMPTED}
    connection.script("AddPartitionsToTxn", lambda request: answer_to(request, codes=codes))
    with pytest.raises(TransactionFencedError):
        await commit(producer, outputs(0, 1, 2))


async def test_partitions_that_were_not_attempted_are_added_by_the_next_request() -> None:
    connection = FakeConnection()
    producer = await started(connection)
    codes = {OUT[0]: NOT_ATTEMPTED, OUT[1]: 3, OUT[2]: NOT_ATTEMPTED}
    connection.script("AddPartitionsToTxn", lambda request: answer_to(request, codes=codes))
    await commit(producer, outputs(0, 1, 2))
    assert [request.partitions() for request in connection.named("AddPartitionsToTxn")] == [OUT, OUT]


async def test_the_first_error_cancels_concurrent_requests() -> None:
    connection = FakeConnection()
    producer = await started(connection)
    connection.hold("AddPartitionsToTxn")
    connection.script("AddOffsetsToTxn", 47)
    with pytest.raises(TransactionFencedError):
        await commit(producer)
    connection.release("AddPartitionsToTxn")
    await until_idle()
    assert "AddPartitionsToTxn" not in connection.answered
    assert "Produce" not in connection.names


@pytest.mark.parametrize(
    ("code", "error"), [(47, TransactionFencedError), (90, TransactionFencedError), (53, KafkaError)]
)
async def test_a_rejected_producer_id_request_is_an_error(code: int, error: type[Exception]) -> None:
    connection = FakeConnection()
    connection.script("InitProducerId", code)
    with pytest.raises(error):
        await TransactionalProducer(connection.as_connection(), "id").start()
    connection.script("InitProducerId", code)
    async with asyncio.timeout(30):
        with pytest.raises(error):
            await init_producer_id(connection.as_connection(), "id")


async def test_offsets_of_several_partitions_are_sent_in_one_request() -> None:
    connection = FakeConnection()
    producer = await started(connection)
    offsets = {TopicPartition("mine.orders", number): 10 * number for number in (2, 0, 1)}
    async with asyncio.timeout(30):
        await producer.commit(outputs(0), offsets, MEMBER)
    [request] = connection.named("MemberOffsetCommit")
    assert request.values() == offsets
