"""A database of one test module, and a transaction that counts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from guilder.platform.db import Tx
from guilder.platform.embedded import Role, Server
from guilder.platform.sql import Query


@dataclass(frozen=True)
class Place:
    """One database of the server."""

    server: Server
    name: str

    def dsn(self, role: Role = "app") -> dict[str, Any]:
        return self.server.dsn(self.name, role)

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the owner of the schemas, who may do what the application may not."""
        async with self.connect("owner") as connection:
            yield connection

    @asynccontextmanager
    async def connect(self, role: Role = "app") -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(**self.dsn(role))
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def tx(self) -> AsyncIterator["CountingTx"]:
        """A transaction that is rolled back at the end."""
        async with self.connect() as connection:
            inside = connection.transaction()
            await inside.start()
            try:
                yield CountingTx(connection)
            finally:
                await inside.rollback()

    async def fetch(self, sql: str, *args: object) -> list[dict[str, Any]]:
        async with self.owner() as connection:
            return [dict(r) for r in await connection.fetch(sql, *args)]


class CountingTx(Tx):
    """A transaction that counts its statements."""

    __slots__ = ("statements",)

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self.statements = 0

    async def rows(self, query: Query, *args: object) -> list[Any]:
        self.statements += 1
        return await super().rows(query, *args)

    async def row(self, query: Query, *args: object) -> Any:
        self.statements += 1
        return await super().row(query, *args)

    async def run(self, query: Query, *args: object) -> None:
        self.statements += 1
        await super().run(query, *args)

    async def _written(self) -> list[Any]:
        self.statements += 1
        return await super()._written()
