"""Grants: who has which role, and where.  Who may give it, and take it back.

    G1  Nobody changes what he himself may do.
    G2  A person who has people:write for the platform may give any role to another person; to a service account, whose key he may read,
        only what he may do himself.  A service account gives only what it has: whoever holds its key would give himself the rest.
    G3  Who has it for one merchant may give and take only at that merchant, and only roles all of whose permissions he has there.
    G4  What he may do is read in the transaction that gives: a right that was taken a moment ago gives nothing.

The machine's operator, at the command line, is bound by none of them: whoever can read the database can write it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import Forbidden, Invalid, NotFound
from guilder.people.model import At, Authority
from guilder.people.principal import authority_in
from guilder.platform import trail
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load

Q = load(__package__)
OPERATOR = "operator"
WRITE = "people:write"


@dataclass(frozen=True, slots=True)
class Giver:
    """Who gives or takes; no id: the machine's operator."""

    id: UUID | None = None
    actor: str = OPERATOR

    async def authority(self, tx: Tx) -> Authority | None:
        """What he may do, now; None: everything."""
        return None if self.id is None else await authority_in(tx, self.id)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a role is to reach."""

    at: At
    merchant_id: UUID | None = None

    def check(self) -> None:
        """Raises Invalid for what cannot be."""
        if self.at is At.STORE:
            raise Invalid("There are no stores in this release: a role reaches merchant, platform or own.", param="at")
        if self.at is At.PLATFORM and self.merchant_id is not None:
            raise Invalid("A role at the platform reaches every account: name none.", param="account")
        if self.at is At.MERCHANT and self.merchant_id is None:
            raise Invalid("Say at which account: account=acct_…", code="parameter_missing", param="account")


def check(
    giver: Giver, authority: Authority | None, place: Place, permissions: Collection[str], to: UUID | None, *, service: bool = False
) -> None:  # fmt: skip
    """Whether he may give or take a role of these permissions there (G1 to G3).  `to`: whom it is for; None: somebody yet unknown.
    Raises Invalid, Forbidden."""
    place.check()
    if authority is None:
        return
    if to is not None and to == giver.id:
        raise Forbidden("Nobody changes what he himself may do. Ask somebody else.", code="own_authority")
    here = ids.PLATFORM if place.merchant_id is None else place.merchant_id
    everywhere = WRITE in authority.over(ids.PLATFORM)
    if not everywhere and (here == ids.PLATFORM or WRITE not in authority.over(here)):
        raise Forbidden("You may not give or take roles there: that wants people:write.")
    limited = service or not everywhere or giver.actor.startswith("svc_")
    if limited and (lacking := set(permissions) - authority.over(here)):
        raise Forbidden(f"You may not give or take what you do not have there yourself: {', '.join(sorted(lacking))}.")


async def give(tx: Tx, giver: Giver, to: UUID, role: str, place: Place, *, service: bool = False) -> Row:
    """Grant a role; the same one a second time is the first.  Raises Invalid, Forbidden, NotFound."""
    found = await tx.row(Q.share_role, role)
    if found is None:
        place.check()
        raise NotFound(f"No such role: '{role}'", param="role")
    check(giver, await giver.authority(tx), place, found["permissions"], to, service=service)
    someone = await tx.row(Q.find_service if service else Q.find_person, to)
    if someone is None or someone["disabled_at"] is not None:
        raise NotFound(f"No such user: '{whose(to, service)}', or disabled.", param="to")
    return await put(tx, giver.actor, to, role, place, service=service)


async def put(tx: Tx, actor: str, to: UUID, role: str, place: Place, *, service: bool = False) -> Row:
    """Write a grant that was found to be right."""
    id, person, account = ids.new_id(), None if service else to, to if service else None
    made = await tx.row(
        Q.insert_grant, id, person, account, role, place.at.value, place.merchant_id, actor, clock.now()
    )
    if made is None:
        same = await tx.row(Q.find_same_grant, to, role, place.at.value, place.merchant_id)
        if same is None:
            raise NotFound("This grant was taken back while it was given: give it again.")
        return same
    trail.note(tx, "grant.given", ids.show("gra", id), book_id=_book(place.merchant_id), after=_said(made))
    return made


async def take(tx: Tx, giver: Giver, id: UUID) -> Row:
    """Take a grant back.  Raises Forbidden, NotFound."""
    row = await tx.row(Q.find_grant, id)
    role = None if row is None else await tx.row(Q.find_role, row["role"])
    if row is None or role is None:
        raise NotFound(f"No such grant: '{ids.show('gra', id)}'")
    place, to = Place(At(row["at"]), row["merchant_id"]), row["person_id"] or row["service_id"]
    authority = await giver.authority(tx)
    here = ids.PLATFORM if place.merchant_id is None else place.merchant_id
    if authority is not None and to != giver.id and WRITE not in authority.over(here):
        raise NotFound(f"No such grant: '{ids.show('gra', id)}'")  # another merchant's: not even that it exists
    check(giver, authority, place, role["permissions"], to, service=row["service_id"] is not None)
    if await tx.row(Q.delete_grant, id) is None:
        raise NotFound(f"No such grant: '{ids.show('gra', id)}'")
    trail.note(tx, "grant.taken", ids.show("gra", id), book_id=_book(place.merchant_id), before=_said(row))
    return row


async def of(control: Database, id: UUID) -> list[Row]:
    """What a person or service account was given, newest first; a hundred at most."""
    return await control.rows(Q.list_grants, None, None, None, None, 100, None, id)


def whose(id: UUID, service: bool) -> str:
    """A person or service account, as shown."""
    return ids.show("svc" if service else "usr", id)


def _said(row: Row) -> dict[str, str | None]:
    to = row["person_id"] or row["service_id"]
    account = None if row["merchant_id"] is None else ids.show("acct", row["merchant_id"])
    return {"to": whose(to, row["service_id"] is not None), "role": row["role"], "at": row["at"], "account": account}


def _book(merchant_id: UUID | None) -> UUID:
    return ids.PLATFORM if merchant_id is None else merchant_id
