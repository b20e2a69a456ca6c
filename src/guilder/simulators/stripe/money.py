"""Refunds, payouts and the balance."""

import msgspec

from guilder.simulators import dials, payouts, trades
from guilder.simulators.model import Facts, Payout, Refund, Trade
from guilder.simulators.stripe import objects, report
from guilder.simulators.stripe.api import Call, Operation
from guilder.simulators.stripe.channel import Stripe
from guilder.simulators.stripe.errors import Refused, missing
from guilder.simulators.stripe.intents import Intents, new_id

_REASONS = ("", "duplicate", "fraudulent", "requested_by_customer")
_PAYOUT_TAKES_S = 0.3
_TAIL = 24  # letters of an intent's id, which its refunds begin with


class Refunds:
    """Money back to the card, at once."""

    def __init__(self, channel: Stripe, intents: Intents) -> None:
        self._channel, self._desk, self._intents = channel, channel.desk, intents

    def operations(self) -> list[Operation]:
        return [
            Operation("POST", "/v1/refunds", "refund", self.create, self._about_new),
            Operation("GET", "/v1/refunds", "refund_query", self.listing, self._about_list),
            Operation("GET", "/v1/refunds/{id}", "refund_query", self.retrieve, self._about),
        ]

    def _paid(self, call: Call) -> Trade:
        """The payment to be refunded, named by intent or charge."""
        intent, charge = call.form.text("payment_intent"), call.form.text("charge")
        if not intent and not charge:
            raise Refused(
                400, "invalid_request_error", "One of charge or payment_intent is needed.", "parameter_missing"
            )
        trade = self._intents.find(call, intent) if intent else self._intents.find(call, charge, "ch_")
        call.form.put("payment_intent", trade.channel_ref)
        return trade

    def _about_new(self, call: Call) -> tuple[str, str]:
        trade = self._paid(call)
        return trade.out_trade_no, trade.dials

    def _about_list(self, call: Call) -> tuple[str, str]:
        return self._about_new(call)

    def _find(self, call: Call) -> tuple[Trade, Refund]:
        ref = call.path["id"]
        trade = self._desk.book.find_trade_by_ref(call.account.id, f"pi_{ref[3 : 3 + _TAIL]}")
        for one in self._desk.book.refunds(trade.account, trade.out_trade_no) if trade else ():
            if trade is not None and one.channel_ref == ref:
                return trade, one
        raise missing("refund", ref)

    def _about(self, call: Call) -> tuple[str, str]:
        trade, _ = self._find(call)
        return trade.out_trade_no, trade.dials

    def create(self, call: Call) -> Facts:
        """POST /v1/refunds"""
        trade, form = self._paid(call), call.form
        form.text("payment_intent")
        left = objects.moved(trade) - trades.refunded(self._desk, trade)
        amount = form.number("amount", left) or 0
        reason, metadata = form.text("reason"), form.table("metadata")
        form.end("refund_application_fee", "reverse_transfer")
        if reason not in _REASONS:
            raise Refused(400, "invalid_request_error", f"Invalid reason: {reason}", param="reason")
        if not trade.paid_at:
            text = f"This PaymentIntent ({trade.channel_ref}) does not have a successful charge to refund."
            raise Refused(400, "invalid_request_error", text)
        if trade.more().get("disputed"):
            raise Refused(400, "invalid_request_error", "This charge has been charged back.", "charge_disputed")
        if left <= 0:
            raise Refused(400, "invalid_request_error", "Charge has already been refunded.", "charge_already_refunded")
        if not 0 < amount <= left:
            text = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
            raise Refused(400, "invalid_request_error", text, param="amount")
        refund = self._new(call, trade, amount, reason)
        objects.remember(trade, refunds=trade.more()["refunds"] | {refund.channel_ref: metadata})
        self._desk.book.put(trade)
        trades.accept_refund(self._desk, trade, refund)
        return objects.refund(trade, refund)

    def _new(self, call: Call, trade: Trade, amount: int, reason: str) -> Refund:
        book, now = self._desk.book, self._desk.clock.now()
        ref = f"re_{trade.channel_ref[3:]}{len(book.refunds(trade.account, trade.out_trade_no)) + 1}"
        taken = not call.key or book.find_refund(call.account.id, call.key) is not None
        return Refund(
            account=trade.account,
            out_refund_no=ref if taken else call.key,
            out_trade_no=trade.out_trade_no,
            channel_ref=ref,
            amount=amount,
            reason=reason,
            notify_url=trade.notify_url,
            fingerprint="",
            created_at=now,
            done_at=now,
            dials=trades.refund_dials(self._desk, trade),
        )

    def listing(self, call: Call) -> Facts:
        """GET /v1/refunds?payment_intent=: the newest first."""
        trade = self._paid(call)
        refunds = self._desk.book.refunds(trade.account, trade.out_trade_no)
        return objects.listed("/v1/refunds", [objects.refund(trade, one) for one in reversed(refunds)])

    def retrieve(self, call: Call) -> Facts:
        """GET /v1/refunds/{id}"""
        return objects.refund(*self._find(call))


class Payouts:
    """Money to the merchant's own bank account."""

    def __init__(self, channel: Stripe) -> None:
        self._channel, self._desk = channel, channel.desk

    def operations(self) -> list[Operation]:
        return [
            Operation("POST", "/v1/payouts", "payout", self.create, self._about_new),
            Operation("GET", "/v1/payouts", "payout_query", self.listing, lambda call: ("", "")),
            Operation("GET", "/v1/payouts/{id}", "payout_query", self.retrieve, self._about),
        ]

    def _about_new(self, call: Call) -> tuple[str, str]:
        metadata = call.form.table("metadata")
        call.form.put("metadata", metadata)
        return call.key or new_id("unkeyed"), dials.asked(metadata.get("attach", ""), 0)

    def _find(self, call: Call) -> Payout:
        found = self._desk.book.find_payout_by_ref(call.account.id, call.path["id"])
        if found is None:
            raise missing("payout", call.path["id"], "payout")
        return found

    def _about(self, call: Call) -> tuple[str, str]:
        found = self._find(call)
        return found.out_no, found.dials

    def create(self, call: Call) -> Facts:
        """POST /v1/payouts"""
        form = call.form
        amount, currency = form.number("amount"), form.needed("currency").upper()
        metadata, destination = form.table("metadata"), form.text("destination")
        description, _ = form.text("description"), form.text("method", "standard")
        form.end("statement_descriptor", "source_type")
        if amount is None or amount <= 0:
            raise Refused(
                400, "invalid_request_error", "Invalid positive integer", "parameter_invalid_integer", "amount"
            )
        if destination and not destination.startswith(("ba_", "card_")):
            raise Refused(
                400,
                "invalid_request_error",
                f"No such external account: '{destination}'",
                "resource_missing",
                "destination",
            )
        payee = {"destination": destination, "description": description, "metadata": metadata}
        ref, book = new_id("po"), self._desk.book
        one = Payout(
            account=call.account.id,
            out_no=call.key if call.key and book.find_payout(call.account.id, call.key) is None else ref,
            channel=self._channel.name,
            channel_ref=ref,
            amount=amount,
            currency=currency,
            payee=msgspec.json.encode(payee).decode(),
            notify_url=book.endpoints.get(call.account.id, ""),
            fingerprint="",
            created_at=self._desk.clock.now(),
            dials=self._about_dials(metadata),
        )
        payouts.accept(self._desk, one, _PAYOUT_TAKES_S)
        return objects.payout(one)

    @staticmethod
    def _about_dials(metadata: dict[str, str]) -> str:
        return dials.asked(metadata.get("attach", ""), 0)

    def listing(self, call: Call) -> Facts:
        """GET /v1/payouts?status=&destination=&created[gte]=&created[lte]=&limit=&starting_after=: the newest first."""
        form = call.form
        limit, after = form.number("limit", 10) or 10, form.text("starting_after")
        status, destination, created = form.text("status"), form.text("destination"), form.inner("created")
        since = max(created.number("gte", 0) or 0, (created.number("gt", -1) or 0) + 1)
        until = min(created.number("lte", 1 << 40) or 0, (created.number("lt", 1 << 40) or 0) - 1)
        created.end()
        if not 1 <= limit <= 100:
            raise Refused(400, "invalid_request_error", "This value must be from 1 to 100", param="limit")
        sql = "SELECT * FROM payout WHERE account = ? ORDER BY created_at DESC, channel_ref DESC"
        all = [objects.payout(Payout(*row)) for row in self._desk.book.rows(sql, call.account.id)]
        if after:
            place = next((n for n, fact in enumerate(all) if fact["id"] == after), None)
            if place is None:
                raise missing("payout", after, "starting_after")
            all = all[place + 1 :]
        found = [
            fact
            for fact in all
            if status in ("", fact["status"])
            and destination in ("", fact["destination"])
            and since <= fact["created"] <= until
        ]
        return objects.listed("/v1/payouts", found[:limit], len(found) > limit)

    def retrieve(self, call: Call) -> Facts:
        """GET /v1/payouts/{id}"""
        return objects.payout(self._find(call))


class Balance:
    """What the account has, and what changed it."""

    def __init__(self, channel: Stripe) -> None:
        self._desk = channel.desk

    def operations(self) -> list[Operation]:
        return [
            Operation("GET", "/v1/balance", "balance", self.show, lambda call: ("", "")),
            Operation("GET", "/v1/balance_transactions", "balance", self.listing, lambda call: ("", "")),
            Operation("GET", "/v1/balance_transactions/{id}", "balance", self.retrieve, lambda call: ("", "")),
        ]

    def _all(self, call: Call) -> list[Facts]:
        """Every balance transaction, the newest first."""
        book, account = self._desk.book, call.account
        default = account.settings()["currency"]
        facts = []
        for line in report.moves(book, account, 0, 1 << 62):
            row = report.row(line, default)
            gross = -line.amount if row["reporting_category"] in report.NEGATIVE else line.amount
            facts.append(
                objects.transaction(
                    row["balance_transaction_id"], row["source_id"], row["reporting_category"], gross, line.fee,
                    row["currency"], line.at, line.description,
                )
            )  # fmt: skip
        for found in book.rows(
            "SELECT * FROM payout WHERE account = ? AND state NOT IN ('FAILED', 'CANCELLED')", account.id
        ):
            one = Payout(*found)
            id = f"txn_{one.channel_ref[3:]}"
            facts.append(
                objects.transaction(
                    id, one.channel_ref, "payout", -one.amount, 0, one.currency, one.created_at, "STRIPE PAYOUT"
                )
            )
        return sorted(facts, key=lambda fact: (-fact["created"], fact["id"]))

    def show(self, call: Call) -> Facts:
        """GET /v1/balance"""
        sums: dict[str, int] = {}
        for fact in self._all(call):
            sums[fact["currency"]] = sums.get(fact["currency"], 0) + fact["net"]
        available = [
            {"amount": units, "currency": currency, "source_types": {"card": units}} for currency, units in sums.items()
        ]
        return {"object": "balance", "available": available, "pending": [], "livemode": False}

    def listing(self, call: Call) -> Facts:
        """GET /v1/balance_transactions?type=&source=&created[gte]=&created[lt]="""
        form = call.form
        limit, after = form.number("limit", 10) or 10, form.text("starting_after")
        kind, source, created = form.text("type"), form.text("source"), form.inner("created")
        since, until = created.number("gte", 0) or 0, created.number("lt", 1 << 40) or 0
        found = [
            fact
            for fact in self._all(call)
            if kind in ("", fact["type"]) and source in ("", fact["source"]) and since <= fact["created"] < until
        ]
        if after:
            place = next((n for n, fact in enumerate(found) if fact["id"] == after), None)
            if place is None:
                raise missing("balance transaction", after, "starting_after")
            found = found[place + 1 :]
        return objects.listed("/v1/balance_transactions", found[:limit], len(found) > limit)

    def retrieve(self, call: Call) -> Facts:
        """GET /v1/balance_transactions/{id}"""
        for fact in self._all(call):
            if fact["id"] == call.path["id"]:
                return fact
        raise missing("balance transaction", call.path["id"])
