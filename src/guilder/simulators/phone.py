"""The payer's phone: scans a code, shows what is to be paid, and pays, declines or walks away.

Plain HTML forms, no script; it speaks Chinese or English by Accept-Language.
"""

from importlib import resources
from urllib.parse import parse_qsl, quote, urlsplit

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from guilder.simulators import trades
from guilder.simulators.alipay import Gateway
from guilder.simulators.desk import Desk
from guilder.simulators.model import Trade
from guilder.simulators.statements import yuan

ACTIONS = ("pay", "decline", "walk")
_WORDS = {
    "zh": {
        "lang": "zh-CN",
        "wechatpay": "微信支付（模拟）",
        "alipay": "支付宝（模拟）",
        "unionpay": "云闪付（模拟）",
        "stripe": "Stripe（模拟）",
        "paypal": "PayPal（模拟）",
        "confirm": "确认付款",
        "to": "付款给",
        "item": "商品",
        "order": "商户订单号",
        "method": "付款方式",
        "bank": "模拟银行储蓄卡 (8888)",
        "pay": "立即支付",
        "decline": "余额不足（拒绝付款）",
        "walk": "暂不付款，离开",
        "note": "这是模拟器，不会发生真实付款。",
        "back": "返回商家",
        "held": "已授权",
        "held_text": "款项已冻结，商家稍后扣款。",
        "paid": "支付成功",
        "declined": "支付失败",
        "closed": "订单已关闭",
        "waiting": "尚未付款",
        "nothing": "没有这个订单",
        "paid_text": "商家会收到通知。",
        "declined_text": "银行拒绝了这笔付款，未扣款。",
        "closed_text": "这个订单不能再支付。",
        "waiting_text": "您没有付款。二维码在过期前仍然有效。",
        "nothing_text": "二维码无效，或来自另一台模拟器。",
        "again": "重新打开订单",
    },
    "en": {
        "lang": "en",
        "wechatpay": "WeChat Pay (simulated)",
        "alipay": "Alipay (simulated)",
        "unionpay": "UnionPay (simulated)",
        "stripe": "Stripe (simulated)",
        "paypal": "PayPal (simulated)",
        "confirm": "Confirm payment",
        "to": "Pay to",
        "item": "Item",
        "order": "Order",
        "method": "Pay with",
        "bank": "Simulated bank card (8888)",
        "pay": "Pay now",
        "decline": "Decline (no funds)",
        "walk": "Walk away",
        "note": "This is a simulator: no real money moves.",
        "back": "Back to the shop",
        "held": "Payment authorised",
        "held_text": "The money is held; the shop takes it later.",
        "paid": "Payment successful",
        "declined": "Payment declined",
        "closed": "Order closed",
        "waiting": "Not paid yet",
        "nothing": "No such order",
        "paid_text": "The shop will be told.",
        "declined_text": "The bank declined this payment; nothing was taken.",
        "closed_text": "This order can no longer be paid.",
        "waiting_text": "You have not paid. The code stays good until it expires.",
        "nothing_text": "The code is wrong, or comes from another simulator.",
        "again": "Open the order again",
    },
}
_SIGNS = {"CNY": "¥", "JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£"}
_KEEP = {"Cache-Control": "max-age=3600"}
_FILES = resources.files("guilder.simulators")
_PAGES = jinja2.Environment(loader=jinja2.PackageLoader("guilder.simulators"), autoescape=True, trim_blocks=True)


async def scan(desk: Desk, gateway: Gateway, code: str) -> Trade | None:
    """The trade behind a code; opening one is what makes it exist at Alipay.  Does not commit.

    `code` is WeChat's code_url, Alipay's qr_code, a page's token or its address, or the whole URL of a page.pay request.
    """
    if "gateway.do?" in code:
        parts = urlsplit(code)
        reply = await gateway.perform(dict(parse_qsl(parts.query)), f"{parts.scheme}://{parts.netloc}")
        code = dict(parse_qsl(urlsplit(reply.headers.get("location", "")).query)).get("code", "")
    elif "/phone?" in code:
        code = dict(parse_qsl(urlsplit(code).query)).get("code", "")
    trade = desk.book.find_trade_by_token(code)
    if trade is not None:
        trades.open_(desk, trade)
    return trade


def act(desk: Desk, trade: Trade, action: str, payer: str = "") -> None:
    """What the payer does: one of ACTIONS.  Does not commit."""
    trades.open_(desk, trade)
    if action == "pay":
        trades.pay(desk, trade, payer)
    elif action == "decline":
        trades.decline(desk, trade)


class Phone:
    """The page."""

    def __init__(self, desk: Desk, gateway: Gateway) -> None:
        self._desk, self._gateway = desk, gateway
        self._files = {
            name: Response(_FILES.joinpath("static", name).read_bytes(), media_type=kind, headers=_KEEP)
            for name, kind in (("phone.css", "text/css"), ("phone.svg", "image/svg+xml"))
        }

    def routes(self) -> list[Route]:
        """The page, its form's target and its style."""
        return [
            Route("/phone", self.show, methods=["GET"]),
            Route("/phone", self.press, methods=["POST"]),
            *(Route(f"/{name}", self.file, methods=["GET"]) for name in self._files),
        ]

    async def file(self, request: Request) -> Response:
        """The style sheet and the icon."""
        return self._files[request.url.path.removeprefix("/")]

    async def show(self, request: Request) -> Response:
        """GET /phone?code=: what is to be paid, or what became of it (`seen=1` after a press)."""
        trade = await scan(self._desk, self._gateway, request.query_params.get("code", ""))
        await self._desk.book.commit()
        return self._page(request, trade, seen="seen" in request.query_params)

    async def press(self, request: Request) -> Response:
        """POST /phone, form code and action: do it, then show the result or go back to the shop."""
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        trade = self._desk.book.find_trade_by_token(form.get("code", ""))
        action = form.get("action", "")
        if trade is None or action not in ACTIONS:
            return self._page(request, None, seen=True)
        act(self._desk, trade, action)
        await self._desk.book.commit()
        back = self._desk.channel_of(trade).returns_to(trade) if trade.state in ("paid", "held") else ""
        return RedirectResponse(back or f"/phone?code={quote(trade.token, safe='')}&seen=1", 303)

    def _page(self, request: Request, trade: Trade | None, *, seen: bool) -> Response:
        words = _WORDS[_language(request.headers.get("accept-language", ""))]
        state = trade.state if trade else "nothing"
        back = self._desk.channel_of(trade).returns_to(trade) if trade else ""
        content = _PAGES.get_template("phone.html").render(
            words=words,
            trade=trade,
            state=state,
            asks=state == "waiting" and not seen,
            amount=yuan(trade.amount) if trade else "",
            sign=_SIGNS.get(trade.currency, f"{trade.currency} ") if trade else "",
            payee=self._desk.book.accounts[trade.account].name if trade else "",
            back=back if state in ("paid", "held") else (trade.return_url if trade else ""),
            brand=trade.channel if trade else "nothing",
        )
        origin = urlsplit(trade.return_url) if trade and trade.return_url else None
        beyond = f" {origin.scheme}://{origin.netloc}" if origin else ""
        policy = f"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'{beyond}; base-uri 'none'; frame-ancestors 'none'"
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return HTMLResponse(content, 200 if trade else 404, headers)


def _language(accept: str) -> str:
    """The first of zh and en that the browser names; Chinese if neither."""
    for part in accept.lower().split(","):
        for language in _WORDS:
            if part.strip().startswith(language):
                return language
    return "zh"
