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

T = TypeVar("T")


def address_of(context: PipelineContext) -> KafkaAddress:
    """The cluster, and how to log in to it.

    Raises:
        SettingsError: a setting of how to log in cannot be used.
    """
    return KafkaAddress(context.bootstrap_servers, kafka_security())


def run_in_kafka(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of ``work``.

    Raises:
        BrokerLoginError: the brokers refuse this client.
        PipelineError: ``work`` failed with an error of its own, or one of Kafka.
    """
    try:
        return asyncio.run(unless_refused(work()))
    except KafkaError as error:
        raise PipelineError(
            f"the broker cannot be asked: {error!r}", advice="start the pipeline, or give another --bootstrap"
        ) from error
