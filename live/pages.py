"""The page's static files, read once at the start."""

from pathlib import Path

from aiohttp import web

from libs.runtime.http_server.responses import content
from libs.runtime.http_server.server import Handler

FOLDER = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def page_routes() -> dict[str, Handler]:
    """A route for each file by its name; ``index.html`` is ``/``."""
    return {
        f"/{'' if file.name == 'index.html' else file.name}": _route(_TYPES[file.suffix], file.read_bytes())
        for file in FOLDER.iterdir()
    }


def _route(content_type: str, body: bytes) -> Handler:
    async def respond(_: web.Request) -> web.StreamResponse:
        return content(content_type, body)

    return respond
