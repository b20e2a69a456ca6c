"""The till: one payment as its page needs it, found by a link."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID
from zlib import crc32

import msgspec

from guilder.cashier import links
from guilder.cashier.model import Line
from guilder.core import clock
from guilder.merchants import books, channel_accounts
from guilder.merchants.books import Owner
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments import present
from guilder.payments.present import Face
from guilder.payments.states import OPEN_ATTEMPT, IntentStatus
from guilder.platform.db import Row
from guilder.platform.environment import Env
from guilder.platform.sql import load

Q = load(__package__)
_decode = msgspec.json.decode
SHEETS = ("wechat_pay_jsapi", "alipay_jsapi")
_lines = msgspec.json.Decoder(list[Line]).decode


class Stage(StrEnum):
    """What the payer is shown."""

    CHOOSE = "choose"  # a way to pay
    SCAN = "scan"  # a code
    LEAVE = "leave"  # for the channel's own page
    ASKING = "asking"  # the outcome is unknown
    WALLET = "wallet"  # in the wallet's own sheet, which this page opens
    PAID = "paid"
    EXPIRED = "expired"
    CANCELED = "canceled"

    @property
    def final(self) -> bool:
        return self in (Stage.PAID, Stage.EXPIRED, Stage.CANCELED)


@dataclass(frozen=True, slots=True)
class Till:
    """A payment, its latest try and its session, if it has one."""

    env: Env
    owner: Owner
    intent_id: UUID
    path: str  # of the page, without a query
    status: IntentStatus
    amount: int
    currency: str
    types: list[str]
    method_type: str | None
    description: str | None
    options: dict[str, Any]
    hold: bool  # captured later
    accounts: list[ChannelAccount]  # the merchant's contracts
    next_action: dict[str, Any] | None
    last_error: dict[str, Any] | None
    cancel_reason: str | None
    cancel_wanted: bool
    attempt_id: UUID | None
    attempt_open: bool
    attempt_expires_at: datetime | None
    expires_at: datetime | None
    root_id: UUID
    business_line: str
    way: str | None  # of the latest try: 'native'
    fronted: bool  # its channel has been asked for nothing yet, or has not answered: what the API shows is our own page
    unasked: bool  # the first of these
    mark: str  # changes whenever the page has something new to show
    session_id: UUID | None
    success_url: str | None
    cancel_url: str | None
    locale: str
    submit_type: str
    lines: list[Line]
    texts: dict[str, str]  # of the merchant's: 'submit', 'after_submit'

    @property
    def key(self) -> tuple[UUID, UUID]:
        return self.owner.book_id, self.intent_id

    @property
    def book_id(self) -> UUID:
        return self.owner.book_id

    @property
    def code(self) -> str | None:
        """What the QR code says, where the payer is to scan one."""
        return self._step.get("data") if self.status is IntentStatus.REQUIRES_ACTION else None

    @property
    def leaves_to(self) -> str | None:
        """The channel's page, or ours that posts its form, where the payer is to go there."""
        url: str | None = self._step.get("url") if self.status is IntentStatus.REQUIRES_ACTION else None
        here = Face(self.env).pay_url(self.book_id, self.intent_id)
        if self.fields is not None:
            return f"{here}/card"
        return None if url == here else url

    @property
    def fields(self) -> dict[str, str] | None:
        """What the channel's own card fields are to be opened with, on a page of ours."""
        kind = (self.next_action or {}).get("type", "")
        return self._step if self.status is IntentStatus.REQUIRES_ACTION and kind == "card_elements" else None

    @property
    def sheet(self) -> tuple[str, dict[str, str]] | None:
        """Which wallet's sheet this page is to open, and with what."""
        kind = (self.next_action or {}).get("type", "")
        if self.status is not IntentStatus.REQUIRES_ACTION or kind not in SHEETS:
            return None
        return kind, {name: value for name, value in self._step.items() if name != "hosted_instructions_url"}

    @property
    def deadline(self) -> datetime | None:
        """Until when what is shown can be paid."""
        tried = self.attempt_expires_at if self.status is IntentStatus.REQUIRES_ACTION else None
        return min((at for at in (self.expires_at, tried) if at is not None), default=None)

    @property
    def _step(self) -> dict[str, Any]:
        action = self.next_action or {}
        return action.get(action.get("type", ""), {})

    @property
    def stage(self) -> Stage:
        """(K5) Unknown is shown as unknown."""
        match self.status:
            case IntentStatus.SUCCEEDED:
                return Stage.PAID
            case IntentStatus.CANCELED:
                return Stage.EXPIRED if self.cancel_reason == "expired" else Stage.CANCELED
            case IntentStatus.PROCESSING:
                return Stage.ASKING
        if self.cancel_wanted or (self.expires_at is not None and self.expires_at <= clock.now()):
            return Stage.ASKING if self.attempt_open else Stage.EXPIRED
        if self.fronted:
            return Stage.ASKING
        if self.code is not None:
            return Stage.SCAN
        if self.sheet is not None:
            return Stage.WALLET
        return Stage.LEAVE if self.leaves_to is not None else Stage.CHOOSE


async def find(env: Env, kind: str, ref: str, link: str) -> Till | None:
    """What the link `/{kind}/{env}/{ref}/{link}` shows; None if it is none of ours (K4)."""
    named = links.read_session_link(env, ref, link) if kind == "c" else present.read_link(Face(env), ref, link)
    if named is None:
        return None
    id, code = named
    owner = await books.owner_of(env, code)
    intent_id = id
    if owner is not None and kind == "c":
        intent_id = await env.db.value(Q.intent_of_session, owner.book_id, id)
    row = await env.db.row(Q.find_till, owner.book_id, intent_id) if owner is not None and intent_id else None
    if row is None or owner is None:
        return None
    accounts = await channel_accounts.of_merchant(env, owner.book_id)
    return _till(env, owner, f"/{kind}/{env.name}/{ref}/{link}", row, accounts)


def mark_of(row: Row) -> str:
    """What an open page compares: eight hex digits over everything that it depends on."""
    seen = (
        row["status"],
        row["attempt_id"],
        row["attempt_state"],
        row["next_action"],
        row["last_error"],
        row["cancel_wanted_at"],
    )
    return f"{crc32(repr(seen).encode()):08x}"


def _till(env: Env, owner: Owner, path: str, row: Row, accounts: list[ChannelAccount]) -> Till:
    extra = _decode(row["extra"])
    session = _decode(row["session_extra"]) if row["session_extra"] else {}
    return Till(
        env, owner, row["id"], path, IntentStatus(row["status"]), row["amount"], row["currency"], list(row["types"]),
        row["method_type"], row["description"], extra.get("payment_method_options", {}),
        extra.get("capture_method") == "manual", accounts,
        _decode(row["next_action"]) if row["next_action"] else None, _decode(row["last_error"]) if row["last_error"] else None,
        row["cancel_reason"], row["cancel_wanted_at"] is not None, row["attempt_id"],
        row["attempt_state"] in OPEN_ATTEMPT, row["attempt_expires_at"], row["expires_at"], row["root_id"], row["business_line"],
        row["way"], row["attempt_state"] == "unknown" and row["status"] == "requires_action", bool(row["unasked"]), mark_of(row),
        row["session_id"], row["success_url"], row["cancel_url"], row["locale"] or "auto", row["submit_type"] or "auto",
        _lines(row["lines"]) if row["lines"] else [], {k: part["message"] for k, part in session.get("custom_text", {}).items()},
    )  # fmt: skip
