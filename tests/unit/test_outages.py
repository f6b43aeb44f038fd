"""Each of aiokafka's errors is an outage, which is retried without limit, or a failure, which is counted."""

import pytest
from aiokafka import errors

from libs.runtime.errors import (
    AnswerLostError,
    BatchTooLargeError,
    NotAMemberError,
    PipelineError,
    StuckConsumerError,
    TransactionFencedError,
    TransactionTimeoutError,
)
from libs.runtime.kafka_client.outages import is_outage

OUTAGES = {
    "BrokerNotAvailableError",
    "Cancelled",
    "ConcurrentTransactions",
    "GroupCoordinatorNotAvailableError",
    "GroupLoadInProgressError",
    "KafkaConnectionError",
    "KafkaStorageError",
    "KafkaTimeoutError",
    "KafkaUnavailableError",
    "LeaderNotAvailableError",
    "ListenerNotFound",
    "MetadataEmptyBrokerList",
    "NoBrokersAvailable",
    "NodeNotReadyError",
    "NotControllerError",
    "NotCoordinatorForGroupError",
    "NotEnoughReplicasAfterAppendError",
    "NotEnoughReplicasError",
    "NotLeaderForPartitionError",
    "ReplicaNotAvailableError",
    "RequestTimedOutError",
    "StaleLeaderEpochCodeError",
    "StaleMetadata",
    "TransactionCoordinatorFenced",
    "UnknownTopicOrPartitionError",
}
# Errors that waiting does not fix, or that are bugs of ours, of the client library or of the broker.
FAILURES = {
    "AuthenticationFailedError",
    "AuthenticationMethodNotSupported",
    "BrokerResponseError",
    "ClusterAuthorizationFailedError",
    "CommitFailedError",
    "ConsumerStoppedError",
    "CorrelationIdError",
    "CorruptRecordException",
    "DelegationTokenAuthDisabled",
    "DelegationTokenAuthorizationFailed",
    "DelegationTokenExpired",
    "DelegationTokenNotFound",
    "DelegationTokenOwnerMismatch",
    "DelegationTokenRequestNotAllowed",
    "DuplicateSequenceNumber",
    "FetchSessionIdNotFound",
    "GroupAuthorizationFailedError",
    "GroupIdNotFound",
    "IllegalArgumentError",
    "IllegalGenerationError",
    "IllegalOperation",
    "IllegalSaslStateError",
    "IllegalStateError",
    "InconsistentGroupProtocolError",
    "IncompatibleBrokerVersion",
    "InvalidCommitOffsetSizeError",
    "InvalidConfigurationError",
    "InvalidFetchRequestError",
    "InvalidFetchSessionEpoch",
    "InvalidGroupIdError",
    "InvalidPartitionsError",
    "InvalidPrincipalType",
    "InvalidProducerEpoch",
    "InvalidProducerIdMapping",
    "InvalidReplicationAssignmentError",
    "InvalidReplicationFactorError",
    "InvalidRequestError",
    "InvalidRequiredAcksError",
    "InvalidSessionTimeoutError",
    "InvalidTimestampError",
    "InvalidTopicError",
    "InvalidTransactionTimeout",
    "InvalidTxnState",
    "KafkaConfigurationError",
    "KafkaError",
    "KafkaProtocolError",
    "LogDirNotFound",
    "MemberIdRequired",
    "MessageSizeTooLargeError",
    "NoError",
    "NoOffsetForPartitionError",
    "NonEmptyGroup",
    "OffsetMetadataTooLargeError",
    "OffsetOutOfRangeError",
    "OperationNotAttempted",
    "OutOfOrderSequenceNumber",
    "PolicyViolationError",
    "ProducerClosed",
    "ProducerFenced",
    "QuotaViolationError",
    "ReassignmentInProgress",
    "RebalanceInProgressError",
    "RecordListTooLargeError",
    "RecordTooLargeError",
    "SaslAuthenticationFailed",
    "SecurityDisabled",
    "StaleControllerEpochError",
    "TooManyInFlightRequests",
    "TopicAlreadyExistsError",
    "TopicAuthorizationFailedError",
    "TransactionalIdAuthorizationFailed",
    "UnknownError",
    "UnknownMemberIdError",
    "UnknownProducerId",
    "UnrecognizedBrokerVersion",
    "UnsupportedCodecError",
    "UnsupportedForMessageFormatError",
    "UnsupportedSaslMechanismError",
    "UnsupportedVersionError",
}


def classes() -> dict[str, type[Exception]]:
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    return {each.__name__: each for each in found if each.__module__ == errors.__name__}


def test_every_error_of_aiokafka_is_classified() -> None:
    """An error added by a later version must be classified."""
    assert not OUTAGES & FAILURES
    assert classes().keys() == OUTAGES | FAILURES


@pytest.mark.parametrize("name", sorted(OUTAGES | FAILURES))
def test_outages_and_failures_are_distinguished(name: str) -> None:
    assert is_outage(classes()[name]()) == (name in OUTAGES)


@pytest.mark.parametrize(
    "error", [ConnectionResetError(), TimeoutError(), AnswerLostError(""), TransactionTimeoutError("")]
)
def test_connection_and_client_errors_of_an_outage_are_recognised(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "kind", [PipelineError, BatchTooLargeError, NotAMemberError, StuckConsumerError, TransactionFencedError]
)
def test_other_errors_are_not_outages(kind: type[PipelineError]) -> None:
    assert not is_outage(kind(""))
    assert not is_outage(ValueError())
