"""PaymentIntents: create, confirm, capture, cancel, find.  A payer's page may confirm with the publishable key and the client secret."""

import re
import secrets
from typing import Any

import msgspec

from guilder.simulators import dials, trades
from guilder.simulators.model import Facts, Trade
from guilder.simulators.stripe import cards, disputes, objects
from guilder.simulators.stripe.api import Call, Operation
from guilder.simulators.stripe.channel import Stripe
from guilder.simulators.stripe.errors import Refused, missing, wrong_state

_FOREVER_MS = 10 * 365 * 86_400_000  # an intent does not expire
_SEARCH = re.compile(r"metadata\[['\"]([^'\"]+)['\"]\]\s*:\s*['\"]([^'\"]+)['\"]")
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MOST = 99_999_999


def new_id(prefix: str, length: int = 24) -> str:
    return f"{prefix}_" + "".join(secrets.choice(_LETTERS) for _ in range(length))


class Intents:
    """What can be done with PaymentIntents."""

    def __init__(self, channel: Stripe) -> None:
        self._channel, self._desk = channel, channel.desk

    def operations(self) -> list[Operation]:
        at, one = "/v1/payment_intents", "/v1/payment_intents/{id}"
        return [
            Operation("POST", at, "create", self.create, self._about_new),
            Operation("GET", at, "query", self.listing, self._nothing),
            Operation("GET", f"{at}/search", "query", self.search, self._nothing),
            Operation("GET", one, "query", self.retrieve, self.about, public=True),
            Operation("POST", f"{one}/confirm", "create", self.confirm, self.about, public=True),
            Operation("POST", f"{one}/capture", "capture", self.capture, self.about),
            Operation("POST", f"{one}/cancel", "close", self.cancel, self.about),
            Operation("POST", "/v1/payment_methods", "query", self.make_method, self._nothing, public=True),
            Operation("GET", "/v1/charges/{id}", "query", self.charge, self._nothing),
        ]

    # --- finding

    def find(self, call: Call, id: str, prefix: str = "pi_") -> Trade:
        """The trade of an intent (or of its charge).  Raises Refused 404."""
        trade = self._desk.book.find_trade_by_ref(call.account.id, f"pi_{id.removeprefix(prefix)}")
        if trade is None or not id.startswith(prefix):
            raise missing("charge" if prefix == "ch_" else "payment_intent", id, "intent")
        trades.expire(self._desk, trade)
        return trade

    def about(self, call: Call) -> tuple[str, str]:
        trade = self.find(call, call.path["id"])
        return trade.out_trade_no, trade.dials

    @staticmethod
    def _nothing(call: Call) -> tuple[str, str]:
        return "", ""

    @staticmethod
    def _about_new(call: Call) -> tuple[str, str]:
        """The dials that a new payment asks for stand in its metadata, or in its amount."""
        metadata = call.form.table("metadata")
        amount = call.form.number("amount", 0) or 0
        call.form.put("metadata", metadata)
        call.form.put("amount", str(amount) if amount else "")
        return call.key or f"unkeyed-{secrets.token_hex(8)}", dials.asked(metadata.get("attach", ""), amount)

    def shown(self, call: Call, trade: Trade) -> Facts:
        fact = objects.intent(self._desk.book, trade, call.form.expand, call.address)
        if call.public:
            fact = {name: value for name, value in fact.items() if name not in ("metadata", "latest_charge")}
        return fact

    def _admit(self, call: Call, trade: Trade) -> None:
        """A payer's page must know the client secret."""
        given = call.form.text("client_secret")
        if call.public and not secrets.compare_digest(given.encode(), trade.token.encode()):
            raise missing("payment_intent", trade.channel_ref, "intent")

    # --- operations

    def create(self, call: Call) -> Facts:
        """POST /v1/payment_intents"""
        form, confirm = call.form, call.form.flag("confirm")
        amount, currency = _amount(form.number("amount"), form.needed("currency").upper())
        metadata, token, back = form.table("metadata"), form.text("payment_method"), form.text("return_url")
        capture = form.text("capture_method", "automatic")
        kinds, auto = form.texts("payment_method_types"), form.inner("automatic_payment_methods")
        description = form.text("description")
        form.end(
            "customer",
            "receipt_email",
            "statement_descriptor",
            "statement_descriptor_suffix",
            "confirmation_method",
            "use_stripe_sdk",
        )
        if capture not in ("automatic", "automatic_async", "manual"):
            raise Refused(400, "invalid_request_error", f"Invalid capture_method: {capture}", param="capture_method")
        if set(kinds) - {"card"} or (kinds and auto.flag("enabled")):
            raise Refused(400, "invalid_request_error", "Only card is activated.", param="payment_method_types")
        if token and not cards.named(token):
            raise _no_method(token)
        if confirm and not token:
            raise Refused(
                400,
                "invalid_request_error",
                "You cannot confirm without a payment method.",
                "parameter_missing",
                "payment_method",
            )
        trade = self._new(call, amount, currency, description, back, metadata)
        objects.remember(trade, pm=token, capture=capture)
        trade.held_at = -1 if capture == "manual" else 0
        trades.create(self._desk, trade)
        if confirm and trade.state == "waiting":
            self._confirm(call, trade, token)
        return self.shown(call, trade)

    def _new(
        self, call: Call, amount: int, currency: str, description: str, back: str, metadata: dict[str, str]
    ) -> Trade:
        ref, now = new_id("pi"), self._desk.clock.now()
        number = call.key if call.key and self._desk.book.find_trade(call.account.id, call.key) is None else ref
        attach = metadata.get("attach", "")
        extra = {
            "metadata": metadata,
            "pm": "",
            "capture": "automatic",
            "asks": False,
            "error": None,
            "refunds": {},
            "address": call.address,
        }
        return Trade(
            account=call.account.id,
            out_trade_no=number,
            channel=self._channel.name,
            channel_ref=ref,
            token=f"{ref}_secret_{secrets.token_hex(12)}",
            way="card",
            amount=amount,
            currency=currency,
            description=description,
            attach=attach,
            notify_url=self._desk.book.endpoints.get(call.account.id, ""),
            return_url=back,
            fingerprint="",
            dials=dials.asked(attach, amount),
            created_at=now,
            expires_at=now + _FOREVER_MS,
            extra=msgspec.json.encode(extra).decode(),
        )

    def confirm(self, call: Call) -> Facts:
        """POST /v1/payment_intents/{id}/confirm"""
        trade = self.find(call, call.path["id"])
        self._admit(call, trade)
        token, back = call.form.text("payment_method"), call.form.text("return_url")
        call.form.end("use_stripe_sdk", "mandate_data", "payment_method_data")
        if token and not cards.named(token):
            raise _no_method(token)
        token = token or trade.more()["pm"]
        if trade.state not in ("waiting", "declined") or not token:
            text = f"This PaymentIntent's status is {objects.status(trade)}: it cannot be confirmed so."
            raise wrong_state(text, self.shown(call, trade))
        if back:
            trade.return_url = back
        self._confirm(call, trade, token)
        return self.shown(call, trade)

    def _confirm(self, call: Call, trade: Trade, token: str) -> None:
        """Charge the card, or send the payer to his bank.  Raises Refused 402 when the bank says no."""
        card = cards.CARDS[cards.named(token)]
        if trade.state == "declined":  # another try
            trade.state, trade.closed_at = "waiting", 0
        error = [card.code, card.decline_code] if card.code else None
        objects.remember(trade, pm=token, asks=card.asks, error=error)
        self._desk.book.put(trade)
        if card.asks:
            trades.open_(self._desk, trade)
            return
        if card.code:
            trades.decline(self._desk, trade)
        else:
            trades.open_(self._desk, trade)
            trades.pay(self._desk, trade)
        if trade.state == "declined":
            failure = objects.error_of(trade) or {}
            raise Refused(402, "card_error", **_without_type(failure), payment_intent=self.shown(call, trade))
        if card.disputes:
            disputes.open_(self._desk, trade, "fraudulent")

    def retrieve(self, call: Call) -> Facts:
        """GET /v1/payment_intents/{id}"""
        trade = self.find(call, call.path["id"])
        self._admit(call, trade)
        return self.shown(call, trade)

    def capture(self, call: Call) -> Facts:
        """POST /v1/payment_intents/{id}/capture"""
        trade = self.find(call, call.path["id"])
        units = call.form.number("amount_to_capture", trade.amount) or 0
        call.form.end("metadata", "statement_descriptor")
        if trade.state != "held":
            text = f"This PaymentIntent could not be captured because it has a status of {objects.status(trade)}."
            raise wrong_state(text, self.shown(call, trade))
        if not 0 < units <= trade.amount:
            text = f"The amount to capture ({units}) is more than what is capturable."
            raise Refused(400, "invalid_request_error", text, "amount_too_large", "amount_to_capture")
        trades.capture(self._desk, trade, units)
        return self.shown(call, trade)

    def cancel(self, call: Call) -> Facts:
        """POST /v1/payment_intents/{id}/cancel"""
        trade = self.find(call, call.path["id"])
        reason = call.form.text("cancellation_reason")
        call.form.end()
        if trade.state not in ("waiting", "held", "declined"):
            text = f"You cannot cancel this PaymentIntent because it has a status of {objects.status(trade)}."
            raise wrong_state(text, self.shown(call, trade))
        objects.remember(trade, reason=reason or None)
        trades.close(self._desk, trade)
        return self.shown(call, trade)

    def listing(self, call: Call) -> Facts:
        """GET /v1/payment_intents: the newest first."""
        limit, after = call.form.number("limit", 10) or 10, call.form.text("starting_after")
        sql = "SELECT out_trade_no FROM trade WHERE account = ? AND (created_at, channel_ref) < (?, ?) ORDER BY created_at DESC, channel_ref DESC LIMIT ?"
        last = self.find(call, after) if after else None
        before = (last.created_at, last.channel_ref) if last else (1 << 62, "")
        found = [row[0] for row in self._desk.book.rows(sql, call.account.id, *before, limit + 1)]
        return objects.listed("/v1/payment_intents", self._facts(call, found[:limit]), len(found) > limit)

    def search(self, call: Call) -> Facts:
        """GET /v1/payment_intents/search?query=metadata['name']:'value'"""
        match = _SEARCH.search(call.form.needed("query"))
        if match is None:
            raise Refused(
                400, "invalid_request_error", "Only metadata['name']:'value' is searched for here.", param="query"
            )
        sql = "SELECT out_trade_no FROM trade WHERE account = ? AND json_extract(extra, ?) = ? LIMIT 10"
        rows = self._desk.book.rows(sql, call.account.id, f'$.metadata."{match[1]}"', match[2])
        fact = objects.listed("/v1/payment_intents/search", self._facts(call, [row[0] for row in rows]))
        return fact | {"object": "search_result", "next_page": None}

    def _facts(self, call: Call, numbers: list[str]) -> list[Facts]:
        found = (self._desk.book.find_trade(call.account.id, number) for number in numbers)
        return [self.shown(call, trade) for trade in found if trade is not None]

    def make_method(self, call: Call) -> Facts:
        """POST /v1/payment_methods: what the hosted fields do with the number that was typed."""
        kind, card = call.form.text("type", "card"), call.form.inner("card")
        token = card.text("token").replace("tok_", "pm_card_")
        name = token if token in cards.CARDS else cards.NUMBERS.get(card.text("number").replace(" ", ""), "")
        if kind != "card" or not name:
            raise Refused(402, "card_error", "Your card number is incorrect.", "incorrect_number", "number")
        return {
            "id": f"{new_id('pm')}-{name.removeprefix('pm_card_')}",
            "object": "payment_method",
            "type": "card",
            "livemode": False,
        }

    def charge(self, call: Call) -> Facts:
        """GET /v1/charges/{id}"""
        trade = self.find(call, call.path["id"], "ch_")
        if not trade.paid_at and trade.held_at <= 0:
            raise missing("charge", call.path["id"])
        return objects.charge(self._desk.book, trade, "balance_transaction" in call.form.expand)


def _amount(amount: int | None, currency: str) -> tuple[int, str]:
    if not re.fullmatch(r"[A-Z]{3}", currency):
        raise Refused(400, "invalid_request_error", f"Invalid currency: {currency.lower()}", param="currency")
    if amount is None or amount < (50 if objects.exponent(currency) else 1):
        raise Refused(
            400, "invalid_request_error", "Amount must be at least the minimum.", "amount_too_small", "amount"
        )
    if amount > MOST:
        raise Refused(
            400, "invalid_request_error", "Amount must be no more than 999,999.99.", "amount_too_large", "amount"
        )
    if objects.exponent(currency) == 3 and amount % 10:
        raise Refused(
            400, "invalid_request_error", "The last digit has to be 0.", "parameter_invalid_integer", "amount"
        )
    return amount, currency


def _no_method(token: str) -> Refused:
    return Refused(
        400, "invalid_request_error", f"No such PaymentMethod: '{token}'", "resource_missing", "payment_method"
    )


def _without_type(failure: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in failure.items() if name != "type"}
