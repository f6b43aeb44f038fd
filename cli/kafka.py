"""Work in the cluster of a pipeline that was found, with errors that say what to do."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aiokafka.errors import KafkaError

from cli.context import PipelineContext
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_security.login_refusals import unless_refused
from libs.runtime.kafka_security.security import KafkaAddress
from libs.runtime.kafka_security.settings import kafka_security
from libs.runtime.rights.right import Role
from libs.runtime.rights.rights_check import RightsCheck
from libs.runtime.rights.with_rights import with_rights, with_rights_from_the_start

T = TypeVar("T")


def address_of(context: PipelineContext) -> KafkaAddress:
    """The cluster, and how to log in to it.

    Raises:
        SettingsError: a setting of how to log in cannot be used.
    """
    return KafkaAddress(context.bootstrap_servers, kafka_security())


def run_in_kafka(
    work: Callable[[], Coroutine[Any, Any, T]], kafka: KafkaAddress, topic_prefix: str, role: Role | None
) -> T:
    """The result of ``work``, which begins once Kafka allows all that ``role`` needs; None checks no rights.

    Raises:
        BrokerLoginError: the brokers refuse this client.
        MissingRightError: they do not, but a right of ``role`` is missing.
        PipelineError: ``work`` failed with an error of its own, or one of Kafka.
    """
    if role is None:
        return _run(work())
    return _run(with_rights_from_the_start(work, RightsCheck(kafka, topic_prefix, role)))


def watch_in_kafka(
    work: Callable[[], Coroutine[Any, Any, None]], kafka: KafkaAddress, topic_prefix: str, role: Role
) -> None:
    """As ``run_in_kafka``, but ``work`` begins at once: it goes on until it is stopped, and says itself what it waits for."""
    _run(with_rights(work(), RightsCheck(kafka, topic_prefix, role)))


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(unless_refused(work))
    except KafkaError as error:
        raise PipelineError(
            f"the broker cannot be asked: {error!r}", advice="start the pipeline, or give another --bootstrap"
        ) from error
