"""Roles of one's own: made, changed, deleted.  Those that Guilder brings cannot be changed."""

from collections.abc import Sequence

from guilder.core import ids
from guilder.core.errors import Forbidden, Invalid, NotFound
from guilder.people.grants import Giver
from guilder.people.model import PERMISSIONS
from guilder.platform import trail
from guilder.platform.db import Database, Row, Tx
from guilder.platform.sql import load

Q = load(__package__)
MOST = 200


async def everything(control: Database) -> list[Row]:
    """All roles, by name."""
    return await control.rows(Q.list_roles)


async def make(tx: Tx, name: str, permissions: Sequence[str], description: str) -> Row:
    """A new role.  Raises Invalid."""
    wanted = _known(permissions)
    if len(await tx.rows(Q.list_roles)) >= MOST:
        raise Invalid(f"There may be {MOST} roles. Delete one that nobody has.")
    if await tx.row(Q.insert_role, name, wanted, description) is None:
        raise Invalid(f"There is a role '{name}' already.", code="resource_already_exists", param="name")
    trail.note(tx, "role.made", name, after={"permissions": wanted})
    return await _found(tx, name)


async def change(tx: Tx, giver: Giver, name: str, permissions: Sequence[str] | None, description: str | None) -> Row:
    """Change a role for everybody who has it.  Raises Invalid, NotFound; Forbidden for a built-in one, and for one's own (G1)."""
    old = await _own(tx, giver, name)
    wanted = list(old["permissions"]) if permissions is None else _known(permissions)
    await _not_through_a_key(tx, giver, name, set(wanted) - set(old["permissions"]))
    await tx.run(Q.update_role, name, wanted, old["description"] if description is None else description)
    trail.note(
        tx, "role.changed", name, before={"permissions": list(old["permissions"])}, after={"permissions": wanted}
    )
    return await _found(tx, name)


async def delete(tx: Tx, giver: Giver, name: str) -> None:
    """Delete a role that nobody has.  Raises Invalid, NotFound, Forbidden."""
    old = await _own(tx, giver, name)
    if n := await tx.value(Q.count_role, name):
        raise Invalid(f"The role '{name}' is given, or offered in an invitation, {n} times. Take it back first.")
    await tx.run(Q.delete_role, name)
    trail.note(tx, "role.deleted", name, before={"permissions": list(old["permissions"])})


async def _own(tx: Tx, giver: Giver, name: str) -> Row:
    """The role, locked: who would grant it waits."""
    row = await tx.row(Q.lock_role, name)
    if row is None:
        raise NotFound(f"No such role: '{name}'")
    if row["built_in"]:
        raise Forbidden(f"The role '{name}' is built in and cannot be changed. Make one of your own.")
    authority = await giver.authority(tx)
    if authority is not None and any(g.role == name for g in authority.grants):
        raise Forbidden("Nobody changes what he himself may do, and you have this role.", code="own_authority")
    return row


async def _not_through_a_key(tx: Tx, giver: Giver, name: str, added: set[str]) -> None:
    """Nobody lets a role grow beyond himself that a service account has, or that he gives by one: its key may be in his hand (G2)."""
    authority = await giver.authority(tx)
    if authority is None or not (lacking := added - authority.over(ids.PLATFORM)):
        return
    if giver.actor.startswith("svc_") or await tx.value(Q.count_services_with_role, name):
        raise Forbidden(
            f"A service account has this role, and you do not have yourself: {', '.join(sorted(lacking))}. Ask somebody who has."
        )


async def _found(tx: Tx, name: str) -> Row:
    row = await tx.row(Q.find_role, name)
    if row is None:
        raise NotFound(f"No such role: '{name}'")
    return row


def _known(permissions: Sequence[str]) -> list[str]:
    if unknown := set(permissions) - set(PERMISSIONS):
        raise Invalid(
            f"Unknown permissions: {', '.join(sorted(unknown))}. Known are {', '.join(PERMISSIONS)}.", param="permissions"
        )  # fmt: skip
    return [p for p in PERMISSIONS if p in permissions]
