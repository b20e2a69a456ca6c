"""The adapter: asks become calls with the secret key, replies become outcomes.

Keys.      Our key is the Idempotency-Key of what makes something (intent, refund, payout), and stands in its metadata.  A repeat within a
           day gets the first answer again, word for word; what has become of it since is asked for in addition.  Captures and cancels
           carry no key: the intent's state makes them once, and an error that Stripe has kept under a key would stand in the way.
           A payout whose number we never heard is asked for again while Stripe knows its key, and looked for in the list after.
Memo.      The PaymentIntent's id (refunds, payouts: theirs).  Its search by metadata lags behind and only helps where a key was used for
           something else.
Replies.   Are not signed; TLS says whose they are.  Events are (`signing`), and are sent to the endpoints that the account has registered:
           `notify_url` has to be one of them, for no call names it.
Statement. A report run, made once per day and account (its key says so): asked for, then fetched when it is there.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import msgspec

from guilder.channels.conclude import Doubtful, conclude
from guilder.channels.config import http_address
from guilder.channels.info import Info
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
    StatementError,
    StatementKind,
    StatementProblem,
    Subject,
    SubmitEvidence,
    Unreadable,
)
from guilder.channels.reading import read_as, read_json
from guilder.channels.stripe import signing
from guilder.channels.stripe.config import StripeConfig
from guilder.channels.stripe.form import Value, encode
from guilder.channels.stripe.payouts import KEY_LIVES, looked_for
from guilder.channels.stripe.replies import List, absent, outcome_of, raise_unless_refused, read_reply
from guilder.channels.stripe.statement import COLUMNS, MAX_FILE, REPORT, read_statement
from guilder.channels.stripe.states import (
    KEY,
    PAYMENT,
    WAY,
    Dispute,
    Failure,
    PaymentIntent,
    Payout,
    Refund,
    Refusal,
    Seconds,
    id_of,
    to_wire,
)
from guilder.channels.stripe.ways import EVENTS, INFO
from guilder.core.check import never
from guilder.core.clock import from_unix, now, unix
from guilder.core.exchange import Exchange, HttpCall, HttpReply, NotSent, Silence

VERSION = "2026-10-28.endive"  # pinned: what the objects in `states` look like
EXPANDED: tuple[str, ...] = ("latest_charge.balance_transaction",)
DOWNLOAD_TIMEOUT_S = 120.0
REASONS = frozenset({"duplicate", "fraudulent", "requested_by_customer"})


class _Data(msgspec.Struct, frozen=True):
    object: Any


class _Event(msgspec.Struct, frozen=True):
    id: str
    type: str
    created: Seconds
    data: _Data
    account: str | None = None  # of events that a platform hears about the accounts connected to it


class _File(msgspec.Struct, frozen=True):
    id: str
    size: int


class _Run(msgspec.Struct, frozen=True):
    id: str
    status: str
    result: _File | None = None
    error: str | None = None


class Stripe:
    """Speaks for one Stripe account.  Raises ValueError if its configuration cannot be right."""

    info: ClassVar[Info] = INFO

    def __init__(self, config: StripeConfig, *, now: Callable[[], datetime] = now) -> None:
        self.config = config
        self._base = http_address("base_url", config.base_url)
        self._now = now

    @property
    def script_url(self) -> str:
        """The script of the hosted fields."""
        return self.config.script_url

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
        never("every ask that the channel is declared for is answered")

    # --- payments

    def _create(self, ask: CreatePayment) -> Exchange[Outcome]:
        """An intent; by the way `token` confirmed at once, else left to the payer's page."""
        fields: dict[str, Value] = {
            "amount": to_wire(ask.amount),
            "currency": ask.amount.asset.lower(),
            "payment_method_types": ["card"],
            "capture_method": "automatic" if ask.capture else "manual",
            "description": ask.description[:500],
            "metadata": {KEY: ask.key, WAY: ask.way, "attach": ask.attach or None},
            "expand": EXPANDED,
        }
        if ask.way == "token":
            fields |= {"payment_method": ask.given["token"], "confirm": True, "return_url": ask.return_url}
        reply = yield from self._call("POST", "/v1/payment_intents", fields, ask.key)
        if reply.status == 200:
            said = self._payment(reply)
            if _is_replayed(reply) and said.memo is not None:
                return (yield from self.ask(QueryPayment(ask.key, ask.way, self._now(), said.memo)))
            return said
        refusal = Refusal.read(reply)
        if refusal.type == "idempotency_error":  # the key was used with other parameters: what lives under it decides
            found = yield from self._search(ask.key)
            return replace(found, next=None, problem=refusal.problem(Retry.NEW_KEY))
        raise_unless_refused(refusal)
        if reply.status == 402:
            return self._declined(refusal)
        used = refusal.param == "payment_method"  # gone, used or mistyped: another one may do
        return Outcome(State.FAILED, problem=refusal.problem(Retry.NEW_KEY if used else Retry.NEVER))

    def _declined(self, refusal: Failure) -> Outcome:
        """The bank said no, and the intent is there to tell."""
        problem = refusal.problem(Retry.NEW_KEY)
        if refusal.payment_intent is None:
            return Outcome(State.FAILED, problem=problem)
        try:
            intent = read_as(PaymentIntent, refusal.payment_intent)
            said = intent.outcome(self.config.publishable_key)
        except ValueError as error:
            raise Doubtful("unreadable", str(error)) from error
        return replace(said, problem=problem)

    def _search(self, key: str) -> Exchange[Outcome]:
        query = urlencode({"query": f"metadata['{KEY}']:'{key}'", "limit": 1})
        reply = yield from self._call("GET", f"/v1/payment_intents/search?{query}")
        found = read_reply(List, reply).data if reply.status == 200 else []
        if not found:
            raise Doubtful("idempotency_error", "the key was used for something else, which is not found (yet)")
        return self._told(found[0])

    def _query(self, ask: QueryPayment) -> Exchange[Outcome]:
        if ask.memo is None:
            return Outcome(State.NOT_FOUND, unasked=True)  # C7: the create, asked again, finds it
        query = urlencode([("expand[]", one) for one in EXPANDED])
        reply = yield from self._call("GET", f"/v1/payment_intents/{quote(ask.memo, safe='')}?{query}")
        return self._payment(reply) if reply.status == 200 else absent(reply)

    def _capture(self, ask: CapturePayment) -> Exchange[Outcome]:
        if ask.memo is None:
            return Outcome(State.NOT_FOUND, unasked=True)
        path = f"/v1/payment_intents/{quote(ask.memo, safe='')}/capture"
        reply = yield from self._call("POST", path, {"amount_to_capture": to_wire(ask.amount), "expand": EXPANDED})
        if reply.status == 200:
            return self._payment(reply)
        refusal = Refusal.read(reply)
        raise_unless_refused(refusal)
        now_is = yield from self.ask(QueryPayment(ask.key, ask.way, ask.created_at, ask.memo))
        if now_is.state is State.AUTHORISED:
            return replace(now_is, state=State.FAILED, problem=refusal.problem(Retry.NEVER))
        return replace(now_is, problem=now_is.problem or refusal.problem(Retry.NEVER))

    def _close(self, ask: ClosePayment) -> Exchange[Outcome]:
        """Cancel, which lets go what is held; whatever but a plain yes is settled by asking what the intent is now."""
        if ask.memo is None:
            return Outcome(State.NOT_FOUND, unasked=True)
        path = f"/v1/payment_intents/{quote(ask.memo, safe='')}/cancel"
        reply = yield from self._call("POST", path, {"expand": EXPANDED})
        if reply.status == 200:
            return self._payment(reply)
        return (yield from self.ask(QueryPayment(ask.key, ask.way, ask.created_at, ask.memo)))

    # --- refunds

    def _refund(self, ask: CreateRefund) -> Exchange[Outcome]:
        intent = ask.payment_memo or ask.payment_ref
        if intent is None:
            return Outcome(
                State.FAILED, problem=Problem("no_payment_intent", "Nothing names the payment.", "processing_error")
            )
        reply = yield from self._call(
            "POST",
            "/v1/refunds",
            {
                "payment_intent": intent,
                "amount": to_wire(ask.amount),
                "reason": ask.reason if ask.reason in REASONS else None,
                "metadata": {KEY: ask.key, PAYMENT: ask.payment_key, "reason": (ask.reason or "")[:500] or None},
            },
            ask.key,
        )
        query = QueryRefund(ask.key, ask.payment_key, ask.amount, ask.created_at, intent)
        if reply.status == 200:
            said = outcome_of(Refund, reply)
            return (yield from self.ask(replace(query, memo=said.memo))) if _is_replayed(reply) else said
        refusal = Refusal.read(reply)
        if refusal.type != "idempotency_error":
            raise_unless_refused(refusal)
        found = yield from self.ask(
            query
        )  # a day later the key is forgotten, and a refund that was made looks like one too many
        if found.state is State.NOT_FOUND:
            return Outcome(State.FAILED, problem=refusal.problem(Retry.NEVER))
        return found

    def _query_refund(self, ask: QueryRefund) -> Exchange[Outcome]:
        if ask.memo is not None:
            reply = yield from self._call("GET", f"/v1/refunds/{quote(ask.memo, safe='')}")
            return outcome_of(Refund, reply) if reply.status == 200 else absent(reply)
        if ask.payment_memo is None:
            return Outcome(State.NOT_FOUND, unasked=True)
        query = urlencode({"payment_intent": ask.payment_memo, "limit": 100})
        reply = yield from self._call("GET", f"/v1/refunds?{query}")
        if reply.status != 200:
            return absent(reply)
        try:
            refunds = [read_as(Refund, one) for one in read_reply(List, reply).data]
            return next(
                (r.outcome() for r in refunds if r.key == ask.key),
                Outcome(State.NOT_FOUND, unasked=len(refunds) >= 100),
            )
        except ValueError as error:
            raise Doubtful("unreadable", str(error)) from error

    # --- payouts and disputes

    def _pay_out(self, ask: CreatePayout) -> Exchange[Outcome]:
        """To a bank account of our own: the one named, or the account's default."""
        fields: dict[str, Value] = {
            "amount": to_wire(ask.amount),
            "currency": ask.amount.asset.lower(),
            "destination": ask.payee.get("destination"),
            "description": ask.description[:500],
            "metadata": {KEY: ask.key, "attach": ask.attach or None},
        }
        reply = yield from self._call("POST", "/v1/payouts", fields, ask.key)
        if reply.status == 200:
            said = outcome_of(Payout, reply)
            if _is_replayed(reply):
                return (yield from self.ask(QueryPayout(ask.key, ask.amount, ask.created_at, said.memo)))
            return said
        refusal = Refusal.read(reply)
        raise_unless_refused(refusal)
        short = refusal.code in ("balance_insufficient", "insufficient_funds")
        return Outcome(State.FAILED, problem=refusal.problem(Retry.NEW_KEY if short else Retry.NEVER))

    def _query_payout(self, ask: QueryPayout) -> Exchange[Outcome]:
        if ask.memo is None and self._now() - ask.created_at <= KEY_LIVES:
            return Outcome(State.NOT_FOUND, unasked=True)  # C7: the create, asked again, finds it
        if ask.memo is None:
            return (yield from looked_for(self._call, ask))
        reply = yield from self._call("GET", f"/v1/payouts/{quote(ask.memo, safe='')}")
        return outcome_of(Payout, reply) if reply.status == 200 else absent(reply)

    def _answer_dispute(self, ask: SubmitEvidence) -> Exchange[Outcome]:
        """Evidence, for good (it cannot be added to), or giving in.  The same evidence again is the same call."""
        path = f"/v1/disputes/{quote(ask.dispute_ref, safe='')}"
        if ask.accept:
            reply = yield from self._call("POST", f"{path}/close", {})
        else:
            body: dict[str, Value] = {"evidence": dict(sorted(ask.evidence.items())), "submit": True}
            once = hashlib.sha256(encode(body).encode()).hexdigest()[:32]
            reply = yield from self._call("POST", path, body, f"{ask.dispute_ref}-{once}")
        if reply.status == 200:
            return outcome_of(Dispute, reply)
        refusal = Refusal.read(reply)
        raise_unless_refused(refusal)
        return Outcome(State.FAILED, problem=refusal.problem(Retry.NEVER))

    # --- the wire

    def _call(
        self, method: str, path: str, fields: Mapping[str, Value] | None = None, key: str | None = None
    ) -> Exchange[HttpReply]:
        """One call.  The reply settles something; else NotSent, Silence or Doubtful is raised."""
        reply = yield HttpCall(method, self._base + path, self._headers(fields is not None, key), _body(fields))
        if reply.status >= 500 or reply.status in (409, 424, 429) or reply.headers.get("stripe-should-retry") == "true":
            failure = Refusal.read(reply)
            raise Doubtful(failure.code or failure.type, failure.message or "")
        return reply

    def _headers(self, has_body: bool, key: str | None = None) -> dict[str, str]:
        headers = {
            "Authorization": f"Bearer {self.config.secret_key}",
            "Stripe-Version": VERSION,
            "Accept": "application/json",
            "User-Agent": "guilder",
        }
        if has_body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if key is not None:
            headers["Idempotency-Key"] = key
        return headers

    def _payment(self, reply: HttpReply) -> Outcome:
        try:
            return self._told(read_json(reply.body))
        except ValueError as error:
            raise Doubtful("unreadable", str(error)) from error

    def _told(self, content: Any, at: datetime | None = None) -> Outcome:
        return read_as(PaymentIntent, content).outcome(self.config.publishable_key, at)

    # --- events

    def refresh_trust(self) -> Exchange[bool]:
        """Stripe hands out no keys by call."""
        if False:
            yield  # an exchange without a call
        return False

    def notice(self, inbound: Inbound) -> Notice:
        """Verify and read an event: see `model.Channel`."""
        at = inbound.received_at or self._now()
        header = inbound.headers.get("stripe-signature", "")
        signing.check(header, inbound.body, self.config.webhook_secrets, unix(at))
        try:
            return self._heard(read_as(_Event, read_json(inbound.body)))
        except ValueError as error:
            raise Unreadable(str(error)) from error

    def _heard(self, event: _Event) -> Notice:
        """Each tells how things stood when it was made: they come in any order, and what is over stays over."""
        thing, account = event.data.object, event.account
        if event.type not in EVENTS:
            raise ValueError(f"an event of another kind: {event.type}")
        match event.type.split(".")[0]:
            case "payment_intent":
                said = self._told(thing, from_unix(event.created))
                return Notice(event.id, Subject.PAYMENT, replace(said, account_ref=account))
            case "refund":
                refund = read_as(Refund, thing)
                said = replace(refund.outcome(), account_ref=account)
                return Notice(event.id, Subject.REFUND, said, refund.payment_key, id_of(refund.payment_intent))
            case "payout":
                said = read_as(Payout, thing).outcome()
                return Notice(event.id, Subject.PAYOUT, replace(said, account_ref=account))
        dispute = read_as(Dispute, thing)
        said = replace(dispute.outcome(), account_ref=account)
        return Notice(event.id, Subject.DISPUTE, said, payment_memo=id_of(dispute.payment_intent))

    def ack(self, stored: bool) -> HttpReply:
        """Any 2xx, or a server error: then Stripe sends it again, for three days."""
        return HttpReply(200 if stored else 500, {"content-type": "text/plain"}, b"ok" if stored else b"not stored")

    # --- the report

    def statement(self, ask: FetchStatement) -> Exchange[Statement]:
        """What changed the balance on one day (UTC): a report run, then its file."""
        if ask.kind is not StatementKind.TRADES:
            raise StatementError(StatementProblem.UNKNOWN, f"Stripe is not asked for {ask.kind}")
        try:
            run = yield from self._run(ask)
            path = f"{self.config.files_url}/v1/files/{quote(run.id, safe='')}/contents"
            file = yield HttpCall("GET", path, self._headers(False), timeout_s=DOWNLOAD_TIMEOUT_S, max_bytes=MAX_FILE)
        except (NotSent, Silence, Doubtful) as error:
            raise StatementError(StatementProblem.UNKNOWN, f"no answer: {error}") from error
        if file.status != 200:
            raise StatementError(StatementProblem.UNKNOWN, f"the download answered {file.status}")
        return read_statement(ask.day, file.body, run.size, self.config.currency)

    def _run(self, ask: FetchStatement) -> Exchange[_File]:
        """The file of the day's run, which is made by the first who asks: its key is the day's."""
        begin = datetime.combine(ask.day, time(0), UTC)
        parameters: dict[str, Value] = {
            "interval_start": unix(begin),
            "interval_end": unix(begin + timedelta(days=1)),
            "timezone": "Etc/UTC",
            "currency": self.config.currency.lower(),
            "columns": COLUMNS,
        }
        key = f"{self.config.account_id}-{REPORT}-{self.config.currency}-{ask.day.isoformat()}"
        fields: dict[str, Value] = {"report_type": REPORT, "parameters": parameters}
        reply = yield from self._call("POST", "/v1/reporting/report_runs", fields, key)
        if reply.status != 200:
            refusal = Refusal.read(reply)
            if reply.status == 400 and "interval" in (refusal.param or ""):
                raise StatementError(StatementProblem.NOT_READY, refusal.message or "the day is not there yet")
            raise Doubtful(refusal.code or refusal.type, refusal.message or "")
        run = read_reply(_Run, reply)
        if run.status == "pending":
            again = yield from self._call("GET", f"/v1/reporting/report_runs/{quote(run.id, safe='')}")
            run = read_reply(_Run, again)
        if run.status == "pending":
            raise StatementError(StatementProblem.NOT_READY, "the report is being made")
        if run.status != "succeeded" or run.result is None:
            raise Doubtful("report_failed", run.error or run.status)
        return run.result


def _is_replayed(reply: HttpReply) -> bool:
    return reply.headers.get("idempotent-replayed") == "true"


def _body(fields: Mapping[str, Value] | None) -> bytes:
    return b"" if fields is None else encode(fields).encode()
