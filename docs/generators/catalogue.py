"""The data dictionary: each schema as PostgreSQL has it, with the comments of its SQL files and a picture.

Structure comes from the catalogue of real databases, words from the `--` comments: right above a table or view what it is, at the
end of a line what the column is.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from guilder.app import domains, environments
from guilder.app.environments import CONTROL, database_of
from guilder.platform import db, embedded, settings
from guilder.platform.settings import Settings

ENV = "test"
_HEAD = re.compile(r"^CREATE (TABLE|VIEW) (\w+)\.(\w+)")
_COLUMN = re.compile(r"^ {4}([a-z_0-9]+) +[a-z].*?(?:-- *(.*))?$")
_MORE = re.compile(r"^ {20,}-- *(.*)$")
_NAMED = re.compile(r'^ *CONSTRAINT "([^"]+)"')

TABLES = """
SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind, c.oid
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
 ORDER BY n.nspname, c.oid
"""
COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS required,
       pg_get_expr(d.adbin, d.adrelid) AS initial
  FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
CONSTRAINTS = """
SELECT k.conname AS name, k.contype::text AS kind, pg_get_constraintdef(k.oid) AS text,
       (SELECT array_agg(a.attname::text ORDER BY u.at) FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, at)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum) AS columns,
       r.relname AS target, rn.nspname AS target_schema
  FROM pg_constraint k LEFT JOIN pg_class r ON r.oid = k.confrelid LEFT JOIN pg_namespace rn ON rn.oid = r.relnamespace
 WHERE k.conrelid = $1 AND k.contype IN ('p', 'u', 'f', 'c') ORDER BY position(k.contype::text IN 'pufc'), k.conname
"""
INDEXES = """
SELECT pg_get_indexdef(i.indexrelid) AS text FROM pg_index i
 WHERE i.indrelid = $1 AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid) ORDER BY 1
"""
TRIGGERS = """
SELECT t.tgname AS name, pg_get_triggerdef(t.oid) AS text FROM pg_trigger t
 WHERE t.tgrelid = $1 AND NOT t.tgisinternal ORDER BY t.tgname
"""
PRIVILEGES = """
SELECT p.privilege_type AS may, NULL AS part FROM pg_class c, aclexplode(c.relacl) p
 WHERE c.oid = $1 AND p.grantee = 'guilder_app'::regrole
UNION ALL
SELECT p.privilege_type, a.attname::text FROM pg_attribute a, aclexplode(a.attacl) p
 WHERE a.attrelid = $1 AND p.grantee = 'guilder_app'::regrole
 ORDER BY 1, 2
"""


@dataclass
class Words:
    """What the SQL file says of one table or view."""

    about: str = ""
    columns: dict[str, str] = field(default_factory=dict)


@dataclass
class Table:
    """One table or view of the catalogue.  Rows are the catalogue's."""

    schema: str
    name: str
    kind: str  # 'r': a table, 'v': a view
    columns: list[Any]
    constraints: list[Any]
    indexes: list[str]
    triggers: list[Any]
    may: list[str]  # what the application's role may do: 'INSERT', 'UPDATE (balance)'

    @property
    def full(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def key(self) -> list[str]:
        """The columns of the primary key."""
        return next((list(c["columns"]) for c in self.constraints if c["kind"] == "p"), [])


@contextmanager
def databases(folder: Path) -> Iterator[Settings]:
    """Throw-away databases with the real schemas, made as an installation makes them."""
    s = settings.load({}, state=str(folder), environments=(ENV,))
    embedded.start(folder, databases=(CONTROL, database_of(ENV)), settings={"fsync": "off"}, say=lambda line: None)
    try:
        asyncio.run(environments.apply_schemas(s))
        yield s
    finally:
        embedded.destroy(folder)


async def read(s: Settings) -> list[Table]:
    """Every table and view, schema by schema in layer order; what both databases have is told once."""
    found: dict[str, Table] = {}
    for name in (database_of(ENV), CONTROL):
        async with db.connected(environments.dsn(s, name, "owner")) as connection:
            for row in await connection.fetch(TABLES):
                if f"{row['schema']}.{row['name']}" in found:
                    continue
                oid = row["oid"]
                may = [
                    r["may"] + (f" ({r['part']})" if r["part"] else "") for r in await connection.fetch(PRIVILEGES, oid)
                ]
                table = Table(
                    row["schema"], row["name"], row["kind"], await connection.fetch(COLUMNS, oid),
                    await connection.fetch(CONSTRAINTS, oid), [r["text"] for r in await connection.fetch(INDEXES, oid)],
                    await connection.fetch(TRIGGERS, oid), may,
                )  # fmt: skip
                found[table.full] = table
    return list(found.values())


def sources() -> dict[str, str]:
    """The SQL file of each schema, by the schema's name."""
    made = {package.split(".")[-1]: (package, "schema.sql") for package in domains.SCHEMAS}
    made |= {"control": ("guilder.merchants", "control.sql"), "people": ("guilder.people", "schema.sql")}
    return {schema: files(package).joinpath(name).read_text("utf-8") for schema, (package, name) in made.items()}


def words(sql: str) -> dict[str, Words]:
    """The comments of a SQL file, by 'schema.table'; '' has the words about the schema."""
    told: dict[str, Words] = {}
    above: list[str] = []
    at: Words | None = None
    last = ""
    for line in sql.splitlines():
        if line.startswith("--"):
            above.append(line.removeprefix("--").strip())
        elif line.startswith("CREATE SCHEMA"):
            told[""] = Words(" ".join(above))
        elif head := _HEAD.match(line):
            at = told[f"{head[2]}.{head[3]}"] = Words(" ".join(above))
        elif at is not None and (more := _MORE.match(line)) and last:
            at.columns[last] = f"{at.columns.get(last, '')} {more[1]}".strip()
        elif at is not None and (column := _COLUMN.match(line)):
            last = column[1]
            at.columns[last] = column[2] or ""
        elif not line.startswith(" "):
            at = None
        if not line.startswith("--"):
            above = []
    return told


def page(schema: str, tables: list[Table], told: dict[str, Words]) -> str:
    """The page of one schema."""
    about = told.get("", Words()).about
    parts = [f"# Schema `{schema}`", about, picture(schema, tables)]
    parts += [_table(t, told.get(t.full, Words())) for t in sorted(tables, key=lambda t: t.kind != "r")]
    return "\n\n".join(p for p in parts if p)


def picture(schema: str, tables: list[Table]) -> str:
    """Tables, their keys, and what refers to what."""
    lines = ["```mermaid", "erDiagram"]
    for t in tables:
        if t.kind == "v":
            continue
        foreign = {c for k in t.constraints if k["kind"] == "f" for c in k["columns"]}
        unique = {c for k in t.constraints if k["kind"] == "u" and len(k["columns"]) == 1 for c in k["columns"]}
        lines.append(f"    {_box(schema, t.schema, t.name)} {{")
        for c in t.columns:
            marks = [m for m, these in (("PK", set(t.key)), ("FK", foreign), ("UK", unique)) if c["name"] in these]
            if marks or not t.key:
                lines.append(f"        {_plain(c['type'])} {c['name']} {', '.join(marks)}".rstrip())
        lines.append("    }")
    for t in tables:
        for k in t.constraints:
            if k["kind"] == "f":
                target, own = _box(schema, k["target_schema"], k["target"]), _box(schema, t.schema, t.name)
                one = set(k["columns"]) in [set(u["columns"]) for u in t.constraints if u["kind"] in "pu"]
                lines.append(f'    {target} ||--o{"|" if one else "{"} {own} : "{", ".join(k["columns"])}"')
    return "\n".join([*lines, "```"])


def _box(here: str, schema: str, name: str) -> str:
    return name if schema == here else f"{schema}_{name}"


def _plain(type: str) -> str:
    return {"timestamp with time zone": "timestamptz"}.get(type, type).replace("[]", "_array").replace(" ", "_")


def _table(t: Table, told: Words) -> str:
    lines = [f"## `{t.full}`" + (" (view)" if t.kind == "v" else "")]
    if told.about:
        lines += ["", told.about]
    if t.kind == "v":
        lines += ["", "Columns: " + ", ".join(f"`{c['name']}`" for c in t.columns) + "."]
        return "\n".join(lines)
    lines += ["", "| column | type | null | default | |", "|---|---|---|---|---|"]
    for c in t.columns:
        type = "timestamptz" if c["type"] == "timestamp with time zone" else c["type"]
        initial = f"`{c['initial']}`" if c["initial"] else ""
        null = "" if c["required"] else "yes"
        lines.append(f"| `{c['name']}` | {type} | {null} | {initial} | {_cell(told.columns.get(c['name'], ''))} |")
    rules = [_rule(k) for k in t.constraints]
    rules += [f"`{_index(i)}`" for i in t.indexes]
    rules += [f"trigger *{g['name']}*: {_when(g['text'])}" for g in t.triggers]
    if rules:
        lines += ["", *(f"* {r}" for r in rules)]
    return "\n".join([*lines, "", f"The application may: {', '.join(t.may) or 'nothing'}."])


def _rule(k: Any) -> str:
    named = f" *{k['name']}*" if " " in k["name"] else ""
    return f"`{k['text']}`{named}"


def _index(text: str) -> str:
    return re.sub(r"^CREATE (UNIQUE )?INDEX (\S+|\"[^\"]+\") ON \S+ USING ", r"\1index \2: ", text).replace(
        "UNIQUE index", "unique index"
    )


def _when(text: str) -> str:
    found = re.search(r"(BEFORE|AFTER) (.*?) ON ", text)
    runs = re.search(r"EXECUTE FUNCTION (\S+)\(", text)
    return f"{found[0].removesuffix(' ON ').lower()} runs `{runs[1]}`" if found and runs else text


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
