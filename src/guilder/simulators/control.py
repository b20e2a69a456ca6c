"""The control API under /sim: what a test does to a channel.  JSON, no authentication, loopback only.

The shapes stand in the package's docstring.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guilder.simulators import phone, statements
from guilder.simulators.alipay import Gateway
from guilder.simulators.clock import parse_ms
from guilder.simulators.desk import Desk
from guilder.simulators.dials import Setting
from guilder.simulators.model import Account, Callback, Payout, Refund, Trade

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PAGE = 1000


class Wrong(Exception):
    """The request cannot be done: HTTP status and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class _Open(msgspec.Struct, forbid_unknown_fields=True):
    channel: str
    name: str = "Demo Shop"
    trust: str = ""
    options: dict[str, str] = {}  # what else the channel can be asked for: its docs say


class _Pay(msgspec.Struct, forbid_unknown_fields=True):
    channel: str = ""
    code: str = ""
    account: str = ""
    out_trade_no: str = ""
    action: str = "pay"
    payer: str = ""


class _Register(msgspec.Struct, forbid_unknown_fields=True):
    url: str


class _Turn(msgspec.Struct, forbid_unknown_fields=True):
    account: str
    dials: dict[str, Setting] = {}


class _SetClock(msgspec.Struct, forbid_unknown_fields=True):
    offset_s: float | None = None
    now: str = ""


class Control:
    """The operations of a test."""

    def __init__(self, desk: Desk, gateway: Gateway) -> None:
        self._desk, self._gateway = desk, gateway

    def routes(self) -> list[Route]:
        """All addresses under /sim."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[object]]]] = [
            ("POST", "/sim/accounts", self.open_account),
            ("GET", "/sim/accounts", self.list_accounts),
            ("POST", "/sim/accounts/{id}/close-day", self.close_day),
            ("POST", "/sim/accounts/{id}/endpoint", self.register),
            ("POST", "/sim/pay", self.pay),
            ("GET", "/sim/clock", self.show_clock),
            ("POST", "/sim/clock", self.set_clock),
            ("GET", "/sim/dials", self.show_dials),
            ("POST", "/sim/dials", self.turn_dials),
            ("DELETE", "/sim/dials", self.clear_dials),
            ("GET", "/sim/fired", self.fired),
            ("GET", "/sim/book", self.book),
            ("GET", "/sim/payouts", self.payouts),
        ]
        return [Route(path, _json(act), methods=[method]) for method, path, act in table]

    def _account(self, account_id: str) -> Account:
        account = self._desk.book.accounts.get(account_id)
        if account is None:
            raise Wrong(404, f"no account {account_id!r}")
        return account

    async def open_account(self, request: Request) -> object:
        """A new contract, with all that the merchant is given."""
        ask = await _body(request, _Open)
        channel = self._desk.channels.get(ask.channel)
        if channel is None:
            raise Wrong(400, f"no channel {ask.channel!r}; there are {', '.join(self._desk.channels)}")
        address = f"{request.url.scheme}://{request.url.netloc}"
        try:
            account = await channel.open_account(
                ask.name, address, ask.options | ({"trust": ask.trust} if ask.trust else {})
            )
        except ValueError as error:
            raise Wrong(400, str(error)) from error
        self._desk.book.note("opened_account", account.id, channel=ask.channel, name=ask.name)
        self._desk.book.put(account)
        return _present(account)

    async def list_accounts(self, request: Request) -> object:
        """All contracts."""
        return {"accounts": [_present(account) for account in self._desk.book.accounts.values()]}

    async def register(self, request: Request) -> object:
        """Where the account's callbacks go from now on, at channels where that is no part of a call: a dashboard's page."""
        account, ask = self._account(request.path_params["id"]), await _body(request, _Register)
        self._desk.book.point(account.id, ask.url)
        return {"account": account.id, "url": ask.url}

    async def pay(self, request: Request) -> object:
        """What a payer does with a phone."""
        ask = await _body(request, _Pay)
        trade = self._desk.book.find_trade(ask.account, ask.out_trade_no) if ask.account else None
        if trade is None and ask.code:
            trade = await phone.scan(self._desk, self._gateway, ask.code)
        if trade is None or (ask.channel and trade.channel != ask.channel):
            raise Wrong(404, "no such order")
        if ask.action not in phone.ACTIONS:
            raise Wrong(400, f"action must be one of {', '.join(phone.ACTIONS)}")
        phone.act(self._desk, trade, ask.action, ask.payer)
        await self._desk.book.commit()
        return {"account": trade.account, "out_trade_no": trade.out_trade_no, "state": trade.state}

    async def show_clock(self, request: Request) -> object:
        """The time, and how far it is off."""
        return {"now_ms": self._desk.clock.now(), "offset_s": self._desk.clock.offset_ms / 1000}

    async def set_clock(self, request: Request) -> object:
        """Move the clock; the book remembers it."""
        ask = await _body(request, _SetClock)
        if (ask.offset_s is None) == (not ask.now):
            raise Wrong(400, "give offset_s or now")
        clock = self._desk.clock
        try:
            offset = (
                round(ask.offset_s * 1000)
                if ask.offset_s is not None
                else parse_ms(ask.now) - clock.now() + clock.offset_ms
            )
        except ValueError as error:
            raise Wrong(400, str(error)) from error
        clock.set(offset)
        self._desk.book.note("clock", offset_ms=offset)
        return await self.show_clock(request)

    async def show_dials(self, request: Request) -> object:
        """An account's dials."""
        return {"dials": self._desk.dials.settings(self._account(request.query_params.get("account", "")).id)}

    async def turn_dials(self, request: Request) -> object:
        """Turn dials of an account; those not named stay as they are."""
        ask = await _body(request, _Turn)
        try:
            return {"dials": self._desk.dials.turn(self._account(ask.account), ask.dials)}
        except ValueError as error:
            raise Wrong(400, str(error)) from error

    async def clear_dials(self, request: Request) -> object:
        """All dials of an account back to zero."""
        return {"dials": self._desk.dials.turn(self._account(request.query_params.get("account", "")), {})}

    async def fired(self, request: Request) -> object:
        """How often each dial has struck, for one account or all, since this data directory began."""
        return {"fired": self._desk.dials.fired(request.query_params.get("account"))}

    async def close_day(self, request: Request) -> object:
        """Freeze a day's statement, tampered with as asked."""
        account, ask = self._account(request.path_params["id"]), await _body(request, statements.CloseDay)
        if ask.corrupt not in statements.CORRUPT:
            raise Wrong(400, f"corrupt must be one of {', '.join(statements.CORRUPT[1:])}")
        await self._desk.book.commit()
        try:
            return statements.freeze(self._desk.book, account, ask, self._desk.clock.now())[1]
        except KeyError as error:
            raise Wrong(404, f"the day has no row {error}") from error
        except ValueError as error:
            raise Wrong(400, str(error)) from error

    async def book(self, request: Request) -> object:
        """The orders with everything that belongs to them; a thousand at a time."""
        await self._desk.book.commit()
        query = request.query_params
        account, _, out_trade_no = query.get("after", "").partition("/")
        where, values = ["(account, out_trade_no) > (?, ?)"], [account, out_trade_no]
        for name in ("channel", "account", "out_trade_no"):
            if value := query.get(name):
                where.append(f"{name} = ?")
                values.append(value)
        sql = f"SELECT * FROM trade WHERE {' AND '.join(where)} ORDER BY account, out_trade_no LIMIT {_PAGE}"  # noqa: S608
        found = [Trade(*row) for row in self._desk.book.rows(sql, *values)]
        more = f"{found[-1].account}/{found[-1].out_trade_no}" if len(found) == _PAGE else None
        return {"trades": [self._whole(trade) for trade in found], "after": more}

    async def payouts(self, request: Request) -> object:
        """What was sent to people through an account, oldest first."""
        await self._desk.book.commit()
        sql = f"SELECT * FROM payout WHERE account = ? ORDER BY created_at, out_no LIMIT {_PAGE}"  # noqa: S608
        rows = self._desk.book.rows(sql, request.query_params.get("account", ""))
        return {"payouts": [msgspec.structs.asdict(Payout(*row)) for row in rows]}

    def _whole(self, trade: Trade) -> dict[str, Any]:
        book, key = self._desk.book, (trade.account, trade.out_trade_no)
        of = "WHERE account = ? AND out_trade_no = ?"
        tries: dict[str, list[object]] = {}
        for at, body in book.rows(f"SELECT at, body FROM entry {of} AND kind = 'callback_try' ORDER BY seq", *key):  # noqa: S608
            fact = msgspec.json.decode(body)
            tries.setdefault(fact.pop("id"), []).append({"at": at, **fact})
        callbacks = []
        for row in book.rows(f"SELECT * FROM callback {of} ORDER BY created_at, id", *key):  # noqa: S608
            callback = Callback(*row)
            whole = msgspec.structs.asdict(callback) | {"fact": msgspec.json.decode(callback.fact)}
            callbacks.append(whole | {"attempts": tries.get(callback.id, [])})
        refunds = book.rows(f"SELECT * FROM refund {of} ORDER BY created_at, channel_ref", *key)  # noqa: S608
        return msgspec.structs.asdict(trade) | {
            "refunds": [msgspec.structs.asdict(Refund(*row)) for row in refunds],
            "callbacks": callbacks,
        }


def _present(account: Account) -> dict[str, object]:
    return {"id": account.id, "channel": account.channel, "name": account.name, "config": account.settings()}


async def _body(request: Request, form: Any) -> Any:
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=form)
    except msgspec.DecodeError as error:
        raise Wrong(400, str(error)) from error


def _json(act: Callable[[Request], Awaitable[object]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        desk: Desk = request.app.state.desk
        try:
            if request.client is not None and request.client.host not in _LOOPBACK:
                raise Wrong(403, "the control API answers this machine only")
            status, content = 200, await act(request)
        except Wrong as wrong:
            status, content = wrong.status, {"error": wrong.message}
        await desk.book.commit()
        return Response(msgspec.json.encode(content), status, media_type="application/json")

    return endpoint
