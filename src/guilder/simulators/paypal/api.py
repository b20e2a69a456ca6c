"""PayPal's addresses: which call lies where, and the reports."""

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from guilder.simulators import statements
from guilder.simulators.clock import parse_ms
from guilder.simulators.paypal import statement
from guilder.simulators.paypal.channel import PayPal, iso, value
from guilder.simulators.paypal.door import Act, Ask, Door, Refused
from guilder.simulators.paypal.more import Disputes, Payouts, Webhooks
from guilder.simulators.paypal.orders import Orders
from guilder.simulators.replies import say

_MOST = 10_000  # rows that one search lists
_DAY_MS = 86_400_000


class Api:
    """Where merchants' calls arrive."""

    def __init__(self, channel: PayPal) -> None:
        self._channel, self._desk = channel, channel.desk
        self._door = Door(channel)

    def routes(self) -> list[Route]:
        """All addresses of the channel."""
        orders, payouts = Orders(self._door), Payouts(self._door)
        disputes, webhooks = Disputes(self._door), Webhooks(self._door)
        order, held, taken = "/v2/checkout/orders", "/v2/payments/authorizations", "/v2/payments/captures"
        table = [
            ("POST", "/v1/oauth2/token", self._door.token),
            ("POST", order, orders.create),
            ("GET", f"{order}/{{id}}", orders.show),
            ("PATCH", f"{order}/{{id}}", orders.patch),
            ("POST", f"{order}/{{id}}/capture", orders.capture),
            ("POST", f"{order}/{{id}}/authorize", orders.authorize),
            ("GET", f"{held}/{{id}}", orders.show_authorization),
            ("POST", f"{held}/{{id}}/capture", orders.collect),
            ("POST", f"{held}/{{id}}/void", orders.void),
            ("GET", f"{taken}/{{id}}", orders.show_capture),
            ("POST", f"{taken}/{{id}}/refund", orders.refund),
            ("GET", "/v2/payments/refunds/{id}", orders.show_refund),
            ("POST", "/v1/payments/payouts", payouts.create),
            ("GET", "/v1/payments/payouts/{id}", payouts.show),
            ("POST", "/v1/customer/disputes", disputes.create),
            ("GET", "/v1/customer/disputes/{id}", disputes.show),
            ("POST", "/v1/customer/disputes/{id}/{verb}", disputes.act),
            ("POST", "/v1/notifications/webhooks", webhooks.create),
            ("GET", "/v1/notifications/certs/{id}", webhooks.certificate),
            ("GET", "/v1/reporting/transactions", self.transactions),
            ("GET", "/paypal/reports/{account}/{name}", self.report),
        ]
        return [Route(path, act, methods=[method]) for method, path, act in table]

    async def transactions(self, request: Request) -> Response:
        """GET /v1/reporting/transactions: a stretch of at most 31 days, by pages."""
        await self._desk.book.commit()
        return await self._door.serve(request, "bill", self._look)

    def _look(self, ask: Ask) -> tuple[str, str, Act]:
        try:
            since, until = parse_ms(ask.query("start_date")), parse_ms(ask.query("end_date")) + 1000
            page, size = int(ask.query("page", "1")), int(ask.query("page_size", "100"))
        except ValueError:
            raise Refused(400, "INVALID_PARAMETER_SYNTAX", "The value of a field does not conform.") from None
        if not 0 < until - since <= 31 * _DAY_MS or not 1 <= size <= 500 or page < 1:
            raise Refused(400, "INVALID_PARAMETER_VALUE", "The value of a field is invalid.")
        return "", "", lambda: say(self._search(ask, since, until, page, size))

    def _search(self, ask: Ask, since: int, until: int, page: int, size: int) -> dict[str, Any]:
        account, book, currency = ask.account, self._desk.book, self._channel.settings(ask.account)["currency"]
        rows: list[statement.Row] = []
        refreshed, corrupt = self._desk.clock.now(), ""
        start = since - since % _DAY_MS
        for first in range(start, until, _DAY_MS):
            day = iso(first)[:10]
            found = statements.find(book, account, day, self._desk.clock.now())
            lines = statements.lines_of(found) if found else statement.gather(book, account, day)
            corrupt = found.corrupt if found else corrupt
            refreshed = max(refreshed, statement.bounds(day)[1]) if found else refreshed
            rows += statement.rows_of(lines, statement.payouts_of(book, account, day))
        rows = [row for row in rows if since <= row.at < until]
        if ask.query("transaction_currency", currency) != currency:
            rows = []
        if len(rows) > _MOST:
            said = "Result set size is greater than the maximum limit. Change the filter criteria and try again."
            raise Refused(400, "RESULTSET_TOO_LARGE", said, name="RESULTSET_TOO_LARGE", message=said)
        total = len(rows) + (1 if corrupt == "totals" else 0)
        pages = max(1, -(-len(rows) // size))
        if corrupt == "truncate":
            rows = rows[: len(rows) * 2 // 3]
        shown = [statement.details(row, account, currency, value) for row in rows[(page - 1) * size : page * size]]
        if corrupt == "hash":
            for one in shown:
                one["transaction_info"]["transaction_amount"]["value"] = "1O.00"
        return {
            "transaction_details": shown,
            "account_number": account.id,
            "start_date": ask.query("start_date"),
            "end_date": ask.query("end_date"),
            "last_refreshed_datetime": iso(refreshed),
            "page": page,
            "total_items": total,
            "total_pages": pages,
            "links": [],
        }

    async def report(self, request: Request) -> Response:
        """GET /paypal/reports/{account}/STL-YYYYMMDD.01.009.CSV: stands for the directory on PayPal's SFTP server."""
        account = self._desk.book.accounts.get(request.path_params["account"])
        if account is None or account.channel != self._channel.name:
            return PlainTextResponse("not found\n", 404)
        if request.headers.get("authorization") != f"Bearer {self._channel.settings(account)['reports_token']}":
            return PlainTextResponse("who are you?\n", 401)
        name = request.path_params["name"]
        day = f"{name[4:8]}-{name[8:10]}-{name[10:12]}"
        await self._desk.book.commit()
        try:
            statement.bounds(day)
            found = statements.find(self._desk.book, account, day, self._desk.clock.now())
        except ValueError:
            found = None
        await self._desk.book.commit()
        if found is None or name != f"STL-{day.replace('-', '')}.01.009.CSV":
            return PlainTextResponse("not found\n", 404)
        content = self._channel.statement(account, day, "settlement", statements.lines_of(found), found.corrupt)
        return Response(content, 200, media_type="text/csv")
