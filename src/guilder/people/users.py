"""People who are here: rename, let out and in again, change the password."""

from uuid import UUID

from guilder.core import ids
from guilder.core.errors import Forbidden, NotFound, Unauthenticated
from guilder.people import passwords, sessions, throttle
from guilder.people.grants import Giver
from guilder.people.sign_in import prove_again
from guilder.platform import trail
from guilder.platform.db import Database, Row, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)


async def find(control: Database, id: UUID) -> Row:
    """A person.  Raises NotFound."""
    row = await control.row(Q.find_person, id)
    if row is None:
        raise no_such(ids.show("usr", id))
    return row


async def find_by_email(control: Database, email: str) -> Row:
    """A person, by address.  Raises NotFound."""
    row = await control.row(Q.find_person_by_email, email.strip().lower())
    if row is None:
        raise NotFound(f"Nobody here has the address {email}.")
    return row


async def everybody(control: Database) -> list[Row]:
    """All people with their roles, oldest first."""
    return await control.rows(Q.everybody)


async def rename(tx: Tx, id: UUID, name: str) -> Row:
    """Give a person another name.  Raises NotFound."""
    await _locked(tx, id)
    await tx.run(Q.rename_person, id, name)
    trail.note(tx, "user.renamed", ids.show("usr", id))
    return await _locked(tx, id)


async def disable(tx: Tx, giver: Giver, id: UUID) -> Row:
    """Let a person in no more: his sessions end, and the invitations that he made.  Raises NotFound; Forbidden for oneself (G1)."""
    if id == giver.id:
        raise Forbidden("Nobody lets himself out. Ask somebody else.", code="own_authority")
    if (await _locked(tx, id))["disabled_at"] is None:
        await sessions.revoke_all(tx, id)  # locked before the revision, as whoever ends one of them locks them
        offered = await tx.rows(Q.revoke_invitations_of, ids.show("usr", id))
        await tx.run(Q.disable_person, id)
        trail.note(tx, "user.disabled", ids.show("usr", id), after={"invitations_revoked": len(offered)})
    return await _locked(tx, id)


async def enable(tx: Tx, giver: Giver, id: UUID) -> Row:
    """Let a person in again, at once: what he tried wrongly is forgotten.  Raises NotFound; Forbidden for oneself (G1)."""
    if id == giver.id:
        raise Forbidden("Nobody lets himself in. Ask somebody else.", code="own_authority")
    row = await _locked(tx, id)
    if row["disabled_at"] is not None:
        await tx.run(Q.enable_person, id)
        trail.note(tx, "user.enabled", ids.show("usr", id))
    await throttle.forget_person(tx, row["email"])
    return await _locked(tx, id)


async def change_password(env: Env, id: UUID, session_id: UUID, old: str, new: str, *, ip: str) -> None:
    """Another password; all other sessions end.  Raises Invalid, Refused, RateLimited, Busy."""
    async with passwords.turn():
        person = await find(env.control, id)
        passwords.check(new, person["email"])
        proven = await prove_again(env, person, old, ip=ip)
        hashed = await passwords.hash(new)

    async def work(tx: Tx) -> None:
        if await tx.value(Q.set_password, id, hashed, proven) is None:
            raise Unauthenticated("The password was changed meanwhile. Sign in again.")
        ended = await sessions.revoke_all(tx, id, but=session_id)
        trail.note(tx, "password.changed", ids.show("usr", id), after={"sessions_ended": ended})

    await env.control.transact(work)


def no_such(shown: str) -> NotFound:
    """There is no such person, or not for this caller."""
    return NotFound(f"No such user: '{shown}'")


async def _locked(tx: Tx, id: UUID) -> Row:
    row = await tx.row(Q.lock_person, id)
    if row is None:
        raise no_such(ids.show("usr", id))
    return row
