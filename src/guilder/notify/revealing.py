"""Reveal: show an endpoint's secret again, to who has asked for it, once, when others have agreed.  Without a rule who has to, it is refused."""

from uuid import UUID

from guilder.core import ids
from guilder.core.errors import Forbidden
from guilder.notify.endpoints import no_such_endpoint
from guilder.notify.model import Endpoint, endpoint
from guilder.platform import approval, context, deciding, trail
from guilder.platform.approval import Approval
from guilder.platform.db import Tx
from guilder.platform.sql import load

Q = load(__package__)
KIND = "key_reveal"  # of what waits for approval


async def ask(tx: Tx, book_id: UUID, id: UUID) -> Approval:
    """Open the approval.  Raises NotFound; Forbidden where no chain says who has to agree: then nobody sees it."""
    await _find(tx, book_id, id)
    shown = ids.show("we", id)
    need = (await approval.rules(tx, KIND, [book_id])).need(book_id)
    if need is None:
        raise Forbidden(
            f"A secret is shown again only with the approval of others, and no approval chain for {KIND} says whose. Make one, or roll the secret.",
            code="approval_chain_missing",
        )
    by = context.current()
    asked = approval.ask(book_id, KIND, shown, f"Show the secret of {shown} again.", {"endpoint": shown}, need, by)
    approval.open_one(tx, asked, by)
    return asked


async def claim(tx: Tx, book_id: UUID, id: UUID, approved: UUID, actor: str) -> Endpoint:
    """The endpoint, for whom all have agreed to; the approval is used up.  Raises NotFound, Forbidden, NotDecided."""
    e, shown = await _find(tx, book_id, id), ids.show("we", id)
    await deciding.claim(tx, book_id, approved, KIND, shown, actor)
    trail.note(tx, "secret.revealed", shown, book_id=book_id, after={"approval": ids.show("apr", approved)})
    return e


async def _find(tx: Tx, book_id: UUID, id: UUID) -> Endpoint:
    row = await tx.row(Q.find_endpoint, book_id, id)
    if row is None:
        raise no_such_endpoint(ids.show("we", id))
    return endpoint(row)
