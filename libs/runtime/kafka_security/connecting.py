"""Connects aiokafka's clients, and distinguishes a rejected login from an outage.

Private parts of aiokafka that are patched: the name ``create_conn`` in ``aiokafka.client``, through which every client
connects (aiokafka 0.14 only logs what it raises, and tries again), ``collect_hosts`` there, the order in which bootstrap
servers are tried, and ``OAuthAuthenticator`` in ``aiokafka.conn``.
"""

import ssl
from typing import Any

import aiokafka.client
import aiokafka.conn
from aiokafka.conn import OAuthAuthenticator
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from libs.runtime.errors import BrokerLoginError
from libs.runtime.kafka_security.addresses import BrokerAddresses
from libs.runtime.kafka_security.connection_attempt import ConnectionAttempt
from libs.runtime.kafka_security.explanations import explain, explain_listener, may_be_another_listener
from libs.runtime.kafka_security.listeners import enabled_mechanisms, other_listener
from libs.runtime.kafka_security.login_rejections import current_rejections
from libs.runtime.kafka_security.oauth import ClientCredentials
from libs.runtime.kafka_security.sessions import SessionConnection, close_at_once
from libs.runtime.kafka_security.tls import ReloadingTls
from libs.runtime.secret import Secret

_EXPECTED = (OSError, KafkaError, TimeoutError)

_addresses = BrokerAddresses()


async def connect(
    host: str,
    port: int,
    *,
    security_protocol: str = "PLAINTEXT",
    ssl_context: ssl.SSLContext | ReloadingTls | None = None,
    sasl_mechanism: str | None = None,
    sasl_plain_username: str | None = None,
    sasl_plain_password: str | Secret | None = None,
    **options: Any,
) -> Any:
    """A connection to the broker, in place of ``aiokafka.conn.create_conn``, with the newest password and TLS files.

    Raises:
        OSError, KafkaError, TimeoutError: there is no connection; a rejected login is also passed to ``LoginRejections``.
    """
    tls = ssl_context if isinstance(ssl_context, ReloadingTls) else None
    context = ssl_context.current() if isinstance(ssl_context, ReloadingTls) else ssl_context
    tokens = options.get("sasl_oauth_token_provider")
    bootstraps = options.get("on_close") is None  # other connections use the advertised addresses
    attempt = ConnectionAttempt(
        host,
        port,
        security_protocol,
        sasl_mechanism if security_protocol.startswith("SASL") else None,
        sasl_plain_username,
        tls.files.ca_file if tls else None,
        tls.files.cert_file if tls else None,
    )
    try:
        connection = SessionConnection(
            host,
            port,
            security_protocol=security_protocol,
            ssl_context=context,
            sasl_mechanism=sasl_mechanism,
            sasl_plain_username=sasl_plain_username,
            sasl_plain_password=_password(sasl_plain_password),
            **options,
        )
        await connection.open()
        if bootstraps and not security_protocol.startswith("SASL"):
            # A SASL listener answers ApiVersions to anyone, and nothing else.
            await _ask_for_metadata(connection)
    except Exception as error:
        _addresses.failed(attempt.address, error, advertised=not bootstraps)
        if isinstance(error, SaslAuthenticationFailed) and isinstance(tokens, ClientCredentials):
            tokens.forget()
        await _note_rejection(error, attempt, context)
        if isinstance(error, _EXPECTED) or attempt.mechanism is None:
            raise
        # aiokafka's background tasks handle no other errors, and would end with a token provider's.
        raise KafkaConnectionError(f"{attempt.address}: {error}") from error
    _addresses.reached(attempt.address)
    if (rejections := current_rejections()) is not None:
        rejections.connected(attempt.address)
    return connection


async def _ask_for_metadata(connection: Any) -> None:
    try:
        await connection.send(MetadataRequest([]))
    except BaseException:
        await close_at_once(connection)
        raise


def _password(password: str | Secret | None) -> str | None:
    if not isinstance(password, Secret):
        return password
    try:
        return password.read()
    except ValueError as error:
        raise BrokerLoginError(str(error), advice="put the password there") from None


async def _note_rejection(error: Exception, attempt: ConnectionAttempt, context: ssl.SSLContext | None) -> None:
    rejections = current_rejections()
    if rejections is None:
        return
    if isinstance(error, UnsupportedSaslMechanismError):  # aiokafka 0.14 drops the broker's list
        error = UnsupportedSaslMechanismError(", ".join(await enabled_mechanisms(attempt, context)))
    explained = explain(error, attempt)
    if explained is None and may_be_another_listener(error) and not rejections.connected_recently(attempt.address):
        explained = await _of_another_listener(attempt, context)
    if explained is None and attempt.mechanism is not None and not isinstance(error, _EXPECTED):
        # From the user's token provider, or the broker has not proved that it knows the password (SCRAM).
        explained = BrokerLoginError(
            f"logging in at {attempt.address} fails: {error!r}",
            advice="check the token provider, or that this is the right broker",
        )
    if explained is not None:
        rejections.rejected(attempt.address, explained)


async def _of_another_listener(attempt: ConnectionAttempt, context: ssl.SSLContext | None) -> BrokerLoginError | None:
    try:
        listener = await other_listener(attempt, context)
    except ssl.SSLError as alert:
        return explain(alert, attempt)
    return listener and explain_listener(listener, attempt)


class _AnswerReadingAuthenticator(OAuthAuthenticator):
    """Detects a rejected token, which aiokafka 0.14 takes for a successful login.

    A server that rejects a token sends an error as JSON, and waits for one more message (RFC 7628, section 3.2.2).
    """

    async def step(self, payload: bytes | None) -> tuple[bytes, bool] | None:
        if self._token_sent and payload:
            raise SaslAuthenticationFailed(payload.decode(errors="replace"))
        step: tuple[bytes, bool] | None = await super().step(payload)  # type: ignore[no-untyped-call]
        return step


def _collect_hosts(bootstrap_servers: str) -> list[tuple[str, int, int]]:
    return _addresses.reachable_first(aiokafka.conn.collect_hosts(bootstrap_servers))


def install() -> None:
    """Make all aiokafka clients use ``connect`` from now on."""
    vars(aiokafka.client)["create_conn"] = connect
    vars(aiokafka.client)["collect_hosts"] = _collect_hosts
    vars(aiokafka.conn)["OAuthAuthenticator"] = _AnswerReadingAuthenticator
