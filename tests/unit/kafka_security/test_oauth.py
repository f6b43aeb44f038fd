"""Tokens by client credentials, from the test's own endpoint."""

import asyncio
import re
import ssl
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from libs.runtime.errors import BrokerLoginError, described
from libs.runtime.kafka_security import oauth
from libs.runtime.kafka_security.connection_attempt import ConnectionAttempt
from libs.runtime.kafka_security.explanations import explain
from libs.runtime.kafka_security.oauth import ClientCredentials
from libs.runtime.secret import Secret
from tests.integration.services import eventually
from tests.unit.kafka_security.token_endpoint import HIDDEN, POLL_S, Clock, Endpoint, credentials

SECURITY_PAGE = (Path(__file__).resolve().parents[3] / "docs/security.md").read_text()


async def test_a_token_is_renewed_before_it_expires(endpoint: Endpoint) -> None:
    clock = Clock()
    tokens = credentials(endpoint, clock)
    assert await tokens.token() == await tokens.token() == "token-1"
    assert endpoint.asked == [
        ("my+client:hunter+2%25", {"grant_type": ["client_credentials"], "scope": ["kafka write"]})
    ]
    clock.now_s += 79
    assert await tokens.token() == "token-1"
    clock.now_s += 1
    assert await tokens.token() == "token-2"
    tokens.forget()
    assert await tokens.token() == "token-3"


async def test_an_unavailable_endpoint_is_retried_while_the_token_is_valid(endpoint: Endpoint) -> None:
    clock = Clock()
    tokens = credentials(endpoint, clock)
    await tokens.token()
    endpoint.status = 503
    clock.now_s += 99
    assert await tokens.token() == "token-1"
    clock.now_s += 1
    with pytest.raises(KafkaConnectionError, match="answers 503"):
        await tokens.token()
    endpoint.status = 200
    assert await tokens.token() == "token-4"


async def due_for_renewal(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> tuple[ClientCredentials, Clock]:
    """A token that is valid for 15 more seconds; the endpoint hangs from now on."""
    monkeypatch.setattr(oauth, "_RENEWED_WITHIN_S", 0.01)
    clock = Clock()
    tokens = credentials(endpoint, clock)
    await tokens.token()
    endpoint.answers.clear()
    clock.now_s += 85
    return tokens, clock


async def test_an_endpoint_that_hangs_does_not_delay_a_connection_while_the_token_is_valid(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, clock = await due_for_renewal(endpoint, monkeypatch)
    for _ in range(2):
        assert await tokens.token() == "token-1"
    clock.now_s += 15  # now it has expired
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):  # as a connection attempt has it
            await tokens.token()
    endpoint.answers.set()
    assert await tokens.token() == "token-2", "the request that was begun first has gone on"
    assert len(endpoint.asked) == 2


async def test_a_renewal_that_nobody_waited_for_is_used_only_while_it_is_valid(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, clock = await due_for_renewal(endpoint, monkeypatch)
    assert await tokens.token() == "token-1"
    endpoint.answers.set()
    await eventually(lambda: tokens._renewing is None, what="the renewal has ended")
    assert await tokens.token() == "token-2"
    clock.now_s += 3600
    assert await tokens.token() == "token-3"


async def test_a_token_that_is_refused_during_its_renewal_is_not_used(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, _ = await due_for_renewal(endpoint, monkeypatch)
    waiting = asyncio.ensure_future(tokens.token())
    await asyncio.sleep(0)
    tokens.forget()
    await asyncio.wait({waiting}, timeout=0.05)
    assert not waiting.done()
    endpoint.answers.set()
    assert await waiting == "token-2"


async def test_an_endpoint_without_a_listener_is_an_outage() -> None:
    endpoint = Endpoint()
    endpoint.server_close()
    with pytest.raises(KafkaConnectionError, match="cannot be reached"):
        await credentials(endpoint, Clock()).token()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"access_to', id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", id="no body"),
        pytest.param(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{"acc', id="chunk"),
        pytest.param(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"acc\r\n', id="between chunks"),
        pytest.param(b'HTTP/1.1 401 no\r\nContent-Length: 100\r\n\r\n{"error', id="error with length"),
        pytest.param(b'HTTP/1.1 401 no\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{"err', id="error in chunks"),
        pytest.param(b"HTT", id="status line"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02P", id="no HTTP"),
    ],
)
async def test_a_cut_or_garbled_answer_is_an_outage(endpoint: Endpoint, raw: bytes) -> None:
    endpoint.raw = raw
    tokens = credentials(endpoint, Clock())
    with pytest.raises(KafkaConnectionError, match="is cut or garbled"):
        await tokens.token()
    endpoint.raw = None
    assert await tokens.token() == "token-2"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, {"error": "invalid_client", "error_description": "unknown"}, "401 invalid_client unknown"),
        (400, b"<html>", "400 Bad Request"),
        (200, b"<html>", r"cannot be read \(JSONDecodeError"),
        (200, [], r"cannot be read \(AttributeError"),
        (200, {"expires_in": 3}, r"cannot be read \(KeyError"),
        (200, {"access_token": "t", "expires_in": None}, r"cannot be read \(TypeError"),
    ],
)
async def test_a_rejection_is_not_an_outage(endpoint: Endpoint, status: int, body: object, message: str) -> None:
    endpoint.status, endpoint.body = status, body
    with pytest.raises(BrokerLoginError, match=message) as refused:
        await credentials(endpoint, Clock()).token()
    assert HIDDEN not in str(refused.value)


@pytest.mark.parametrize("status", [302, 307])
async def test_a_redirect_is_an_error_and_is_not_followed(endpoint: Endpoint, status: int) -> None:
    with Endpoint() as other:
        threading.Thread(target=other.serve_forever, args=(POLL_S,), daemon=True).start()
        target = f"127.0.0.1:{other.server_address[1]}"
        endpoint.status, endpoint.location = status, f"http://user:{HIDDEN}@{target}/{HIDDEN}?code={HIDDEN}"
        with pytest.raises(BrokerLoginError, match=f"{endpoint.url} redirects to 'http://{target}'") as redirected:
            await credentials(endpoint, Clock()).token()
        other.shutdown()
    assert other.connections == 0
    assert HIDDEN not in described(redirected.value)
    assert "set KAFKA_SASL_OAUTH_TOKEN_URL" in redirected.value.advice


async def test_a_redirect_within_the_endpoint_names_its_host(endpoint: Endpoint) -> None:
    endpoint.status, endpoint.location = 302, "/login?next=token"
    with pytest.raises(BrokerLoginError, match=f"redirects to '{endpoint.url.removesuffix('/token')}'"):
        await credentials(endpoint, Clock()).token()
    assert endpoint.connections == 1


async def test_a_replaced_secret_is_used_for_the_next_token(endpoint: Endpoint, tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "secret"
    tokens = credentials(endpoint, clock, Secret("S", file=file))
    with pytest.raises(BrokerLoginError, match="S_FILE="):
        await tokens.token()
    for number, secret in enumerate(("first", "second")):
        file.write_text(secret)
        clock.now_s += 100
        await tokens.token()
        assert endpoint.asked[number][0] == f"my+client:{secret}"


class ClientError(Exception):
    """As botocore's."""


class AwsAwayError(Exception):
    """A BotoCoreError with the error that caused it in its context."""


def no_token(_: str) -> Any:
    try:
        raise ssl.SSLCertVerificationError("of AWS")
    except ssl.SSLError:
        raise AwsAwayError("AWS is away")  # noqa: B904 - botocore does the same


async def test_the_pages_provider_for_msk_waits_for_aws_and_does_not_blame_the_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signer, botocore, exceptions = map(ModuleType, ("aws_msk_iam_sasl_signer", "botocore", "botocore.exceptions"))
    vars(signer)["MSKAuthTokenProvider"] = type("Signer", (), {"generate_auth_token": staticmethod(no_token)})
    vars(exceptions).update(BotoCoreError=AwsAwayError, ClientError=ClientError)
    for module in (signer, botocore, exceptions):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    [example] = re.findall(r"```python\n(# msk\.py.*?)```", SECURITY_PAGE, re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(example, namespace)
    with pytest.raises(KafkaConnectionError, match="no token: AWS is away") as failed:
        await namespace["Tokens"]().token()
    assert explain(failed.value, ConnectionAttempt("b", 1, "SASL_SSL", "OAUTHBEARER", None, None, None)) is None
