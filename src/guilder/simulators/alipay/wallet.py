"""The payer's wallet: who holds it (OAuth), its browser's bridge, and the sheet on which it pays; and the papers anybody may fetch.

    GET  /oauth2/publicAppAuthorize.htm?app_id=&scope=&redirect_uri=&state=   back to redirect_uri with auth_code, at once
    GET  /alipay/bridge.js            AlipayJSBridge for a page opened by an ordinary browser that plays Alipay's
    GET  /alipay/wallet?trade_no=     the sheet that `AlipayJSBridge.call('tradePay', {tradeNO}, cb)` opens
    POST /alipay/wallet               trade_no and action; the page behind learns the result: 9000 paid, 6001 walked away, 4000 not paid
    POST /sim/alipay/{id}/renew       from now on another certificate signs for this account

The wallet is that of the cookie `alipay_user`, and a new one where there is none.
"""

import base64
import hashlib
import hmac
import os
import random
import re
from importlib import resources
from urllib.parse import parse_qsl, urlencode, urlsplit

import jinja2
import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from guilder.simulators import trades
from guilder.simulators.alipay.asks import Ask, Content, Failed
from guilder.simulators.alipay.channel import Alipay
from guilder.simulators.alipay.operations import Operations
from guilder.simulators.statements import yuan

_USER = re.compile(r"2088\d{12}")
_FILES = resources.files("guilder.simulators")
_PAGES = jinja2.Environment(loader=jinja2.PackageLoader("guilder.simulators"), autoescape=True, trim_blocks=True)
_POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_RESULT = {"paid": "9000", "waiting": "6001", "made": "6001"}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def tell(operations: Operations, ask: Ask) -> Content:
    """alipay.system.oauth.token: whose wallet a code came from.  A code is good once, and for the app that asked."""
    if ask.params.get("grant_type") != "authorization_code":
        raise Failed("40002", "isv.grant-type-invalid", "授权类型无效", "Invalid Arguments")
    code, book = ask.params.get("code", ""), operations.desk.book
    user = code[:16]
    if code != _code(operations.channel, ask.account.id, user, code[48:]) or book.rows(
        "SELECT 1 FROM entry WHERE account = ? AND out_trade_no = ? AND kind = 'identified'", ask.account.id, code
    ):
        raise Failed("40002", "isv.code-invalid", "授权码code无效", "Invalid Arguments")
    book.note("identified", ask.account.id, code)
    token = hashlib.sha256(code.encode()).hexdigest()[:40]
    content = {"user_id": user, "open_id": _open_id(ask.account.id, user), "access_token": f"authbseB{token}"}
    return content | {"expires_in": 1296000, "refresh_token": f"authbseR{token}", "re_expires_in": 2592000}


def certificate(operations: Operations, ask: Ask) -> Content:
    """alipay.open.app.alipaycert.download."""
    pem = operations.channel.certificate(ask.text("alipay_cert_sn", must=True))
    if pem is None:
        raise Failed("40004", "isv.alipay-cert-not-exist", "证书不存在")
    return {"alipay_cert_content": base64.b64encode(pem.encode()).decode()}


def _code(channel: Alipay, app_id: str, user: str, nonce: str) -> str:
    """What the wallet hands over: whose it is, sealed, so that no restart forgets it."""
    text = f"{app_id} {user} {nonce}".encode()
    seal = hmac.new(channel.platform["alipay_key"].encode(), text, hashlib.sha256).hexdigest()[:32]
    return f"{user}{seal}{nonce}"


def _open_id(app_id: str, user: str) -> str:
    """One wallet, another name for each app."""
    return "0" + base64.b32encode(hashlib.sha256(f"{app_id} {user}".encode()).digest()).decode().rstrip("=")[:47]


class Wallet:
    """What a payer's browser meets."""

    def __init__(self, channel: Alipay) -> None:
        self._channel = channel
        self._desk = channel.desk
        self._scripts = {
            name: _FILES.joinpath("static", name).read_text() for name in ("alipay_bridge.js", "alipay_wallet.js")
        }

    def routes(self) -> list[Route]:
        """Its addresses."""
        return [
            Route("/oauth2/publicAppAuthorize.htm", self.authorize, methods=["GET"]),
            Route("/alipay/bridge.js", self.bridge, methods=["GET"]),
            Route("/alipay/wallet.js", self.script, methods=["GET"]),
            Route("/alipay/wallet", self.show, methods=["GET"]),
            Route("/alipay/wallet", self.press, methods=["POST"]),
            Route("/sim/alipay/{id}/renew", self.renew, methods=["POST"]),
        ]

    async def authorize(self, request: Request) -> Response:
        """Say at once who holds the wallet: scope auth_base asks nobody."""
        query = request.query_params
        account, back = self._desk.book.accounts.get(query.get("app_id", "")), urlsplit(query.get("redirect_uri", ""))
        if account is None or account.channel != self._channel.name or back.scheme not in ("http", "https"):
            return PlainTextResponse("app_id or redirect_uri is wrong\n", 400)
        user = request.cookies.get("alipay_user", "")
        user = user if _USER.fullmatch(user) else f"2088{random.randrange(10**12):012d}"
        said = {"app_id": account.id, "source": "alipay_wallet", "scope": query.get("scope", "auth_base")}
        said |= {"state": query["state"]} if "state" in query else {}
        said["auth_code"] = _code(self._channel, account.id, user, os.urandom(8).hex())
        joined = f"{back.query}&{urlencode(said)}" if back.query else urlencode(said)
        reply = RedirectResponse(back._replace(query=joined).geturl(), 303)
        reply.set_cookie("alipay_user", user, samesite="lax")
        return reply

    async def bridge(self, request: Request) -> Response:
        """The script that makes an ordinary browser Alipay's; it knows this server's address."""
        origin = f"{request.url.scheme}://{request.url.netloc}"
        script = self._scripts["alipay_bridge.js"].replace("__WALLET__", origin)
        return Response(script, media_type="text/javascript")

    async def script(self, request: Request) -> Response:
        """The sheet's own script."""
        return Response(self._scripts["alipay_wallet.js"], media_type="text/javascript")

    async def show(self, request: Request) -> Response:
        """What is to be paid."""
        return self._sheet(request.query_params.get("trade_no", ""), asks=True)

    async def press(self, request: Request) -> Response:
        """Pay, decline or walk away; then tell the page behind."""
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        trade = self._desk.book.find_trade_by_token(form.get("trade_no", ""))
        user = request.cookies.get("alipay_user", "")
        if trade is not None and form.get("action") == "pay":
            trades.pay(self._desk, trade, user if _USER.fullmatch(user) else "")
        elif trade is not None and form.get("action") == "decline":
            trades.decline(self._desk, trade)
        await self._desk.book.commit()
        return self._sheet(form.get("trade_no", ""), asks=False)

    def _sheet(self, number: str, *, asks: bool) -> Response:
        trade = self._desk.book.find_trade_by_token(number)
        if trade is not None:
            trades.expire(self._desk, trade)
        state = trade.state if trade else "nothing"
        content = _PAGES.get_template("alipay_wallet.html").render(
            trade=trade,
            asks=asks and state == "waiting",
            amount=yuan(trade.amount) if trade else "",
            payee=self._desk.book.accounts[trade.account].name if trade else "",
            result=_RESULT.get(state, "4000"),
        )
        headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
        return HTMLResponse(content, 200 if trade else 404, headers)

    async def renew(self, request: Request) -> Response:
        """Let another certificate sign for an account."""
        account = self._desk.book.accounts.get(request.path_params["id"])
        if request.client is not None and request.client.host not in _LOOPBACK:
            return PlainTextResponse("this machine only\n", 403)
        if account is None or account.channel != self._channel.name or not self._channel.number(account):
            return PlainTextResponse("no such account in certificate mode\n", 404)
        self._channel.renew(account)
        content = {"alipay_cert_sn": self._channel.number(account)}
        return Response(msgspec.json.encode(content), media_type="application/json")
