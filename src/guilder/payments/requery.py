"""Requery: ask the channel again, now, about what a case is about, and say in the case what it answered.

The answer goes into the room as any other: it may end what was open, book what was paid, or open a case of its own.
"""

from uuid import UUID

from guilder.core import ids
from guilder.core.errors import WrongState
from guilder.payments import asking, store
from guilder.platform import context
from guilder.platform.case import Dossier
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)


async def ask(env: Env, about: Dossier) -> str:
    """What the channel says, in a sentence.  Raises WrongState where a case is about nothing that a channel could be asked about."""
    id = _named(about)
    paid = None if id is None else await env.db.row(Q.find_attempt, about.book_id, id)
    back = None if id is None or paid is not None else await env.db.row(Q.find_refund, about.book_id, id)
    if paid is not None:
        attempt = store.attempt_of(paid)
        account = await asking.the_account(env, attempt)
        outcome = await asking.query(env, attempt, account)
        recorded = await asking.record(env, attempt, account, outcome, "query", context.current())
    elif back is not None:
        refund = store.refund_of(back)
        account, of = (
            await asking.the_account(env, refund),
            await env.db.row(Q.find_attempt, about.book_id, refund.attempt_id),
        )
        assert of is not None
        outcome = await asking.query_refund(env, refund, store.attempt_of(of), account)
        recorded = await asking.record_refund(env, refund, account, outcome, "query", context.current())
    else:
        raise WrongState(
            "This case names no payment and no refund: there is nothing to ask a channel about.",
            code="case_not_askable",
        )
    said = f"{account.info.title} says {outcome.state.value}"
    more = f" of {outcome.amount}" if outcome.amount else ""
    number = f", number {outcome.channel_ref}" if outcome.channel_ref else ""
    return f"Asked again: {said}{more}{number}; with us it is {recorded.state}."


def _named(about: Dossier) -> UUID | None:
    """The try or refund that it is about: its subject, or what its evidence names."""
    for key in (about.subject, about.evidence.get("attempt"), about.evidence.get("key")):
        named = ids.split_key(str(key or ""))
        if named is not None and named[1] == ids.book_code(about.book_id):
            return named[0]
    return None
