"""What all responses have in common."""

from http import HTTPStatus

from aiohttp import hdrs, web

HEADERS = {
    # Nothing but what this server sends may run, be shown or be asked for, nor may another page frame it.
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
    """A response with ``body``, whose content type may have parameters, which aiohttp's own argument may not.

    Its length is told for HEAD, too, also of an empty body.
    """
    headers = {hdrs.CONTENT_TYPE: content_type, hdrs.CONTENT_LENGTH: str(len(body))}
    return web.Response(status=status, body=body, headers=headers)
