"""Detects the protocol of a broker's listener. No secret is sent."""

import asyncio
import contextlib
import ssl
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import IllegalSaslStateError, KafkaError
from aiokafka.protocol.admin import SaslHandShakeRequest

from libs.runtime.kafka_security.connection_attempt import ConnectionAttempt
from libs.runtime.kafka_security.explanations import Listener
from libs.runtime.kafka_security.sessions import close_at_once

_ANSWERS_WITHIN_S = 3.0


async def other_listener(attempt: ConnectionAttempt, context: ssl.SSLContext | None) -> Listener | None:
    """The listener's protocol, if it certainly differs from the one of ``attempt``; otherwise None.

    Raises:
        ssl.SSLError: the broker has answered the TLS handshake with an alert.
    """
    if context is None:
        if await _speaks_tls(attempt):
            return Listener.TLS
    else:
        if await _speaks_kafka(attempt, "PLAINTEXT", None):
            return Listener.PLAINTEXT
        await _wait_for_alert(attempt, context)
    if not attempt.protocol.startswith("SASL") and await _asks_for_sasl(attempt, context):
        return Listener.SASL
    return None


async def enabled_mechanisms(attempt: ConnectionAttempt, context: ssl.SSLContext | None) -> list[str]:
    """The enabled mechanisms of a SASL listener; empty if it does not report them."""
    answer = await _sasl_handshake(attempt, context)
    return [] if answer is None else list(answer.enabled_mechanisms)


async def _speaks_tls(attempt: ConnectionAttempt) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # unverified: no secret is sent
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            _, writer = await asyncio.open_connection(attempt.host, attempt.port, ssl=context)
    except ssl.SSLError as error:
        return "_ALERT_" in (error.reason or "")
    except (OSError, TimeoutError):
        return False
    await _close(writer)
    return True


async def _wait_for_alert(attempt: ConnectionAttempt, context: ssl.SSLContext) -> None:
    """Wait for the alert of a broker that rejects the client's certificate: in TLS 1.3 it comes after the handshake (RFC 8446)."""
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            reader, writer = await asyncio.open_connection(attempt.host, attempt.port, ssl=context)
            try:
                await reader.read(1)
            finally:
                await _close(writer)
    except ssl.SSLError:
        raise
    except (OSError, TimeoutError):
        pass


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            await writer.wait_closed()


async def _speaks_kafka(attempt: ConnectionAttempt, protocol: str, context: ssl.SSLContext | None) -> bool:
    try:
        connection = await _connection(attempt, protocol, context)
    except (OSError, KafkaError, TimeoutError):
        return False
    await close_at_once(connection)
    return True


async def _asks_for_sasl(attempt: ConnectionAttempt, context: ssl.SSLContext | None) -> bool:
    answer = await _sasl_handshake(attempt, context)
    return answer is not None and answer.error_code != IllegalSaslStateError.errno


async def _sasl_handshake(attempt: ConnectionAttempt, context: ssl.SSLContext | None) -> Any:
    """The broker's response to SaslHandshake, which only names a mechanism; None without a response."""
    try:
        connection = await _connection(attempt, "PLAINTEXT" if context is None else "SSL", context)
        try:
            return await connection.send(SaslHandShakeRequest(attempt.mechanism or "PLAIN"))
        finally:
            await close_at_once(connection)
    except (OSError, KafkaError, TimeoutError):
        return None


async def _connection(attempt: ConnectionAttempt, protocol: str, context: ssl.SSLContext | None) -> Any:
    """A connection on which the broker has answered ApiVersions."""
    return await create_conn(
        attempt.host,
        attempt.port,
        security_protocol=protocol,
        ssl_context=context,
        request_timeout_ms=int(_ANSWERS_WITHIN_S * 1000),
    )
