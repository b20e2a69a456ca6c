"""Orders v2 and payments v2: create, show, patch, capture, authorise, void, refund."""

import os
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from guilder.simulators import dials, trades
from guilder.simulators.model import Refund, Trade
from guilder.simulators.paypal.channel import number, turned, units_of
from guilder.simulators.paypal.door import Act, Ask, Door, Refused
from guilder.simulators.replies import Said, say

_LIVES_MS = 3 * 3600 * 1000
_CUSTOM_ID = "/purchase_units/@reference_id=='default'/custom_id"


class Orders:
    """The operations on orders and what they are paid by."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._channel, self._desk = door.channel, door.desk

    # --- what a call is about

    def _order(self, ask: Ask) -> Trade:
        trade = self._desk.book.find_trade_by_token(ask.path("id"))
        return self._own(ask, trade)

    def _own(self, ask: Ask, trade: Trade | None) -> Trade:
        if trade is None or trade.account != ask.account.id:
            raise Refused(404, "INVALID_RESOURCE_ID", "Specified resource ID does not exist.")
        trades.expire(self._desk, trade)
        if trade.state == "closed" and trade.held_at < 0:  # nobody approved it, and it is forgotten
            raise Refused(404, "INVALID_RESOURCE_ID", "Specified resource ID does not exist.")
        return trade

    def _by_capture(self, ask: Ask) -> Trade:
        trade = self._own(ask, self._desk.book.find_trade_by_ref(ask.account.id, ask.path("id")))
        if trade.state != "paid":
            raise Refused(404, "INVALID_RESOURCE_ID", "Specified resource ID does not exist.")
        return trade

    def _by_authorization(self, ask: Ask) -> Trade:
        trade = self._own(ask, self._desk.book.find_trade_by_token(turned(ask.path("id"))))
        if not trade.more().get("authorized_at"):
            raise Refused(404, "INVALID_RESOURCE_ID", "Specified resource ID does not exist.")
        return trade

    def _said(self, ask: Ask, trade: Trade, status: int = 200) -> Said:
        return say(self._channel.order(trade, ask.address), status)

    # --- orders

    async def create(self, request: Request) -> Response:
        """POST /v2/checkout/orders: 201, or 200 with the same order if its PayPal-Request-Id was used before."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            unit = _unit(ask.content)
            currency, units = _amount(unit.get("amount"))
            kept = dials.asked(str(unit.get("custom_id", "")), units)
            no = str(unit.get("invoice_id", ""))
            return no, kept, lambda: self._create(ask, unit, currency, units, kept)

        return await self._door.serve(request, "create", look)

    def _create(self, ask: Ask, unit: dict[str, Any], currency: str, units: int, kept: str) -> Said:
        book, now = self._desk.book, self._desk.clock.now()
        source = ask.request_id or os.urandom(16).hex()
        order_id = number("order", ask.account.id, source)
        earlier = book.find_trade_by_token(order_id)
        if earlier is not None:
            return self._said(ask, earlier)
        intent = ask.content.get("intent")
        if intent not in ("CAPTURE", "AUTHORIZE"):
            raise Refused(400, "INVALID_PARAMETER_VALUE", "The value of a field is invalid: /intent")
        invoice = str(unit.get("invoice_id", ""))
        page = _page(ask.content)
        taken = invoice and book.find_trade(ask.account.id, invoice)
        trade = Trade(
            account=ask.account.id,
            out_trade_no=f"{invoice}~{order_id}" if taken else invoice or order_id,
            channel=self._channel.name,
            channel_ref=number("capture", order_id),
            token=order_id,
            way="checkout",
            amount=units,
            currency=currency,
            description=str(unit.get("description", "")),
            attach=str(unit.get("custom_id", "")),
            notify_url=self._channel.notify_url(ask.account),
            return_url=str(page.get("return_url", "")),
            fingerprint=source,
            dials=kept,
            created_at=now,
            expires_at=now + _LIVES_MS,
        )
        trade.held_at = -1  # the payer agrees on the phone, and the merchant's call is what moves the money
        more = {"intent": intent, "invoice_id": invoice, "custom_id": trade.attach}
        trade.extra = msgspec.json.encode(more).decode()
        trades.create(self._desk, trade)
        return self._said(ask, trade, 201)

    async def show(self, request: Request) -> Response:
        """GET /v2/checkout/orders/{id}."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            trade = self._order(ask)
            return trade.out_trade_no, trade.dials, lambda: self._said(ask, trade)

        return await self._door.serve(request, "query", look)

    async def patch(self, request: Request) -> Response:
        """PATCH /v2/checkout/orders/{id}: of all that may be changed, the custom_id."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            trade = self._order(ask)
            return trade.out_trade_no, trade.dials, lambda: self._patch(ask, trade)

        return await self._door.serve(request, "close", look)

    def _patch(self, ask: Ask, trade: Trade) -> Said:
        if self._channel.status(trade) == "COMPLETED":
            raise Refused(422, "ORDER_ALREADY_COMPLETED", "The order cannot be patched after it is completed.")
        for patch in ask.content if isinstance(ask.content, list) else []:
            if patch.get("path") != _CUSTOM_ID or patch.get("op") not in ("add", "replace"):
                raise Refused(422, "NOT_PATCHABLE", "Cannot be patched.")
            self._keep(trade, custom_id=str(patch.get("value", "")))
        return Said(204)

    def _keep(self, trade: Trade, **more: Any) -> None:
        trade.extra = msgspec.json.encode(trade.more() | more).decode()
        self._desk.book.put(trade)

    async def capture(self, request: Request) -> Response:
        """POST /v2/checkout/orders/{id}/capture: the money moves."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            trade = self._order(ask)
            return trade.out_trade_no, trade.dials, lambda: self._capture(ask, trade)

        return await self._door.serve(request, "capture", look)

    def _capture(self, ask: Ask, trade: Trade) -> Said:
        more = trade.more()
        if more["intent"] != "CAPTURE":
            raise Refused(422, "ACTION_DOES_NOT_MATCH_INTENT", "Order was created with an intent to 'AUTHORIZE'.")
        if trade.state == "paid":
            if ask.request_id and ask.request_id == more.get("captured_by"):
                return self._said(ask, trade)
            raise Refused(422, "ORDER_ALREADY_CAPTURED", "Order already captured.")
        self._agreed(trade)
        self._only_once(trade)
        self._keep(trade, captured_by=ask.request_id)
        trades.capture(self._desk, trade, trade.amount)
        return self._said(ask, trade, 201)

    def _agreed(self, trade: Trade) -> None:
        """The payer has approved, and nothing stands in the way."""
        if trade.held_at < 0:
            raise Refused(422, "ORDER_NOT_APPROVED", "Payer has not yet approved the Order for payment.")
        if trade.state == "declined" or dials.find(trade.dials, "capture", "decline"):
            if trade.state != "declined":
                self._desk.dials.count(trade.account, trade.out_trade_no, "capture", "decline")
                trade.state, trade.closed_at = "declined", self._desk.clock.now()
                self._desk.book.note("declined", trade.account, trade.out_trade_no)
                self._desk.book.put(trade)
            raise Refused(422, "INSTRUMENT_DECLINED", "The instrument presented was either declined or can't be used.")

    def _only_once(self, trade: Trade) -> None:
        """An invoice is paid once, whatever number of orders it is in."""
        invoice = trade.more()["invoice_id"]
        first = self._desk.book.find_trade(trade.account, invoice) if invoice else None
        if first is not None and first is not trade and first.state == "paid":
            raise Refused(422, "DUPLICATE_INVOICE_ID", "Duplicate Invoice ID detected.")

    async def authorize(self, request: Request) -> Response:
        """POST /v2/checkout/orders/{id}/authorize: the money is held."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            trade = self._order(ask)
            return trade.out_trade_no, trade.dials, lambda: self._authorize(ask, trade)

        return await self._door.serve(request, "authorise", look)

    def _authorize(self, ask: Ask, trade: Trade) -> Said:
        more = trade.more()
        if more["intent"] != "AUTHORIZE":
            raise Refused(422, "ACTION_DOES_NOT_MATCH_INTENT", "Order was created with an intent to 'CAPTURE'.")
        if more.get("authorized_at"):
            if ask.request_id and ask.request_id == more.get("authorized_by"):
                return self._said(ask, trade)
            raise Refused(422, "ORDER_ALREADY_AUTHORIZED", "Order already authorized.")
        self._agreed(trade)
        self._keep(trade, authorized_at=self._desk.clock.now(), authorized_by=ask.request_id)
        self._desk.book.note("authorized", trade.account, trade.out_trade_no, amount=trade.amount)
        self._desk.courier.tell(trade, None)
        return self._said(ask, trade, 201)

    # --- authorizations

    async def show_authorization(self, request: Request) -> Response:
        """GET /v2/payments/authorizations/{id}."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            trade = self._by_authorization(ask)
            return trade.out_trade_no, trade.dials, lambda: say(self._channel.authorization(trade))

        return await self._door.serve(request, "query", look)

    async def collect(self, request: Request) -> Response:
        """POST /v2/payments/authorizations/{id}/capture {amount, final_capture}: what was held moves, once."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            trade = self._by_authorization(ask)
            return trade.out_trade_no, trade.dials, lambda: self._collect(ask, trade)

        return await self._door.serve(request, "capture", look)

    def _collect(self, ask: Ask, trade: Trade) -> Said:
        if trade.state == "paid":
            if ask.request_id and ask.request_id == trade.more().get("captured_by"):
                return say(self._channel.capture(trade))
            raise Refused(422, "AUTHORIZATION_ALREADY_CAPTURED", "Authorization has already been captured.")
        if trade.state == "closed":
            raise Refused(422, "AUTHORIZATION_VOIDED", "A voided authorization cannot be captured.")
        units = trade.amount
        if ask.content.get("amount"):
            currency, units = _amount(ask.content["amount"])
            if currency != trade.currency:
                raise Refused(
                    422, "AUTH_CAPTURE_CURRENCY_MISMATCH", "Currency of capture must be that of authorization."
                )
        if units > trade.amount:
            raise Refused(422, "MAX_CAPTURE_AMOUNT_EXCEEDED", "Capture amount exceeds allowable limit.")
        self._keep(trade, captured_by=ask.request_id)
        trades.capture(self._desk, trade, units)
        return say(self._channel.capture(trade), 201)

    async def void(self, request: Request) -> Response:
        """POST /v2/payments/authorizations/{id}/void: what is held goes back."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            trade = self._by_authorization(ask)
            return trade.out_trade_no, trade.dials, lambda: self._void(trade)

        return await self._door.serve(request, "close", look)

    def _void(self, trade: Trade) -> Said:
        if trade.state == "paid":
            raise Refused(422, "PREVIOUSLY_CAPTURED", "Authorization has been previously captured.")
        if trade.state == "closed":
            raise Refused(422, "PREVIOUSLY_VOIDED", "Authorization has been previously voided.")
        trades.close(self._desk, trade)
        return Said(204)

    # --- captures and refunds

    async def show_capture(self, request: Request) -> Response:
        """GET /v2/payments/captures/{id}."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            trade = self._by_capture(ask)
            return trade.out_trade_no, trade.dials, lambda: say(self._channel.capture(trade))

        return await self._door.serve(request, "query", look)

    async def refund(self, request: Request) -> Response:
        """POST /v2/payments/captures/{id}/refund: COMPLETED, or PENDING if a dial says so."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            trade = self._by_capture(ask)
            return trade.out_trade_no, trade.dials, lambda: self._refund(ask, trade)

        return await self._door.serve(request, "refund", look)

    def _refund(self, ask: Ask, trade: Trade) -> Said:
        book, now = self._desk.book, self._desk.clock.now()
        id = number("refund", trade.token, ask.request_id or os.urandom(16).hex())
        refunds = book.refunds(trade.account, trade.out_trade_no)
        for earlier in refunds:
            if earlier.channel_ref == id:
                return say(self._channel.refund(trade, earlier))
        left = (trade.captured or trade.amount) - sum(r.amount for r in refunds if r.state != "ABNORMAL")
        units = left
        if ask.content.get("amount"):
            currency, units = _amount(ask.content["amount"])
            if currency != trade.currency:
                raise Refused(422, "REFUND_CAPTURE_CURRENCY_MISMATCH", "Refund must be in the currency of the capture.")
        if left == 0:
            raise Refused(422, "CAPTURE_FULLY_REFUNDED", "The capture has already been fully refunded.")
        if units > left:
            raise Refused(422, "REFUND_AMOUNT_EXCEEDED", "The refund amount must be less than or equal to the capture.")
        invoice = str(ask.content.get("invoice_id", trade.more()["invoice_id"]))
        if book.find_refund(trade.account, invoice) is not None:
            raise Refused(422, "DUPLICATE_INVOICE_ID", "Duplicate Invoice ID detected.")
        kept = trades.refund_dials(self._desk, trade)
        if dials.find(kept, "refund", "refund_fail") and not dials.find(kept, "refund", "refund_processing"):
            self._desk.dials.count(trade.account, trade.out_trade_no, "refund", "refund_fail")
            raise Refused(422, "REFUND_FAILED_INSUFFICIENT_FUNDS", "Capture could not be refunded: insufficient funds.")
        named = {"invoice_id": invoice, "custom_id": str(ask.content.get("custom_id", trade.more()["custom_id"]))}
        refund = Refund(
            account=trade.account,
            out_refund_no=id if invoice == trade.more()["invoice_id"] else invoice,
            out_trade_no=trade.out_trade_no,
            channel_ref=id,
            amount=units,
            reason=str(ask.content.get("note_to_payer", "")),
            notify_url=self._channel.notify_url(ask.account),
            fingerprint=msgspec.json.encode(named).decode(),
            created_at=now,
            done_at=now,
            dials=kept,
        )
        trades.accept_refund(self._desk, trade, refund)
        return say(self._channel.refund(trade, refund), 201)

    async def show_refund(self, request: Request) -> Response:
        """GET /v2/payments/refunds/{id}."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            sql = "SELECT out_refund_no FROM refund WHERE account = ? AND channel_ref = ?"
            found = [no for (no,) in self._desk.book.rows(sql, ask.account.id, ask.path("id"))]
            refund = self._desk.book.find_refund(ask.account.id, found[0]) if found else None
            trade = self._desk.book.find_trade(ask.account.id, refund.out_trade_no) if refund else None
            if refund is None or trade is None:
                raise Refused(404, "INVALID_RESOURCE_ID", "Specified resource ID does not exist.")
            return trade.out_trade_no, trade.dials, lambda: say(self._channel.refund(trade, refund))

        return await self._door.serve(request, "refund_query", look)


def _unit(content: Any) -> dict[str, Any]:
    units = content.get("purchase_units") if isinstance(content, dict) else None
    if not isinstance(units, list) or len(units) != 1 or not isinstance(units[0], dict):
        raise Refused(
            400, "MISSING_REQUIRED_PARAMETER", "A required field is missing: /purchase_units (one is simulated)"
        )
    unit = units[0]
    if len(str(unit.get("invoice_id", ""))) > 127 or len(str(unit.get("custom_id", ""))) > 255:
        raise Refused(400, "INVALID_STRING_MAX_LENGTH", "The value of a field is too long.")
    return unit


def _amount(said: Any) -> tuple[str, int]:
    currency = said.get("currency_code", "") if isinstance(said, dict) else ""
    if not (len(currency) == 3 and currency.isupper()):
        raise Refused(400, "MISSING_REQUIRED_PARAMETER", "A required field is missing: amount")
    try:
        units = units_of(str(said.get("value", "")), currency)
    except ValueError:
        raise Refused(
            422, "DECIMAL_PRECISION", "The value of the field should not be more than two decimals."
        ) from None
    if units < 1:
        raise Refused(422, "CANNOT_BE_ZERO_OR_NEGATIVE", "Must be greater than zero.")
    return currency, units


def _page(content: dict[str, Any]) -> dict[str, Any]:
    source = content.get("payment_source") or {}
    paypal = source.get("paypal") or {}
    return paypal.get("experience_context") or content.get("application_context") or {}
