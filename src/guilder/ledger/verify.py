"""Verify a whole environment's books: every invariant from the transfers up, every seal, and what was kept of the chains elsewhere."""

from collections.abc import AsyncIterator, Callable

from guilder.ledger import seal
from guilder.ledger.sweep import SWEEPS, Broken, broken_in
from guilder.platform.db import Database

Tell = Callable[[str, int, int], None]  # what is looked at; how many of how many

MEANS = {
    "L1": "every transfer has two ends of one asset, every asset sums to zero",
    "L2": "nothing can be changed, every journal is what was posted",
    "L3": "balances are the sums of their transfers",
    "L4": "nothing is below its floor",
    "L5": "every key has one answer",
    "L6": "what is held is what holds have left",
    "L7": "every balance of the past follows from the transfers until then",
    "L8": "what is closed is closed by a journal, and nothing moved in it since",
    "L9": "what books owe each other is what is ordered",
    "L10": "what is archived left what was recorded",
}


async def verify(db: Database, tell: Tell, kept: dict[str, dict[str, object]] | None = None) -> AsyncIterator[Broken]:
    """Everything that is not as it should be, invariant by invariant, then seal by seal.  Nothing is locked and nothing written."""
    for n, name in enumerate(SWEEPS):
        tell(f"{name}  {MEANS[name]}", n, len(SWEEPS))
        for broken in await broken_in(db, name):
            yield broken
    tell("L1 to L10", len(SWEEPS), len(SWEEPS))
    async for broken in seal.broken_seals(db, lambda done, total: tell("seals", done, total)):
        yield broken
    for broken in await seal.differs(db, kept or {}):
        yield broken
