"""How an answer leaves the channel, or does not: the dials on answers are turned here.

    return await answer(desk, account, "refund", trade, act, dress)

`act` does the operation and returns what to say; `dress` signs it.  The book is committed in between.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from guilder.simulators.desk import Desk
from guilder.simulators.model import Account

_GARBAGE = (
    "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"
)


@dataclass(frozen=True, slots=True)
class Said:
    """What an operation answers, before it is signed."""

    status: int
    body: bytes = b""


def say(content: object, status: int = 200) -> Said:
    """An answer in JSON."""
    return Said(status, msgspec.json.encode(content))


class Silence(Response):
    """No answer: the connection is dropped, or with `hang` left open until the caller gives up."""

    def __init__(self, *, hang: bool) -> None:
        super().__init__()
        self._hang = hang

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the way a dead line does.  Needs `line.Line` as the server's protocol."""
        if not self._hang:
            scope["extensions"]["guilder.line"]["transport"].close()
        while (await receive())["type"] != "http.disconnect":
            pass


async def answer(
    desk: Desk,
    account: Account,
    op: str,
    out_trade_no: str,
    kept: str,
    act: Callable[[], Said],
    dress: Callable[[Said, bool], Response],
) -> Response:
    """Do an operation under the dials that strike it.

    `kept` are the trade's dials; `dress(said, spoiled)` makes the signed reply, or with `spoiled` one
    whose signature is wrong.
    """
    struck = desk.dials.strike(account, op, out_trade_no, kept)
    if not struck:
        said = act()
        await desk.book.commit()
        return dress(said, False)
    instead = next(
        (name for name in ("silence_before", "hang_before", "error_before", "garbage") if name in struck), ""
    )
    said = Said(0) if instead else act()
    await desk.book.commit()
    if "delay" in struck:
        await asyncio.sleep(struck["delay"])
    if instead in ("silence_before", "hang_before") or "silence_after" in struck or "hang_after" in struck:
        return Silence(hang=instead == "hang_before" or "hang_after" in struck)
    if instead == "garbage":
        return HTMLResponse(_GARBAGE, 502)
    if instead or "error_after" in struck:
        return JSONResponse({"code": "SYSTEM_ERROR", "message": "系统异常，请稍后重试"}, 500)
    return dress(said, "bad_signature" in struck)
