"""Which errors mean an outage: of a broker, of the way to it, or of so many replicas that too few are in sync.

An outage is waited out, however long it takes. Any other error counts as a failure, and too many in a row end a service.
"""

from aiokafka.errors import (
    BrokerNotAvailableError,
    Cancelled,
    ConcurrentTransactions,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    KafkaStorageError,
    KafkaTimeoutError,
    KafkaUnavailableError,
    LeaderNotAvailableError,
    ListenerNotFound,
    MetadataEmptyBrokerList,
    NoBrokersAvailable,
    NodeNotReadyError,
    NotControllerError,
    NotCoordinatorForGroupError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderForPartitionError,
    ReplicaNotAvailableError,
    RequestTimedOutError,
    StaleLeaderEpochCodeError,
    StaleMetadata,
    TransactionCoordinatorFenced,
    UnknownTopicOrPartitionError,
)

from libs.runtime.errors import AnswerLostError, TransactionTimeoutError

_OUTAGES = (
    # No way to a broker, or no answer from it.
    AnswerLostError,
    Cancelled,  # a request whose connection was closed
    ConnectionError,
    KafkaConnectionError,
    KafkaTimeoutError,
    KafkaUnavailableError,
    NoBrokersAvailable,
    NodeNotReadyError,
    RequestTimedOutError,
    StaleLeaderEpochCodeError,  # code 13, which is NETWORK_EXCEPTION by now
    TimeoutError,
    TransactionTimeoutError,  # the brokers answered "not yet" for as long as a transaction may last
    # A broker that is not, or no longer, or not yet responsible.
    BrokerNotAvailableError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    LeaderNotAvailableError,
    ListenerNotFound,
    MetadataEmptyBrokerList,
    NotControllerError,
    NotCoordinatorForGroupError,
    NotLeaderForPartitionError,
    ReplicaNotAvailableError,
    StaleMetadata,
    TransactionCoordinatorFenced,
    UnknownTopicOrPartitionError,  # what has been deleted ends the service elsewhere: exactly_once/broker_watch.py
    # Too few replicas in sync, or a disk that failed.
    ConcurrentTransactions,  # the former transaction's markers cannot be written yet
    KafkaStorageError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
)


def is_outage(error: BaseException) -> bool:
    """Whether ``error`` says only that the brokers cannot be reached, do not answer or cannot do it right now."""
    return isinstance(error, _OUTAGES)
