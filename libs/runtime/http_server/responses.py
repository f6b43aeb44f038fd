"""The headers of all responses, and functions that create responses."""

from http import HTTPStatus

from aiohttp import hdrs, web

HEADERS = {
    # Only content from this server may be run, shown or requested, and no other page may frame it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Server": "order-pipeline",  # instead of the versions of Python and aiohttp
}

ALLOWED_METHODS = "GET, HEAD"


def plain_text(status: HTTPStatus, text: str) -> web.Response:
    """A response for a person who reads it with curl."""
    return web.Response(status=status, text=f"{text}\n", content_type="text/plain", headers=HEADERS)


def content(content_type: str, body: bytes, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """A response with ``body``. Unlike aiohttp's argument, ``content_type`` may have parameters.

    Content-Length is set for HEAD, too, and for an empty body.
    """
    headers = {hdrs.CONTENT_TYPE: content_type, hdrs.CONTENT_LENGTH: str(len(body))}
    return web.Response(status=status, body=body, headers=headers)
