"""Checks for the right that all requests of this command need."""

from aiokafka.errors import ClusterAuthorizationFailedError, KafkaError

from libs.runtime.errors import MissingRightError


def check_may_alter(error: type[KafkaError]) -> None:
    """Raise ``MissingRightError`` if ``error`` of the broker means that this client lacks ALTER on the cluster."""
    if error is ClusterAuthorizationFailedError:
        raise MissingRightError(
            "this client lacks a right in Kafka: ALTER on the cluster", advice="log in as one of its super.users"
        )
