"""Ends work that lacks a right, with an error that names the right."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from aiokafka.errors import KafkaError, TransactionalIdAuthorizationFailed

from libs.runtime.errors import BrokerLoginError, MissingRightError, PipelineError, described
from libs.runtime.kafka_security.login_rejections import current_rejections
from libs.runtime.rights.denials import DENIALS
from libs.runtime.rights.right import Resource, Right
from libs.runtime.rights.rights_check import RightsCheck, missing_or_unknown

log = logging.getLogger(__name__)

T = TypeVar("T")
_CHECK_EVERY_S = 5.0
_WITHOUT_DENIAL_S = 2.0


async def with_rights(work: Coroutine[Any, Any, T], check: RightsCheck) -> T:
    """The result of ``work``, which is ended if a needed right is missing at the start or later.

    Has to be called inside ``unless_rejected``, which ends the work.

    Raises:
        MissingRightError: naming the missing rights.
    """
    watching = asyncio.create_task(_watch(check))
    try:
        return await work
    except (KafkaError, PipelineError) as error:
        await _explain(error, check)
        raise
    finally:
        watching.cancel()
        await asyncio.wait({watching})
        await check.close()


async def with_rights_from_the_start(work: Callable[[], Coroutine[Any, Any, T]], check: RightsCheck) -> T:
    """As ``with_rights``, but ``work`` starts only after the check: for commands, whose work may be shorter than the check."""
    if missing := await _missing_now(check):
        raise check.error(missing)
    return await with_rights(work(), check)


async def _missing_now(check: RightsCheck) -> list[Right]:
    try:
        return await missing_or_unknown(check)
    finally:
        await check.close()


async def _watch(check: RightsCheck) -> None:
    while True:
        missing = await missing_or_unknown(check)
        rejections = current_rejections()
        if missing and rejections is not None:
            rejections.end_with(check.error(missing))
            return
        await asyncio.sleep(_CHECK_EVERY_S)


async def _explain(error: Exception, check: RightsCheck) -> None:
    """Raise an error that names the missing right, if that caused ``error``."""
    if isinstance(error, BrokerLoginError):
        return
    denial = next((each for each in _causes(error) if isinstance(each, DENIALS)), None)
    try:
        # A service that is stopping has little time left, and without a denial another reason is more likely.
        async with asyncio.timeout(None if denial else _WITHOUT_DENIAL_S):
            missing = await _missing_now(RightsCheck(check.kafka, check.topic_prefix, check.role))
    except TimeoutError:
        return
    if not missing and isinstance(denial, TransactionalIdAuthorizationFailed):
        missing = [right for right in check.role.needed if right.resource is Resource.TRANSACTIONAL_ID]
    if missing:
        if isinstance(error, PipelineError):
            log.error("%s", described(error))  # the consequences, for example which orders were not sent
        raise check.error(missing) from error
    if denial is not None and not isinstance(error, PipelineError):
        raise MissingRightError(
            f"Kafka denies what this client asks for: {denial!r}",
            advice="nothing is missing by now, so a right may have been given back: start again",
        ) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__
