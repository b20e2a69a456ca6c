"""Sessions that are there: look at them, end them."""

from uuid import UUID

from guilder.core import ids
from guilder.core.errors import NotFound
from guilder.people.principal import IDLE_S
from guilder.platform import trail
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load

Q = load(__package__)


async def everybodys(control: Database) -> list[Row]:
    """Every session that can be used, oldest first."""
    return await control.rows(Q.all_sessions, IDLE_S)


async def revoke(tx: Tx, id: UUID, *, of: UUID | None) -> None:
    """End a session; `of`: if it is this person's.  Raises NotFound."""
    row = await tx.row(Q.revoke_session, id, of)
    if row is None:
        raise NotFound(f"No such session: '{ids.show('ses', id)}', or it is over.")
    trail.note(tx, "session.revoked", ids.show("ses", id), after={"user": ids.show("usr", row["person_id"])})


async def revoke_all(tx: Tx, person_id: UUID, *, but: UUID | None = None) -> int:
    """End a person's sessions, all `but` one; how many there were."""
    gone = await tx.rows(Q.revoke_sessions, person_id, but)
    if gone:
        trail.note(tx, "sessions.revoked", ids.show("usr", person_id), after={"sessions": len(gone)})
    return len(gone)
