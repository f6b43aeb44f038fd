"""Explains connection errors that are caused by a password, a certificate or a protocol, with advice how to fix them."""

import ssl
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from libs.runtime.errors import BrokerLoginError
from libs.runtime.kafka_security.connection_attempt import ConnectionAttempt

# X509_V_ERR_... of OpenSSL's x509_vfy.h.
_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_NAME = frozenset({62, 64})  # host name, IP address
_UNKNOWN_CA = frozenset({2, 18, 19, 20, 21})

_PLAINTEXT_OF = {"SSL": "PLAINTEXT", "SASL_SSL": "SASL_PLAINTEXT"}
_TLS_OF = {plaintext: tls for tls, plaintext in _PLAINTEXT_OF.items()}
_WITH_SASL = {"PLAINTEXT": "SASL_PLAINTEXT", "SSL": "SASL_SSL"}


class Listener(Enum):
    """The protocol of a listener, where a client expects another one."""

    PLAINTEXT = "speaks no TLS"
    TLS = "speaks TLS"
    SASL = "requires SASL authentication"


def explain(error: BaseException, attempt: ConnectionAttempt) -> BrokerLoginError | None:
    """The explanation of ``error`` if it is certainly a login problem; None if it may be an outage."""
    for each in _with_causes(error):
        if isinstance(each, BrokerLoginError):
            return each
        for kind, explanation in _EXPLANATIONS.items():
            if isinstance(each, kind) and (explained := explanation(each, attempt)) is not None:
                return explained
    return None


def may_be_another_listener(error: BaseException) -> bool:
    """Whether the broker closed the connection or sent an invalid response, as it does for another protocol."""
    return any(
        isinstance(each, ConnectionError | EOFError | ssl.SSLError | KafkaConnectionError)
        and not isinstance(each, ConnectionRefusedError)
        for each in _with_causes(error)
    )


def explain_listener(listener: Listener, attempt: ConnectionAttempt) -> BrokerLoginError:
    """The error for a listener that has another protocol."""
    if listener is Listener.PLAINTEXT:
        other = _PLAINTEXT_OF[attempt.protocol]
    elif listener is Listener.TLS:
        other = _TLS_OF[attempt.protocol]
    else:
        other = _WITH_SASL[attempt.protocol]
    return BrokerLoginError(
        f"the listener at {attempt.address} {listener.value}, KAFKA_SECURITY_PROTOCOL={attempt.protocol} does not fit",
        advice=f"set KAFKA_SECURITY_PROTOCOL={other}, or use the port of a {attempt.protocol} listener",
    )


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        # `from None` cuts off what is not about the broker, such as the certificate of a token endpoint.
        each = each.__cause__ if each.__suppress_context__ else each.__context__


def _of_certificate(error: ssl.SSLCertVerificationError, attempt: ConnectionAttempt) -> BrokerLoginError:
    code = error.verify_code
    what = f"the certificate of broker {attempt.address}"
    if code in (_EXPIRED, _NOT_YET_VALID):
        return BrokerLoginError(
            f"{what} {'has expired' if code == _EXPIRED else 'is not valid yet'}",
            advice="renew the broker's certificate, or set this machine's clock right",
        )
    if code in _OTHER_NAME:
        return BrokerLoginError(
            f"{what} has another name: {error.verify_message}",
            advice="use a name that is in the certificate, both in KAFKA_BOOTSTRAP_SERVERS and in the broker's"
            " advertised.listeners, or issue a certificate with this one",
        )
    if code in _UNKNOWN_CA:
        trusted = f"KAFKA_SSL_CA_FILE={str(attempt.ca_file)!r}" if attempt.ca_file else "the system's CAs"
        return BrokerLoginError(
            f"{what} is not signed by a known CA: {error.verify_message}; trusted: {trusted}",
            advice="set KAFKA_SSL_CA_FILE to the PEM file of the CA that signed the brokers' certificates",
        )
    return BrokerLoginError(
        f"{what} cannot be trusted: {error.verify_message}", advice="mend the broker's certificate or its chain"
    )


def _of_alert(error: ssl.SSLError, attempt: ConnectionAttempt) -> BrokerLoginError | None:
    alert = (error.reason or "").partition("_ALERT_")[2].lower().replace("_", " ")
    if not alert:
        return None
    if attempt.cert_file is None:
        advice = "it may ask for a client certificate: set KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE"
    else:
        advice = f"KAFKA_SSL_CERT_FILE={str(attempt.cert_file)!r} has to be signed by a CA that the broker trusts, and not expired"
    return BrokerLoginError(f"broker {attempt.address} refuses the TLS connection: {alert}", advice=advice)


def _of_credentials(error: SaslAuthenticationFailed, attempt: ConnectionAttempt) -> BrokerLoginError:
    told = str(error.args[0]) if error.args and error.args[0] else "authentication failed"
    if attempt.mechanism == "OAUTHBEARER":
        return BrokerLoginError(
            f"broker {attempt.address} refuses the token of this client, {told}",
            advice="check issuer, audience and scope that the broker expects, and the clocks of both machines",
        )
    return BrokerLoginError(
        f"broker {attempt.address} refuses user {attempt.username!r} with KAFKA_SASL_MECHANISM={attempt.mechanism}: {told}",
        advice="check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD or its file, and that the broker has this user for this"
        " mechanism",
    )


def _of_mechanism(error: UnsupportedSaslMechanismError, attempt: ConnectionAttempt) -> BrokerLoginError:
    return BrokerLoginError(
        f"broker {attempt.address} does not take KAFKA_SASL_MECHANISM={attempt.mechanism}",
        advice=f"set KAFKA_SASL_MECHANISM to one that this listener has enabled: {error.args[0]}",
    )


def _of_no_sasl(_: IllegalSaslStateError, attempt: ConnectionAttempt) -> BrokerLoginError:
    return BrokerLoginError(
        f"the listener at {attempt.address} has no SASL, KAFKA_SECURITY_PROTOCOL={attempt.protocol} asks for it",
        advice=f"use the port of its SASL listener, or set KAFKA_SECURITY_PROTOCOL={attempt.protocol.removeprefix('SASL_')}",
    )


_EXPLANATIONS: dict[type[BaseException], Callable[[Any, ConnectionAttempt], BrokerLoginError | None]] = {
    ssl.SSLCertVerificationError: _of_certificate,
    ssl.SSLError: _of_alert,
    SaslAuthenticationFailed: _of_credentials,
    UnsupportedSaslMechanismError: _of_mechanism,
    IllegalSaslStateError: _of_no_sasl,
}
