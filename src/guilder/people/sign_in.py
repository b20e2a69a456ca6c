"""Sign in: a password, and a code if the person has one, for a session.

    1. transaction   count the try                                          (throttle)
    2. no transaction: hold the password against the hash, in a thread       (passwords)
    3. transaction   use the code up, make the session, take the try back

A session's token is made here and nowhere else, new each time: nothing that the caller sent becomes it.  Whoever is unknown, has no
password, or was disabled hears what a wrong password hears, after as long a time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from guilder.core import clock, ids
from guilder.core.errors import GuilderError, RateLimited, Unauthenticated
from guilder.people import passwords, throttle, totp
from guilder.people.principal import PERSON, new_token
from guilder.platform import context, telemetry, trail
from guilder.platform.crypto import Keyring
from guilder.platform.db import Row, Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)
LIFE = timedelta(hours=12)
MAX_AGENT = 200


class Refused(Unauthenticated):
    """The e-mail address or the password is wrong."""

    code = "sign_in_refused"


class CodeWanted(Unauthenticated):
    """The password is right. Send the code of your authenticator app as well, or one of your recovery codes."""

    code = "code_required"


class CodeRefused(Unauthenticated):
    """The password is right, the code is wrong or was used before. Wait for the next one."""

    code = "code_refused"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session that was just made.  `token` exists nowhere else."""

    id: UUID
    token: str
    person: Row
    ip: str
    agent: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Factor:
    """A code that fits, and is used up in the transaction that relies on it: a time step's, or a recovery code."""

    step: int | None = None
    recovery: bytes | None = None


async def sign_in(env: Env, email: str, password: str, code: str | None, *, ip: str, agent: str = "") -> SignedIn:
    """A new session.  Raises Refused, CodeWanted, CodeRefused, RateLimited, Busy."""
    try:
        async with passwords.turn():
            made = await _sign_in(env, email.strip().lower(), password, code, ip, agent[:MAX_AGENT])
    except GuilderError as error:
        outcome = "waits" if isinstance(error, RateLimited) else error.code or "failed"
        telemetry.SIGN_INS.labels(outcome).inc()
        raise
    telemetry.SIGN_INS.labels("signed_in").inc()
    return made


async def _sign_in(env: Env, email: str, password: str, code: str | None, ip: str, agent: str) -> SignedIn:
    counted = throttle.of("sign in", email, ip)
    await throttle.count(env.control, counted)
    person = await env.control.row(Q.find_person_by_email, email)
    known = person is not None and person["disabled_at"] is None
    proof = await passwords.prove(person["password"] if person is not None and known else None, password)
    if person is None or not proof.right:
        raise Refused
    factor = None
    if person["totp"] is not None:
        if not code:
            await env.control.transact(lambda tx: throttle.take_back(tx, counted, forget=False))
            raise CodeWanted
        factor = look(env.keyring, person, code)

    async def work(tx: Tx) -> SignedIn:
        if await tx.row(Q.lock_proven, person["id"], person["password"], person["totp"]) is None:
            raise Refused  # it was changed while we looked
        if factor is not None:
            await use(tx, person["id"], factor)
        if proof.anew is not None:
            await tx.run(Q.set_password, person["id"], proof.anew, person["password"])
        await throttle.take_back(tx, counted, forget=True)
        return await begin(tx, person, ip=ip, agent=agent)

    return await env.control.transact(work)


async def begin(tx: Tx, person: Row, *, ip: str, agent: str) -> SignedIn:
    """A session of somebody who has proven who he is."""
    now, id = clock.now(), ids.new_id()
    token, hashed = new_token(PERSON)
    await tx.run(Q.insert_session, id, person["id"], hashed, ip, agent, now, now + LIFE)
    shown = ids.show("usr", person["id"])
    context.enter(msgspec.structs.replace(context.current(), actor=shown))
    trail.note(
        tx, "session.made", ids.show("ses", id), after={"user": shown, "second_factor": person["totp"] is not None}
    )
    return SignedIn(id, token, person, ip, agent, now, now + LIFE)


def look(keyring: Keyring, person: Row, code: str) -> Factor:
    """What `code` is, if it may let this person in.  Raises CodeRefused."""
    step = totp.step_of(keyring.open(person["totp"], about=about(person["id"])), code, clock.now())
    if step is not None:
        return Factor(step=step)
    recovery = totp.recovery_digest(code)
    if recovery is None:
        raise CodeRefused
    return Factor(recovery=recovery)


async def use(tx: Tx, person_id: UUID, factor: Factor) -> None:
    """Use a code up.  Raises CodeRefused if it was used, by whomever, or is none."""
    if factor.step is not None:
        used = await tx.value(Q.use_step, person_id, factor.step)
    else:
        used = await tx.value(Q.use_recovery_code, person_id, factor.recovery)
        trail.note(tx, "recovery_code.used", ids.show("usr", person_id))
    if used is None:
        raise CodeRefused


def about(person_id: UUID) -> str:
    """What a person's sealed secrets are bound to."""
    return f"people.person/{person_id}"


async def prove_again(env: Env, person: Row, password: str, *, ip: str) -> str:
    """The hash that `password` fits, of somebody who is signed in: a session alone may not change what signs in.  Counted like any try.
    Raises Refused, RateLimited."""
    counted = throttle.of("again", str(person["id"]), ip)
    await throttle.count(env.control, counted)
    proof = await passwords.prove(person["password"], password)
    if not proof.right:
        raise Refused("The password is wrong.", param="password")
    await env.control.transact(lambda tx: throttle.take_back(tx, counted, forget=True))
    return str(person["password"])
