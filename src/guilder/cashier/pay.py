"""Pay: the payer has chosen a way.  The same confirm as the API's, begun from the page.

Pressed twice it asks once: two presses that saw the same state of the payment have one idempotency key, which no caller of the API
can send.  The second hears InFlight or the first one's answer, and the page shows what there is.
"""

from collections.abc import Mapping
from datetime import timedelta

from guilder.cashier.device import Offer
from guilder.cashier.till import Stage, Till
from guilder.core import clock, ids
from guilder.payments import asking, confirm, methods, routes
from guilder.payments import store as payments_store
from guilder.payments.model import Attempt, Intent
from guilder.payments.params import PaymentMethodData
from guilder.payments.present import Face
from guilder.payments.states import OPEN_ATTEMPT
from guilder.platform import context
from guilder.platform.context import Context
from guilder.platform.idempotency import Key, Reply


async def pay(
    till: Till,
    offer: Offer,
    return_url: str,
    request_id: str,
    known: Mapping[str, str] | None = None,
    user_agent: str = "",
) -> Reply | None:
    """Ask the channel to collect; None if the payer is there already, or being brought there.  `known`: what the page knows of him that
    the way needs.  Raises what confirm raises."""
    env, known = till.env, known or {}
    if await _is_there(till, offer, known):
        return None
    router, payer = await routes.router(env, till.book_id), routes.Payer(user_agent[:500])
    # An openid means somebody to one application only: that one is asked, and no other.
    others = {
        a.id: "it knows this payer by another name" for a in till.accounts if offer.account_id not in (None, a.id)
    }

    def choose(intent: Intent, tried: routes.Tried) -> routes.Choice:
        return router.choose(intent, offer.type, offer.options(known), payer=payer, tried={**others, **tried})

    method = methods.from_data(till.book_id, PaymentMethodData(type=offer.type))
    expiry = clock.now() + timedelta(seconds=env.settings.payment_expiry_s)
    wish = confirm.Begin(
        till.book_id, till.intent_id, choose, offer.type, method.id, _payer(till, request_id), Face(env), expiry,
        return_url=return_url, new_method=method,
    )  # fmt: skip
    same = f"{offer.type} {offer.client}".encode()
    key = Key(till.book_id, f"\npay {ids.text(till.intent_id)} {till.mark}", same, request_id)
    return await confirm.confirm(env, key, wish)


async def _is_there(till: Till, offer: Offer, known: Mapping[str, str]) -> bool:
    """Whether the payment stands already where this press would lead."""
    if till.method_type != offer.type:
        return False
    if till.stage is Stage.ASKING:
        return not till.unasked
    if till.way != offer.way or till.stage not in (Stage.SCAN, Stage.LEAVE, Stage.WALLET):
        return False
    if offer.identity is None:
        return True
    attempt = await the_attempt(till)  # another phone has the same link: what it was given is not this one's
    return attempt is not None and attempt.given.get(offer.identity) == known.get(offer.identity)


async def the_attempt(till: Till) -> Attempt | None:
    """The latest try."""
    attempts = await till.env.db.transact(lambda tx: payments_store.attempts(tx, [till.key]))
    return attempts.get((till.book_id, till.attempt_id)) if till.attempt_id is not None else None


async def look(till: Till, request_id: str) -> None:
    """Ask the channel now: the payer is back from its page, and its callback may come later."""
    env = till.env
    attempt = await the_attempt(till)
    if attempt is None or attempt.state not in OPEN_ATTEMPT:
        return
    by = _payer(till, request_id)
    with context.use(by):
        account = await asking.the_account(env, attempt)
        outcome = await asking.query(env, attempt, account)
        await asking.record(env, attempt, account, outcome, "query", by)


def _payer(till: Till, request_id: str) -> Context:
    """The payment's chain of work, carried on by whoever holds the link."""
    return context.carry_on(
        till.root_id,
        request_id=request_id,
        business_line=till.business_line,
        book_id=till.book_id,
        actor="payer",
        env=till.env.name,
    )
