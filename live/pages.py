"""The files that make up the page, read once at the start."""

from pathlib import Path

from live.http_server import Response, Route

_FOLDER = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def page_routes() -> dict[str, Route]:
    """A route for each file, by its name; ``index.html`` is ``/``."""
    return {
        f"/{'' if file.name == 'index.html' else file.name}": _route(_TYPES[file.suffix], file.read_bytes())
        for file in _FOLDER.iterdir()
    }


def _route(content_type: str, body: bytes) -> Route:
    response = Response(content_type, body)
    return lambda: response
