"""The errors that mean an outage: of a broker, of the network, or of so many replicas that too few are in sync.

The services wait until an outage is over, however long it takes. Any other error counts as a failure, and too many
consecutive failures end a service.
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

from libs.runtime.errors import AnswerLostError, OutdatedAnswerError, TransactionTimeoutError

_OUTAGES = (
    # No connection to a broker, or no response from it.
    AnswerLostError,
    Cancelled,  # a request whose connection was closed
    ConnectionError,
    KafkaConnectionError,
    KafkaTimeoutError,
    KafkaUnavailableError,
    NoBrokersAvailable,
    NodeNotReadyError,
    RequestTimedOutError,
    StaleLeaderEpochCodeError,  # aiokafka's name for code 13, today NETWORK_EXCEPTION
    TimeoutError,
    TransactionTimeoutError,  # the brokers answered "not yet" for as long as a transaction may last
    # The broker is not responsible, no longer or not yet.
    BrokerNotAvailableError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    LeaderNotAvailableError,
    ListenerNotFound,
    MetadataEmptyBrokerList,
    NotControllerError,
    NotCoordinatorForGroupError,
    NotLeaderForPartitionError,
    OutdatedAnswerError,
    ReplicaNotAvailableError,
    StaleMetadata,
    TransactionCoordinatorFenced,
    UnknownTopicOrPartitionError,  # exactly_once/broker_watch.py ends the service if the topic has been deleted
    # Too few replicas in sync, or a disk that failed.
    ConcurrentTransactions,  # the former transaction's markers cannot be written yet
    KafkaStorageError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
)


def is_outage(error: BaseException) -> bool:
    """Whether ``error`` means that the brokers cannot be reached, do not respond or are temporarily unable to."""
    return isinstance(error, _OUTAGES)
