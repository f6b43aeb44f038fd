"""A reverse proxy that serves a site below a path prefix, with aiohttp: it strips the prefix or keeps it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession, TCPConnector, web

from libs.runtime.http_server.server import Handler


@asynccontextmanager
async def reverse_proxy(upstream: str, prefix: str, *, strips: bool, keeps_host: bool = True) -> AsyncIterator[str]:
    """The URL of ``prefix/`` at a proxy for ``upstream``.

    Args:
        upstream: ``http://host:port``.
        prefix: the path below which the proxy serves ``upstream``; it serves nothing else.
        strips: as nginx with a path in ``proxy_pass``, or Traefik's ``StripPrefix``; else the path stays as it is.
        keeps_host: forwards the request's Host header, as Traefik does; else sends the upstream's, as nginx does by default.
    """
    async with ClientSession(connector=TCPConnector(limit=0), auto_decompress=False) as session:

        async def forward(request: web.Request) -> web.StreamResponse:
            path = request.raw_path.removeprefix(prefix) if strips else request.raw_path
            headers = {"Host": request.host} if keeps_host else {}
            async with session.request(
                request.method, upstream + path, headers=headers, allow_redirects=False
            ) as answer:
                passed = {name: value for name, value in answer.headers.items() if name != "Transfer-Encoding"}
                response = web.StreamResponse(status=answer.status, headers=passed)
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                return response

        application = web.Application()
        if strips:  # as nginx does for a location that ends in a slash
            application.router.add_get(prefix, _redirect_to(f"{prefix}/"))
            application.router.add_route("*", f"{prefix}/{{path:.*}}", forward)
        else:
            application.router.add_route("*", f"{prefix}{{path:.*}}", forward)
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield f"http://127.0.0.1:{site.port}{prefix}/"
        finally:
            await runner.cleanup()


def _redirect_to(location: str) -> Handler:
    async def redirect(_: web.Request) -> web.StreamResponse:
        return web.Response(status=301, headers={"Location": location})

    return redirect
