"""``python -m services.sink.rebuild_database``: empties the sink's database, which the sink then fills again.

It uses the sink's settings, from the environment or as flags. A running sink notices it and begins at once. Metrics that are
no longer in the topic are lost.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.confirmation import confirmed
from libs.printable import time_of
from libs.runtime.errors import PipelineError, SettingsError, described
from libs.runtime.service.settings import load_settings
from libs.runtime.service.startup_signals import STOP_SIGNALS
from services.sink.database.connecting import database_at
from services.sink.database.session import REBUILD_LOSES, Session
from services.sink.sink_settings import SinkSettings


def main() -> None:
    """Ask for confirmation, empty the database, exit."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # the image's entry point blocks them
    try:
        sys.exit(_run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)


def _run(arguments: list[str]) -> int:
    """The exit code: 1 if the answer is no or the database failed, 2 for an invalid setting or a missing ``--yes``."""
    try:
        settings = load_settings(SinkSettings, [each for each in arguments if each != "--yes"])
        address = settings.database_address()
    except SettingsError as error:
        sys.stderr.write(f"rebuild_database: bad setting: {error}\n")
        return 2
    asks = "--yes" not in arguments
    if asks and not sys.stdin.isatty():
        sys.stderr.write("rebuild_database: cannot ask for confirmation without a terminal (--yes does not ask)\n")
        return 2
    try:
        if asks:
            sys.stdout.write(_what_is_deleted(asyncio.run(_window_starts(settings))))
            if not confirmed(f"Delete all metrics in {address}?"):
                sys.stdout.write("nothing was changed\n")
                return 1
        asyncio.run(_clear(settings))
    except PipelineError as error:
        sys.stderr.write(f"rebuild_database: {described(error)}\n")
        return 1
    sys.stdout.write(f"{address} is empty; the sink fills it from the topic's beginning\n")
    return 0


def _what_is_deleted(window_starts: tuple[int, int] | None) -> str:
    if window_starts is None:
        return "there are no metrics\n"
    oldest, newest = (time_of(start_s * 1000) for start_s in window_starts)
    return f"metrics of windows that begin from {oldest} to {newest}; {REBUILD_LOSES}\n"


async def _window_starts(settings: SinkSettings) -> tuple[int, int] | None:
    async with _session(settings) as session:
        return await session.window_starts()


async def _clear(settings: SinkSettings) -> None:
    async with _session(settings) as session:
        await session.clear()


@asynccontextmanager
async def _session(settings: SinkSettings) -> AsyncIterator[Session]:
    session = await database_at(settings.database_address()).connect()
    try:
        yield session
    finally:
        await session.close()


if __name__ == "__main__":
    main()
