"""The house style, as far as a program can see it.  docs/style.md says why.

Exceptions stand in the lists at the top, each with its reason; a list that names something that no longer needs it fails too.
"""

import ast
import asyncio
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import grimp
import pytest
from generators import catalogue
from generators.catalogue import ENV, Table

from guilder.app import domains, environments
from guilder.platform import failpoints
from guilder.platform.settings import Settings
from guilder.platform.sql import Queries, Query, load

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "guilder"
FILE_LINES, FUNCTION_LINES, FOLDERS_DEEP = 500, 60, 3

WITHOUT_BOOK = {  # tables whose primary key does not begin with book_id, and why
    "platform.commit_mark": "a transaction's last act, of no book; forgotten after a day",
    "platform.runner": "one row per process, of no book",
    "platform.outbox": "work to be done, gone when it is",
    "platform.job": "work to be done, named by kind and key",
    "platform.auditor": "two rows: how far each pass over all books has come",
    "platform.trail_seal": "one chain over all books of a database",
    "platform.retention": "one row per table that grows",
    "ledger.archived": "one row per month that was detached, of all books",
    "payments.channel_ref": "a side table: a channel's number is unique per channel account, whatever the book",
    "reconciliation.channel_day": "one row per channel account and day",
    "schema_version.applied": "one row per database",
}
WRITTEN_ONCE = {
    "ledger.journal", "ledger.transfer", "ledger.note", "ledger.refusal", "ledger.key", "ledger.standing", "ledger.seal", "ledger.closing",
    "ledger.detached", "ledger.opening", "ledger.reserved", "payments.history", "payouts.history", "disputes.history", "platform.event", "platform.wire_message", "platform.trail",
    "platform.trail_seal", "platform.case_comment", "platform.case_attachment", "platform.case_decision",
    "platform.approval_decision",
    "trades.move", "platform.breaker_move",
}  # fmt: skip
SQL_IN_PYTHON = {
    "platform/db.py": "the mark and BEGIN are part of the driver's conversation",
    "platform/schema.py": "makes what queries need",
    "platform/embedded.py": "psql scripts of the superuser, before there is a schema",
}
SKIPS = {  # files that may skip a test, and why
    "tests/platform/test_embedded.py": "only root can become somebody else",
    "tests/channels/test_wechatpay_statement.py": "the golden bill is not part of the repository",
    "tests/channels/test_unionpay_vectors.py": "the golden replies are not part of the repository",
    "tests/simulators/test_statements.py": "the golden bill is not part of the repository",
    "tests/reconciliation/test_golden.py": "the golden bill is not part of the repository",
    "tests/browser/conftest.py": "needs Debian's chromium and a Chinese font, which ./run test installs where it may",
    "tests/sdk/test_sdk_calls.py": "needs Node's packages, which ./run test installs",
    "tests/oidc_side.py": "needs Node's packages, which ./run test installs; CI=true makes it fail instead",
    "tests/clients/test_clients.py": "needs environments that ./run test makes; CI=true makes it fail instead",
}
BAD_NAMES = {"utils", "util", "helpers", "helper", "manager", "base", "misc", "common", "v2", "service"}


@dataclass(frozen=True)
class Source:
    """One Python file."""

    path: Path
    text: str
    tree: ast.Module

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def module(self) -> str:
        return ".".join(self.path.relative_to(SRC.parent).with_suffix("").parts).removesuffix(".__init__")


@cache
def source(path: Path) -> Source:
    text = path.read_text("utf-8")
    return Source(path, text, ast.parse(text))


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """Every Python file of these folders; other people's packages are not ours to tidy."""
    found = (p for folder in folders for p in sorted((ROOT / folder).rglob("*.py")) if "node_modules" not in p.parts)
    return tuple(map(source, found))


def ours() -> tuple[Source, ...]:
    return sources("src", "tests", "docs", "bench", "examples")


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(within: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(within) if isinstance(node, Function))


# --- size and shape ---------------------------------------------------------------------------------------------------


def test_a_file_fits_500_lines() -> None:
    long = {str(s): s.text.count("\n") for s in ours() if s.text.count("\n") > FILE_LINES}
    assert long == {}


def test_a_function_fits_60_lines() -> None:
    sizes = {
        f"{s}:{f.name}": (f.end_lineno or 0) - f.lineno + 1 for s in sources("src", "docs") for f in functions(s.tree)
    }
    assert {name: size for name, size in sizes.items() if size > FUNCTION_LINES} == {}


def test_folders_are_three_deep_and_say_what_they_are() -> None:
    assert [str(s) for s in sources("src") if len(s.path.relative_to(SRC).parts) > FOLDERS_DEEP] == []
    folders = {s.path.parent for s in sources("src")}
    assert [f for f in folders if not (f / "__init__.py").exists()] == [], "tools overlook folders that are no packages"
    assert [str(s) for s in ours() if {s.path.stem, s.path.parent.name} & BAD_NAMES] == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [str(s) for s in ours() if s.text.strip() and not ast.get_docstring(s.tree)]
    assert silent == []


def test_nothing_is_left_to_do_and_no_mock_is_imported() -> None:
    unfinished = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    here = Path(__file__)
    assert [str(s) for s in ours() if s.path != here and unfinished.search(s.text)] == []
    imported = {
        (str(s), name) for s in ours() for node in ast.walk(s.tree) for name in _imports(node) if "mock" in name.lower()
    }
    assert imported == set()


def _imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or "", *(a.name for a in node.names)] if isinstance(node, ast.ImportFrom) else []


def test_tests_are_skipped_for_a_reason_listed_here() -> None:
    skips = re.compile(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)\b")
    found = {str(s) for s in sources("tests") if s.path != Path(__file__) and skips.search(s.text)}
    assert found == SKIPS.keys() & found, "say in SKIPS why a test may be skipped"
    assert SKIPS.keys() - found == set(), "no longer needed"


def test_every_dependency_has_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    project = tomllib.loads(text)
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    silent = [d for d in wanted if not re.search(re.escape(f'"{d}"') + r",\s*#\s*\S", text)]
    assert silent == []


def test_locks_name_no_registry_and_nothing_names_this_machine() -> None:
    locks = [*ROOT.glob("*.lock"), *ROOT.glob("tests/*/*.lock")]
    assert [p.name for p in locks if "://" in p.read_text("utf-8")] == []
    npm = [p for p in ROOT.glob("tests/*/package-lock.json") if '"resolved"' in p.read_text("utf-8")]
    assert npm == [], "npm config set omit-lockfile-registry-resolved true"
    words = [p for ext in ("*.md", "*.sql", "*.html", "*.css") for d in ("docs", "src") for p in (ROOT / d).rglob(ext)]
    places = [ROOT / "README.md", ROOT / "run", ROOT / "Makefile", *words, *(s.path for s in ours())]
    assert [str(p) for p in places if str(ROOT) + "/" in p.read_text("utf-8")] == []


# --- the first argument tells the effect -----------------------------------------------------------------------------------

OUTSIDE = {"wire", "carry_out", "transact", "submit", "lane"}


def test_the_first_argument_tells_the_effect() -> None:
    wrong = [
        f"{s}:{f.name}({p.arg}: {ast.unparse(p.annotation)}) at {at}"
        for s in sources("src")
        for f in functions(s.tree)
        for at, p in enumerate(_parameters(f))
        if p.annotation is not None
        and (
            (ast.unparse(p.annotation) == "Tx" and (at > 0 or p.arg != "tx"))
            or (ast.unparse(p.annotation) == "Env" and (at > 0 or p.arg not in {"rt", "env"}))
            or (p.arg == "tx" and ast.unparse(p.annotation) != "Tx")
        )
    ]
    assert wrong == []


def test_inside_a_transaction_nobody_outside_is_asked() -> None:
    """`tx` = inside the caller's transaction: no wire, no transaction of its own, no lane."""
    wrong = []
    for s in sources("src"):
        for f in functions(s.tree):
            if any(p.arg == "tx" for p in _parameters(f)):
                used = {n.attr for n in ast.walk(f) if isinstance(n, ast.Attribute)}
                takes = {ast.unparse(p.annotation) for p in _parameters(f) if p.annotation is not None}
                if used & OUTSIDE or "Env" in takes:
                    wrong.append(f"{s}:{f.name} uses {sorted(used & OUTSIDE)}")
    assert wrong == []


def _parameters(f: Function) -> list[ast.arg]:
    every = [*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs]
    return every[1:] if every and every[0].arg in {"self", "cls"} else every


# --- domains and layers -----------------------------------------------------------------------------------------------------

DOMAINS = (
    "cashier", "notify", "oversight", "reconciliation", "trades", "payouts", "disputes", "payments", "routing", "people", "merchants", "ledger",
)  # fmt: skip
RANKS = {"api": 6, "jobs": 6, "cli": 6, "store": 4, "events": 3, "present": 2, "model": 1, "states": 0}
USE_CASE = 5


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("guilder")


@cache
def rank(name: str) -> int | None:
    """Where a module stands inside its domain; None for words and rules (no awaiting): anybody may use them."""
    known = RANKS.get(name.partition("_")[0])
    if known is not None:
        return known
    awaits = any(
        isinstance(n, ast.AsyncFunctionDef) for s in sources("src") if s.path.stem == name for n in ast.walk(s.tree)
    )
    return USE_CASE if awaits else None


def test_domains_meet_at_their_faces() -> None:
    """Only the composition root and the domain's own face take what a domain shows to the outside: api, jobs, cli."""
    wrong = []
    for module in graph().modules:
        for used in graph().find_modules_directly_imported_by(module):
            _, domain, *rest = [*used.split("."), "", ""]
            mine = module.split(".")[1] if "." in module else ""
            face = domain in DOMAINS and RANKS.get(rest[0].partition("_")[0]) == RANKS["api"]
            if face and mine not in {domain, "app"}:
                wrong.append(f"{module} -> {used}")
    assert wrong == []


def test_inside_a_domain_imports_go_down() -> None:
    """api | jobs > use cases > store > events > present > model > states."""
    wrong = []
    for domain in DOMAINS:
        for module in graph().find_children(f"guilder.{domain}"):
            for used in graph().find_modules_directly_imported_by(module):
                if used.startswith(f"guilder.{domain}."):
                    high, low = rank(module.split(".")[2]), rank(used.split(".")[2])
                    if high is not None and low is not None and high < low:
                        wrong.append(f"{module} -> {used}")
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Faces (`__init__`) aside: they are read from above only."""
    modules = {m for m in graph().modules if not graph().find_children(m)}
    down = {m: graph().find_modules_directly_imported_by(m) & modules for m in modules}
    while leaves := {m for m in down if not down[m]}:
        down = {m: used - leaves for m, used in down.items() if m not in leaves}
    assert down == {}


EVENT = re.compile(
    r"(trade|payment_intent|charge|charge\.dispute|refund|payout|customer|payment_method|webhook_endpoint|checkout\.session)\.[a-z_]+"
)


def test_every_event_is_in_the_catalogue_and_every_failpoint_in_the_list() -> None:
    said = {
        text for s in sources("src") if not {"simulators", "channels"} & set(s.path.parts) for text in _texts(s.tree)
    }
    elsewhere = {text for s in sources("src") if s.path.stem != "failpoints" for text in _texts(s.tree)}
    assert {t for t in said if EVENT.fullmatch(t)} - failpoints.NAMES.keys() == domains.EVENTS.keys()
    assert failpoints.NAMES.keys() - elsewhere == set()


def _texts(tree: ast.AST) -> Iterator[str]:
    return (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))


# --- SQL ---------------------------------------------------------------------------------------------------------------------

WRITES = re.compile(r"\b(?:INSERT INTO|UPDATE|DELETE FROM|TRUNCATE|MERGE INTO)\s+(\w+)\.(\w+)")
READS = re.compile(r"\b(?:FROM|JOIN|USING)\s+(\w+)\.(\w+)")
OWN = {"merchants": {"merchants", "control"}, "platform": {"platform", "schema_version"}}


def queries() -> dict[str, Queries]:
    """The named queries of each domain, by its name."""
    return {p.parent.name: load(f"guilder.{p.parent.name}") for p in sorted(SRC.glob("*/queries.sql"))}


def test_sql_writes_only_its_own_schema() -> None:
    wrong = []
    for domain, named in queries().items():
        for query in named.all.values():
            for schema, table in WRITES.findall(query.text):
                if schema not in OWN.get(domain, {domain}):
                    wrong.append(f"{query.name} writes {schema}.{table}")
    assert wrong == []


def test_every_query_is_called_and_every_call_has_a_query() -> None:
    for domain, named in queries().items():
        of_domain = [s for s in sources("src") if s.path.is_relative_to(SRC / domain)]
        tested = {
            n.attr for s in sources("tests") for n in ast.walk(s.tree) if isinstance(n, ast.Attribute) and _of_q(n)
        }
        called = {n.attr for s in of_domain for n in ast.walk(s.tree) if isinstance(n, ast.Attribute) and _of_q(n)}
        assert called - named.all.keys() == set(), f"{domain} calls queries that it does not have"
        assert named.all.keys() - called - tested == set(), f"{domain} has queries that nobody calls"


def _of_q(node: ast.Attribute) -> bool:
    """`Q.some_query`, or `case.Q.some_query` of those who look on."""
    return getattr(node.value, "id", getattr(node.value, "attr", None)) == "Q"


def test_sql_stands_in_sql_files() -> None:
    statement = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH) [a-zA-Z_.,* ()]+", re.DOTALL)
    found = set()
    for s in sources("src"):
        for node in ast.walk(s.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and statement.match(node.value):
                found.add(s.path.relative_to(SRC).as_posix())
    assert {f for f in found if not f.startswith("simulators/")} - SQL_IN_PYTHON.keys() == set()


# --- the real schema ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """Databases with the real schemas, and their catalogue."""

    settings: Settings
    tables: dict[str, Table]

    def query(self, database: str, sql: str, *args: object) -> Any:
        """Run something as the owner of the schemas."""

        async def ask() -> Any:
            connection = await asyncpg.connect(**environments.dsn(self.settings, database, "owner"))
            try:
                return await connection.fetch(sql, *args)
            finally:
                await connection.close()

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with catalogue.databases(tmp_path_factory.mktemp("tidy") / "state") as s:
        yield Made(s, {t.full: t for t in asyncio.run(catalogue.read(s))})


def test_every_query_is_understood_and_allowed(made: Made) -> None:
    """Each is planned by the real schema, as the application's role: names, types and privileges."""

    async def plan(name: str, wanted: list[Query]) -> dict[str, str]:
        refused = {}
        connection = await asyncpg.connect(**environments.dsn(made.settings, name, "app"))
        for query in wanted:
            try:
                await connection.execute(f"EXPLAIN (GENERIC_PLAN) {query.text}")
            except asyncpg.PostgresError as error:
                refused[query.name] = str(error)
        await connection.close()
        return refused

    every = [q for named in queries().values() for q in named.all.values()]
    control = [q for q in every if re.search(r"\b(control|people)\.", q.text)]
    others = [q for q in every if q not in control]
    assert asyncio.run(plan(environments.CONTROL, control)) == {}
    assert asyncio.run(plan(environments.database_of(ENV), others)) == {}


def test_higher_domains_read_lower_ones_through_views(made: Made) -> None:
    allowed = {("notify", "platform.event"): "events are what every domain may read"}
    wrong = set()
    for domain, named in queries().items():
        for query in named.all.values():
            for schema, table in READS.findall(query.text):
                full = f"{schema}.{table}"
                other = schema not in OWN.get(domain, {domain}) and full in made.tables
                if other and made.tables[full].kind != "v" and (domain, full) not in allowed:
                    wrong.add(f"{query.name} reads the table {full}")
    assert wrong == set()


def test_a_book_is_the_unit_of_everything_that_grows(made: Made) -> None:
    tables = [t for t in made.tables.values() if t.kind != "v" and t.schema not in ("control", "people")]
    without = {t.full for t in tables if t.key[:1] != ["book_id"]}
    assert without - WITHOUT_BOOK.keys() == set()
    assert {name for name in WITHOUT_BOOK if name in made.tables} - without == set(), "no longer needed"


def test_what_is_written_once_refuses_to_be_changed(made: Made) -> None:
    """By privilege for the application, by trigger for everybody."""
    guarded = {
        t.full
        for t in made.tables.values()
        if any(re.search(r"BEFORE (DELETE OR UPDATE|UPDATE OR DELETE)", g["text"]) for g in t.triggers)
    }
    assert guarded == WRITTEN_ONCE
    for name in WRITTEN_ONCE:
        # The application has no INSERT there: functions of the owner write.
        through_a_door = name.startswith("ledger.") or name == "platform.trail_seal"
        assert set(made.tables[name].may) == ({"SELECT"} if through_a_door else {"SELECT", "INSERT"}), name


def test_nobody_but_the_owner_empties_or_makes_anything(made: Made) -> None:
    assert {t.full for t in made.tables.values() if {"TRUNCATE", "TRIGGER", "REFERENCES"} & set(t.may)} == set()
    for database in (environments.CONTROL, environments.database_of(ENV)):
        [role] = made.query(
            database, "SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication FROM pg_roles WHERE rolname = 'guilder_app'"
        )  # fmt: skip
        assert not any(role)
        owned = "SELECT count(*) AS n FROM pg_class WHERE relowner = 'guilder_app'::regrole"
        creates = "SELECT nspname FROM pg_namespace WHERE has_schema_privilege('guilder_app', oid, 'CREATE')"
        assert made.query(database, owned)[0]["n"] == 0
        assert [r["nspname"] for r in made.query(database, creates)] == []


def test_every_schema_is_listed_and_told(made: Made) -> None:
    """A schema file that no list names would never be applied; a table without a word explains nothing."""
    there = {f"guilder.{p.parent.name}" for p in SRC.glob("*/schema.sql")} - {"guilder.simulators"}
    assert there == set(domains.SCHEMAS) | {package for package, name in domains.CONTROL if name == "schema.sql"}
    for package in domains.SCHEMAS:
        assert files(package).joinpath("schema.sql").read_text("utf-8").startswith("--"), package
