"""WeChat Pay's payments: an order by each way, what became of it, its end.

    native  code_url, scanned by the payer's phone
    jsapi   prepay_id, for the page or mini program inside WeChat: the payer's openid is named
    app     prepay_id, for the merchant's app
    h5      h5_url, for a phone's browser
    codepay the payer was scanned: paid at once, unless a password is asked for (USERPAYING); no callback

A payer's code has eighteen digits, begins with 10 to 15 and pays once.  Its third digit says what the payer is like: 1 is asked for
a password (as everybody is from 1,000 yuan on), 2 has no money, 3 showed it too long ago, 9 is asked for a password and has a code
that is never used up; 0 and the others just pay.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guilder.simulators import dials, trades
from guilder.simulators.clock import beijing, day_of, parse_ms
from guilder.simulators.model import Account, Refund, Trade
from guilder.simulators.replies import Said, say
from guilder.simulators.wechatpay.door import Door, Refused, path, read
from guilder.simulators.wechatpay.forms import extra_of, with_extra

_OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_\-|*]{6,32}")
_OPENID = re.compile(r"[0-9A-Za-z_\-]{10,128}")
AUTH_CODE = re.compile(r"1[0-5][0-9]{16}")
_LIVES_MS = {"codepay": 60_000}  # so long a password may be waited for
_TWO_HOURS_MS = 2 * 3600 * 1000
_ASKS_PASSWORD_FROM = 100_000


class _Money(msgspec.Struct):
    total: int
    currency: str = "CNY"


class _Payer(msgspec.Struct):
    openid: str = ""
    sp_openid: str = ""
    sub_openid: str = ""
    auth_code: str = ""


class _H5(msgspec.Struct):
    type: str = ""


class _Store(msgspec.Struct):
    id: str = ""


class _Scene(msgspec.Struct):
    payer_client_ip: str = ""
    h5_info: _H5 | None = None
    store_info: _Store | None = None


class Create(msgspec.Struct):
    """An order, as asked for."""

    description: str
    out_trade_no: str
    amount: _Money
    appid: str = ""
    mchid: str = ""
    sp_appid: str = ""
    sp_mchid: str = ""
    sub_appid: str = ""
    sub_mchid: str = ""
    notify_url: str = ""
    time_expire: str = ""
    attach: str = ""
    payer: _Payer = msgspec.field(default_factory=_Payer)
    scene_info: _Scene = msgspec.field(default_factory=_Scene)


class _Names(msgspec.Struct):
    appid: str = ""
    mchid: str = ""
    sp_appid: str = ""
    sp_mchid: str = ""
    sub_appid: str = ""
    sub_mchid: str = ""


@dataclass
class Orders:
    """Creating, asking, closing, reversing."""

    door: Door

    def __post_init__(self) -> None:
        self._channel, self._desk = self.door.channel, self.door.desk

    def routes(self) -> list[Route]:
        """The addresses, for direct merchants and for partners."""
        table: list[tuple[str, str, Callable[[Request], Any]]] = [
            *(("POST", f"/{way}", self.creating(way)) for way in ("native", "jsapi", "app", "h5", "codepay")),
            ("GET", "/out-trade-no/{out_trade_no}", self.query),
            ("GET", "/id/{transaction_id}", self.query),
            ("POST", "/out-trade-no/{out_trade_no}/close", self.close),
            ("POST", "/out-trade-no/{out_trade_no}/reverse", self.reverse),
        ]
        return [Route(at, act, methods=[method]) for method, direct, act in table for at in path(direct)]

    # --- create

    def creating(self, way: str) -> Callable[[Request], Any]:
        """POST /v3/pay/transactions/{way}."""

        async def create(request: Request) -> Response:
            body = await request.body()

            def look(account: Account) -> tuple[str, str, Callable[[], Said]]:
                ask: Create = read(body, Create)
                kept = dials.asked(ask.attach, ask.amount.total)
                return ask.out_trade_no, kept, lambda: self._create(account, way, ask, kept)

            return await self.door.serve(request, "create", look)

        return create

    def _create(self, account: Account, way: str, ask: Create, kept: str) -> Said:
        self._check_names(account, ask)
        expires_at = self._check(way, ask)
        fingerprint = hashlib.sha256(way.encode() + msgspec.json.encode(ask)).hexdigest()
        trade = self._desk.book.find_trade(account.id, ask.out_trade_no)
        if trade is not None:
            trades.expire(self._desk, trade)
            if trade.state == "paid":
                raise Refused(400, "ORDERPAID", "该订单已支付")
            if trade.state != "waiting":
                raise Refused(400, "ORDER_CLOSED", "该订单已关闭")
            if trade.fingerprint != fingerprint:
                raise Refused(403, "OUT_TRADE_NO_USED", "商户订单号重复")
            return self._created(trade)
        if way == "codepay":
            self._check_code(ask.payer.auth_code)
        trade = self._trade(account, way, ask, fingerprint, kept, expires_at)
        trades.create(self._desk, trade)
        if way == "codepay":
            self._charge(trade, ask.payer.auth_code)
        return self._created(trade)

    def _trade(self, account: Account, way: str, ask: Create, fingerprint: str, kept: str, expires_at: int) -> Trade:
        now, serial = self._desk.clock.now(), self._desk.book.serial()
        latest = now + _LIVES_MS.get(way, _TWO_HOURS_MS)
        openid = ask.payer.openid or ask.payer.sub_openid or ask.payer.sp_openid
        token = {
            "native": f"weixin://wxpay/bizpayurl?pr={os.urandom(5).hex()}{serial:x}zz",
            "codepay": ask.payer.auth_code + (f"-{serial}" if ask.payer.auth_code[2:3] == "9" else ""),
        }.get(way, f"wx{beijing(now):%Y%m%d%H%M%S}{os.urandom(6).hex()}{serial:x}")
        return Trade(
            account=account.id,
            out_trade_no=ask.out_trade_no,
            channel=self._channel.name,
            channel_ref=f"4200000{serial % 1000:03d}{day_of(now).replace('-', '')}{serial:010d}",
            token=token,
            way=way,
            amount=ask.amount.total,
            currency="CNY",
            description=ask.description,
            attach=ask.attach,
            notify_url=ask.notify_url,
            return_url="",
            fingerprint=fingerprint,
            dials=kept,
            created_at=now,
            expires_at=min(expires_at, latest) if expires_at else latest,
            extra=with_extra("", appid=ask.appid, sub_appid=ask.sub_appid, openid=openid),
        )

    def _charge(self, trade: Trade, auth_code: str) -> None:
        """A payer who was scanned pays at once, or is asked for a password, or cannot."""
        if auth_code[2] == "2":
            trades.decline(self._desk, trade)
        elif auth_code[2] not in "19" and trade.amount < _ASKS_PASSWORD_FROM:
            trades.pay(self._desk, trade)

    def _created(self, trade: Trade) -> Said:
        if trade.way == "codepay":
            if trade.state == "paid":
                return say(self._channel.transaction(trade))
            if trade.state == "declined":
                raise Refused(403, "NOT_ENOUGH", "余额不足")
            raise Refused(400, "USERPAYING", "需要用户输入支付密码")
        if trade.way == "native":
            return say({"code_url": trade.token})
        if trade.way == "h5":
            base = self._channel.settings(self._desk.book.accounts[trade.account])["base_url"]
            return say({"h5_url": f"{base}/wechat/h5?prepay_id={trade.token}&package={int(trade.channel_ref[-9:])}"})
        return say({"prepay_id": trade.token})

    def _check_names(self, account: Account, ask: "Create | _Names") -> None:
        """The merchant and the application must be those of the contract."""
        config = self._channel.settings(account)
        if config.get("mode") == "partner":
            said, own = (ask.sp_mchid, ask.sub_mchid), (config["mchid"], config["sub_mchid"])
            apps = ask.sp_appid == config["appid"] and ask.sub_appid in ("", config["sub_appid"])
        else:
            said, own = (ask.mchid,), (config["mchid"],)
            apps = ask.appid in (config["appid"], config.get("mini_appid"), config.get("app_appid")) and bool(ask.appid)
        if said != own or not apps:
            raise Refused(400, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配")

    def _check(self, way: str, ask: Create) -> int:
        """When the order expires, 0 if it does not say.  Raises Refused PARAM_ERROR."""
        wrong, expires_at = "", 0
        if not _OUT_TRADE_NO.fullmatch(ask.out_trade_no):
            wrong = "商户订单号"
        elif not 1 <= len(ask.description) <= 127:
            wrong = "商品描述"
        elif len(ask.attach.encode()) > 128:
            wrong = "附加数据"
        elif way != "codepay" and (not ask.notify_url.startswith(("https://", "http://")) or "?" in ask.notify_url):
            wrong = "通知地址"
        elif ask.amount.total < 1 or ask.amount.currency != "CNY":
            wrong = "订单金额"
        elif ask.time_expire:
            try:
                expires_at = parse_ms(ask.time_expire)
            except ValueError:
                expires_at = 0
            wrong = "" if expires_at > self._desk.clock.now() else "交易结束时间"
        if wrong := wrong or self._lacks(way, ask):
            raise Refused(400, "PARAM_ERROR", f"参数错误：{wrong}无效")
        return expires_at

    def _lacks(self, way: str, ask: Create) -> str:
        """What this way cannot be asked without."""
        payer, scene = ask.payer, ask.scene_info
        if way == "jsapi" and not _OPENID.fullmatch(payer.openid or payer.sp_openid or payer.sub_openid):
            return "用户标识"
        if way == "h5" and not (scene.payer_client_ip and scene.h5_info and scene.h5_info.type):
            return "场景信息"
        if way == "codepay" and not (scene.store_info and scene.store_info.id):
            return "门店信息"
        return ""

    def _check_code(self, auth_code: str) -> None:
        if not AUTH_CODE.fullmatch(auth_code):
            raise Refused(400, "AUTH_CODE_INVALID", "请扫描微信支付授权码(以10/11/12/13/14/15为前缀的18位数字)")
        if auth_code[2] == "3" or self._desk.book.find_trade_by_token(auth_code):
            raise Refused(400, "AUTH_CODE_EXPIRE", "二维码已过期，请用户在微信上刷新后再试")

    # --- query, close, reverse

    def _find(self, account: Account, request: Request) -> Trade | None:
        book, given = self._desk.book, request.path_params
        if "out_trade_no" in given:
            return book.find_trade(account.id, given["out_trade_no"])
        return book.find_trade_by_ref(account.id, given["transaction_id"])

    async def query(self, request: Request) -> Response:
        """GET .../out-trade-no/{no}?mchid= or .../id/{transaction_id}?mchid=: the Transaction."""

        def look(account: Account) -> tuple[str, str, Callable[[], Said]]:
            trade = self._find(account, request)
            no = trade.out_trade_no if trade else ""
            return no, trade.dials if trade else "", lambda: self._query(account, trade, request)

        return await self.door.serve(request, "query", look)

    def _query(self, account: Account, trade: Trade | None, request: Request) -> Said:
        given = request.query_params
        if given.get("sp_mchid", given.get("mchid")) != self._channel.settings(account)["mchid"]:
            raise Refused(400, "PARAM_ERROR", "参数错误：mchid无效")
        if trade is None or ("transaction_id" in request.path_params and not trade.paid_at):
            raise Refused(404, "ORDER_NOT_EXIST", "订单不存在")
        trades.expire(self._desk, trade)
        return say(self._channel.transaction(trade))

    async def close(self, request: Request) -> Response:
        """POST .../out-trade-no/{no}/close {mchid}: 204; only an order that is not paid."""
        return await self._end(request, "close", self._close)

    async def reverse(self, request: Request) -> Response:
        """POST .../out-trade-no/{no}/reverse {appid, mchid}: what is paid goes back, what is not cannot be paid any more."""
        return await self._end(request, "cancel", self._reverse)

    async def _end(self, request: Request, op: str, act: Callable[[Account, Trade | None, _Names], Said]) -> Response:
        body = await request.body()

        def look(account: Account) -> tuple[str, str, Callable[[], Said]]:
            trade = self._find(account, request)
            no = trade.out_trade_no if trade else ""
            return no, trade.dials if trade else "", lambda: act(account, trade, read(body, _Names))

        return await self.door.serve(request, op, look)

    def _close(self, account: Account, trade: Trade | None, ask: _Names) -> Said:
        if (ask.sp_mchid or ask.mchid) != self._channel.settings(account)["mchid"]:
            raise Refused(400, "PARAM_ERROR", "参数错误：mchid无效")
        if trade is None:
            raise Refused(404, "ORDER_NOT_EXIST", "订单不存在")
        trades.expire(self._desk, trade)
        if trade.way == "codepay":
            raise Refused(400, "INVALID_REQUEST", "付款码订单请使用撤销接口")
        if trade.state == "paid":
            raise Refused(400, "ORDERPAID", "该订单已支付")
        if trade.state == "closed":
            raise Refused(400, "ORDER_CLOSED", "该订单已关闭")
        trades.close(self._desk, trade)
        return Said(204)

    def _reverse(self, account: Account, trade: Trade | None, ask: _Names) -> Said:
        self._check_names(account, ask)
        if trade is None:
            raise Refused(404, "ORDER_NOT_EXIST", "订单不存在")
        if trade.way != "codepay":
            raise Refused(400, "INVALID_REQUEST", "仅付款码支付的订单可撤销")
        trades.expire(self._desk, trade)
        if trade.state == "waiting":
            trades.close(self._desk, trade)
        elif trade.state == "paid" and not extra_of(trade).get("reversed"):
            self._give_back(trade)
        trade.extra = with_extra(trade.extra, reversed=True)
        self._desk.book.put(trade)
        names = msgspec.structs.asdict(ask)
        return say({**{name: said for name, said in names.items() if said}, "out_trade_no": trade.out_trade_no})

    def _give_back(self, trade: Trade) -> None:
        """All that has not been refunded yet.  A reversal has no number of the merchant's."""
        left = trade.amount - trades.refunded(self._desk, trade)
        if left <= 0:
            return
        now = self._desk.clock.now()
        refund = Refund(
            account=trade.account,
            out_refund_no=f"reverse:{trade.out_trade_no}",
            out_trade_no=trade.out_trade_no,
            channel_ref=refund_ref(self._desk.book.serial(), now),
            amount=left,
            reason="",
            notify_url="",
            fingerprint="",
            created_at=now,
            done_at=now,
        )
        trades.accept_refund(self._desk, trade, refund)


def refund_ref(serial: int, now: int) -> str:
    """WeChat Pay's number of a refund."""
    return f"503{serial % 10**8:08d}{day_of(now).replace('-', '')}{serial:010d}"
