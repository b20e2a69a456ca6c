"""The second factor: enrol an authenticator app, confirm it, remove it; recovery codes.

The app's secret is shown once and sealed.  It counts from its first code on: who scans it and never confirms is not locked out.
"""

from uuid import UUID

from guilder.core import clock, ids
from guilder.core.errors import Invalid, Unauthenticated
from guilder.people import passwords, totp, users
from guilder.people.sign_in import CodeRefused, about, prove_again
from guilder.platform import trail
from guilder.platform.db import Tx
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)


async def begin(env: Env, id: UUID, password: str, *, ip: str) -> tuple[bytes, str]:
    """A new secret, not confirmed yet, and whose it is.  Raises Invalid while there is one that counts, Refused, RateLimited, Busy."""
    async with passwords.turn():
        person = await users.find(env.control, id)
        await prove_again(env, person, password, ip=ip)
    secret = totp.new_secret()
    sealed = env.keyring.seal(secret, about=about(id))

    async def work(tx: Tx) -> None:
        if await tx.value(Q.begin_totp, id, sealed) is None:
            raise Invalid("An authenticator app is enrolled already. Remove it first.", code="totp_enrolled")
        trail.note(tx, "totp.begun", ids.show("usr", id))

    await env.control.transact(work)
    return secret, str(person["email"])


async def confirm(env: Env, id: UUID, code: str) -> list[str]:
    """From this code on the app counts; the recovery codes.  Raises Invalid if none is waiting, CodeRefused."""
    person = await users.find(env.control, id)
    sealed = person["totp_new"]
    if sealed is None:
        raise Invalid("No authenticator app waits to be confirmed. Enrol one first.", code="totp_not_enrolled")
    step = totp.step_of(env.keyring.open(sealed, about=about(id)), code, clock.now())
    if step is None:
        raise CodeRefused("This code is wrong. Give the one that the app shows now.", param="code")

    async def work(tx: Tx) -> list[str]:
        if await tx.value(Q.confirm_totp, id, sealed, step) is None:
            raise CodeRefused("This was confirmed or begun anew meanwhile.", param="code")
        trail.note(tx, "totp.confirmed", ids.show("usr", id))
        return await _recovery_codes(tx, id)

    return await env.control.transact(work)


async def remove(env: Env, id: UUID, password: str, *, ip: str) -> None:
    """The password alone signs in again.  Raises Refused, RateLimited, Busy."""
    async with passwords.turn():
        await prove_again(env, await users.find(env.control, id), password, ip=ip)
    await env.control.transact(lambda tx: reset(tx, id))


async def reset(tx: Tx, id: UUID) -> None:
    """Take a person's second factor away, recovery codes included."""
    await tx.run(Q.remove_totp, id)
    await tx.run(Q.delete_recovery_codes, id)
    trail.note(tx, "totp.removed", ids.show("usr", id))


async def renew_recovery_codes(env: Env, id: UUID, password: str, *, ip: str) -> list[str]:
    """Ten new ones; those that were left count no more.  Raises Invalid without a second factor, Refused, RateLimited, Busy."""
    async with passwords.turn():
        proven = await prove_again(env, await users.find(env.control, id), password, ip=ip)

    async def work(tx: Tx) -> list[str]:
        person = await tx.row(Q.lock_person, id)
        if person is None or person["password"] != proven:
            raise Unauthenticated("The password was changed meanwhile. Sign in again.")
        if person["totp"] is None:
            raise Invalid(
                "Recovery codes stand in for an authenticator app. Enrol one first.", code="totp_not_enrolled"
            )
        return await _recovery_codes(tx, id)

    return await env.control.transact(work)


async def _recovery_codes(tx: Tx, id: UUID) -> list[str]:
    codes = totp.new_recovery_codes()
    await tx.run(Q.delete_recovery_codes, id)
    await tx.run(Q.insert_recovery_codes, id, [totp.recovery_digest(c) for c in codes])
    trail.note(tx, "recovery_codes.made", ids.show("usr", id))
    return codes
