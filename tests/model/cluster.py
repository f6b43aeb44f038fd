"""A model of Kafka 3.9's coordinators and partition leaders for transactions of the protocol's first version.

One transaction coordinator, one group with one input partition, one output partition. A state is immutable, and a step creates
a new one, so that all orders of steps can be explored. Sources: KIP-98, KIP-447, KIP-890 part 1 (verification), and of the
broker's code TransactionCoordinator, GroupCoordinator, GroupMetadataManager, ProducerStateManager.
"""

from itertools import takewhile
from operator import itemgetter
from typing import NamedTuple, Self

INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, INVALID_PRODUCER_ID_MAPPING = 47, 48, 49
OUT_OF_ORDER_SEQUENCE_NUMBER, ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, NOT_COORDINATOR = 45, 22, 25, 16

OUT, OFFSETS = "out", "offsets"
"""The partitions of a transaction: the output partition, and that of the group's offsets."""

BROKERS = (1, 2)
"""One of them is the group's coordinator. The other one may have been it before, and not know that it is none any more."""

_READS = ("ListTransactions", "FindCoordinator", "OffsetFetch", "ReadOutput")


class Request(NamedTuple):
    """A request in flight; fields that its kind does not have keep their defaults."""

    name: str
    transactional_id: str = ""
    producer_id: int = -1
    epoch: int = -1
    value: int = -1  # a record's value, or an offset
    sequence: int = -1
    generation: int = -1
    member: str = ""
    flag: bool = False  # EndTxn: commit; OffsetFetch: require stable offsets
    broker: int = -1  # that gets a request to the group's coordinator


class Transaction(NamedTuple):
    """The coordinator's state of a transactional id."""

    transactional_id: str
    producer_id: int
    epoch: int
    state: str = "Empty"
    targets: frozenset[str] = frozenset()  # with records or an offset that are not committed or aborted yet
    commit: bool = False  # of a prepared or complete one


class Record(NamedTuple):
    """A record of the output partition that is not aborted."""

    producer_id: int
    value: int
    committed: bool = False


Answer = int | tuple[object, ...] | None
"""An error code or the requested data; None: not ready, the request is retried."""


class Cluster(NamedTuple):
    """The brokers' state."""

    transactions: tuple[Transaction, ...] = ()
    generation: int = 1
    committed: int = 0
    pending: frozenset[tuple[int, int]] = frozenset()  # offsets of open transactions by producer id
    coordinator: int = BROKERS[0]
    outdated: tuple[int, bool] = (
        0,
        False,
    )  # what the former coordinator knows: the committed offset, and whether one is pending
    log: tuple[Record, ...] = ()
    sequences: frozenset[tuple[int, int, int]] = frozenset()  # the output's next one by producer id and epoch
    epochs: frozenset[tuple[str, int, int]] = frozenset()  # of pending transactions, by target and producer id

    def find(self, transactional_id: str) -> Transaction | None:
        return next((each for each in self.transactions if each.transactional_id == transactional_id), None)

    def put(self, changed: Transaction) -> Self:
        if self.find(changed.transactional_id) is None:
            return self._replace(transactions=tuple(sorted((*self.transactions, changed), key=itemgetter(0))))
        replaced = (
            changed if each.transactional_id == changed.transactional_id else each for each in self.transactions
        )
        return self._replace(transactions=tuple(replaced))

    def epoch_at(self, target: str, producer_id: int) -> int:
        return max((epoch for at, of, epoch in self.epochs if (at, of) == (target, producer_id)), default=-1)

    def seen(self, target: str, producer_id: int, epoch: int) -> Self:
        others = {each for each in self.epochs if each[:2] != (target, producer_id)}
        return self._replace(epochs=frozenset({*others, (target, producer_id, epoch)}))

    def pending_of(self, producer_id: int) -> int | None:
        return next((offset for of, offset in self.pending if of == producer_id), None)

    def without_pending(self, producer_id: int) -> Self:
        return self._replace(pending=frozenset(each for each in self.pending if each[0] != producer_id))

    def undecided_of(self, producer_id: int) -> bool:
        return any(record.producer_id == producer_id and not record.committed for record in self.log)

    def committed_values(self) -> list[int]:
        """The values that a read_committed consumer gets in the end."""
        return [record.value for record in self.log if record.committed]

    def stable_values(self) -> list[int]:
        """The values that it gets now: the committed ones before the last stable offset."""
        return [record.value for record in takewhile(lambda record: record.committed, self.log)]


def handle(cluster: Cluster, request: Request) -> tuple[Cluster, Answer]:
    """Process a request; returns the new state and the response."""
    if request.name in _READS:
        return cluster, _read(cluster, request)
    if request.name == "InitProducerId":
        return _init_producer_id(cluster, request.transactional_id)
    if request.name == "Produce":
        return _produce(cluster, request)
    if request.name == "TxnOffsetCommit":
        return _commit_offset(cluster, request)
    return _coordinate(cluster, request)


def _coordinate(cluster: Cluster, request: Request) -> tuple[Cluster, Answer]:
    transaction = cluster.find(request.transactional_id)
    if transaction is None or transaction.producer_id != request.producer_id:
        return cluster, INVALID_PRODUCER_ID_MAPPING
    if transaction.epoch != request.epoch:
        return cluster, INVALID_PRODUCER_EPOCH
    if request.name == "EndTxn":
        return _end(cluster, transaction, commit=request.flag)
    return _add(cluster, transaction, OFFSETS if request.name == "AddOffsetsToTxn" else OUT)


def _read(cluster: Cluster, request: Request) -> Answer:
    if request.name == "ListTransactions":
        undecided = (each for each in cluster.transactions if each.state in ("Ongoing", "Prepare"))
        return tuple((each.transactional_id, each.state) for each in undecided)
    if request.name == "FindCoordinator":
        return (cluster.coordinator,)
    if request.name == "OffsetFetch":
        if request.broker != cluster.coordinator:
            return NOT_COORDINATOR
        return None if request.flag and cluster.pending else (cluster.committed,)
    values = cluster.stable_values()
    return None if request.flag and len(values) < len(cluster.log) else (*values,)


def _init_producer_id(cluster: Cluster, transactional_id: str) -> tuple[Cluster, Answer]:
    transaction = cluster.find(transactional_id)
    if transaction is None:
        transaction = Transaction(transactional_id, _producer_id_of(transactional_id), 0)
    elif transaction.state in ("Empty", "Complete"):
        transaction = Transaction(transactional_id, transaction.producer_id, transaction.epoch + 1)
        cluster = cluster._replace(
            sequences=frozenset(each for each in cluster.sequences if each[0] != transaction.producer_id)
        )
    elif transaction.state == "Ongoing":
        return _aborting(cluster, transaction), None
    else:
        return cluster, None
    return cluster.put(transaction), (transaction.producer_id, transaction.epoch)


def _producer_id_of(transactional_id: str) -> int:
    """An arbitrary number that is the same in each history, which reduces the number of states."""
    _, generation, _, attempt = transactional_id.split("-")
    return 100 * int(generation) + int(attempt)


def _aborting(cluster: Cluster, transaction: Transaction) -> Cluster:
    """The coordinator aborts a transaction itself, with a new epoch that fences its producer."""
    return cluster.put(transaction._replace(epoch=transaction.epoch + 1, state="Prepare", commit=False))


def _add(cluster: Cluster, transaction: Transaction, target: str) -> tuple[Cluster, Answer]:
    if transaction.state == "Prepare":
        return cluster, None
    return cluster.put(transaction._replace(state="Ongoing", targets=transaction.targets | {target})), 0


def _end(cluster: Cluster, transaction: Transaction, *, commit: bool) -> tuple[Cluster, Answer]:
    """The response does not wait for the markers."""
    if transaction.state == "Ongoing":
        return cluster.put(transaction._replace(state="Prepare", commit=commit)), 0
    if transaction.state == "Empty" or transaction.commit is not commit:
        return cluster, INVALID_TXN_STATE
    return cluster, None if transaction.state == "Prepare" else 0


def _is_ongoing(cluster: Cluster, request: Request, target: str) -> bool:
    """The verification by which a leader checks with the coordinator that a transaction is ongoing (KIP-890)."""
    transaction = cluster.find(request.transactional_id)
    return (
        transaction is not None
        and transaction.state == "Ongoing"
        and (transaction.producer_id, transaction.epoch) == (request.producer_id, request.epoch)
        and target in transaction.targets
    )


def _produce(cluster: Cluster, request: Request) -> tuple[Cluster, Answer]:
    producer_id, epoch = request.producer_id, request.epoch
    if not cluster.undecided_of(producer_id) and not _is_ongoing(cluster, request, OUT):
        return cluster, INVALID_TXN_STATE
    if cluster.epoch_at(OUT, producer_id) > epoch:
        return cluster, INVALID_PRODUCER_EPOCH
    state = next((each for each in cluster.sequences if each[:2] == (producer_id, epoch)), (producer_id, epoch, 0))
    if request.sequence != state[2]:
        return cluster, 0 if request.sequence < state[2] else OUT_OF_ORDER_SEQUENCE_NUMBER
    appended = cluster._replace(
        log=(*cluster.log, Record(producer_id, request.value)),
        sequences=frozenset({*cluster.sequences - {state}, (producer_id, epoch, state[2] + 1)}),
    )
    return appended.seen(OUT, producer_id, epoch), 0


def _commit_offset(cluster: Cluster, request: Request) -> tuple[Cluster, Answer]:
    """The group is checked before the offset becomes pending, the epoch afterwards; a rejection removes pending offsets.

    GroupMetadataManager.failPendingTxnOffsetCommit removes them by producer id, whichever request they are from.
    """
    producer_id = request.producer_id
    if request.broker != cluster.coordinator:  # it cannot replicate the offset
        return cluster, NOT_COORDINATOR
    if cluster.pending_of(producer_id) is None and not _is_ongoing(cluster, request, OFFSETS):
        return cluster, INVALID_TXN_STATE
    if request.generation >= 0 or request.member:
        if request.generation != cluster.generation:
            return cluster, ILLEGAL_GENERATION
        if request.member != member_of(cluster.generation):
            return cluster, UNKNOWN_MEMBER_ID
    if cluster.epoch_at(OFFSETS, producer_id) > request.epoch:
        return cluster.without_pending(producer_id), INVALID_PRODUCER_EPOCH
    updated = cluster.without_pending(producer_id)
    updated = updated._replace(pending=updated.pending | {(producer_id, request.value)})
    return updated.seen(OFFSETS, producer_id, request.epoch), 0


def outdated_answer(cluster: Cluster, request: Request) -> Answer:
    """What the former coordinator may answer to an OffsetFetch of stable offsets, or to a TxnOffsetCommit of a generation that is new to it."""
    if request.name == "TxnOffsetCommit":
        return UNKNOWN_MEMBER_ID
    offset, is_pending = cluster.outdated
    return None if is_pending else (offset,)


def other_broker(broker: int) -> int:
    """The broker that is not this one."""
    return sum(BROKERS) - broker


def move_coordinator(cluster: Cluster) -> Cluster:
    """The other broker becomes the group's coordinator; what was acknowledged is replicated."""
    return cluster._replace(
        coordinator=other_broker(cluster.coordinator), outdated=(cluster.committed, bool(cluster.pending))
    )


def member_of(generation: int) -> str:
    """The member of a generation; each generation has a different one."""
    return f"member{generation}"


def can_act(cluster: Cluster, request: Request) -> bool:
    """Whether an abandoned request may still change the state.

    Once its transactional id has a later epoch, only an open transaction of its producer id can be affected.
    """
    if request.name in _READS:
        return False
    transaction = cluster.find(request.transactional_id)
    if request.name == "InitProducerId" or transaction is None:
        return True
    has_pending = cluster.undecided_of(request.producer_id) or cluster.pending_of(request.producer_id) is not None
    return transaction.epoch == request.epoch or has_pending


def markers(cluster: Cluster) -> list[tuple[str, str]]:
    """The markers that are still to be written, by transactional id and target."""
    return [
        (each.transactional_id, target)
        for each in cluster.transactions
        if each.state == "Prepare"
        for target in sorted(each.targets)
    ]


def write_marker(cluster: Cluster, transactional_id: str, target: str) -> Cluster:
    """A marker reaches the output partition, or the group's offsets."""
    transaction = cluster.find(transactional_id)
    assert transaction is not None
    producer_id, commit = transaction.producer_id, transaction.commit
    if target == OUT:
        log: list[Record] = []
        for record in cluster.log:
            if record.committed or record.producer_id != producer_id:
                log.append(record)
            elif commit:
                log.append(record._replace(committed=True))
        cluster = cluster._replace(log=tuple(log))
    else:
        offset = cluster.pending_of(producer_id)
        if commit and offset is not None:
            cluster = cluster._replace(committed=offset)
        cluster = cluster.without_pending(producer_id)
    left = transaction.targets - {target}
    changed = transaction._replace(targets=left, state="Prepare" if left else "Complete")
    # The target's epoch is no longer needed: the next transaction is verified with the coordinator.
    epochs = frozenset(each for each in cluster.epochs if each[:2] != (target, producer_id))
    return cluster._replace(epochs=epochs).put(changed)


def time_out(cluster: Cluster) -> Cluster:
    """All open transactions time out."""
    for transaction in cluster.transactions:
        if transaction.state == "Ongoing":
            cluster = _aborting(cluster, transaction)
    return cluster
