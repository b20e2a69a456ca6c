"""WeChat Pay's refunds: asking, querying, and what is done with one that ended ABNORMAL."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guilder.simulators import dials, trades
from guilder.simulators.clock import rfc3339
from guilder.simulators.model import Account, Refund, Trade
from guilder.simulators.replies import Said, say
from guilder.simulators.wechatpay.door import Door, Refused, read
from guilder.simulators.wechatpay.orders import refund_ref

_OUT_REFUND_NO = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}")


class _RefundMoney(msgspec.Struct):
    refund: int
    total: int
    currency: str


class _Refund(msgspec.Struct):
    out_refund_no: str
    amount: _RefundMoney
    transaction_id: str = ""
    out_trade_no: str = ""
    reason: str = ""
    notify_url: str = ""


class _Rescue(msgspec.Struct):
    out_refund_no: str
    type: str
    bank_type: str = ""
    bank_account: str = ""
    real_name: str = ""


@dataclass
class Refunds:
    """Money on its way back."""

    door: Door

    def __post_init__(self) -> None:
        self._channel, self._desk = self.door.channel, self.door.desk

    def routes(self) -> list[Route]:
        """The addresses, the same for direct merchants and partners."""
        refunds = "/v3/refund/domestic/refunds"
        return [
            Route(refunds, self.refund, methods=["POST"]),
            Route(f"{refunds}/{{out_refund_no}}", self.query, methods=["GET"]),
            Route(f"{refunds}/{{refund_id}}/apply-abnormal-refund", self.rescue, methods=["POST"]),
        ]

    async def refund(self, request: Request) -> Response:
        """POST /v3/refund/domestic/refunds: the Refund, normally PROCESSING."""
        body = await request.body()

        def look(account: Account) -> tuple[str, str, Callable[[], Said]]:
            ask: _Refund = read(body, _Refund)
            if bool(ask.transaction_id) == bool(ask.out_trade_no):
                raise Refused(400, "PARAM_ERROR", "参数错误：transaction_id和out_trade_no二选一")
            book = self._desk.book
            by_ref = ask.transaction_id
            trade = (
                book.find_trade_by_ref(account.id, by_ref) if by_ref else book.find_trade(account.id, ask.out_trade_no)
            )
            no = trade.out_trade_no if trade else ""
            return no, trade.dials if trade else "", lambda: self._refund(account, trade, ask)

        return await self.door.serve(request, "refund", look)

    def _refund(self, account: Account, trade: Trade | None, ask: _Refund) -> Said:
        if not _OUT_REFUND_NO.fullmatch(ask.out_refund_no) or ask.amount.refund < 1 or ask.amount.currency != "CNY":
            raise Refused(400, "PARAM_ERROR", "参数错误：退款单号或金额无效")
        if trade is None:
            raise Refused(404, "RESOURCE_NOT_EXISTS", "订单不存在")
        fingerprint = f"{trade.out_trade_no}:{ask.amount.refund}:{ask.amount.total}"
        earlier = self._desk.book.find_refund(account.id, ask.out_refund_no)
        if earlier is not None:
            if earlier.fingerprint != fingerprint:
                raise Refused(400, "INVALID_REQUEST", "订单金额或退款金额与之前请求不一致，请核实后再试")
            return say(self._object(trade, earlier))
        if trade.state != "paid":
            raise Refused(400, "INVALID_REQUEST", "订单未支付，不能退款")
        if ask.amount.total != trade.amount:
            raise Refused(400, "INVALID_REQUEST", "订单金额与原订单不一致")
        if trades.refunded(self._desk, trade) + ask.amount.refund > trade.amount:
            raise Refused(400, "INVALID_REQUEST", "申请退款金额大于订单剩余可退金额")
        now = self._desk.clock.now()
        refund = Refund(
            account=account.id,
            out_refund_no=ask.out_refund_no,
            out_trade_no=trade.out_trade_no,
            channel_ref=refund_ref(self._desk.book.serial(), now),
            amount=ask.amount.refund,
            reason=ask.reason,
            notify_url=ask.notify_url,
            fingerprint=fingerprint,
            created_at=now,
            done_at=now + int(self._channel.refund_takes_s * 1000),
            dials=trades.refund_dials(self._desk, trade),
        )
        trades.accept_refund(self._desk, trade, refund)
        return say(self._object(trade, refund))

    def _object(self, trade: Trade, refund: Refund) -> dict[str, Any]:
        total, back = trade.amount, refund.amount
        back -= 1 if dials.find(refund.dials, "refund", "wrong_amount") else 0
        done = {"success_time": rfc3339(refund.done_at)} if refund.state == "SUCCESS" else {}
        return {
            "refund_id": refund.channel_ref,
            "out_refund_no": refund.out_refund_no,
            "transaction_id": trade.channel_ref,
            "out_trade_no": trade.out_trade_no,
            "channel": "ORIGINAL",
            "user_received_account": "支付用户零钱",
            **done,
            "create_time": rfc3339(refund.created_at),
            "status": refund.state,
            "funds_account": "AVAILABLE",
            "amount": {
                **{"total": total, "refund": back, "payer_total": total, "payer_refund": back},
                **{"settlement_total": total, "settlement_refund": back, "discount_refund": 0, "currency": "CNY"},
            },
            "promotion_detail": [],
        }

    async def query(self, request: Request) -> Response:
        """GET /v3/refund/domestic/refunds/{out_refund_no}: the Refund."""

        def look(account: Account) -> tuple[str, str, Callable[[], Said]]:
            refund = self._desk.book.find_refund(account.id, request.path_params["out_refund_no"])
            trade = self._desk.book.find_trade(account.id, refund.out_trade_no) if refund else None

            def act() -> Said:
                if refund is None or trade is None:
                    raise Refused(404, "RESOURCE_NOT_EXISTS", "退款单不存在")
                return say(self._object(trade, refund))

            return trade.out_trade_no if trade else "", trade.dials if trade else "", act

        return await self.door.serve(request, "refund_query", look)

    async def rescue(self, request: Request) -> Response:
        """POST .../{refund_id}/apply-abnormal-refund: to the payer's card or the merchant's account; PROCESSING again."""
        body = await request.body()

        def look(account: Account) -> tuple[str, str, Callable[[], Said]]:
            ask: _Rescue = read(body, _Rescue)
            refund = self._desk.book.find_refund(account.id, ask.out_refund_no)
            trade = self._desk.book.find_trade(account.id, refund.out_trade_no) if refund else None

            def act() -> Said:
                if refund is None or trade is None or refund.channel_ref != request.path_params["refund_id"]:
                    raise Refused(404, "RESOURCE_NOT_EXISTS", "退款单不存在")
                return self._rescue(request, account, trade, refund, ask)

            return trade.out_trade_no if trade else "", trade.dials if trade else "", act

        return await self.door.serve(request, "refund", look)

    def _rescue(self, request: Request, account: Account, trade: Trade, refund: Refund, ask: _Rescue) -> Said:
        if ask.type not in ("USER_BANK_CARD", "MERCHANT_BANK_CARD"):
            raise Refused(400, "PARAM_ERROR", "参数错误：type无效")
        if ask.type == "USER_BANK_CARD":
            secrets = (ask.bank_account, ask.real_name)
            opened = [self._channel.opened(account, request.headers.get("wechatpay-serial", ""), s) for s in secrets]
            if not ask.bank_type or not all(opened):
                raise Refused(400, "PARAM_ERROR", "参数错误：银行卡信息无效或加密有误")
        if refund.state == "ABNORMAL":
            refund.state, refund.ends_as = "PROCESSING", "SUCCESS"
            refund.done_at = self._desk.clock.now() + int(self._channel.refund_takes_s * 1000)
            no = refund.out_refund_no
            self._desk.book.note("refund_rescued", account.id, trade.out_trade_no, out_refund_no=no, to=ask.type)
            self._desk.book.put(refund)
            trades.await_refund(self._desk, refund)
        return say(self._object(trade, refund))
