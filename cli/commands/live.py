"""`pipeline live`."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import UInt16

from cli.context import context_of
from cli.options import FOUND, PipelineOptions
from libs.runtime.service.settings import load_settings
from live.__main__ import serve
from live.live_settings import LiveSettings


def live(
    *,
    host: Annotated[str | None, Parameter(name=("--host", "--live-host"))] = None,
    port: Annotated[UInt16 | None, Parameter(name=("--port", "--live-port"))] = None,
    pipeline: PipelineOptions = FOUND,
) -> None:
    """Serve the live page until Ctrl-C.

    Local mode and Docker Compose serve one already.

    Args:
        host: Address to listen on; 0.0.0.0 for all (default: LIVE_HOST, or 127.0.0.1).
        port: Port to listen on; 0 for any free port (default: LIVE_PORT, or 8080).
    """
    context = context_of(pipeline)
    flags = {
        "--kafka-bootstrap-servers": context.bootstrap_servers,
        "--topic-prefix": context.topic_prefix,
        "--window-seconds": context.window_seconds,
        "--live-host": host,
        "--live-port": port,
    }
    serve(load_settings(LiveSettings, [f"{name}={value}" for name, value in flags.items() if value is not None]))
