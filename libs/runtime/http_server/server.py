"""An HTTP/1.1 server for GET and HEAD: aiohttp with this project's headers, limits and checks.

It installs no signal handlers, writes no access log, and sends a client nothing about an error but its status.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from socket import socket
from types import TracebackType
from typing import Self, cast

from aiohttp import hdrs, web

from libs.runtime.http_server.allowed_hosts import AllowedHosts
from libs.runtime.http_server.connections import Connection
from libs.runtime.http_server.responses import ALLOWED_METHODS, HEADERS, plain_text

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_CONNECTIONS = 128

# Connections beyond the limit that get a 503; further ones are closed at once.
_MAX_ANSWERED_WITH_503 = 32


class HttpServer:
    """Serves until the ``async with`` block ends, which also ends the connections.

    Args:
        routes: handlers of GET and HEAD, by path. Paths are looked up in this mapping only, never in the file system.
        hosts: which Host headers are allowed; None: all.
        for_any_host: paths among ``routes`` for which the Host header is not checked.
        path_prefix: the prefix that a reverse proxy leaves on every path, such as ``/orders``. Paths without it are
            served, too, for health checks and for proxies that strip it.
        max_connections: more are answered with 503.
        stop_timeout_s: how long the end of the block waits for responses in progress, in seconds; twice that at most.
        not_found: the response to any other path; None: a line of text.
    """

    def __init__(
        self,
        routes: Mapping[str, Handler],
        *,
        hosts: AllowedHosts | None = None,
        for_any_host: Collection[str] = (),
        path_prefix: str = "",
        max_connections: int = MAX_CONNECTIONS,
        stop_timeout_s: float = 1.0,
        not_found: Callable[[], web.Response] | None = None,
    ) -> None:
        self._hosts = hosts
        self._for_any_host = {prefix + path for path in for_any_host for prefix in ("", path_prefix)}
        self._max_connections = max_connections
        self._not_found = not_found or (lambda: plain_text(HTTPStatus.NOT_FOUND, "not found"))
        application = web.Application(middlewares=[self._check])
        application.on_response_prepare.append(_set_headers)
        for path, handler in routes.items():
            for served_path in {path, path_prefix + path}:
                application.router.add_get(served_path, handler)
        if path_prefix:
            application.router.add_get(path_prefix, _redirect_to(f"{path_prefix.rpartition('/')[2]}/"))
        self._runner = web.AppRunner(
            application,
            handle_signals=False,
            handler_cancellation=True,  # when the client goes away
            shutdown_timeout=stop_timeout_s,
        )
        self._listener: asyncio.Server | None = None

    async def start(self, listening: socket) -> int:
        """Serve on ``listening``, which this server then owns; returns its port."""
        await self._runner.setup()
        self._listener = await asyncio.get_running_loop().create_server(self._accept, sock=listening)
        return int(listening.getsockname()[1])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener:
            self._listener.close()
        await self._runner.cleanup()

    def on_stop(self, ending: Callable[[], None]) -> None:
        """Call ``ending`` before the server waits for responses in progress, to end event streams. To be set before ``start``."""

        async def end(_: web.Application) -> None:
            ending()

        self._runner.app.on_shutdown.append(end)

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""
        server = self._runner.server
        return len(server.connections) if server else 0

    def _accept(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is None or self.connections >= self._max_connections + _MAX_ANSWERED_WITH_503:
            return _Refused()
        return Connection(server, asyncio.get_running_loop())

    @web.middleware
    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.connections > self._max_connections:
            response = plain_text(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
            response.force_close()
            return response
        host = request.headers.get(hdrs.HOST)  # None with HTTP/1.0 only: aiohttp sees to it, and that there is one
        if self._hosts and host is not None and request.path not in self._for_any_host and not self._hosts.allows(host):
            return plain_text(HTTPStatus.FORBIDDEN, f"this host name is not allowed{self._hosts.advice}")
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return self._not_found()
        except web.HTTPMethodNotAllowed:
            response = plain_text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD")
            response.headers[hdrs.ALLOW] = ALLOWED_METHODS
            return response


class _Refused(asyncio.Protocol):
    """A connection that is closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


async def _set_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _redirect_to(location: str) -> Handler:
    """Redirects to a relative URL: only the browser knows the scheme, host and path that it used."""

    async def redirect(_: web.Request) -> web.StreamResponse:
        response = plain_text(HTTPStatus.TEMPORARY_REDIRECT, location)
        response.headers[hdrs.LOCATION] = location
        return response

    return redirect
