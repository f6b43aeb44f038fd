"""Tokens for OAUTHBEARER (KIP-255): from a token endpoint, or from a provider that the user has written."""

import asyncio
import base64
import http.client
import importlib
import json
import logging
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from libs.runtime.errors import BrokerLoginError, TokenEndpointError
from libs.runtime.secret import Secret

log = logging.getLogger(__name__)

_ANSWERS_WITHIN_S = 10.0
_RENEWED_WITHIN_S = 2.0  # while the old token is valid
_MOST_BYTES = 1024 * 1024
# A token is renewed in the last fifth of its life, as Kafka's own clients do (sasl.login.refresh.window.factor).
_USED_FOR = 0.8
_LIFETIME_S = 300.0  # of a token whose response has no expires_in
_REFUSED = frozenset({400, 401, 403})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Reports a redirect as an ``HTTPError``: urllib would send the client's secret to its target."""

    def redirect_request(self, *_: object) -> None:
        return None


@dataclass(frozen=True)
class _Token:
    text: str
    renew_at_s: float
    expires_at_s: float


class ClientCredentials(AbstractTokenProvider):
    """Gets tokens by the client credentials grant (RFC 6749, section 4.4); a token is used for several connections.

    Args:
        url: the token endpoint.
        client_id: sent with ``secret`` as HTTP basic authentication (RFC 6749, section 2.3.1).
        scope: the requested scope, if any.
        monotonic_s: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        secret: Secret,
        scope: str | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self._client_id = client_id
        self._secret = secret
        self._scope = scope
        self._monotonic_s = monotonic_s
        self._token: _Token | None = None
        self._renewing: asyncio.Future[_Token] | None = None

    async def token(self) -> str:
        """A token that has not expired.

        Raises:
            BrokerLoginError: the endpoint rejects this client.
            TokenEndpointError: there is no valid token, and the endpoint redirects, or its certificate is not trusted.
            KafkaConnectionError: there is no valid token, and the endpoint does not respond.
        """
        if self._token is not None and self._monotonic_s() < self._token.renew_at_s:
            return self._token.text
        # The request goes on when the caller gives up, as the connection that needs the token does after CONNECT_TIMEOUT_S.
        renewing = self._renewing
        if renewing is None or renewing.get_loop() is not asyncio.get_running_loop():
            renewing = self._renewing = asyncio.ensure_future(asyncio.to_thread(self._ask))
            renewing.add_done_callback(self._take)
        await asyncio.wait({renewing}, timeout=_RENEWED_WITHIN_S if self._valid() else None)
        error = renewing.exception() if renewing.done() and not renewing.cancelled() else None
        valid = self._valid()
        rejected = isinstance(error, BrokerLoginError) and not isinstance(error, TokenEndpointError)
        if valid is not None and not rejected:
            return valid.text
        # Also if the token has expired, or was refused, while this call waited.
        return (await asyncio.shield(renewing)).text

    def _valid(self) -> _Token | None:
        return self._token if self._token is not None and self._monotonic_s() < self._token.expires_at_s else None

    def _take(self, renewing: "asyncio.Future[_Token]") -> None:
        if self._renewing is renewing:
            self._renewing = None
        if renewing.cancelled():
            return
        error = renewing.exception()
        if error is None:
            self._token = renewing.result()
        elif isinstance(error, KafkaConnectionError | TokenEndpointError):
            log.warning("no new token, %s", error)

    def forget(self) -> None:
        """Drop a token that the broker has rejected; the next call requests a new one."""
        self._token = None

    def _ask(self) -> _Token:
        asked_s = self._monotonic_s()
        try:
            answer = json.loads(self._post())
            lifetime_s = float(answer.get("expires_in", _LIFETIME_S))
            return _Token(str(answer["access_token"]), asked_s + _USED_FOR * lifetime_s, asked_s + lifetime_s)
        except OSError as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise self._not_trusted(reason) from None
            raise KafkaConnectionError(f"the token endpoint {self.url} cannot be reached: {error}") from None
        except http.client.HTTPException as error:
            raise KafkaConnectionError(
                f"the answer of the token endpoint {self.url} is cut or garbled: {error!r}"
            ) from None
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise BrokerLoginError(
                f"the answer of the token endpoint {self.url} cannot be read ({type(error).__name__})",
                advice="check KAFKA_SASL_OAUTH_TOKEN_URL: its answer is JSON with access_token and expires_in",
            ) from None

    def _post(self) -> bytes:
        """The body of the answer.

        Raises:
            BrokerLoginError: the endpoint rejects this client.
            TokenEndpointError: the endpoint redirects.
            KafkaConnectionError: the endpoint answers with another error.
            OSError, http.client.HTTPException: there is no complete answer.
        """
        form = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        request = urllib.request.Request(  # noqa: S310 - the settings allow http and https only
            self.url,
            urllib.parse.urlencode(form).encode(),
            {"Accept": "application/json", "Authorization": f"Basic {self._login()}"},
        )
        try:
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=_ANSWERS_WITHIN_S) as response:
                return _body(response)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in _REDIRECTS and (location := error.headers.get("Location")):
                    raise self._redirected(location) from None
                if error.code not in _REFUSED:
                    raise KafkaConnectionError(f"the token endpoint {self.url} answers {error.code}") from None
                reason = _reason(_body(error)) or error.reason
            raise BrokerLoginError(
                f"the token endpoint {self.url} refuses the client {self._client_id!r}: {error.code} {reason}",
                advice="check KAFKA_SASL_OAUTH_CLIENT_ID, its secret, and KAFKA_SASL_OAUTH_SCOPE",
            ) from None

    def _redirected(self, location: str) -> TokenEndpointError:
        # Without path and query, which may contain secrets.
        parts = urllib.parse.urlsplit(urllib.parse.urljoin(self.url, location))
        target = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return TokenEndpointError(
            f"the token endpoint {self.url} redirects to {target!r}, where the client's secret is not sent",
            advice="if the token endpoint has moved there, set KAFKA_SASL_OAUTH_TOKEN_URL to its new address",
        )

    def _not_trusted(self, error: ssl.SSLCertVerificationError) -> TokenEndpointError:
        return TokenEndpointError(
            f"the certificate of the token endpoint {self.url} cannot be trusted: {error.verify_message}",
            advice="it has to be valid, for this host name, and signed by one of the system's CAs, or one in the PEM file that"
            " SSL_CERT_FILE names; KAFKA_SSL_CA_FILE is for brokers only",
        )

    def _login(self) -> str:
        try:
            secret = self._secret.read()
        except ValueError as error:
            raise BrokerLoginError(str(error), advice="put the client's secret there") from None
        pair = ":".join(map(urllib.parse.quote_plus, (self._client_id, secret)))
        return base64.b64encode(pair.encode()).decode()


def _body(response: http.client.HTTPResponse | urllib.error.HTTPError) -> bytes:
    """The body; raises ``IncompleteRead`` if it is cut, which ``read`` with a size does for chunks only."""
    body: bytes = response.read(_MOST_BYTES)
    missing: int | None = getattr(response, "length", None)  # of Content-Length
    if missing and len(body) < _MOST_BYTES:
        raise http.client.IncompleteRead(body, missing)
    return body


def _reason(body: bytes) -> str:
    """The error description in a response (RFC 6749, section 5.2)."""
    try:
        answer = json.loads(body)
        return " ".join(str(answer[name]) for name in ("error", "error_description") if answer.get(name))[:200]
    except (ValueError, AttributeError):
        return ""


def load_token_provider(path: str) -> AbstractTokenProvider:
    """The provider at the dotted ``path``: an ``aiokafka.abc.AbstractTokenProvider``, created without arguments.

    Raises:
        ValueError: there is no such provider.
    """
    setting = f"KAFKA_SASL_OAUTH_TOKEN_PROVIDER={path!r}"
    allowed = "allowed is package.module.Name of a class or function that, called, gives an aiokafka.abc.AbstractTokenProvider"
    module, dot, name = path.rpartition(".")
    try:
        if not dot:
            raise ImportError("it has no dot")  # noqa: TRY301 - reported like the import's own error
        provider = getattr(importlib.import_module(module), name)()
    except Exception as error:
        raise ValueError(f"{setting}: {type(error).__name__}: {error}; {allowed}") from error
    if not isinstance(provider, AbstractTokenProvider):
        raise ValueError(f"{setting}: it gives a {type(provider).__name__}; {allowed}")  # noqa: TRY004 - a setting's value
    return provider
