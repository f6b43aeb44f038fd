"""Which errors are certainly login problems, and which may be an outage."""

import ssl
from pathlib import Path

import pytest
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from libs.runtime.errors import BrokerLoginError, described
from libs.runtime.kafka_security.connection_attempt import ConnectionAttempt
from libs.runtime.kafka_security.explanations import Listener, explain, explain_listener, may_be_another_listener

ATTEMPT = ConnectionAttempt("broker", 9093, "SASL_SSL", "SCRAM-SHA-512", "pipeline", ca_file=Path("/ca.pem"))
MUTUAL = ConnectionAttempt("::1", 9093, "SSL", cert_file=Path("/client.pem"))


def unverified(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "failed")
    error.verify_code, error.verify_message = code, "as OpenSSL says"
    return error


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def caused_by(cause: Exception) -> KafkaConnectionError:
    error = KafkaConnectionError("Connection at broker:9093 closed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "attempt", "message_parts"),
    [
        (SaslAuthenticationFailed("bad"), ATTEMPT, ["user 'pipeline'", "SCRAM-SHA-512", "bad", "KAFKA_SASL_PASSWORD"]),
        (SaslAuthenticationFailed(None), ATTEMPT, ["authentication failed"]),
        (
            SaslAuthenticationFailed("x"),
            ConnectionAttempt("b", 1, "SASL_SSL", "OAUTHBEARER"),
            ["refuses the token", "audience"],
        ),
        (UnsupportedSaslMechanismError("PLAIN"), ATTEMPT, ["KAFKA_SASL_MECHANISM=SCRAM-SHA-512", "enabled: PLAIN"]),
        (IllegalSaslStateError(), ATTEMPT, ["has no SASL", "KAFKA_SECURITY_PROTOCOL=SSL"]),
        (unverified(10), ATTEMPT, ["broker:9093 has expired", "renew"]),
        (unverified(9), ATTEMPT, ["not valid yet", "clock"]),
        (unverified(62), ATTEMPT, ["another name", "advertised.listeners"]),
        (unverified(19), ATTEMPT, ["not signed by a known CA", "KAFKA_SSL_CA_FILE='/ca.pem'"]),
        (unverified(20), MUTUAL, ["[::1]:9093", "the system's CAs"]),
        (unverified(7), ATTEMPT, ["cannot be trusted: as OpenSSL says"]),
        (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), ATTEMPT, ["certificate required", "set KAFKA_SSL_CERT_FILE"]),
        (alert("TLSV1_ALERT_UNKNOWN_CA"), MUTUAL, ["unknown ca", "KAFKA_SSL_CERT_FILE='/client.pem'"]),
    ],
)
def test_a_rejected_login_is_explained(error: Exception, attempt: ConnectionAttempt, message_parts: list[str]) -> None:
    for each in (error, caused_by(error)):
        explained = explain(each, attempt)
        assert explained is not None
        assert all(part in described(explained) for part in message_parts), described(explained)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        KafkaConnectionError("closed"),
        alert("WRONG_VERSION_NUMBER"),
        OSError("no"),
    ],
)
def test_a_possible_outage_is_not_explained_as_a_login_problem(error: Exception) -> None:
    assert explain(error, ATTEMPT) is None


def test_an_explanation_is_not_explained_again() -> None:
    explained = BrokerLoginError("explained")
    assert explain(caused_by(explained), ATTEMPT) is explained


@pytest.mark.parametrize(
    ("error", "may_be"),
    [
        (ConnectionResetError(), True),
        (alert("WRONG_VERSION_NUMBER"), True),
        (caused_by(EOFError()), True),
        (ConnectionRefusedError(), False),
        (TimeoutError(), False),
        (OSError("no route"), False),
    ],
)
def test_a_closed_connection_may_mean_another_protocol(error: Exception, *, may_be: bool) -> None:
    assert may_be_another_listener(error) is may_be


@pytest.mark.parametrize(
    ("listener", "protocol", "fits"),
    [
        (Listener.PLAINTEXT, "SASL_SSL", "SASL_PLAINTEXT"),
        (Listener.PLAINTEXT, "SSL", "PLAINTEXT"),
        (Listener.TLS, "PLAINTEXT", "SSL"),
        (Listener.TLS, "SASL_PLAINTEXT", "SASL_SSL"),
        (Listener.SASL, "PLAINTEXT", "SASL_PLAINTEXT"),
        (Listener.SASL, "SSL", "SASL_SSL"),
    ],
)
def test_a_listener_with_another_protocol_is_recognised(listener: Listener, protocol: str, fits: str) -> None:
    explained = explain_listener(listener, ConnectionAttempt("b", 1, protocol))
    assert f"KAFKA_SECURITY_PROTOCOL={protocol}" in str(explained)
    assert f"KAFKA_SECURITY_PROTOCOL={fits}," in explained.advice
