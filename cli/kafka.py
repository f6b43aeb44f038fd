"""Runs a command's work against the cluster of its pipeline; turns Kafka's errors into errors with advice."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aiokafka.errors import KafkaError

from cli.context import PipelineContext
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_security.login_rejections import unless_rejected
from libs.runtime.kafka_security.security import KafkaAddress
from libs.runtime.kafka_security.settings import kafka_security
from libs.runtime.rights.right import Role
from libs.runtime.rights.rights_check import RightsCheck
from libs.runtime.rights.with_rights import with_rights, with_rights_from_the_start

T = TypeVar("T")


def address_of(context: PipelineContext) -> KafkaAddress:
    """The cluster, and how to log in to it.

    Raises:
        SettingsError: a login setting cannot be used.
    """
    return KafkaAddress(context.bootstrap_servers, kafka_security())


def run_in_kafka(
    work: Callable[[], Coroutine[Any, Any, T]], kafka: KafkaAddress, topic_prefix: str, role: Role | None
) -> T:
    """Run ``work`` once the client is known to have every right of ``role`` (None: no check); returns its result.

    Raises:
        BrokerLoginError: the brokers reject this client's login.
        MissingRightError: a right of ``role`` is missing.
        PipelineError: ``work`` failed, with an error of its own or of Kafka.
    """
    if role is None:
        return _run(work())
    return _run(with_rights_from_the_start(work, RightsCheck(kafka, topic_prefix, role)))


def watch_in_kafka(
    work: Callable[[], Coroutine[Any, Any, None]], kafka: KafkaAddress, topic_prefix: str, role: Role
) -> None:
    """As ``run_in_kafka``, for endless work: it starts at once, and reports by itself what it waits for."""
    _run(with_rights(work(), RightsCheck(kafka, topic_prefix, role)))


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(unless_rejected(work))
    except KafkaError as error:
        raise PipelineError(
            f"the broker does not answer: {error!r}", advice="start the pipeline, or give another --bootstrap"
        ) from error
