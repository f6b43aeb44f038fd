"""Maps the error codes of transactional requests to what they mean for the transaction."""

from enum import Enum, auto

from aiokafka.errors import BrokerResponseError, for_code

# Not in aiokafka's table of errors.
_PRODUCER_FENCED = 90
_FENCED_INSTANCE_ID = 82


class Meaning(Enum):
    """What an error code means for the request and its transaction."""

    DONE = auto()
    RETRY = auto()
    """The broker cannot do it yet: send the request to the same broker again."""
    REFRESH_AND_RETRY = auto()
    """The broker is not responsible, or no longer: refresh the metadata and send the request again."""
    FENCED = auto()
    """The transaction was ended by a successor or by its timeout."""
    NOT_A_MEMBER = auto()
    """This replica is no longer a member of its group."""
    TOO_LARGE = auto()
    """The batch is larger than the topic's limit."""
    REFUSED = auto()
    """Anything else: the transaction cannot be committed."""


_MEANINGS: dict[int, Meaning] = {
    0: Meaning.DONE,
    46: Meaning.DONE,  # DUPLICATE_SEQUENCE_NUMBER: the batch was written when it was sent before
    14: Meaning.RETRY,  # COORDINATOR_LOAD_IN_PROGRESS
    19: Meaning.RETRY,  # NOT_ENOUGH_REPLICAS: also while the broker verifies the transaction (KIP-890)
    20: Meaning.RETRY,  # NOT_ENOUGH_REPLICAS_AFTER_APPEND
    51: Meaning.RETRY,  # CONCURRENT_TRANSACTIONS: the markers of the previous transaction are still being written
    3: Meaning.REFRESH_AND_RETRY,  # UNKNOWN_TOPIC_OR_PARTITION: of a topic that is there, known to others by now
    5: Meaning.REFRESH_AND_RETRY,  # LEADER_NOT_AVAILABLE
    6: Meaning.REFRESH_AND_RETRY,  # NOT_LEADER_OR_FOLLOWER
    7: Meaning.REFRESH_AND_RETRY,  # REQUEST_TIMED_OUT: the replicas did not acknowledge in time
    13: Meaning.REFRESH_AND_RETRY,  # NETWORK_EXCEPTION
    15: Meaning.REFRESH_AND_RETRY,  # COORDINATOR_NOT_AVAILABLE
    16: Meaning.REFRESH_AND_RETRY,  # NOT_COORDINATOR
    56: Meaning.REFRESH_AND_RETRY,  # KAFKA_STORAGE_ERROR
    47: Meaning.FENCED,  # INVALID_PRODUCER_EPOCH
    48: Meaning.FENCED,  # INVALID_TXN_STATE
    49: Meaning.FENCED,  # INVALID_PRODUCER_ID_MAPPING
    59: Meaning.FENCED,  # UNKNOWN_PRODUCER_ID
    _PRODUCER_FENCED: Meaning.FENCED,
    22: Meaning.NOT_A_MEMBER,  # ILLEGAL_GENERATION
    25: Meaning.NOT_A_MEMBER,  # UNKNOWN_MEMBER_ID
    _FENCED_INSTANCE_ID: Meaning.NOT_A_MEMBER,
    10: Meaning.TOO_LARGE,  # MESSAGE_TOO_LARGE
    18: Meaning.TOO_LARGE,  # RECORD_LIST_TOO_LARGE
}


def meaning_of(error_code: int) -> Meaning:
    """The meaning of a response with this error code.

    A retry is safe: the broker has responded, so no copy of the request can arrive later.
    """
    return _MEANINGS.get(error_code, Meaning.REFUSED)


def refusal(error_code: int, request: str) -> BrokerResponseError:
    """The error to raise for a response that means ``REFUSED``."""
    error: type[BrokerResponseError] = for_code(error_code)
    return error(f"{request}: error code {error_code}")
