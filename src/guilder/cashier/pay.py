"""Pay: the payer has chosen a way.  The same confirm as the API's, begun from the page.

Pressed twice it asks once: two presses that saw the same state of the payment have one idempotency key, which no caller of the API
can send.  The second hears InFlight or the first one's answer, and the page shows what there is.
"""

from datetime import timedelta

from guilder.cashier.device import Offer
from guilder.cashier.till import Stage, Till
from guilder.core import clock, ids
from guilder.merchants import channel_accounts
from guilder.payments import asking, confirm, methods, ways
from guilder.payments import store as payments_store
from guilder.payments.params import PaymentMethodData
from guilder.payments.present import Face
from guilder.payments.states import OPEN_ATTEMPT
from guilder.platform import context
from guilder.platform.context import Context
from guilder.platform.idempotency import Key, Reply


async def pay(till: Till, offer: Offer, return_url: str, request_id: str) -> Reply | None:
    """Ask the channel to collect; None if the payer is there already, or being brought there.  Raises what confirm raises."""
    env = till.env
    there = till.code is not None if offer.scans else till.leaves_to is not None
    if till.method_type == offer.type and (there or till.stage is Stage.ASKING):
        return None
    accounts = await channel_accounts.of_merchant(env, till.book_id)
    way = ways.choose(offer.type, accounts, till.currency, offer.options)
    method = methods.from_data(till.book_id, PaymentMethodData(type=offer.type))  # pyrefly: ignore[bad-argument-type]
    expiry = clock.now() + timedelta(seconds=env.settings.payment_expiry_s)
    wish = confirm.Begin(
        till.book_id, till.intent_id, lambda _: way, offer.type, method.id, _payer(till, request_id), Face(env), expiry,
        return_url=return_url, new_method=method,
    )  # fmt: skip
    key = Key(till.book_id, f"\npay {ids.text(till.intent_id)} {till.mark}", offer.type.encode(), request_id)
    return await confirm.confirm(env, key, wish)


async def look(till: Till, request_id: str) -> None:
    """Ask the channel now: the payer is back from its page, and its callback may come later."""
    env = till.env
    attempts = await env.db.transact(lambda tx: payments_store.attempts(tx, [till.key]))
    attempt = attempts.get((till.book_id, till.attempt_id)) if till.attempt_id else None
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
