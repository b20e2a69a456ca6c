"""Invitations: somebody is asked to join, with a role that waits for him.  The token is shown once; whoever has it may accept, once.

An address that is known already is told apart from a new one only to whoever accepts: he gives his own password then, and no invitation
replaces it.  Both when it is made and when it is accepted, whoever made it must be allowed to give that role (people/grants.py).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.core.errors import NotFound, Rejected
from guilder.people import grants, passwords, throttle
from guilder.people.grants import Giver, Place
from guilder.people.model import At
from guilder.people.principal import digest, new_token
from guilder.people.sign_in import Refused
from guilder.platform import context, trail
from guilder.platform.db import Conflict, Row, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)
PREFIX = "it"  # of tokens
LIFE = timedelta(days=7)


class InvitationRefused(Rejected):
    """This invitation is unknown, over, revoked, or was accepted. Ask for a new one."""

    code = "invitation_refused"


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation that was just made.  `token` exists nowhere else."""

    id: UUID
    token: str
    expires_at: datetime


async def invite(tx: Tx, giver: Giver, email: str, role: str, place: Place) -> Invited:
    """Ask somebody to join.  Raises Invalid, Forbidden, NotFound."""
    address = email.strip().lower()
    place.check()
    found = await tx.row(Q.find_role, role)
    if found is None:
        raise NotFound(f"No such role: '{role}'", param="role")
    known = await tx.row(Q.find_person_by_email, address)
    mine = known is not None and known["id"] == giver.id  # of all others, nothing may be told by what is answered
    grants.check(giver, await giver.authority(tx), place, found["permissions"], giver.id if mine else None)
    now, id = clock.now(), ids.new_id()
    token, hashed = new_token(PREFIX)
    await tx.run(
        Q.insert_invitation, id, address, hashed, role, place.at.value, place.merchant_id, giver.actor, now, now + LIFE
    )
    said = {"role": role, "at": place.at.value}
    trail.note(tx, "invitation.made", ids.show("inv", id), book_id=place.merchant_id or ids.PLATFORM, after=said)
    return Invited(id, token, now + LIFE)


async def revoke(tx: Tx, giver: Giver, id: UUID) -> Row:
    """Take an invitation back.  Raises NotFound, Forbidden."""
    row = await tx.row(Q.revoke_invitation, id)
    if row is None:
        raise NotFound(f"No such invitation: '{ids.show('inv', id)}', or it was accepted or revoked.")
    role = await tx.row(Q.find_role, row["role"])
    place = Place(At(row["at"]), row["merchant_id"])
    grants.check(giver, await giver.authority(tx), place, () if role is None else role["permissions"], None)
    trail.note(tx, "invitation.revoked", ids.show("inv", id), book_id=row["merchant_id"] or ids.PLATFORM)
    return row


async def accept(env: Env, token: str, password: str, name: str, *, ip: str) -> UUID:
    """Join: a new person with this password, or one who is here already and proves it; who it is.

    Raises InvitationRefused, Invalid for a password that may be none, Refused for a wrong one, RateLimited, Busy.
    """
    async with passwords.turn():
        try:
            return await _accept(env, token, password, name, ip)
        except Conflict:  # somebody with this address has joined meanwhile, by another invitation: he is here already
            return await _accept(env, token, password, name, ip)


async def _accept(env: Env, token: str, password: str, name: str, ip: str) -> UUID:
    offered = await env.control.row(Q.find_open_invitation, digest(token))
    if offered is None:
        raise InvitationRefused
    person = await env.control.row(Q.find_person_by_email, offered["email"])
    hashed, counted = "", throttle.of("sign in", offered["email"], ip)
    if person is None:
        passwords.check(password, offered["email"])
        hashed = await passwords.hash(password)
    else:
        await throttle.count(env.control, counted)
        active = person["disabled_at"] is None
        if not (await passwords.prove(person["password"] if active else None, password)).right:
            raise Refused("You are here already. Give the password that you have; this one is wrong.", param="password")

    async def work(tx: Tx) -> UUID:
        if await tx.row(Q.accept_invitation, offered["id"]) is None:
            raise InvitationRefused
        id = ids.new_id() if person is None else person["id"]
        context.enter(msgspec.structs.replace(context.current(), actor=ids.show("usr", id)))
        if person is None:
            await tx.run(Q.insert_person, id, offered["email"], name, hashed, clock.now())
            trail.note(tx, "user.made", ids.show("usr", id))
        else:
            if await tx.row(Q.lock_proven, id, person["password"], person["totp"]) is None:
                raise Refused
            forget = person["totp"] is None  # else codes could be guessed for as long as there are invitations
            await throttle.take_back(tx, counted, forget=forget)
        await give(tx, offered, id)
        after = {"user": ids.show("usr", id)}
        trail.note(
            tx, "invitation.accepted", ids.show("inv", offered["id"]), book_id=offered["merchant_id"] or ids.PLATFORM, after=after
        )  # fmt: skip
        return id

    return await env.control.transact(work)


async def give(tx: Tx, offered: Row, to: UUID) -> None:
    """The grant that was offered, if whoever offered it may still give it.  Raises InvitationRefused."""
    found = await tx.row(Q.share_role, offered["role"])
    giver = giver_of(offered["given_by"])
    place = Place(At(offered["at"]), offered["merchant_id"])
    if found is None or giver is None:
        raise InvitationRefused
    try:
        grants.check(giver, await giver.authority(tx), place, found["permissions"], to)
    except Rejected as error:
        raise InvitationRefused(
            "Whoever sent this invitation may not give that role any more. Ask for a new one."
        ) from error
    await grants.put(tx, offered["given_by"], to, offered["role"], place)


def giver_of(actor: str) -> Giver | None:
    """Whoever an invitation says gave it."""
    if actor == grants.OPERATOR:
        return Giver()
    id = ids.read("usr", actor) or ids.read("svc", actor)
    return None if id is None else Giver(id, actor)
