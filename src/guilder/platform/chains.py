"""Chains: the rules that say what needs approval, and whose.  Rows of the environment's database; what is open keeps the steps it was made with."""

from uuid import UUID

from guilder.core import ids
from guilder.core.errors import Invalid, NotFound
from guilder.platform import approval, trail
from guilder.platform.approval import EVERY, Chain
from guilder.platform.db import Database, Tx
from guilder.platform.sql import load

Q = load(__package__)
# Of these no amount is told, so that no band can be of them.
WITHOUT_AMOUNT = frozenset({"key_reveal", "channel_account"})


async def of(db: Database, book_id: UUID | None) -> list[Chain]:
    """The chains that a book falls under; None: all of them."""
    books = None if book_id is None else [book_id, EVERY]
    return approval.chains_of(await db.rows(Q.list_approval_chains, books))


async def make(tx: Tx, new: Chain) -> None:
    """Store a chain.  Raises Invalid for a kind that nothing is of, a band where there are no amounts, and one that is there already."""
    if new.kind not in approval.kinds():
        raise Invalid(
            f"Nothing is of the kind {new.kind!r}; there are {', '.join(sorted(approval.kinds()))}.", param="kind"
        )
    if new.kind in WITHOUT_AMOUNT and (new.over or new.asset):
        raise Invalid(
            f"A {new.kind} is about no amount: leave out asset and over.", param="over" if new.over else "asset"
        )
    made = await tx.row(
        Q.insert_approval_chain, new.book_id, new.id, new.kind, new.by_platform, new.asset, new.over, new.expires_s, new.made_by,
        new.created_at,
    )  # fmt: skip
    if made is None:
        raise Invalid(
            "There is a rule for exactly this already; delete it first.", code="approval_chain_exists", param="over"
        )
    steps = new.steps
    tx.write(
        Q.insert_approval_steps, new.book_id, new.id, [s.permission for s in steps], [s.role for s in steps], [s.at for s in steps],
        [s.people for s in steps],
    )  # fmt: skip
    after = {"kind": new.kind, "asset": new.asset, "over": new.over, "expires_s": new.expires_s, "steps": steps}
    trail.note(tx, "approval_chain.made", ids.show("apc", new.id), book_id=_whose(new.book_id), after=after)


async def delete(tx: Tx, book_id: UUID | None, id: UUID | None, shown: str) -> None:
    """Delete a chain; `book_id`: only that merchant's own, None: anyone's.  Raises NotFound."""
    found = await tx.row(Q.delete_approval_chain, book_id, id)
    if found is None:
        raise NotFound(f"No such approval chain, or it is not yours: '{shown}'", param="chain")
    before = {"kind": found["kind"], "asset": found["asset"], "over": found["over"]}
    trail.note(tx, "approval_chain.deleted", shown, book_id=_whose(found["book_id"]), before=before)


def _whose(book_id: UUID) -> UUID:
    return ids.PLATFORM if book_id == EVERY else book_id
