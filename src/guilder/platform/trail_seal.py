"""Seals of the trail: evidence that nobody has changed what was written, the owner of the database included.

    seal(db)                    each second: what has committed since, over the seal before; one chain a database
    head(db)                    the end of the chain: keep it elsewhere, and hold the trail against it later
    broken(db, tell)            every seal whose rows are no longer what they were, and which row that is
    differs(db, kept)           what a head that was kept says otherwise

No writer waits for a chain: rows are sealed in the order of (transaction, id) once nothing can come before them any more, which is as soon
as the oldest transaction that writes anywhere in this PostgreSQL has begun after them.  PostgreSQL hashes (platform.seal_trail), and
lets the application neither write a seal nor say which transaction wrote a row.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import Gauge

from guilder.core import clock, ids
from guilder.core.errors import Invalid
from guilder.platform.db import Database, Row
from guilder.platform.environment import Env
from guilder.platform.jobs import Loop
from guilder.platform.sql import load

Q = load(__package__)
MOST = 5000  # rows of one seal
AT_ONCE = 100  # seals that are looked at with one statement
MARK = 4  # bytes of a row's hash that its seal keeps
Tell = Callable[[int, int], None]  # how many rows of how many
Head = dict[str, object]

UNSEALED = Gauge(
    "guilder_trail_unsealed_age_seconds", "Age of the oldest row of the trail that no seal covers", ["env"], multiprocess_mode="livemax"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was sealed."""

    subject: str  # 'seal 7'
    fault: str


async def seal(db: Database, *, durable: bool = False) -> int:
    """Seal all that may be sealed; how many rows that were.

    A seal that a power cut takes away is made again; before a head is given away, say `durable`: it would be another one then.
    """
    total = 0
    while True:
        rows = int(await db.transact(lambda tx: tx.value(Q.seal_trail, MOST), durable=durable))
        total += rows
        if rows < MOST:
            return total


async def unsealed_age_s(db: Database) -> float:
    """How long the oldest unsealed row has been waiting, in seconds."""
    oldest = await db.value(Q.oldest_unsealed_trail)
    return 0.0 if oldest is None else max(0.0, (clock.now() - oldest).total_seconds())


async def head(db: Database) -> Head | None:
    """The end of the chain; None: nothing has been sealed yet.  What has been committed is in it, unless an older transaction still runs."""
    await seal(db, durable=True)
    row = await db.row(Q.trail_seal_at, None)
    if row is None:
        return None
    return {
        "database": db.name, "seal": row["n"], "last": ids.show("tra", row["id"]), "at": row["at"].isoformat(),
        "sha256": row["hash"].hex(),
    }  # fmt: skip


async def differs(db: Database, kept: Mapping[str, object]) -> Fault | None:
    """What a head that was kept says otherwise than the seals do.  Raises Invalid if it is none of this database."""
    n, sha256 = kept.get("seal"), kept.get("sha256")
    if not isinstance(n, int) or not isinstance(sha256, str) or kept.get("database") != db.name:
        raise Invalid(f"This is no head of the trail of {db.name}; `guilder trail head --env {db.name}` writes one.")
    row = await db.row(Q.trail_seal_at, n)
    if row is None:
        return Fault(f"seal {n}", "it was kept, and it is gone: the end of the trail was cut off")
    return None if row["hash"].hex() == sha256 else Fault(f"seal {n}", "it is not the one that was kept")


async def broken(db: Database, tell: Tell) -> AsyncIterator[Fault]:
    """Every seal that does not hold, in order: the chain is derived again from the rows."""
    sealed = await db.row(Q.count_trail_seals)
    assert sealed is not None
    n, tx, id, hash, done = 0, "0", ids.of_int(0), b"", 0
    while rows := await db.rows(Q.trail_seals, n, tx, id, hash, AT_ONCE):
        for row in rows:
            if row["n"] != row["before"] + 1:
                yield Fault(f"seal {row['n']}", f"it follows seal {row['before']}: what is between them is gone")
            elif (row["entries"], row["marks"], row["hash"]) != (row["now_entries"], row["now_marks"], row["now_hash"]):
                yield Fault(f"seal {row['n']}", await _fault(db, row))
            done += row["entries"]
            tell(done, max(done, sealed["entries"]))
        last = rows[-1]
        n, tx, id, hash = last["n"], last["tx"], last["id"], last["hash"]
    if n < sealed["seals"]:
        yield Fault(f"seal {n + 1}", f"the seals end at {n} of {sealed['seals']}")


async def _fault(db: Database, row: Row) -> str:
    """Which row is not what it was."""
    marks = [row["marks"][n : n + MARK] for n in range(0, len(row["marks"]), MARK)]
    there = await db.rows(Q.trail_leaves, row["after_tx"], row["after_id"], row["tx"], row["id"])
    return _first(marks, [(ids.show("tra", r["id"]), r["mark"]) for r in there])


def _first(marks: Sequence[bytes], there: Sequence[tuple[str, bytes]]) -> str:
    at = next(
        (n for n, (mark, (_, now)) in enumerate(zip(marks, there, strict=False)) if mark != now),
        min(len(marks), len(there)),
    )
    name = there[at][0] if at < len(there) else "its end"
    if len(there) < len(marks):
        return f"{len(marks) - len(there)} of {len(marks)} rows are gone, the first of them before {name}"
    if len(there) > len(marks):
        return f"{len(there) - len(marks)} rows were put in, the first of them is {name}"
    if at < len(marks):
        return f"{name} is not what was sealed"
    return "its rows stand, the seal itself is not what it was"


async def keep_sealed(db: Database) -> int:
    """Seal, and say how old the oldest unsealed row is."""
    rows = await seal(db)
    UNSEALED.labels(db.name).set(await unsealed_age_s(db))
    return rows


async def _in_env(rt: Env) -> int:
    return await keep_sealed(rt.db)


LOOPS = (Loop("platform.seal_trail", 1.0, _in_env),)
