"""Cases as people end them, where no domain knows more: dismissed.  And who may own one."""

from uuid import UUID

from guilder.core import ids
from guilder.core.errors import Invalid
from guilder.people.principal import authority_of
from guilder.platform.case import Dossier, Resolver, Trace, Verdict
from guilder.platform.db import Tx
from guilder.platform.environment import Env

OPERATOR = "operator"


async def check_owner(rt: Env, book_id: UUID, owner: str | None) -> None:
    """Whether somebody could do anything about a case of this book.  Raises Invalid."""
    if owner is None or owner == OPERATOR:
        return
    id = ids.read("usr", owner) or ids.read("svc", owner)
    if id is None:
        raise Invalid(f"{owner[:40]!r} is nobody: an owner is usr_…, svc_… or {OPERATOR}.", param="owner")
    authority = await authority_of(rt, id)
    if "cases:write" not in authority.over(book_id) | authority.own(book_id):
        raise Invalid(f"{owner} has no role that could do anything about this case (cases:write).", param="owner")


async def dismiss(tx: Tx, about: Dossier, verdict: Verdict) -> Trace:
    """Nothing moved and nothing is to be done: why it is so is all that is left."""
    if verdict.units is not None:
        raise Invalid("Nothing moves when a case is dismissed: leave `amount` out.", param="amount")
    return Trace()


RESOLVERS = (
    Resolver("dismiss", "Nothing moved, and nothing is to be done, or it was done already: say why.", lambda about: not about.moved, dismiss),
)  # fmt: skip
