"""Where a string stands, in everything that an installation keeps or shows: each row of each table of each database, each file of its
folder but the database's own and the simulators', and its metrics.

found = await search.everywhere(stack, {"the key": "sk_test_…"})        # {("the key", "test: platform.job"), ("the key", "logs/api.log")}

It is looked for as it stands, and as hexadecimal, base64, JSON and URLs write it; packed columns are unpacked.
"""

import base64
import contextlib
import io
import json
import urllib.request
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from urllib.parse import quote

import asyncpg

from guilder.app import environments
from stack import Stack

NOT_OURS = ("postgres", "simulators")  # folders: what lies there is read as tables, and what is the channels' own
TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) AS part, n.nspname || '.' || coalesce(r.relname, c.relname) AS place
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_class r ON r.oid = pg_partition_root(c.oid)
 WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%'
"""
Found = set[tuple[str, str]]  # name, place


async def everywhere(stack: Stack, wanted: Mapping[str, str]) -> Found:
    """Which of the strings, by their names, stand in which place."""
    known = {name: forms(text) for name, text in wanted.items()}
    found = {hit for place, text in shown(stack) for hit in hits(known, place, text)}
    settings = stack.it.settings()
    for database in (environments.CONTROL, *map(environments.database_of, settings.environments)):
        connection = await asyncpg.connect(**environments.dsn(settings, database, "owner"))
        try:
            async for place, text in kept(connection, database.removeprefix("guilder_")):
                found |= hits(known, place, text)
        finally:
            await connection.close()
    return found


def forms(text: str) -> set[bytes]:
    """How `text` may be written."""
    plain = text.encode()
    written = {
        plain,
        plain.hex().encode(),
        quote(text).encode(),
        quote(text, safe="").encode(),
        json.dumps(text)[1:-1].encode(),
    }
    for ahead in range(3):  # base64 of something that it is a part of: whole groups of it, at each offset
        skipped = plain[(3 - ahead) % 3 :]
        whole = base64.b64encode(skipped[: len(skipped) // 3 * 3])
        written |= {whole, whole.translate(bytes.maketrans(b"+/", b"-_"))}
    return written


def hits(known: Mapping[str, set[bytes]], place: str, text: bytes) -> Found:
    """Which of them stand in `text`."""
    return {(name, place) for name, written in known.items() if any(w in text for w in written)}


def shown(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """What lies in the folder, and the metrics."""
    for file in sorted(stack.it.state.rglob("*")):
        inside = file.relative_to(stack.it.state)
        if file.is_file() and inside.parts[0] not in NOT_OURS:
            yield str(inside), file.read_bytes()
    with urllib.request.urlopen(stack.it.at.metrics + "/metrics", timeout=30) as answer:
        yield "/metrics", answer.read()


async def kept(connection: asyncpg.Connection, database: str) -> AsyncIterator[tuple[str, bytes]]:
    """Every row of a database, as the owner of its schemas reads it."""
    for table in await connection.fetch(TABLES):
        place = f"{database}: {table['place']}"
        for row in await connection.fetch(f"SELECT * FROM {table['part']}"):
            yield place, b"\n".join(part for value in row.values() for part in written(value))


def written(value: object) -> Iterator[bytes]:
    """A column as bytes, unpacked if it is packed."""
    if not isinstance(value, bytes):
        yield str(value).encode("utf-8", "replace")
        return
    yield value
    with contextlib.suppress(zlib.error):
        yield zlib.decompressobj(47).decompress(value)  # zlib or gzip, and what of it was cut
    if value.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(value)) as packed:
            yield from map(packed.read, packed.namelist())
