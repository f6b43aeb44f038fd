"""The PostgreSQL server of an episode; the sinks connect through a proxy that can cut connections."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.databases.postgresql import PostgresServer
from tests.databases.proxy import Cut, CuttingProxy

_NAME = "metrics"
# A rollback does not reset a sequence.
_FULL = """
drop sequence if exists refusals;
create sequence refusals;
create or replace function no_space() returns trigger language plpgsql as $$
begin
    perform nextval('refusals');
    raise exception 'could not extend file: No space left on device' using errcode = 'disk_full';
end
$$;
create or replace trigger no_space before insert on product_metrics execute function no_space()
"""
_REFUSED = "select is_called from refusals"
_SPACE = "drop trigger no_space on product_metrics"


class ChaosDatabase:
    """An async context manager; it deletes the server and its data at the end."""

    def __init__(self) -> None:
        self.server = PostgresServer()
        self._cuts: Callable[[], Cut | None] = lambda: None
        self._proxy = CuttingProxy(self.server.port, self._cut)
        self.direct_url = ""

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.server.__enter__)
        self.direct_url = await asyncio.to_thread(self.server.create_database, _NAME)
        await self._proxy.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._proxy.__aexit__(kind, error, trace)
        await asyncio.to_thread(self.server.__exit__, kind, error, trace)

    @property
    def url(self) -> str:
        """The URL for the sinks, through the proxy."""
        return self.direct_url.replace(f":{self.server.port}/", f":{self._proxy.port}/")

    @property
    def cuts_made(self) -> list[Cut]:
        """Connections cut at a COMMIT so far."""
        return self._proxy.made

    def cut_at_commits(self, cuts: Callable[[], Cut | None]) -> None:
        """Call ``cuts`` at each COMMIT from now on to decide whether to cut the connection."""
        self._cuts = cuts

    async def fill(self) -> None:
        """Make the server fail writes as if its disk were full (SQLSTATE 53100)."""
        await asyncio.to_thread(self._execute, _FULL)

    async def has_refused(self) -> bool:
        """Whether a write has failed since ``fill``."""
        return await asyncio.to_thread(self._refused)

    async def make_space(self) -> None:
        """Undo ``fill``."""
        await asyncio.to_thread(self._execute, _SPACE)

    def _cut(self) -> Cut | None:
        return self._cuts()

    def _refused(self) -> bool:
        with self.server.connect(_NAME) as connection:
            row = connection.execute(_REFUSED.encode()).fetchone()
        return row == (True,)

    def _execute(self, statements: str) -> None:
        with self.server.connect(_NAME) as connection:
            connection.execute(statements.encode())
