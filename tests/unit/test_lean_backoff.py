"""That the wait for a transaction that is still completing is as short as it was made to be, in the pinned aiokafka."""

from types import SimpleNamespace
from typing import Any

import aiokafka
import pytest
from aiokafka.errors import ConcurrentTransactions
from aiokafka.producer import sender
from aiokafka.structs import TopicPartition

from libs.runtime.lean_backoff import BACKOFF_S, ask_again_soon

DEFAULT_S = 0.1


def wait_s(txn_partitions: set[TopicPartition]) -> float:
    """What aiokafka waits when the coordinator refuses a partition, with ``txn_partitions`` in the transaction."""
    of_a_producer: Any = SimpleNamespace(
        _retry_backoff=DEFAULT_S, _txn_manager=SimpleNamespace(txn_partitions=txn_partitions)
    )
    handler: Any = sender.AddPartitionsToTxnHandler(of_a_producer, [TopicPartition("t", 0)])
    wait: float = handler.handle_response(SimpleNamespace(errors=[("t", [(0, ConcurrentTransactions.errno)])]))
    return wait


@pytest.fixture(autouse=True)
def aiokafkas_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "BACKOFF_OVERRIDE", 0.02)


def test_a_new_transaction_asks_again_soon() -> None:
    ask_again_soon()
    assert wait_s(set()) == BACKOFF_S
    assert wait_s({TopicPartition("t", 1)}) == DEFAULT_S


def test_another_aiokafka_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiokafka, "__version__", "another")
    ask_again_soon()
    assert wait_s(set()) == 0.02
