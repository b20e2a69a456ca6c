"""The adapter: asks become calls, replies become outcomes.

Collecting.  The payer agrees to an order on PayPal's page; the money moves only when we ask for it.  So a query of an order that was
             APPROVED captures it (authorises it, where it was to be held), under a PayPal-Request-Id of its own: however many
             processes ask, it is done once.  The webhook of the approval says PENDING, and the core queries soon after.
Closing.     PayPal cannot cancel an order, and an order that we do not capture cannot be paid.  So closing writes into the order
             itself (its custom_id) that it has ended, and whoever queries it later captures nothing.
Keys.        PayPal-Request-Id is our key, with a letter for each further step; invoice_id is our key too and comes back in webhooks
             and statements.  PayPal finds nothing by it, so its own numbers are in the memo (C7).
Replies.     Unsigned; see `door`.  Webhooks are signed; see `trust`.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time
from typing import Any, ClassVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

from guilder.channels.conclude import Doubtful, conclude, look_first
from guilder.channels.info import Info, Operation, Way
from guilder.channels.model import (
    Ask,
    CapturePayment,
    ClosePayment,
    CreatePayment,
    CreatePayout,
    CreateRefund,
    FetchStatement,
    Inbound,
    Notice,
    Outcome,
    Problem,
    QueryPayment,
    QueryPayout,
    QueryRefund,
    Retry,
    State,
    Statement,
    StatementKind,
    SubmitEvidence,
)
from guilder.channels.paypal.config import PayPalConfig
from guilder.channels.paypal.disputes import Complaint, evidence
from guilder.channels.paypal.door import Door, multipart, one, read, read_with
from guilder.channels.paypal.money import Uneven, money, write
from guilder.channels.paypal.notices import read_notice
from guilder.channels.paypal.objects import Capture, Memo, Order, Refund, end_mark, number
from guilder.channels.paypal.payouts import RECIPIENT, Batch
from guilder.channels.paypal.settlement import fetch_report
from guilder.channels.paypal.statement import fetch_transactions
from guilder.channels.paypal.states import ABOUT_THE_ORDER, ABOUT_THE_REFUND, NOT_THERE, NOT_YET, REFUSED, Refusal
from guilder.channels.paypal.trust import Trust
from guilder.core.amount import Amount
from guilder.core.check import must, never
from guilder.core.clock import now
from guilder.core.exchange import Exchange, HttpReply

INFO = Info(
    code="paypal",
    title="PayPal",
    ways=(Way("checkout", "paypal", "web", "redirect"),),
    currencies=frozenset({
        "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "JPY", "MXN", "MYR", "NOK", "NZD", "PHP", "PLN",
        "SEK", "SGD", "THB", "TWD", "USD",
    }),
    operations=frozenset({Operation.CLOSE, Operation.CAPTURE, Operation.REFUND, Operation.PAYOUT, Operation.EVIDENCE}),
    min_expiry_s=60,
    hold_s=28 * 86_400,  # an authorisation lives for 29 days
    key_s=29 * 86_400,  # of a payout, 30 days
    max_expiry_s=3 * 3600,  # an order that nobody approves lives for three hours
    zone=ZoneInfo("UTC"),  # transaction search is asked by instants, so its days are ours to choose
    day_cut=time(0),
    statement_from=time(4),  # what happened may take three hours to be listed
    query_after_s=(5, 15, 30, 90),
    refund_query_after_s=(10, 60, 600, 3600, 21600, 86400),
    payout_query_after_s=(10, 60, 600, 3600, 21600, 86400),
    statements=("trades", "funds"),
    payee=("email?", "paypal_id?", "phone?"),
    extra={"currencies": "one for each channel account; BRL, CNY and MYR only for accounts in Brazil, China and Malaysia"},
)  # fmt: skip

NOT_HELD = Problem("AUTHORIZATION_VOIDED", "Nothing is held any more.", "generic_decline", Retry.NEW_KEY)
OTHER_CURRENCY = "This channel account takes {} alone: its statements are of one currency. Make another one for {}."


class PayPal:
    """Speaks for one business account.  Raises ValueError if the configuration is none."""

    info: ClassVar[Info] = INFO

    def __init__(self, config: PayPalConfig, *, now: Callable[[], datetime] = now) -> None:
        self.config = config
        self._now = now
        self._door = Door(config, now)
        self._trust = Trust(config, now)

    def ask(self, ask: Ask) -> Exchange[Outcome]:
        """Carry out one ask: see `model.Channel`."""
        return conclude(ask, self._answer(ask))

    def _answer(self, ask: Ask) -> Exchange[Outcome]:
        match ask:
            case CreatePayment():
                return self._create(ask)
            case QueryPayment():
                return self._query(ask)
            case CapturePayment():
                return self._capture(ask)
            case ClosePayment():
                return self._close(ask)
            case CreateRefund():
                return self._refund(ask)
            case QueryRefund():
                return self._query_refund(ask)
            case CreatePayout():
                return self._pay_out(ask)
            case QueryPayout():
                return self._query_payout(ask)
            case SubmitEvidence():
                return self._answer_dispute(ask)
        never("every ask that is declared is answered")

    # --- payments

    def _create(self, ask: CreatePayment) -> Exchange[Outcome]:
        must(ask.way == "checkout" and ask.amount.asset in INFO.currencies, "the way and currency are the channel's")
        wrong = self._unfit(ask.amount)
        if wrong is not None:
            return wrong
        unit: dict[str, Any] = {
            "reference_id": "default",
            "invoice_id": ask.key,
            "custom_id": ask.attach or ask.key,
            "amount": money(ask.amount),
        }
        if ask.description:
            unit["description"] = ask.description[:127]
        page = {"user_action": "PAY_NOW", "shipping_preference": "NO_SHIPPING"}
        if ask.return_url:
            page |= {"return_url": ask.return_url, "cancel_url": ask.return_url}
        order = {
            "intent": "CAPTURE" if ask.capture else "AUTHORIZE",
            "purchase_units": [unit],
            "payment_source": {"paypal": {"experience_context": page}},
        }
        reply = yield from self._door.call("POST", "/v2/checkout/orders", order, key=ask.key)
        if reply.status not in (200, 201):
            return _refused(reply)
        made = read(Order, reply)
        outcome = read_with(made.outcome)
        if outcome.state is not State.PENDING:
            return outcome  # asked once more, and it went on meanwhile
        if outcome.amount not in (ask.amount, None):
            # The key was used for another order, and PayPal repeats that one: nobody is sent to pay it.
            problem = Problem(
                "OTHER_ORDER", "PayPal has another order under this key.", "duplicate_transaction", Retry.NEW_KEY
            )
            return replace(outcome, problem=problem)
        if made.status == "APPROVED":
            return outcome  # its payer was there already, and has no page to go to any more: the next query collects
        return replace(outcome, next=read_with(made.redirect))

    def _unfit(self, amount: Amount) -> Outcome | None:
        """Why PayPal cannot be asked for this amount on this account."""
        if amount.asset != self.config.currency:
            words = OTHER_CURRENCY.format(self.config.currency, amount.asset)
            return Outcome(State.FAILED, problem=Problem("OTHER_CURRENCY", words, "transaction_not_allowed"))
        try:
            write(amount)
        except Uneven as error:
            return Outcome(
                State.FAILED, problem=Problem("DECIMALS_NOT_SUPPORTED", str(error), "transaction_not_allowed")
            )
        return None

    def _query(self, ask: QueryPayment) -> Exchange[Outcome]:
        """What became of it; an order that its payer has approved is collected now."""
        memo = Memo.read(ask.memo)
        if memo is None:
            return Outcome(State.NOT_FOUND, unasked=True)
        order = yield from self._order(memo)
        if order is None:
            return Outcome(State.NOT_FOUND)
        if order.status != "APPROVED" or not read_with(lambda: order.may_be_ended):
            return read_with(order.outcome)
        return (yield from self._collect(ask.key, order))

    def _order(self, memo: Memo) -> Exchange[Order | None]:
        """The order; None if PayPal has none, or none any more: what nobody approves is forgotten after some hours."""
        reply = yield from self._door.call("GET", f"/v2/checkout/orders/{quote(memo.order, safe='')}")
        if reply.status == 404 and Refusal.read(reply).code in NOT_THERE:
            return None
        return read(Order, one(reply, 200))

    def _collect(self, key: str, order: Order) -> Exchange[Outcome]:
        memo = read_with(order.memo)
        verb, letter = ("authorize", "A") if order.intent == "AUTHORIZE" else ("capture", "C")
        path = f"/v2/checkout/orders/{quote(memo.order, safe='')}/{verb}"
        reply = yield from self._door.call("POST", path, {}, key=key + letter)
        if reply.status in (200, 201):
            done = read(Order, reply)
            return replace(read_with(done.outcome), key=read_with(lambda: order.unit).invoice_id)
        refusal = Refusal.read(reply)
        if refusal.code in NOT_YET:
            return replace(read_with(order.outcome), problem=None)
        if refusal.code in ABOUT_THE_ORDER:
            return (yield from self._as_it_is(memo))
        if refusal.code not in REFUSED:
            raise Doubtful(refusal.code, refusal.message)
        # It is over only when nobody can try once more: the order says so, or this is not known yet.
        ended = yield from self._end(order)
        if ended.state is not State.CLOSED:
            return ended
        return replace(ended, state=State.FAILED, problem=refusal.problem())

    def _as_it_is(self, memo: Memo) -> Exchange[Outcome]:
        order = yield from self._order(memo)
        return Outcome(State.NOT_FOUND) if order is None else read_with(order.outcome)

    def _capture(self, ask: CapturePayment) -> Exchange[Outcome]:
        """Collect from what is held, once; what is left goes back to the payer."""
        memo = Memo.read(ask.memo)
        order = None if memo is None else (yield from self._order(memo))
        if order is None:
            raise Doubtful("no_order", "PayPal's number of the order is not known, so nothing can be collected from it")
        held = read_with(order.open_authorization)
        if held is None:
            said = read_with(order.outcome)
            gone = said.state in (State.CLOSED, State.FAILED)
            return replace(said, problem=said.problem or NOT_HELD) if gone else said
        content = {"amount": money(ask.amount), "final_capture": True}
        reply = yield from self._door.call(
            "POST", f"/v2/payments/authorizations/{held}/capture", content, key=ask.key + "C"
        )
        memo = replace(read_with(order.memo), authorization=held)
        if reply.status in (200, 201):
            said = read_with(lambda: read(Capture, reply).outcome(memo))
            return replace(said, key=said.key or read_with(lambda: order.unit).invoice_id)
        refusal = Refusal.read(reply)
        if refusal.code in ABOUT_THE_ORDER:
            return (yield from self._as_it_is(memo))
        return _refused(reply)

    def _close(self, ask: ClosePayment) -> Exchange[Outcome]:
        memo = Memo.read(ask.memo)
        order = None if memo is None else (yield from self._order(memo))
        if order is None:
            return Outcome(State.NOT_FOUND, unasked=memo is None)
        held = read_with(order.open_authorization)
        if held is not None:
            return (yield from self._let_go(ask.key, held, read_with(order.memo)))
        if read_with(lambda: order.may_be_ended):
            return (yield from self._end(order))
        return read_with(order.outcome)

    def _let_go(self, key: str, held: str, memo: Memo) -> Exchange[Outcome]:
        """Void what is held; whatever but a yes is settled by asking what it is now."""
        reply = yield from self._door.call("POST", f"/v2/payments/authorizations/{held}/void", key=key + "V")
        if reply.status in (200, 204):
            return Outcome(State.CLOSED, memo=str(memo))
        return (yield from self._as_it_is(memo))

    def _end(self, order: Order) -> Exchange[Outcome]:
        """Write into an open order that it has ended for us."""
        memo, key = read_with(order.memo), read_with(lambda: order.unit).invoice_id or ""
        path = "/purchase_units/@reference_id=='default'/custom_id"
        patch = [{"op": "replace", "path": path, "value": end_mark(key)}]
        reply = yield from self._door.call("PATCH", f"/v2/checkout/orders/{quote(memo.order, safe='')}", patch)
        if reply.status == 204:
            return replace(read_with(order.outcome), state=State.CLOSED)
        now_it_is = yield from self._as_it_is(memo)
        if now_it_is.state is State.PENDING:
            refusal = Refusal.read(reply)
            raise Doubtful(refusal.code, refusal.message)
        return now_it_is

    # --- refunds

    def _refund(self, ask: CreateRefund) -> Exchange[Outcome]:
        memo = Memo.read(ask.payment_memo)
        capture = ask.payment_ref or (memo.capture if memo else "")
        if not capture:
            raise Doubtful(
                "no_capture", "PayPal's number of the payment is not known, so nothing can be given back of it"
            )
        wrong = self._unfit(ask.amount)
        if wrong is not None:
            return wrong
        content: dict[str, Any] = {"amount": money(ask.amount), "invoice_id": ask.key, "custom_id": ask.payment_key}
        if ask.reason:
            content["note_to_payer"] = ask.reason[:255]
        reply = yield from self._door.call(
            "POST", f"/v2/payments/captures/{quote(capture, safe='')}/refund", content, key=ask.key
        )
        if reply.status in (200, 201):
            return read_with(read(Refund, reply).outcome)
        refusal = Refusal.read(reply)
        if refusal.code in ABOUT_THE_REFUND:
            query = QueryRefund(ask.key, ask.payment_key, ask.amount, ask.created_at, ask.payment_memo, ask.memo)
            return (yield from look_first(refusal.problem(), lambda: self.ask(query)))
        return _refused(reply)

    def _query_refund(self, ask: QueryRefund) -> Exchange[Outcome]:
        """By its own number; without one among the refunds of its order."""
        known, memo = number(ask.memo), Memo.read(ask.payment_memo)
        if known is not None:
            reply = yield from self._door.call("GET", f"/v2/payments/refunds/{known}")
            if reply.status == 404 and Refusal.read(reply).code in NOT_THERE:
                return Outcome(State.NOT_FOUND)
            return read_with(read(Refund, one(reply, 200)).outcome)
        order = None if memo is None else (yield from self._order(memo))
        found = None if order is None else read_with(lambda: order.refund(ask.key))
        return Outcome(State.NOT_FOUND, unasked=memo is None) if found is None else read_with(found.outcome)

    # --- payouts

    def _pay_out(self, ask: CreatePayout) -> Exchange[Outcome]:
        wrong = self._unfit(ask.amount)
        if wrong is not None:
            return wrong
        named = [(kind, ask.payee[name]) for name, kind in RECIPIENT.items() if ask.payee.get(name)]
        if len(named) != 1:
            words = "PayPal pays to one of email, paypal_id or phone."
            return Outcome(State.FAILED, problem=Problem("RECEIVER", words, "processing_error"))
        [(kind, receiver)] = named
        item = {
            "recipient_type": kind,
            "receiver": receiver,
            "amount": {"value": write(ask.amount), "currency": ask.amount.asset},
            "sender_item_id": ask.key,
            "note": ask.description[:1000],
        }
        content = {
            "sender_batch_header": {"sender_batch_id": ask.key, "email_subject": ask.description[:255]},
            "items": [item],
        }
        if ask.attach:
            content["sender_batch_header"]["note"] = ask.attach
        reply = yield from self._door.call("POST", "/v1/payments/payouts", content, key=ask.key)
        if reply.status in (200, 201):
            return read_with(read(Batch, reply).outcome)
        refusal = Refusal.read(reply)
        if refusal.batch:  # the key is known: that is the payout
            return (yield from self._batch(refusal.batch))
        return _refused(reply)

    def _query_payout(self, ask: QueryPayout) -> Exchange[Outcome]:
        known = number(ask.memo)
        return Outcome(State.NOT_FOUND, unasked=True) if known is None else (yield from self._batch(known))

    def _batch(self, id: str) -> Exchange[Outcome]:
        reply = yield from self._door.call("GET", f"/v1/payments/payouts/{quote(id, safe='')}")
        if reply.status == 404 and Refusal.read(reply).code in NOT_THERE:
            return Outcome(State.NOT_FOUND)
        return read_with(read(Batch, one(reply, 200)).outcome)

    # --- disputes

    def _answer_dispute(self, ask: SubmitEvidence) -> Exchange[Outcome]:
        """Look first: a dispute that waits for nobody, or for the payer, was answered already."""
        path = f"/v1/customer/disputes/{quote(ask.dispute_ref, safe='')}"
        found = read(Complaint, one((yield from self._door.call("GET", path)), 200))
        if found.status not in ("OPEN", "WAITING_FOR_SELLER_RESPONSE"):
            return read_with(found.outcome)
        if ask.accept:
            content = {"note": ask.evidence.get("uncategorized_text") or "Accepted.", "accept_claim_type": "REFUND"}
            reply = yield from self._door.call("POST", f"{path}/accept-claim", content)
        else:
            form = multipart("input", evidence(ask.evidence))
            reply = yield from self._door.call("POST", f"{path}/provide-evidence", form=form)
        if reply.status not in (200, 201, 202):
            return _refused(reply)
        return read_with(read(Complaint, one((yield from self._door.call("GET", path)), 200)).outcome)

    # --- webhooks, statements

    def refresh_trust(self) -> Exchange[bool]:
        """Fetch the certificates that webhooks were signed with: see `model.Channel`."""
        return self._trust.fetch()

    def notice(self, inbound: Inbound) -> Notice:
        """Verify and read a webhook: see `model.Channel`."""
        self._trust.check(inbound.headers, inbound.body)
        return read_notice(inbound.body)

    def ack(self, stored: bool) -> HttpReply:
        """Any 2xx ends the tries, up to twenty-five over three days."""
        return HttpReply(200 if stored else 500, {"content-type": "text/plain"}, b"ok\n" if stored else b"not stored\n")

    def statement(self, ask: FetchStatement) -> Exchange[Statement]:
        """TRADES: what transaction search lists for the day.  FUNDS: the settlement report, from the directory that mirrors it."""
        if ask.kind is StatementKind.FUNDS:
            return fetch_report(self.config, ask.day)
        return fetch_transactions(self._door, self.config, ask.day, self._now())


def _refused(reply: HttpReply) -> Outcome:
    """FAILED, if the reference lists why; else Doubtful."""
    refusal = Refusal.read(reply)
    if refusal.code not in REFUSED:
        raise Doubtful(refusal.code, refusal.message)
    return Outcome(State.FAILED, problem=refusal.problem())
