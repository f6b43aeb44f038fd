"""A token endpoint with https: what is wrong with its certificate is not said of a broker's."""

import ssl
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError

from libs.runtime.errors import BrokerLoginError, TokenEndpointError, described
from libs.runtime.kafka_security.connection_attempt import ConnectionAttempt
from libs.runtime.kafka_security.explanations import explain
from libs.runtime.kafka_security.oauth import ClientCredentials
from tests.security.certificates import Authority, Issued
from tests.unit.kafka_security.token_endpoint import Clock, Endpoint, credentials


def with_tls(endpoint: Endpoint, issued: Issued, client_ca: Path | None = None) -> None:
    """Serve https from now on, and ask for a certificate of ``client_ca`` if there is one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
    context.load_cert_chain(issued.both)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # its handshake includes the client's certificate
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    endpoint.socket = context.wrap_socket(endpoint.socket, server_side=True, do_handshake_on_connect=False)
    endpoint.url = endpoint.url.replace("http:", "https:")


async def explained(tokens: ClientCredentials) -> BrokerLoginError | None:
    """The error of a connection to a broker that needs a token."""
    attempt = ConnectionAttempt("broker", 9093, "SASL_SSL", "OAUTHBEARER")
    with pytest.raises((BrokerLoginError, KafkaConnectionError)) as failed:
        await tokens.token()
    return explain(failed.value, attempt)


@pytest.mark.parametrize(("expired", "reason"), [(False, "self-signed certificate"), (True, "has expired")])
async def test_a_certificate_that_is_not_trusted_is_the_endpoints_not_the_brokers(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, expired: bool, reason: str
) -> None:
    authority = Authority(tmp_path)
    if expired:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with_tls(endpoint, authority.issue("endpoint", expired=expired))
    refused = await explained(credentials(endpoint, Clock()))
    assert refused is not None
    assert f"certificate of the token endpoint {endpoint.url} cannot be trusted: " in str(refused)
    assert reason in str(refused)
    assert "SSL_CERT_FILE" in refused.advice
    assert "broker:9093" not in described(refused)


async def test_a_certificate_in_the_systems_file_is_trusted(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    with_tls(endpoint, authority.issue("endpoint"))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert await credentials(endpoint, Clock()).token() == "token-1"


async def test_a_tls_alert_of_the_endpoint_is_not_the_brokers(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with_tls(endpoint, authority.issue("endpoint"), client_ca=authority.file)
    assert await explained(credentials(endpoint, Clock())) is None


async def test_a_tls_connection_that_is_cut_is_an_outage(endpoint: Endpoint) -> None:
    endpoint.raw = b""
    endpoint.url = endpoint.url.replace("http:", "https:")
    assert await explained(credentials(endpoint, Clock())) is None


async def test_a_valid_token_is_used_until_it_expires_whatever_the_certificate(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, clock = Authority(tmp_path), Clock()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with_tls(endpoint, authority.issue("endpoint"))
    tokens = credentials(endpoint, clock)
    await tokens.token()
    monkeypatch.delenv("SSL_CERT_FILE")
    clock.now_s += 90  # of 100
    assert await tokens.token() == "token-1"
    clock.now_s += 10
    with pytest.raises(TokenEndpointError):
        await tokens.token()
