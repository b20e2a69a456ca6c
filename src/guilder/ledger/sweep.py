"""Sweeps: prove the invariants on what is stored, from the transfers up."""

from dataclasses import dataclass

from guilder.platform.db import Database, Tx, plan_freely
from guilder.platform.sql import Query, load

Q = load(__package__)

SWEEPS: dict[str, Query] = {
    "L1": Q.sweep_L1,
    "L2": Q.sweep_L2,
    "L3": Q.sweep_L3,
    "L4": Q.sweep_L4,
    "L5": Q.sweep_L5,
    "L6": Q.sweep_L6,
    "L7": Q.sweep_L7,
    "L8": Q.sweep_L8,
    "L9": Q.sweep_L9,
    "L10": Q.sweep_L10,
}


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that the stored rows do not keep."""

    invariant: str  # 'L1' to 'L10', or 'seal'
    subject: str
    fault: str


async def sweep(tx: Tx) -> list[Broken]:
    """Everything that breaks L1 to L10 in this environment; empty when the book is sound.  Cost: several scans of the book."""
    await plan_freely(tx)
    return [Broken(name, r["subject"], r["fault"]) for name, query in SWEEPS.items() for r in await tx.rows(query)]


async def broken_in(db: Database, name: str) -> list[Broken]:
    """What breaks one invariant."""

    async def work(tx: Tx) -> list[Broken]:
        await plan_freely(tx)
        return [Broken(name, r["subject"], r["fault"]) for r in await tx.rows(SWEEPS[name])]

    return await db.transact(work, durable=False)
