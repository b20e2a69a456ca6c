"""Report runs, their files, and what else an account has: its endpoints and itself."""

import re
import secrets
from typing import Any

import msgspec

from guilder.simulators import statements
from guilder.simulators.model import Account, Facts
from guilder.simulators.replies import Said
from guilder.simulators.stripe import report
from guilder.simulators.stripe.api import Call, Operation
from guilder.simulators.stripe.channel import Stripe
from guilder.simulators.stripe.errors import Refused, missing
from guilder.simulators.stripe.intents import new_id


class _Run(msgspec.Struct):
    """What a run was asked for; noted in the book, for its file is made anew from the frozen days."""

    id: str
    file: str
    since: int
    until: int
    columns: list[str]
    currency: str
    created: int


class Reports:
    """The reporting API, of one type of report."""

    def __init__(self, channel: Stripe) -> None:
        self._channel, self._desk = channel, channel.desk

    def operations(self) -> list[Operation]:
        runs, files = "/v1/reporting/report_runs", "/v1/files/{id}"
        return [
            Operation("POST", runs, "bill", self.create, _nothing),
            Operation("GET", f"{runs}/{{id}}", "bill_query", self.retrieve, _nothing),
            Operation("GET", files, "bill_query", self.file, _nothing),
            Operation("GET", f"{files}/contents", "bill_file", self.contents, _nothing),
            Operation("POST", "/v1/webhook_endpoints", "endpoint", self.register, _nothing),
            Operation("GET", "/v1/account", "account", self.account, _nothing),
        ]

    def create(self, call: Call) -> Facts:
        """POST /v1/reporting/report_runs: pending in this answer, done by the next."""
        kind, asked = call.form.needed("report_type"), call.form.inner("parameters")
        call.form.end()
        if kind != report.TYPE:
            raise Refused(400, "invalid_request_error", f"No such report type here: {kind}", param="report_type")
        since, until = asked.number("interval_start"), asked.number("interval_end")
        columns, currency = (
            asked.texts("columns"),
            asked.text("currency") or self._channel.settings(call.account)["currency"],
        )
        asked.end("timezone")
        if since is None or until is None or until <= since:
            raise Refused(400, "invalid_request_error", "The interval is needed.", param="parameters[interval_end]")
        if wrong := [name for name in columns if not report.is_column(name)]:
            raise Refused(400, "invalid_request_error", f"Unknown columns: {wrong}", param="parameters[columns]")
        for day in report.days_of(since * 1000, until * 1000):
            if report.find(self._desk.book, call.account, day, self._desk.clock.now()) is None:
                text = f"There is no data yet for {day}: interval_end is after data_available_end."
                raise Refused(400, "invalid_request_error", text, param="parameters[interval_end]")
        now = self._desk.clock.now() // 1000
        run = _Run(new_id("frr"), new_id("file"), since, until, columns or list(report.COLUMNS), currency.upper(), now)
        for id in (run.id, run.file):
            self._desk.book.note("report_run", call.account.id, id, **msgspec.structs.asdict(run))
        return self._run(call, run, pending=True)

    def _find(self, call: Call) -> _Run:
        sql = "SELECT body FROM entry WHERE account = ? AND out_trade_no = ? AND kind = 'report_run'"
        for (body,) in self._desk.book.rows(sql, call.account.id, call.path["id"]):
            return msgspec.json.decode(body, type=_Run)
        raise missing("report run or file", call.path["id"])

    def _run(self, call: Call, run: _Run, *, pending: bool = False) -> Facts:
        asked = {
            "interval_start": run.since,
            "interval_end": run.until,
            "columns": run.columns,
            "currency": run.currency.lower(),
        }
        return {
            "id": run.id,
            "object": "reporting.report_run",
            "created": run.created,
            "error": None,
            "livemode": False,
            "parameters": asked | {"timezone": "Etc/UTC"},
            "report_type": report.TYPE,
            "result": None if pending else self._file(call, run),
            "status": "pending" if pending else "succeeded",
            "succeeded_at": None if pending else run.created,
        }

    def _file(self, call: Call, run: _Run) -> Facts:
        content, corrupt = self._content(call.account, run)
        return {
            "id": run.file,
            "object": "file",
            "created": run.created,
            "filename": f"{run.id}.csv",
            "purpose": "finance_report_run",
            "size": len(content) + (1 if corrupt == "hash" else 0),  # Stripe tells no hash, only how long it is
            "type": "csv",
            "url": f"{call.address}/v1/files/{run.file}/contents",
        }

    def _content(self, account: Account, run: _Run) -> tuple[bytes, str]:
        lines: list[statements.Line] = []
        corrupt = ""
        for day in report.days_of(run.since * 1000, run.until * 1000):
            found = report.find(self._desk.book, account, day, self._desk.clock.now())
            if found is not None:
                lines += statements.lines_of(found)
                corrupt = corrupt or found.corrupt
        return report.render(account, lines, run.columns, run.currency, wrong=corrupt == "totals"), corrupt

    def retrieve(self, call: Call) -> Facts:
        """GET /v1/reporting/report_runs/{id}"""
        return self._run(call, self._find(call))

    def file(self, call: Call) -> Facts:
        """GET /v1/files/{id}"""
        return self._file(call, self._find(call))

    def contents(self, call: Call) -> Said:
        """GET /v1/files/{id}/contents: the CSV."""
        content, corrupt = self._content(call.account, self._find(call))
        return Said(200, content[: len(content) * 2 // 3] if corrupt == "truncate" else content)

    def register(self, call: Call) -> Facts:
        """POST /v1/webhook_endpoints: where this account's events go from now on.  There is one, and its secret is the account's."""
        url, events = call.form.needed("url"), call.form.texts("enabled_events")
        call.form.end("api_version", "description", "metadata")
        if not re.match(r"https?://", url):
            raise Refused(400, "invalid_request_error", "Invalid URL", "url_invalid", "url")
        self._desk.book.point(call.account.id, url)
        return {
            "id": f"we_{secrets.token_hex(12)}",
            "object": "webhook_endpoint",
            "enabled_events": events,
            "livemode": False,
            "secret": self._channel.settings(call.account)["webhook_secret"],
            "status": "enabled",
            "url": url,
        }

    def account(self, call: Call) -> Facts:
        """GET /v1/account"""
        currency = self._channel.settings(call.account)["currency"]
        known: dict[str, Any] = {
            "business_profile": {"name": call.account.name},
            "charges_enabled": True,
            "payouts_enabled": True,
        }
        return {
            "id": call.account.id,
            "object": "account",
            "country": "US",
            "default_currency": currency.lower(),
            **known,
        }


def _nothing(call: Call) -> tuple[str, str]:
    return "", ""
