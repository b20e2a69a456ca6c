"""Apply the schemas: one `schema.sql` per domain, in layer order, as the owner role.

Until 0.1 there are no migrations: a database made by another version of these files is refused, never changed.
"""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from guilder.core.errors import GuilderError
from guilder.platform import db
from guilder.platform.sql import load

Q = load(__package__)
_VERSION = """
CREATE SCHEMA IF NOT EXISTS schema_version;
CREATE TABLE IF NOT EXISTS schema_version.applied (digest text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
GRANT USAGE ON SCHEMA schema_version TO guilder_app;
GRANT SELECT ON schema_version.applied TO guilder_app;
"""


class OtherSchema(GuilderError):
    """This database was made by another version of Guilder, and before 0.1 there are no migrations."""


def script(packages: Sequence[str], name: str = "schema.sql") -> str:
    """The schema files of `packages`, one after the other."""
    return "\n".join(files(package).joinpath(name).read_text("utf-8") for package in packages)


def digest(sql: str) -> str:
    """What identifies a version of the schema."""
    return hashlib.sha256(sql.encode()).hexdigest()


async def digest_of(database: db.Database) -> str | None:
    """The version that a database was made with."""
    return await database.value(Q.applied_schema)


async def apply(dsn: dict[str, Any], sql: str) -> bool:
    """Make the schema in an empty database; True if it was made now, False if it was there.  Raises OtherSchema."""
    ours = digest(sql)
    async with db.connected(dsn) as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(7171)")  # two starting processes take turns
        await connection.execute(_VERSION)
        there = await connection.fetchval("SELECT digest FROM schema_version.applied")
        if there == ours:
            return False
        if there is not None:
            raise OtherSchema(
                f"The database {dsn.get('database')} was made by another version of Guilder (schema {there[:12]}, this one is "
                f"{ours[:12]}), and before 0.1 there are no migrations. Start with new data: `./run reset --yes`."
            )
        await connection.execute(sql)
        await connection.execute("INSERT INTO schema_version.applied (digest) VALUES ($1)", ours)
    return True
