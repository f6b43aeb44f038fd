"""One connection of a client, with the limits that aiohttp leaves to the application.

aiohttp closes a connection that sends no complete request head in time, bounds each line and the number of headers, and
stops reading from a client that sends more than is processed. It waits without limit for a client that does not read,
and answers every request that it cannot parse with 400, a page of its own and a line in the log.
"""

import asyncio
from http import HTTPStatus
from typing import cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from libs.runtime.http_server.responses import plain_text

# For a request head, from its first byte to its last, and for the pause between two requests on one connection.
REQUEST_TIMEOUT_S = 10.0

# For a client to read a response or, in an event stream, one event.
SEND_TIMEOUT_S = 10.0

# A request head takes half a megabyte at most. Browsers and proxies send about 30 headers; the longest has the cookies of
# all programs on the same host.
_MAX_LINE_BYTES = 8 * 1024
_MAX_HEADERS = 64

log = structlog.get_logger()


class Connection(web.RequestHandler):
    """Aborts the connection to a client that does not read, and answers in plain text when a request fails.

    Args:
        server: hands the requests to the application.
        loop: the server's event loop.
    """

    __slots__ = ()

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=REQUEST_TIMEOUT_S,
            access_log=None,  # type: ignore[arg-type] # aiohttp's own runner passes None, too
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
            max_headers=_MAX_HEADERS,
            auto_decompress=False,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A write waits until the kernel has all data, so closing an idle connection never has to wait.
        cast(asyncio.Transport, transport).set_write_buffer_limits(0)
        super().connection_made(transport)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send what is left of the response; returns it, and whether the connection is lost."""
        transport = self.transport
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            if transport:
                transport.abort()
            return resp, True

    def force_close(self) -> None:
        """Close an idle connection, or one whose client does not read."""
        transport = self.transport
        super().force_close()
        if transport and transport.get_write_buffer_size():
            transport.abort()  # close() would wait until the client reads

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - not sent: it quotes the request
    ) -> web.StreamResponse:
        """The response to a request that cannot be parsed, or whose handler failed; the connection ends with it."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("HTTP request failed", path=request.path, exc_info=exc)
        if request.writer.output_size:
            raise ConnectionResetError("a part of another response has been sent")
        if isinstance(exc, LineTooLong):
            response = plain_text(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too long")
        elif status < HTTPStatus.INTERNAL_SERVER_ERROR:
            response = plain_text(HTTPStatus.BAD_REQUEST, "not an HTTP/1 request")
        else:
            response = plain_text(HTTPStatus(status), "internal error")
        response.force_close()
        return response
