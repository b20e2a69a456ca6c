"""Payouts, disputes, webhooks and certificates."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from guilder.simulators import dials, payouts
from guilder.simulators.model import Dispute, Payout, Trade
from guilder.simulators.paypal.channel import iso, number, units_of
from guilder.simulators.paypal.door import Act, Ask, Door, Refused
from guilder.simulators.replies import say

_TAKES_S = 0.2
_ANSWER_WITHIN_MS = 10 * 86_400_000
RECIPIENTS = ("EMAIL", "PHONE", "PAYPAL_ID")


class Payouts:
    """Batches of one."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._channel, self._desk = door.channel, door.desk

    async def create(self, request: Request) -> Response:
        """POST /v1/payments/payouts: PENDING; a sender_batch_id used before is refused with a link to its batch."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            header, item = _batch(ask.content)
            kept = dials.asked(str(header.get("note", "")), 0)
            return header["sender_batch_id"], kept, lambda: say(self._create(ask, header, item, kept), 201)

        return await self._door.serve(request, "payout", look)

    def _create(self, ask: Ask, header: dict[str, Any], item: dict[str, Any], kept: str) -> dict[str, Any]:
        book, now, no = self._desk.book, self._desk.clock.now(), header["sender_batch_id"]
        earlier = book.find_payout(ask.account.id, no)
        if earlier is not None:
            at = f"{ask.address}/v1/payments/payouts/{earlier.channel_ref}"
            link = {"href": at, "rel": "self", "method": "GET", "encType": "application/json"}
            said = "Batch with given sender_batch_id already exists"
            details = [{"field": "SENDER_BATCH_ID", "location": "body", "issue": said, "link": [link]}]
            raise Refused(
                400, "USER_BUSINESS_ERROR", name="USER_BUSINESS_ERROR", message="User business error.", details=details
            )
        try:
            units = units_of(str(item["amount"]["value"]), item["amount"]["currency"])
        except (KeyError, TypeError, ValueError):
            raise Refused(400, "VALIDATION_ERROR", name="VALIDATION_ERROR", details=[]) from None
        payout = Payout(
            account=ask.account.id,
            out_no=no,
            channel=self._channel.name,
            channel_ref=number("batch", ask.account.id, no)[:13],
            amount=units,
            currency=item["amount"]["currency"],
            payee=msgspec.json.encode(item).decode(),
            notify_url=self._channel.notify_url(ask.account),
            fingerprint=no,
            created_at=now,
            dials=kept,
        )
        if str(item["receiver"]).startswith("unclaimed"):
            payout.state = "WAITING"  # nobody has an account of this name
        payouts.accept(self._desk, payout, _TAKES_S)
        return {"batch_header": self._header(payout, "PENDING"), "links": []}

    def _header(self, payout: Payout, status: str) -> dict[str, Any]:
        return {
            "payout_batch_id": payout.channel_ref,
            "batch_status": status,
            "time_created": iso(payout.created_at),
            "sender_batch_header": {"sender_batch_id": payout.out_no},
        }

    async def show(self, request: Request) -> Response:
        """GET /v1/payments/payouts/{id}: the batch and its item."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            payout = self._desk.book.find_payout_by_ref(ask.account.id, ask.path("id"))
            if payout is None:
                raise Refused(404, "INVALID_RESOURCE_ID", "Requested resource ID was not found.")
            status = "PROCESSING" if payout.state == "PROCESSING" else "SUCCESS"
            content = {"batch_header": self._header(payout, status), "items": [self._channel.item(payout)], "links": []}
            return payout.out_no, payout.dials, lambda: say(content)

        return await self._door.serve(request, "payout_query", look)


def _batch(content: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        header, [item] = content["sender_batch_header"], content["items"]
        good = isinstance(header["sender_batch_id"], str) and header["sender_batch_id"] and item["receiver"]
        good = good and item["recipient_type"] in RECIPIENTS
    except (KeyError, TypeError, ValueError):
        good, header, item = False, {}, {}
    if not good:
        raise Refused(400, "VALIDATION_ERROR", "Invalid request - see details", name="VALIDATION_ERROR", details=[])
    return header, item


class Disputes:
    """Complaints: made in the sandbox by a payer (here by a call of the merchant's), answered by evidence or by giving in."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._channel, self._desk = door.channel, door.desk

    def _find(self, ask: Ask) -> tuple[Trade, Dispute]:
        dispute = self._desk.book.find_dispute(ask.account.id, ask.path("id"))
        trade = self._desk.book.find_trade(ask.account.id, dispute.out_trade_no) if dispute else None
        if dispute is None or trade is None:
            raise Refused(404, "INVALID_RESOURCE_ID", "Specified resource ID does not exist.")
        return trade, dispute

    async def create(self, request: Request) -> Response:
        """POST /v1/customer/disputes {disputed_transactions: [{seller_transaction_id}], reason, dispute_amount?}, as sandboxes allow."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            try:
                ref = str(ask.content["disputed_transactions"][0]["seller_transaction_id"])
            except (KeyError, IndexError, TypeError):
                raise Refused(400, "MISSING_REQUIRED_PARAMETER", "disputed_transactions") from None
            trade = self._desk.book.find_trade_by_ref(ask.account.id, ref)
            if trade is None or trade.state != "paid":
                raise Refused(422, "TRANSACTION_NOT_FOUND", "The transaction is not found.")
            return trade.out_trade_no, trade.dials, lambda: say(self._create(ask, trade), 201)

        return await self._door.serve(request, "dispute", look)

    def _create(self, ask: Ask, trade: Trade) -> dict[str, Any]:
        now = self._desk.clock.now()
        dispute = Dispute(
            account=trade.account,
            ref=f"PP-D-{self._desk.book.serial()}",
            out_trade_no=trade.out_trade_no,
            amount=trade.captured or trade.amount,
            reason=str(ask.content.get("reason", "OTHER")),
            created_at=now,
            due_at=now + _ANSWER_WITHIN_MS,
            notify_url=self._channel.notify_url(ask.account),
        )
        self._tell(trade, dispute, "CREATED")
        return self._channel.complaint(trade, dispute)

    def _tell(self, trade: Trade, dispute: Dispute, what: str) -> None:
        self._desk.book.note("dispute", trade.account, trade.out_trade_no, ref=dispute.ref, state=dispute.state)
        self._desk.book.put(dispute)
        if dispute.notify_url:
            fact = self._channel.complaint(trade, dispute)
            self._desk.courier.say(
                trade.account, trade.out_trade_no, f"CUSTOMER.DISPUTE.{what}", fact, dispute.notify_url
            )

    async def show(self, request: Request) -> Response:
        """GET /v1/customer/disputes/{id}."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            trade, dispute = self._find(ask)
            return trade.out_trade_no, trade.dials, lambda: say(self._channel.complaint(trade, dispute))

        return await self._door.serve(request, "dispute_query", look)

    async def act(self, request: Request) -> Response:
        """POST .../provide-evidence, .../accept-claim, and the sandbox's .../adjudicate {adjudication_outcome}."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            trade, dispute = self._find(ask)
            state = self._next(ask, dispute)
            return trade.out_trade_no, trade.dials, lambda: self._go(ask, trade, dispute, state)

        return await self._door.serve(request, "dispute", look)

    def _next(self, ask: Ask, dispute: Dispute) -> str:
        verb = ask.path("verb")
        if verb == "adjudicate" and dispute.state in ("needs_response", "under_review"):
            return "won" if ask.content.get("adjudication_outcome") == "SELLER_FAVOUR" else "lost"
        if dispute.state != "needs_response":
            raise Refused(
                422, "ACTION_NOT_ALLOWED_IN_CURRENT_DISPUTE_STATE", "The dispute does not wait for the seller."
            )
        if verb == "accept-claim":
            return "lost"
        if verb == "provide-evidence" and ask.content.get("evidences"):
            return "under_review"
        raise Refused(400, "MISSING_REQUIRED_PARAMETER", "evidences")

    def _go(self, ask: Ask, trade: Trade, dispute: Dispute, state: str) -> Any:
        dispute.state = state
        if ask.content.get("evidences"):
            dispute.extra = msgspec.json.encode({"evidences": ask.content["evidences"]}).decode()
        self._tell(trade, dispute, "RESOLVED" if state in ("won", "lost") else "UPDATED")
        at = f"{ask.address}/v1/customer/disputes/{dispute.ref}"
        return say({"links": [{"href": at, "rel": "self", "method": "GET"}]})


class Webhooks:
    """Where webhooks go, and what proves them."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._channel = door.channel

    async def create(self, request: Request) -> Response:
        """POST /v1/notifications/webhooks {url, event_types}: an account has one here; its id was given with the keys."""

        def look(ask: Ask) -> tuple[str, str, Act]:
            url = str(ask.content.get("url", ""))
            if not url.startswith(("https://", "http://")):
                raise Refused(400, "MISSING_REQUIRED_PARAMETER", "url")

            def act() -> Any:
                self._channel.desk.book.point(ask.account.id, url)
                id = self._channel.settings(ask.account)["webhook_id"]
                return say({"id": id, "url": url, "event_types": ask.content.get("event_types", [{"name": "*"}])}, 201)

            return "", "", act

        return await self._door.serve(request, "webhook", look)

    async def certificate(self, request: Request) -> Response:
        """GET /v1/notifications/certs/{id}: the chain, to anybody."""
        if request.path_params["id"] != self._channel.certificate_id:
            return Response(b"not found\n", 404)
        return Response(self._channel.chain, 200, media_type="text/plain")
