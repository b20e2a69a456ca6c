"""What WeChat Pay's staff do while merchants are at work.  Like the rest of the control API, for this machine only.

POST /sim/wechat/rotate {}                     a new platform certificate signs from now on  -> {serial_no}
POST /sim/wechat/trust {account, trust}        sign for this merchant by public_key or certificate  -> {trust}
"""

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from guilder.simulators.wechatpay.channel import WeChatPay

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Trust(msgspec.Struct, forbid_unknown_fields=True):
    account: str
    trust: str


class Staff:
    """The operations of a test."""

    def __init__(self, channel: WeChatPay) -> None:
        self._channel = channel

    def routes(self) -> list[Route]:
        """The addresses."""
        return [
            Route("/sim/wechat/rotate", self.rotate, methods=["POST"]),
            Route("/sim/wechat/trust", self.trust, methods=["POST"]),
        ]

    async def rotate(self, request: Request) -> Response:
        """Another certificate."""
        if (refusal := _refusal(request)) is not None:
            return refusal
        serial = await self._channel.rotate()
        await self._channel.desk.book.commit()
        return JSONResponse({"serial_no": serial})

    async def trust(self, request: Request) -> Response:
        """Another way to sign for one merchant."""
        if (refusal := _refusal(request)) is not None:
            return refusal
        try:
            ask = msgspec.json.decode(await request.body(), type=_Trust)
            self._channel.switch(self._channel.desk.book.accounts[ask.account], ask.trust)
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            return JSONResponse({"error": str(error)}, 400)
        await self._channel.desk.book.commit()
        return JSONResponse({"trust": ask.trust})


def _refusal(request: Request) -> Response | None:
    if request.client is None or request.client.host in _LOOPBACK:
        return None
    return JSONResponse({"error": "the control API answers this machine only"}, 403)
