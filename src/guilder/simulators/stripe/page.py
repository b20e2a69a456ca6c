"""What is not Stripe's API: the script of its hosted fields, and disputes made and decided by a test.

GET  /v3/ (/clover/stripe.js)       `Stripe(publishable_key)`: elements, confirmPayment, confirmCardPayment, createPaymentMethod,
                                    handleNextAction; card numbers go from the payer's browser to /v1 here, and nowhere else
POST /sim/stripe/dispute            {account, out_trade_no, reason?, decide?: "won" | "lost"} -> {ref, state}
"""

from importlib import resources

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from guilder.simulators.stripe import disputes
from guilder.simulators.stripe.channel import Stripe

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Dispute(msgspec.Struct, forbid_unknown_fields=True):
    account: str
    out_trade_no: str
    reason: str = "fraudulent"
    decide: str = ""


class Page:
    """The script and the control."""

    def __init__(self, channel: Stripe) -> None:
        self._desk = channel.desk
        self._script = resources.files("guilder.simulators").joinpath("static", "stripe.js").read_bytes()
        disputes.resume(channel.desk)

    def routes(self) -> list[Route]:
        return [
            Route("/v3/", self.script, methods=["GET"]),
            Route("/clover/stripe.js", self.script, methods=["GET"]),
            Route("/sim/stripe/dispute", self.dispute, methods=["POST"]),
        ]

    async def script(self, request: Request) -> Response:
        """What a payer's page loads as it would load js.stripe.com/v3/."""
        return Response(self._script, media_type="text/javascript", headers={"Access-Control-Allow-Origin": "*"})

    async def dispute(self, request: Request) -> Response:
        """A payer complains about a payment, or his bank decides."""
        if request.client is not None and request.client.host not in _LOOPBACK:
            return JSONResponse({"error": "the control API answers this machine only"}, 403)
        try:
            ask = msgspec.json.decode(await request.body(), type=_Dispute)
        except msgspec.DecodeError as error:
            return JSONResponse({"error": str(error)}, 400)
        await self._desk.book.commit()
        trade = self._desk.book.find_trade(ask.account, ask.out_trade_no)
        if trade is None or not trade.paid_at or ask.decide not in ("", "won", "lost"):
            return JSONResponse({"error": "no such payment, or nothing like it can be decided"}, 404)
        known = self._desk.book.disputes(ask.account, ask.out_trade_no)
        one = known[-1] if known else disputes.open_(self._desk, trade, ask.reason)
        if ask.decide:
            disputes.decide(self._desk, ask.account, one.ref, ask.decide)
        await self._desk.book.commit()
        return JSONResponse({"ref": one.ref, "state": one.state})
