"""The bank: numbers that belong to orders, money that arrives at them, transfers back, and the day's file.

POST /bank/orders, GET /bank/orders/{no}, POST /bank/orders/{no}/close, POST /bank/refunds, GET /bank/refunds/{no},
GET /bank/statements/{day}                         signed by the customer
POST /bank/credits {account_number, amount, ...}   what somebody, somewhere, transfers: no signature, for it is no customer of ours
"""

import hashlib
import hmac
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fake_bank import files
from guilder.simulators import dials, statements, trades
from guilder.simulators.desk import Desk
from guilder.simulators.model import Account, Callback, Facts, Payout, Refund, Trade
from guilder.simulators.replies import Said, answer, say

NAME = "bank_transfer"


class Refused(Exception):
    """The bank says no."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        self.said = say({"code": code, "message": message}, status)


def sign(secret: str, *parts: str, body: bytes) -> str:
    """The parts, each on a line of its own, then the body."""
    mac = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    for part in parts:
        mac.update(part.encode() + b"\n")
    mac.update(body)
    return mac.hexdigest()


def plug(desk: Desk) -> tuple["Bank", list[Route]]:
    """The entry point: the channel, and its addresses."""
    bank = Bank(desk)
    statements.GATHER[NAME] = files.gather
    return bank, Counter(bank).routes()


class Bank:
    """What the desk wants to know of a channel."""

    name = NAME
    retry_after_s: Sequence[int] = (5, 30, 300, 3600)
    refund_takes_s = 0.2

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def open_account(self, name: str, address: str, options: Mapping[str, str]) -> Account:
        """A contract.  There are no options."""
        if options:
            raise ValueError(f"the bank has no option {', '.join(options)}")
        customer = f"C{random.randrange(10**9):09d}"
        config = {"base_url": address, "customer": customer, "secret": secrets.token_hex(24)}
        return Account(customer, NAME, name, self.desk.clock.now(), msgspec.json.encode(config).decode())

    def received(self, trade: Trade) -> int:
        """What has arrived at the order's number; with the dial wrong_amount, a fen less is told."""
        came = sum(credit["amount"] for credit in trade.more().get("credits", []))
        if not came and trade.state == "paid":
            came = trade.amount
        return came - (1 if came and dials.find(trade.dials, "create", "wrong_amount") else 0)

    def order(self, trade: Trade) -> Facts:
        """An order, as every message shows it."""
        received = self.received(trade)
        state = {"waiting": "PART" if received else "OPEN", "paid": "PAID"}.get(
            trade.state, "SHORT" if received else "CLOSED"
        )
        last = max((credit["at"] for credit in trade.more().get("credits", [])), default=trade.paid_at)
        return {
            "order_no": trade.out_trade_no, "bank_ref": trade.channel_ref, "customer": trade.account, "state": state,
            "account_number": trade.token, "bank_name": "Bank of Nowhere", "amount": trade.amount, "received": received,
            "currency": trade.currency, "paid_at": trade.paid_at or last, "payer": trade.payer,
        }  # fmt: skip

    def refund(self, refund: Refund) -> Facts:
        """A refund, as every message shows it."""
        state = {"SUCCESS": "DONE", "ABNORMAL": "RETURNED"}.get(refund.state, "PROCESSING")
        return {
            "refund_no": refund.out_refund_no, "order_no": refund.out_trade_no, "bank_ref": refund.channel_ref,
            "customer": refund.account, "state": state, "amount": refund.amount, "currency": "CNY",
            "done_at": 0 if state == "PROCESSING" else refund.done_at,
        }  # fmt: skip

    def payment_fact(self, trade: Trade) -> tuple[str, Facts] | None:
        """Money that came, and an order that ended short."""
        order = self.order(trade)
        return ("order", {"order": order}) if order["state"] in ("PAID", "SHORT") else None

    def refund_fact(self, trade: Trade, refund: Refund) -> tuple[str, Facts] | None:
        return "refund", {"refund": self.refund(refund)}

    def payout_fact(self, payout: Payout) -> tuple[str, Facts] | None:
        """There are none."""
        return None

    def seal(self, account: Account, callback: Callback, forged: str) -> tuple[dict[str, str], bytes]:
        """Signed with the contract's secret, or forged with another."""
        body = msgspec.json.encode({"id": callback.id, **msgspec.json.decode(callback.fact)})
        at, secret = str(int(time.time())), "0" * 48 if forged else account.settings()["secret"]
        headers = {
            "X-Bank-Time": at,
            "X-Bank-Signature": sign(secret, at, body=body),
            "Content-Type": "application/json",
        }
        return headers, body

    def forgeries(self) -> Sequence[str]:
        return ("secret",)

    def accepted(self, status: int, body: bytes) -> bool:
        return status == 204

    def returns_to(self, trade: Trade) -> str:
        """A transfer has no page to come back from."""
        return ""

    def statement(self, account: Account, day: str, kind: str, lines: Sequence[statements.Line], corrupt: str) -> bytes:
        return files.render(lines, corrupt)


class Counter:
    """Where customers' calls arrive, and payers' money."""

    def __init__(self, bank: Bank) -> None:
        self._bank, self._desk = bank, bank.desk

    def routes(self) -> list[Route]:
        """All addresses under /bank."""
        table: list[tuple[str, str, str, Callable[[Account, dict[str, Any]], Said]]] = [
            ("POST", "/bank/orders", "create", self.create),
            ("GET", "/bank/orders/{no}", "query", self.look),
            ("POST", "/bank/orders/{no}/close", "close", self.close),
            ("POST", "/bank/refunds", "refund", self.give_back),
            ("GET", "/bank/refunds/{no}", "refund_query", self.look_at_refund),
            ("GET", "/bank/statements/{no}", "bill", self.file),
        ]
        signed = [Route(path, self._signed(op, act), methods=[method]) for method, path, op, act in table]
        return [*signed, Route("/bank/credits", self.credit, methods=["POST"])]

    def _signed(self, op: str, act: Callable[[Account, dict[str, Any]], Said]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            body, signature = await request.body(), request.headers.get("x-bank-signature", "")
            account = self._desk.book.accounts.get(request.headers.get("x-bank-customer", ""))
            at = request.headers.get("x-bank-time", "0")
            secret = account.settings()["secret"] if account is not None and account.channel == NAME else ""
            right = sign(secret, request.method, request.url.path, at, body=body)
            if account is None or not secret or not hmac.compare_digest(right, signature):
                return JSONResponse({"code": "WHO_IS_THIS"}, 401)
            asked = msgspec.json.decode(body or b"{}", type=dict[str, Any]) | {"no": request.path_params.get("no", "")}

            def do() -> Said:
                try:
                    return act(account, asked)
                except Refused as refused:
                    return refused.said

            def dress(said: Said, spoiled: bool) -> Response:
                over = b"another text" if spoiled else said.body
                headers = {"X-Bank-Signature": sign(secret, str(said.status), signature, body=over)}
                return Response(said.body, said.status, headers)

            await self._desk.book.commit()
            about, kept = self._about(account, op, asked)
            return await answer(self._desk, account, op, about, kept, do, dress)

        return endpoint

    def _about(self, account: Account, op: str, asked: dict[str, Any]) -> tuple[str, str]:
        """The order that a call is about, and the dials that it was made with."""
        if op == "create":
            return asked["order_no"], dials.asked(asked["attach"], asked["amount"])
        no = asked.get("order_no") or asked["no"]
        if op == "refund_query" and (refund := self._desk.book.find_refund(account.id, no)):
            no = refund.out_trade_no
        trade = self._desk.book.find_trade(account.id, no)
        return no, trade.dials if trade else ""

    def _find(self, account: Account, no: str) -> Trade:
        trade = self._desk.book.find_trade(account.id, no)
        if trade is None:
            raise Refused(404, "NO_SUCH_ORDER")
        trades.expire(self._desk, trade)
        return trade

    def create(self, account: Account, asked: dict[str, Any]) -> Said:
        """Open a number.  The same order again is the same number."""
        trade = self._desk.book.find_trade(account.id, asked["order_no"])
        if trade is not None and trade.amount != asked["amount"]:
            raise Refused(409, "NUMBER_USED", "this order number has another amount")
        if trade is None:
            if asked["currency"] != "CNY" or asked["amount"] <= 0:
                raise Refused(422, "INVALID")
            serial = self._desk.book.serial()
            trade = Trade(
                account.id, asked["order_no"], NAME, f"B{serial:015d}", f"6222{serial:015d}", "virtual_account", asked["amount"], "CNY",
                asked["description"], asked["attach"], asked["notify_url"], "", "", dials.asked(asked["attach"], asked["amount"]),
                self._desk.clock.now(), asked["expires_at"],
            )  # fmt: skip
            trades.create(self._desk, trade)
        return say(self._bank.order(trade))

    def look(self, account: Account, asked: dict[str, Any]) -> Said:
        return say(self._bank.order(self._find(account, asked["no"])))

    def close(self, account: Account, asked: dict[str, Any]) -> Said:
        """End an order that has not been paid; the answer is the order as it is then."""
        trade = self._find(account, asked["no"])
        if trade.state == "waiting":
            trades.close(self._desk, trade)
        return say(self._bank.order(trade))

    def give_back(self, account: Account, asked: dict[str, Any]) -> Said:
        """Transfer back, to where the money came from."""
        trade = self._find(account, asked["order_no"])
        refund = self._desk.book.find_refund(account.id, asked["refund_no"])
        if refund is not None and refund.amount != asked["amount"]:
            raise Refused(409, "NUMBER_USED", "this refund number has another amount")
        if refund is None:
            received = self._bank.received(trade)
            if not received:
                raise Refused(409, "NOT_PAID")
            if trades.refunded(self._desk, trade) + asked["amount"] > received:
                raise Refused(422, "TOO_MUCH", "more than has come and not gone back")
            at = self._desk.clock.now()
            refund = Refund(
                account.id, asked["refund_no"], trade.out_trade_no, f"R{self._desk.book.serial():015d}", asked["amount"], asked["reason"],
                asked["notify_url"], "", at, at + int(self._bank.refund_takes_s * 1000), dials=trades.refund_dials(self._desk, trade),
            )  # fmt: skip
            trades.accept_refund(self._desk, trade, refund)
        return say(self._bank.refund(refund))

    def look_at_refund(self, account: Account, asked: dict[str, Any]) -> Said:
        refund = self._desk.book.find_refund(account.id, asked["no"])
        if refund is None:
            raise Refused(404, "NO_SUCH_REFUND")
        return say(self._bank.refund(refund))

    def file(self, account: Account, asked: dict[str, Any]) -> Said:
        """The day's file, once the day is closed."""
        found = statements.find(self._desk.book, account, asked["no"], self._desk.clock.now())
        if found is None:
            raise Refused(404, "NOT_READY")
        lines = statements.lines_of(found)
        if not lines:
            raise Refused(404, "NO_ENTRIES")
        return Said(200, self._bank.statement(account, asked["no"], "", lines, found.corrupt))

    async def credit(self, request: Request) -> Response:
        """Money arrives: at an order's number, whatever has become of the order, or at the customer's own, for no order."""
        asked = msgspec.json.decode(await request.body(), type=dict[str, Any])
        number, amount, payer = asked["account_number"], asked["amount"], asked.get("payer", "6230…0018")
        await self._desk.book.commit()
        trade, at = self._desk.book.find_trade_by_token(number), self._desk.clock.now()
        ref = f"B{self._desk.book.serial():015d}"
        if trade is None and number not in self._desk.book.accounts:
            return JSONResponse({"code": "NO_SUCH_ACCOUNT"}, 404)
        if trade is not None:
            trades.expire(self._desk, trade)
            credits = [*trade.more().get("credits", []), {"ref": ref, "amount": amount, "at": at}]
            trade.extra, trade.payer = msgspec.json.encode({"credits": credits}).decode(), payer
            if self._bank.received(trade) >= trade.amount:
                trade.state, trade.paid_at = "paid", trade.paid_at or at
            self._desk.book.put(trade)
            self._desk.courier.tell(trade, None)
        no = trade.out_trade_no if trade else ""
        self._desk.book.note(
            "credit",
            trade.account if trade else number,
            no,
            ref=ref,
            amount=amount,
            payer=payer,
            text=asked.get("text", ""),
        )
        await self._desk.book.commit()
        return JSONResponse({"bank_ref": ref, "order_no": no})
