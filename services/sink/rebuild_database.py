"""``python -m services.sink.rebuild_database``: empties the sink's database, which the sink then fills again.

It uses the sink's settings, from the environment or as flags. A running sink notices it and begins at once. Metrics that are
no longer in the topic are lost.
"""

import asyncio
import sys

from libs.runtime.errors import PipelineError, SettingsError, described
from libs.runtime.service.settings import load_settings
from services.sink.database.connecting import database_at
from services.sink.sink_settings import SinkSettings


def main() -> None:
    """Ask for confirmation, empty the database, exit."""
    confirmed = "--yes" in sys.argv[1:]
    try:
        settings = load_settings(SinkSettings, [each for each in sys.argv[1:] if each != "--yes"])
        address = settings.database_address()
    except SettingsError as error:
        sys.stderr.write(f"rebuild_database: bad setting: {error}\n")
        sys.exit(2)
    if not confirmed and input(f"Delete all metrics in {address}? [y/N] ").strip().lower() not in ("y", "yes"):
        sys.stdout.write("nothing was changed\n")
        sys.exit(1)
    try:
        asyncio.run(_clear(settings))
    except PipelineError as error:
        sys.stderr.write(f"rebuild_database: {described(error)}\n")
        sys.exit(1)
    sys.stdout.write(f"{address} is empty; the sink fills it from the topic's beginning\n")


async def _clear(settings: SinkSettings) -> None:
    session = await database_at(settings.database_address()).connect()
    try:
        await session.clear()
    finally:
        await session.close()


if __name__ == "__main__":
    main()
