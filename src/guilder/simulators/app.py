"""The simulators' application: desk, channels, phone and control API on one port.

A package that brings a channel brings its simulator by an entry point of the group `guilder.simulators`: it is called with the desk and returns
the channel (`channel.Channel`) and its routes.
"""

import asyncio
import contextlib
import os
import traceback
from collections.abc import AsyncIterator
from importlib.metadata import entry_points
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from guilder.simulators import keys, trades
from guilder.simulators.alipay import Alipay, Gateway, certificates
from guilder.simulators.control import Control
from guilder.simulators.desk import Desk
from guilder.simulators.paypal import Api as PayPalApi
from guilder.simulators.paypal import PayPal
from guilder.simulators.paypal import platform_keys as paypal_keys
from guilder.simulators.phone import Phone
from guilder.simulators.stripe import Stripe
from guilder.simulators.stripe import routes as stripe_routes
from guilder.simulators.unionpay import Gateway as UnionPayGateway
from guilder.simulators.unionpay import UnionPay
from guilder.simulators.unionpay import platform_keys as unionpay_keys
from guilder.simulators.wechatpay import WeChatPay
from guilder.simulators.wechatpay import routes as wechatpay_routes


def _platform_keys(desk: Desk) -> dict[str, str]:
    """The channels' own keys: made at the first start, the same ever after."""
    known = {row[0]: row[1] for row in desk.book.rows("SELECT name, pem FROM platform_key")}
    if "wechatpay_key" not in known:
        certified = keys.make_key()
        _keep(desk, known, {
            "wechatpay_key": keys.private_pem(keys.make_key()),
            "wechatpay_certified_key": keys.private_pem(certified),
            "wechatpay_certificate": keys.make_certificate(certified, "WeChat Pay simulator"),
        })  # fmt: skip
    if "alipay_key" not in known:
        _keep(desk, known, certificates.make_platform())
    if "unionpay_key" not in known:
        _keep(desk, known, unionpay_keys())
    if "paypal_key" not in known:
        _keep(desk, known, paypal_keys())
    return known


def _keep(desk: Desk, known: dict[str, str], made: dict[str, str]) -> None:
    desk.book.save_platform_keys(made)
    known |= made


def _restore_clock(desk: Desk) -> None:
    for (body,) in desk.book.rows("SELECT body FROM entry WHERE kind = 'clock' ORDER BY seq DESC LIMIT 1"):
        desk.clock.set(msgspec.json.decode(body)["offset_ms"])


def _stop_unless_cancelled(agenda: asyncio.Task[None]) -> None:
    """Without its agenda a channel would fall silent unnoticed: better that the process ends."""
    if not agenda.cancelled():
        traceback.print_exception(agenda.exception())
        os._exit(70)


async def _healthy(request: Request) -> Response:
    """GET /health: 200 once the book is open."""
    return PlainTextResponse("ok\n")


GROUP = "guilder.simulators"


def _plugged(desk: Desk) -> list[Route]:
    """Take in the channels of other packages."""
    routes: list[Route] = []
    for entry in entry_points(group=GROUP):
        channel, its = entry.load()(desk)
        desk.channels.setdefault(channel.name, channel)
        routes += its
    return routes


def make_app(data: Path) -> Starlette:
    """The ASGI application over a data directory.  Call it inside the running event loop."""
    desk = Desk(data)
    platform = _platform_keys(desk)
    wechatpay, alipay = WeChatPay(desk, platform), Alipay(desk, platform)
    desk.channels |= {"wechatpay": wechatpay, "alipay": alipay}
    stripe = Stripe(desk)
    desk.channels["stripe"] = stripe
    desk.channels["paypal"] = paypal = PayPal(desk, platform)
    gateway = Gateway(alipay)
    unionpay = UnionPay(desk, platform)
    desk.channels["unionpay"] = unionpay
    plugged = _plugged(desk)
    _restore_clock(desk)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        """Take up what the book says is still to come, and keep the agenda."""
        trades.resume(desk)
        desk.courier.resume()
        desk.keys.fill()
        agenda = asyncio.create_task(desk.clock.run())
        agenda.add_done_callback(_stop_unless_cancelled)
        yield
        agenda.cancel()
        await desk.courier.close()
        await desk.book.close()

    routes = [
        *wechatpay_routes(wechatpay),
        *gateway.routes(),
        *UnionPayGateway(unionpay).routes(),
        *stripe_routes(stripe),
        *PayPalApi(paypal).routes(),
        *plugged,
        *Phone(desk, gateway).routes(),
        *Control(desk, gateway).routes(),
        Route("/health", _healthy),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.desk = desk
    return app
