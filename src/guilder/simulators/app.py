"""The simulators' application: desk, channels, phone and control API on one port."""

import asyncio
import contextlib
import os
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from guilder.simulators import keys, trades
from guilder.simulators.alipay import Alipay, Gateway
from guilder.simulators.control import Control
from guilder.simulators.desk import Desk
from guilder.simulators.phone import Phone
from guilder.simulators.wechatpay import Counter, WeChatPay


def _platform_keys(desk: Desk) -> dict[str, str]:
    """The channels' own keys: made at the first start, the same ever after."""
    known = {row[0]: row[1] for row in desk.book.rows("SELECT name, pem FROM platform_key")}
    if not known:
        certified = keys.make_key()
        known = {
            "wechatpay_key": keys.private_pem(keys.make_key()),
            "wechatpay_certified_key": keys.private_pem(certified),
            "wechatpay_certificate": keys.make_certificate(certified, "WeChat Pay simulator"),
            "alipay_key": keys.private_pem(keys.make_key()),
        }
        desk.book.save_platform_keys(known)
    return known


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


def make_app(data: Path) -> Starlette:
    """The ASGI application over a data directory.  Call it inside the running event loop."""
    desk = Desk(data)
    platform = _platform_keys(desk)
    wechatpay, alipay = WeChatPay(desk, platform), Alipay(desk, platform)
    desk.channels |= {"wechatpay": wechatpay, "alipay": alipay}
    gateway = Gateway(alipay)
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
        *Counter(wechatpay).routes(),
        *gateway.routes(),
        *Phone(desk, gateway).routes(),
        *Control(desk, gateway).routes(),
        Route("/health", _healthy),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.desk = desk
    return app
