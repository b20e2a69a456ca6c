"""What the payer has of WeChat: the bridge inside its browser, H5's page, who he is (OAuth), and his code at the till.

    GET  /wechat/jsbridge.js         `WeixinJSBridge` as WeChat's own browser has it; a test injects it, or a page loads it
    GET  /wechat/invoke?api=&params= what the bridge opens: the pay page, if the merchant's signature over `params` (JSON) holds
    POST /wechat/invoke              the payer's press: pay, decline, cancel; for a transfer: confirm, decline, cancel
    GET  /wechat/h5?prepay_id=       a phone's browser is sent here, and on to WeChat; good for five minutes
    GET  /wechat/code?like=          a payer's code of eighteen digits; like: pays, password, broke, expired
    GET  /connect/oauth2/authorize   snsapi_base: back to `redirect_uri` with a code; the browser keeps who it is in a cookie
    GET  /sns/oauth2/access_token    the code's openid, once, within five minutes

APIs of the bridge: getBrandWCPayRequest (JSAPI, mini programs), requestMerchantTransfer; `appPay` stands for the SDK in an app.
"""

import json
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from guilder.simulators import keys, payouts, trades
from guilder.simulators.model import Account, Payout, Trade
from guilder.simulators.statements import yuan
from guilder.simulators.wechatpay import transfers
from guilder.simulators.wechatpay.channel import WeChatPay
from guilder.simulators.wechatpay.forms import extra_of

_FIVE_MINUTES_S = 300
_LIKE = {"pays": "0", "password": "1", "broke": "2", "expired": "3"}
_FILES = resources.files("guilder.simulators")
_PAGES = jinja2.Environment(loader=jinja2.PackageLoader("guilder.simulators"), autoescape=True, trim_blocks=True)
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


class Wrong(Exception):
    """WeChat does not open its page, and says why."""


@dataclass
class Phone:
    """WeChat in the payer's hand."""

    channel: WeChatPay
    _codes: dict[str, tuple[float, str, str]] = field(default_factory=dict)  # OAuth: until when, appid, openid

    def __post_init__(self) -> None:
        self._desk = self.channel.desk

    def routes(self) -> list[Route]:
        """The addresses."""
        return [
            Route("/wechat/jsbridge.js", self.bridge, methods=["GET"]),
            Route("/wechat/done.js", self.done, methods=["GET"]),
            Route("/wechat/invoke", self.invoke, methods=["GET"]),
            Route("/wechat/invoke", self.press, methods=["POST"]),
            Route("/wechat/h5", self.h5, methods=["GET"]),
            Route("/wechat/code", self.code, methods=["GET"]),
            Route("/connect/oauth2/authorize", self.authorize, methods=["GET"]),
            Route("/sns/oauth2/access_token", self.access_token, methods=["GET"]),
        ]

    # --- the bridge

    async def bridge(self, request: Request) -> Response:
        """The script, which knows where it came from."""
        text = _FILES.joinpath("static", "wechat-bridge.js").read_text()
        origin = f"{request.url.scheme}://{request.url.netloc}"
        return Response(text.replace("{{ origin }}", origin), media_type="text/javascript")

    async def done(self, request: Request) -> Response:
        """The script that tells the page which has opened this one, and closes it."""
        return Response(_FILES.joinpath("static", "wechat-done.js").read_bytes(), media_type="text/javascript")

    async def invoke(self, request: Request) -> Response:
        """What the bridge opens."""
        query = request.query_params
        try:
            subject = self._subject(query.get("api", ""), query.get("params", ""))
        except Wrong as wrong:
            return self._page(error=str(wrong), result="fail", status=400)
        await self._desk.book.commit()
        return self._page(subject=subject, api=query["api"], params=query["params"])

    async def press(self, request: Request) -> Response:
        """Do it, and tell."""
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        try:
            subject = self._subject(form.get("api", ""), form.get("params", ""))
        except Wrong as wrong:
            return self._page(error=str(wrong), result="fail", status=400)
        action = form.get("action", "")
        result = self._pay(subject, action) if isinstance(subject, Trade) else self._receive(subject, action)
        await self._desk.book.commit()
        return self._page(subject=subject, result=result)

    def _pay(self, trade: Trade, action: str) -> str:
        trades.open_(self._desk, trade)
        if action == "pay":
            trades.pay(self._desk, trade, str(extra_of(trade).get("openid", "")))
        elif action == "decline":
            trades.decline(self._desk, trade)
        return "ok" if trade.state == "paid" else "cancel" if trade.state == "waiting" else "fail"

    def _receive(self, payout: Payout, action: str) -> str:
        transfers.expire(self._desk, payout)
        if action == "decline":
            transfers.refuse(self._desk, payout, "ACCOUNT_NOT_EXIST")
        elif action == "pay":
            payouts.agree(self._desk, payout)
        return "ok" if payout.state in ("PROCESSING", "SUCCESS") else "cancel" if payout.state == "WAITING" else "fail"

    def _subject(self, api: str, params: str) -> Trade | Payout:
        """What the page is about, with the merchant's signature verified.  Raises Wrong."""
        try:
            said = {str(name): str(value) for name, value in json.loads(params).items()}
        except (ValueError, AttributeError):
            raise Wrong("缺少参数") from None
        match api:
            case "getBrandWCPayRequest":
                return self._jsapi(said)
            case "appPay":
                return self._app(said)
            case "requestMerchantTransfer":
                return self._transfer(said)
        raise Wrong(f"没有接口 {api}")

    def _jsapi(self, said: Mapping[str, str]) -> Trade:
        package = said.get("package", "")
        signed = [said.get(name, "") for name in ("appId", "timeStamp", "nonceStr")]
        trade, account = self._order(package.removeprefix("prepay_id="), "jsapi")
        if said.get("signType") != "RSA" or not package.startswith("prepay_id="):
            raise Wrong("参数错误：signType或package")
        if said.get("appId") not in self._apps(account, trade):
            raise Wrong("appId与下单时不一致")
        self._verify(account, [*signed, package], said.get("paySign", ""))
        return trade

    def _app(self, said: Mapping[str, str]) -> Trade:
        trade, account = self._order(said.get("prepayid", ""), "app")
        config = self.channel.settings(account)
        if said.get("package") != "Sign=WXPay" or said.get("partnerid") != config.get("sub_mchid", config["mchid"]):
            raise Wrong("参数错误：package或partnerid")
        if said.get("appid") not in self._apps(account, trade):
            raise Wrong("appid与下单时不一致")
        signed = [said.get(name, "") for name in ("appid", "timestamp", "noncestr", "prepayid")]
        self._verify(account, signed, said.get("sign", ""))
        return trade

    def _transfer(self, said: Mapping[str, str]) -> Payout:
        sql = "SELECT out_no FROM payout WHERE account = ? AND extra ->> '$.package' = ? AND extra ->> '$.appid' = ?"
        for (out_no,) in self._desk.book.rows(sql, *(said.get(name, "") for name in ("mchId", "package", "appId"))):
            if (payout := self._desk.book.find_payout(said["mchId"], out_no)) is not None:
                return payout
        raise Wrong("没有这笔转账")

    def _order(self, prepay_id: str, way: str) -> tuple[Trade, Account]:
        trade = self._desk.book.find_trade_by_token(prepay_id)
        if trade is None or trade.way != way:
            raise Wrong("prepay_id无效")
        trades.open_(self._desk, trade)
        return trade, self._desk.book.accounts[trade.account]

    def _apps(self, account: Account, trade: Trade) -> tuple[str, ...]:
        config = self.channel.settings(account)
        if config.get("mode") == "partner":
            return tuple(filter(None, (config["appid"], config["sub_appid"])))
        return (str(extra_of(trade)["appid"]),)

    def _verify(self, account: Account, signed: list[str], signature: str) -> None:
        text = "".join(f"{part}\n" for part in signed).encode()
        if not keys.verify(self.channel.merchant_key(account), text, signature):
            raise Wrong("支付验证签名失败")

    def _page(
        self,
        *,
        subject: Trade | Payout | None = None,
        error: str = "",
        result: str = "",
        status: int = 200,
        **form: str,
    ) -> Response:
        is_trade = isinstance(subject, Trade)
        content = _PAGES.get_template("wechat.html").render(
            subject=subject,
            is_trade=is_trade,
            amount=yuan(subject.amount) if subject else "",
            payee=self._desk.book.accounts[subject.account].name if subject else "",
            error=error,
            result=result,
            asks=bool(subject) and not result and subject.state in ("waiting", "WAITING"),
            form=form,
        )
        return HTMLResponse(content, status, {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"})

    # --- H5, and the till

    async def h5(self, request: Request) -> Response:
        """From a phone's browser into WeChat, and back to `redirect_url` when it is done."""
        query = request.query_params
        trade = self._desk.book.find_trade_by_token(query.get("prepay_id", ""))
        if trade is None or trade.way != "h5":
            return self._page(error="商家参数格式有误，请联系商家解决", status=400)
        if self._desk.clock.now() - trade.created_at > _FIVE_MINUTES_S * 1000:
            return self._page(error="支付链接已过期，请重新发起支付", status=400)
        if back := query.get("redirect_url", ""):
            trade.return_url = back
            self._desk.book.put(trade)
            await self._desk.book.commit()
        return RedirectResponse(f"/phone?code={quote(trade.token, safe='')}", 302)

    async def code(self, request: Request) -> Response:
        """A fresh code; in JSON for whoever accepts that."""
        like = _LIKE.get(request.query_params.get("like", "pays"), "0")
        code = f"1{random.randrange(6)}{like}{random.randrange(10**15):015d}"
        if "json" in request.headers.get("accept", ""):
            return JSONResponse({"auth_code": code})
        content = _PAGES.get_template("wechat-code.html").render(
            code=code, grouped=f"{code[:4]} {code[4:8]} {code[8:12]} {code[12:]}"
        )
        return HTMLResponse(content, 200, {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"})

    # --- who he is

    async def authorize(self, request: Request) -> Response:
        """Silently back with a code."""
        query = request.query_params
        back = urlsplit(query.get("redirect_uri", ""))
        known = any(query.get("appid") in self._appids(account) for account in self._desk.book.accounts.values())
        if (
            not known
            or query.get("response_type") != "code"
            or query.get("scope") not in ("snsapi_base", "snsapi_userinfo")
        ):
            return PlainTextResponse("Scope 参数错误或没有 Scope 权限", 400)
        if back.scheme not in ("http", "https") or not back.netloc:
            return PlainTextResponse("redirect_uri 参数错误", 400)
        payer = request.cookies.get("wechat_payer", "") or os.urandom(9).hex()
        code = f"0{os.urandom(15).hex()}"
        openid = f"o{query['appid'][-6:]}{payer}"
        self._codes = {key: kept for key, kept in self._codes.items() if kept[0] > time.monotonic()}
        self._codes[code] = (time.monotonic() + _FIVE_MINUTES_S, query["appid"], openid)
        more = urlencode({"code": code, "state": query.get("state", "")})
        place = back._replace(query=f"{back.query}&{more}" if back.query else more, fragment="").geturl()
        reply = RedirectResponse(place, 302)
        reply.set_cookie("wechat_payer", payer, max_age=86_400 * 30, httponly=True, samesite="lax")
        return reply

    async def access_token(self, request: Request) -> Response:
        """{access_token, expires_in, refresh_token, openid, scope}, or {errcode, errmsg}; always 200, as WeChat does."""
        query = request.query_params
        owner = next((a for a in self._desk.book.accounts.values() if query.get("appid") in self._appids(a)), None)
        if owner is None:
            return PlainTextResponse('{"errcode":40013,"errmsg":"invalid appid"}')
        if query.get("secret") != self.channel.settings(owner).get("app_secret"):
            return PlainTextResponse('{"errcode":40125,"errmsg":"invalid appsecret"}')
        until, appid, openid = self._codes.pop(query.get("code", ""), (0.0, "", ""))
        if until < time.monotonic() or appid != query["appid"] or query.get("grant_type") != "authorization_code":
            return PlainTextResponse('{"errcode":40029,"errmsg":"invalid code"}')
        said = {"access_token": os.urandom(20).hex(), "expires_in": 7200, "refresh_token": os.urandom(20).hex()}
        return PlainTextResponse(json.dumps({**said, "openid": openid, "scope": "snsapi_base"}))

    def _appids(self, account: Account) -> tuple[str, ...]:
        if account.channel != self.channel.name:
            return ()
        config = self.channel.settings(account)
        return tuple(filter(None, (config["appid"], config.get("sub_appid"), config.get("mini_appid"))))
