"""Ends work if the brokers finally reject this client. aiokafka takes a rejected login for an outage and retries for ever."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

from libs.runtime.errors import BrokerLoginError, PipelineError, described

log = logging.getLogger(__name__)

T = TypeVar("T")
_ENDS_WITHIN_S = 30.0
_RECENTLY_S = 60.0
# After a rejection a broker is asked again within this time, even if attempts at several others time out in between.
_ASKED_AGAIN_WITHIN_S = 60.0

_current: ContextVar["LoginRejections | None"] = ContextVar("rejections", default=None)


class LoginRejections:
    """Tracks the brokers' rejections of this client, by address.

    A rejection is final at once if the broker has never accepted this client, otherwise after ``patience_s``: a password may be
    changed first in the cluster and then in its file, and a broker that has just started may not know its users yet.
    """

    def __init__(self, patience_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._monotonic_s = monotonic_s
        self._connected_s: dict[str, float] = {}
        self._rejected_s: dict[str, tuple[float, float]] = {}  # the first and the last time since the last login
        self.final: PipelineError | None = None
        self.ended = asyncio.Event()

    def connected(self, address: str) -> None:
        """The broker at ``address`` has accepted this client."""
        self._connected_s[address] = self._monotonic_s()
        self._rejected_s.pop(address, None)

    def rejected(self, address: str, error: BrokerLoginError) -> None:
        """The broker at ``address`` has rejected this client, or this client the broker."""
        now_s = self._monotonic_s()
        patience_s = self._patience_s if address in self._connected_s else 0.0
        since_s, last_s = self._rejected_s.get(address, (now_s, float("-inf")))
        if now_s - last_s > patience_s + _ASKED_AGAIN_WITHIN_S:  # the first time, or long after the last
            since_s = now_s
            if patience_s:
                log.warning("%s; trying again for %.0f s", described(error), patience_s)
        self._rejected_s[address] = since_s, now_s
        if now_s - since_s >= patience_s:
            self.end_with(error)

    def end_with(self, error: PipelineError) -> None:
        """End the work with ``error``, unless it has already ended."""
        if self.final is None:
            self.final = error
            self.ended.set()

    def connected_recently(self, address: str) -> bool:
        """Whether a connection succeeded within the last minute, so that the listener most likely has the right protocol."""
        since_s = self._connected_s.get(address)
        return since_s is not None and self._monotonic_s() - since_s < _RECENTLY_S


def current_rejections() -> LoginRejections | None:
    """The ``LoginRejections`` of the ``unless_rejected`` that the caller runs in, if any."""
    return _current.get()


def raise_final_rejection() -> None:
    """Raise the final error of the work that the caller is part of, if there is one."""
    rejections = current_rejections()
    if rejections is not None and rejections.final is not None:
        raise rejections.final


async def unless_rejected(
    work: Coroutine[Any, Any, T], end: Callable[[], object] | None = None, patience_s: float = 0.0
) -> T:
    """The result of ``work``, which is ended if a broker rejects this client.

    Args:
        work: everything that uses Kafka.
        end: asks ``work`` to end gracefully; without it, or if that takes too long, ``work`` is cancelled.
        patience_s: see ``LoginRejections``.

    Raises:
        BrokerLoginError: a broker rejects this client, or this client does not trust the broker.
        PipelineError: the error that ``LoginRejections.end_with`` was given.
    """
    rejections = LoginRejections(patience_s)
    token = _current.set(rejections)
    task = asyncio.ensure_future(work)
    _current.reset(token)
    ended = asyncio.ensure_future(rejections.ended.wait())
    try:
        await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
        if rejections.final is not None and not task.done() and end is not None:
            end()
            await asyncio.wait({task}, timeout=_ENDS_WITHIN_S)
    finally:
        ended.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_ENDS_WITHIN_S)
    if rejections.final is None:
        return task.result()
    failure = None if task.cancelled() or not task.done() else task.exception()
    if end is not None and isinstance(failure, PipelineError) and failure is not rejections.final:
        log.error("%s", described(failure))  # an error during the graceful end
    raise rejections.final from failure
