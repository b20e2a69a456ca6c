"""WeChat Pay's operations: native create, query, close, refund, refund query, bill, certificates."""

import gzip
import hashlib
import os
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guilder.simulators import dials, statements, trades
from guilder.simulators.clock import day_bounds, day_of, parse_ms, rfc3339
from guilder.simulators.model import Account, Refund, Trade
from guilder.simulators.replies import Said, answer, say
from guilder.simulators.wechatpay import signing
from guilder.simulators.wechatpay.channel import WeChatPay

_OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_\-|*]{6,32}")
_OUT_REFUND_NO = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}")
_TWO_HOURS_MS = 2 * 3600 * 1000
_BILL_VALID_S = 300


class Refused(Exception):
    """The operation is refused: HTTP status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message

    def said(self) -> Said:
        """As an answer."""
        return say({"code": self.code, "message": self.message}, self.status)


class _Money(msgspec.Struct):
    total: int
    currency: str = "CNY"


class _Create(msgspec.Struct):
    appid: str
    mchid: str
    description: str
    out_trade_no: str
    notify_url: str
    amount: _Money
    time_expire: str = ""
    attach: str = ""


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


class _Close(msgspec.Struct):
    mchid: str


def _read(body: bytes, form: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, "PARAM_ERROR", f"参数错误: {error}") from error


class Counter:
    """Where merchants' requests arrive."""

    def __init__(self, channel: WeChatPay) -> None:
        self._channel = channel
        self._desk = channel.desk
        self._bills: dict[str, tuple[float, bytes]] = {}

    def routes(self) -> list[Route]:
        """The APIv3 addresses."""
        pay, refunds = "/v3/pay/transactions", "/v3/refund/domestic/refunds"
        return [
            Route(f"{pay}/native", self.native, methods=["POST"]),
            Route(f"{pay}/out-trade-no/{{out_trade_no}}", self.query, methods=["GET"]),
            Route(f"{pay}/id/{{transaction_id}}", self.query, methods=["GET"]),
            Route(f"{pay}/out-trade-no/{{out_trade_no}}/close", self.close, methods=["POST"]),
            Route(refunds, self.refund, methods=["POST"]),
            Route(f"{refunds}/{{out_refund_no}}", self.query_refund, methods=["GET"]),
            Route("/v3/bill/tradebill", self.bill, methods=["GET"]),
            Route("/v3/billdownload/file", self.download, methods=["GET"]),
            Route("/v3/certificates", self.certificates, methods=["GET"]),
        ]

    async def _admit(self, request: Request) -> Account:
        """The account that signed this request.  Raises Refused SIGN_ERROR."""
        claim = signing.read_claim(request.headers.get("authorization", ""))
        account = self._desk.book.accounts.get(claim.mchid) if claim else None
        if claim is None or account is None or account.channel != self._channel.name:
            raise Refused(401, "SIGN_ERROR", "签名错误：无法识别的商户或认证信息")
        target = request.scope["raw_path"].decode()
        if query := request.scope["query_string"].decode():
            target += f"?{query}"
        if claim.serial_no.upper() != self._channel.settings(account)["serial_no"]:
            raise Refused(401, "SIGN_ERROR", "签名错误：商户证书序列号有误")
        if not signing.is_fresh(claim.timestamp):
            raise Refused(401, "SIGN_ERROR", "签名错误：时间戳超出五分钟")
        body = await request.body()
        if not signing.verify_request(self._channel.merchant_key(account), claim, request.method, target, body):
            raise Refused(401, "SIGN_ERROR", "签名错误，请检查后再试")
        if not request.headers.get("user-agent") or "accept" not in request.headers:
            raise Refused(400, "PARAM_ERROR", "Http头缺少Accept或User-Agent")
        return account

    async def _serve(
        self, request: Request, op: str, look: Callable[[Account], tuple[str, str, Callable[[], Said]]]
    ) -> Response:
        """Admit, then do what `look` finds: (out_trade_no, the trade's dials, the act)."""
        try:
            account = await self._admit(request)
        except Refused as refused:
            # A request that we cannot place is answered without a signature.
            return Response(refused.said().body, refused.status, {"Content-Type": "application/json; charset=utf-8"})

        def dress(said: Said, spoiled: bool) -> Response:
            return self._channel.dress(account, said, spoiled)

        try:
            out_trade_no, kept, act = look(account)
        except Refused as refused:
            out_trade_no, kept, act = "", "", refused.said

        def guarded() -> Said:
            try:
                return act()
            except Refused as refused:
                return refused.said()

        return await answer(self._desk, account, op, out_trade_no, kept, guarded, dress)

    # --- payments

    async def native(self, request: Request) -> Response:
        """POST /v3/pay/transactions/native: an order, paid by scanning its code_url."""
        body = await request.body()

        def look(account: Account) -> tuple[str, str, Callable[[], Said]]:
            ask: _Create = _read(body, _Create)
            kept = dials.asked(ask.attach, ask.amount.total)
            return ask.out_trade_no, kept, lambda: self._create(account, ask, kept)

        return await self._serve(request, "create", look)

    def _create(self, account: Account, ask: _Create, kept: str) -> Said:
        expires_at = self._check_create(account, ask)
        fingerprint = hashlib.sha256(msgspec.json.encode(ask)).hexdigest()
        now, book = self._desk.clock.now(), self._desk.book
        trade = book.find_trade(account.id, ask.out_trade_no)
        if trade is not None:
            trades.expire(self._desk, trade)
            if trade.state == "paid":
                raise Refused(400, "ORDERPAID", "该订单已支付")
            if trade.state != "waiting":
                raise Refused(400, "ORDER_CLOSED", "该订单已关闭")
            if trade.fingerprint != fingerprint:
                raise Refused(403, "OUT_TRADE_NO_USED", "商户订单号重复")
            return say({"code_url": trade.token})
        serial, day = book.serial(), day_of(now).replace("-", "")
        trade = Trade(
            account=account.id,
            out_trade_no=ask.out_trade_no,
            channel=self._channel.name,
            channel_ref=f"4200000{serial % 1000:03d}{day}{serial:010d}",
            token=f"weixin://wxpay/bizpayurl?pr={os.urandom(5).hex()}{serial:x}zz",
            way="native",
            amount=ask.amount.total,
            currency="CNY",
            description=ask.description,
            attach=ask.attach,
            notify_url=ask.notify_url,
            return_url="",
            fingerprint=fingerprint,
            dials=kept,
            created_at=now,
            expires_at=min(expires_at, now + _TWO_HOURS_MS) if expires_at else now + _TWO_HOURS_MS,
        )
        trades.create(self._desk, trade)
        return say({"code_url": trade.token})

    def _check_create(self, account: Account, ask: _Create) -> int:
        """When the order expires, 0 if it does not say.  Raises Refused PARAM_ERROR."""
        config = self._channel.settings(account)
        wrong = ""
        if ask.mchid != account.id or ask.appid != config["appid"]:
            raise Refused(400, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配")
        if not _OUT_TRADE_NO.fullmatch(ask.out_trade_no):
            wrong = "商户订单号"
        elif not 1 <= len(ask.description) <= 127:
            wrong = "商品描述"
        elif len(ask.attach.encode()) > 128:
            wrong = "附加数据"
        elif not ask.notify_url.startswith(("https://", "http://")) or "?" in ask.notify_url:
            wrong = "通知地址"
        elif ask.amount.total < 1 or ask.amount.currency != "CNY":
            wrong = "订单金额"
        try:
            expires_at = parse_ms(ask.time_expire) if ask.time_expire else 0
        except ValueError:
            expires_at, wrong = 0, wrong or "交易结束时间"
        if expires_at and expires_at <= self._desk.clock.now():
            wrong = wrong or "交易结束时间"
        if wrong:
            raise Refused(400, "PARAM_ERROR", f"参数错误：{wrong}无效")
        return expires_at

    def _find(self, account: Account, request: Request) -> Trade | None:
        number = request.path_params.get("out_trade_no")
        if number is not None:
            return self._desk.book.find_trade(account.id, number)
        return self._desk.book.find_trade_by_ref(account.id, request.path_params["transaction_id"])

    async def query(self, request: Request) -> Response:
        """GET .../out-trade-no/{no}?mchid= or .../id/{transaction_id}?mchid=: the Transaction."""

        def look(account: Account) -> tuple[str, str, Callable[[], Said]]:
            trade = self._find(account, request)
            no = trade.out_trade_no if trade else ""
            return no, trade.dials if trade else "", lambda: self._show(account, trade, request)

        return await self._serve(request, "query", look)

    def _show(self, account: Account, trade: Trade | None, request: Request) -> Said:
        if request.query_params.get("mchid") != account.id:
            raise Refused(400, "PARAM_ERROR", "参数错误：mchid无效")
        if trade is None or ("transaction_id" in request.path_params and not trade.paid_at):
            raise Refused(404, "ORDER_NOT_EXIST", "订单不存在")
        trades.expire(self._desk, trade)
        return say(self._channel.transaction(trade))

    async def close(self, request: Request) -> Response:
        """POST .../out-trade-no/{no}/close {mchid}: 204; only an order that is not paid."""
        body = await request.body()

        def look(account: Account) -> tuple[str, str, Callable[[], Said]]:
            trade = self._find(account, request)
            no = trade.out_trade_no if trade else ""
            return no, trade.dials if trade else "", lambda: self._close(account, trade, _read(body, _Close))

        return await self._serve(request, "close", look)

    def _close(self, account: Account, trade: Trade | None, ask: _Close) -> Said:
        if ask.mchid != account.id:
            raise Refused(400, "PARAM_ERROR", "参数错误：mchid无效")
        if trade is None:
            raise Refused(404, "ORDER_NOT_EXIST", "订单不存在")
        trades.expire(self._desk, trade)
        if trade.state == "paid":
            raise Refused(400, "ORDERPAID", "该订单已支付")
        if trade.state == "closed":
            raise Refused(400, "ORDER_CLOSED", "该订单已关闭")
        trades.close(self._desk, trade)
        return Said(204)

    # --- refunds

    async def refund(self, request: Request) -> Response:
        """POST /v3/refund/domestic/refunds: the Refund, normally PROCESSING."""
        body = await request.body()

        def look(account: Account) -> tuple[str, str, Callable[[], Said]]:
            ask: _Refund = _read(body, _Refund)
            if bool(ask.transaction_id) == bool(ask.out_trade_no):
                raise Refused(400, "PARAM_ERROR", "参数错误：transaction_id和out_trade_no二选一")
            book = self._desk.book
            by_ref = ask.transaction_id
            trade = (
                book.find_trade_by_ref(account.id, by_ref) if by_ref else book.find_trade(account.id, ask.out_trade_no)
            )
            no = trade.out_trade_no if trade else ""
            return no, trade.dials if trade else "", lambda: self._refund(account, trade, ask)

        return await self._serve(request, "refund", look)

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
            return say(self._refund_object(trade, earlier))
        if trade.state != "paid":
            raise Refused(400, "INVALID_REQUEST", "订单未支付，不能退款")
        if ask.amount.total != trade.amount:
            raise Refused(400, "INVALID_REQUEST", "订单金额与原订单不一致")
        if trades.refunded(self._desk, trade) + ask.amount.refund > trade.amount:
            raise Refused(400, "INVALID_REQUEST", "申请退款金额大于订单剩余可退金额")
        now, serial = self._desk.clock.now(), self._desk.book.serial()
        refund = Refund(
            account=account.id,
            out_refund_no=ask.out_refund_no,
            out_trade_no=trade.out_trade_no,
            channel_ref=f"503{serial % 10**8:08d}{day_of(now).replace('-', '')}{serial:010d}",
            amount=ask.amount.refund,
            reason=ask.reason,
            notify_url=ask.notify_url,
            fingerprint=fingerprint,
            created_at=now,
            done_at=now + int(self._channel.refund_takes_s * 1000),
            dials=trades.refund_dials(self._desk, trade),
        )
        trades.accept_refund(self._desk, trade, refund)
        return say(self._refund_object(trade, refund))

    def _refund_object(self, trade: Trade, refund: Refund) -> dict[str, Any]:
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

    async def query_refund(self, request: Request) -> Response:
        """GET /v3/refund/domestic/refunds/{out_refund_no}: the Refund."""

        def look(account: Account) -> tuple[str, str, Callable[[], Said]]:
            refund = self._desk.book.find_refund(account.id, request.path_params["out_refund_no"])
            trade = self._desk.book.find_trade(account.id, refund.out_trade_no) if refund else None

            def act() -> Said:
                if refund is None or trade is None:
                    raise Refused(404, "RESOURCE_NOT_EXISTS", "退款单不存在")
                return say(self._refund_object(trade, refund))

            return trade.out_trade_no if trade else "", trade.dials if trade else "", act

        return await self._serve(request, "refund_query", look)

    # --- bills and certificates

    async def bill(self, request: Request) -> Response:
        """GET /v3/bill/tradebill?bill_date=&bill_type=&tar_type=: where to fetch the day's file, and its SHA-1."""
        await self._desk.book.commit()
        return await self._serve(request, "bill", lambda account: ("", "", lambda: self._bill(account, request)))

    def _bill(self, account: Account, request: Request) -> Said:
        day, kind = request.query_params.get("bill_date", ""), request.query_params.get("bill_type", "ALL")
        packing, now = request.query_params.get("tar_type", ""), self._desk.clock.now()
        try:
            until = day_bounds(day)[1]
        except ValueError:
            raise Refused(400, "PARAM_ERROR", "参数错误：bill_date无效") from None
        if kind not in ("ALL", "SUCCESS", "REFUND") or packing not in ("", "GZIP"):
            raise Refused(400, "PARAM_ERROR", "参数错误：bill_type或tar_type无效")
        if now - until > 90 * 86_400_000:
            raise Refused(400, "NO_STATEMENT_EXIST", "账单文件不存在")
        found = statements.find(self._desk.book, account, day, now)
        if found is None:
            raise Refused(400, "STATEMENT_CREATING", "账单生成中，请稍后再试")
        lines = statements.lines_of(found)
        if not lines:
            raise Refused(400, "NO_STATEMENT_EXIST", "账单文件不存在")
        content = self._channel.statement(account, day, kind, lines, found.corrupt)
        digest = hashlib.sha1(content + (b"\n" if found.corrupt == "hash" else b"")).hexdigest()  # noqa: S324 - the protocol's
        content = content[: len(content) * 2 // 3] if found.corrupt == "truncate" else content
        token = os.urandom(24).hex()
        content = gzip.compress(content, mtime=0) if packing else content
        self._bills = {key: kept for key, kept in self._bills.items() if kept[0] > time.monotonic()}
        self._bills[token] = (time.monotonic() + _BILL_VALID_S, content)
        url = f"{request.url.scheme}://{request.url.netloc}/v3/billdownload/file?token={token}"
        return say({"hash_type": "SHA1", "hash_value": digest, "download_url": url})

    async def download(self, request: Request) -> Response:
        """GET the download_url: the file.  Its reply is not signed."""
        try:
            await self._admit(request)
            found = self._bills.get(request.query_params.get("token", ""))
            if found is None or found[0] < time.monotonic():
                raise Refused(400, "INVALID_REQUEST", "下载链接已失效")
        except Refused as refused:
            return Response(refused.said().body, refused.status, {"Content-Type": "application/json; charset=utf-8"})
        return Response(found[1], 200, media_type="application/octet-stream")

    async def certificates(self, request: Request) -> Response:
        """GET /v3/certificates: the platform's certificates, for merchants who trust those."""
        return await self._serve(
            request, "certificates", lambda account: ("", "", lambda: say(self._channel.certificates(account)))
        )
