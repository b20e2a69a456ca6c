"""Sweeps: prove the invariants on what is stored, from the transfers up."""

from dataclasses import dataclass

from guilder.platform.db import Tx, plan_freely
from guilder.platform.sql import Query, load

Q = load(__package__)

SWEEPS: dict[str, Query] = {
    "L1": Q.sweep_L1,
    "L2": Q.sweep_L2,
    "L3": Q.sweep_L3,
    "L4": Q.sweep_L4,
    "L5": Q.sweep_L5,
    "L6": Q.sweep_L6,
}


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that the stored rows do not keep."""

    invariant: str
    subject: str
    fault: str


async def sweep(tx: Tx) -> list[Broken]:
    """Everything that breaks L1 to L6 in this environment; empty when the book is sound.  Cost: a scan of the book."""
    await plan_freely(tx)
    return [Broken(name, r["subject"], r["fault"]) for name, query in SWEEPS.items() for r in await tx.rows(query)]
