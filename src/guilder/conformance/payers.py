"""What stands around an adapter in the conformance suite: a payer with a phone or a card, and the core's memory between two asks."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import aiohttp
from yarl import URL

from guilder.channels.model import (
    Ask,
    CapturePayment,
    ClosePayment,
    CreatePayment,
    CreateRefund,
    Form,
    Next,
    Notice,
    Outcome,
    QrCode,
    QueryPayment,
    QueryPayout,
    QueryRefund,
    Redirect,
    Sdk,
    State,
    Subject,
)
from guilder.core import ids
from guilder.core.amount import cny
from guilder.core.clock import now
from guilder.core.exchange import HttpCall, HttpReply, NotSent, Silence


@dataclass
class Memory:
    """What the core keeps of each key: the time it was first asked with, the same at every repetition, and the memo heard last (C7)."""

    made: dict[str, datetime] = field(default_factory=dict)
    memos: dict[str, str] = field(default_factory=dict)

    def completed(self, ask: Ask) -> Ask:
        """The ask with what the core would say."""
        match ask:
            case CreatePayment():
                return replace(ask, created_at=self.made.setdefault(ask.key, now()))
            case QueryPayment() | ClosePayment() | CapturePayment():
                return replace(ask, created_at=self.made.get(ask.key, ask.created_at), memo=self.memos.get(ask.key))
            case QueryPayout():
                return replace(ask, memo=self.memos.get(ask.key))
            case CreateRefund() | QueryRefund():
                at, memo = self.made.setdefault(ask.key, now()), self.memos.get(ask.payment_key)
                ask = replace(ask, created_at=at, payment_memo=memo, memo=self.memos.get(ask.key))
                if isinstance(ask, CreateRefund):
                    return replace(ask, payment_created_at=self.made.get(ask.payment_key))
        return ask

    def hear(self, key: str | None, outcome: Outcome) -> None:
        if key and outcome.memo:
            self.memos[key] = outcome.memo


async def code_of(created: Outcome, session: aiohttp.ClientSession) -> str | None:
    """What the payer's phone reads of what was shown; None if nothing was: he was scanned."""
    match created.next:
        case Redirect(url) if "prepay_id=" in url:
            return URL(url).query["prepay_id"]
        case QrCode(code) | Redirect(code):
            return code
        case Form(url, fields):
            async with session.post(url, data=fields, allow_redirects=False) as page:
                return URL(page.headers["Location"]).query["code"]
        case Sdk(_, {"tn": code} | {"prepayid": code} | {"client_secret": code}):
            return code
        case Sdk(_, {"package": package}):
            return package.removeprefix("prepay_id=")
    return None


async def carried(session: aiohttp.ClientSession, call: HttpCall) -> HttpReply:
    """One call over HTTP, as the platform's wire makes it."""
    url, headers = URL(call.url, encoded=True), dict(call.headers)
    try:
        async with session.request(call.method, url, headers=headers, data=call.body or None) as answer:
            body = await answer.read()
            return HttpReply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, body)
    except aiohttp.ClientConnectorError as error:
        raise NotSent(str(error)) from error
    except aiohttp.ClientError as error:
        raise Silence(str(error)) from error


def new_key() -> str:
    return ids.mint_key(ids.new_id(), ids.new_id())


def query(ask: CreatePayment) -> QueryPayment:
    return QueryPayment(ask.key, ask.way, now())


def close(ask: CreatePayment, *, cancel: bool = False) -> ClosePayment:
    return ClosePayment(ask.key, ask.way, now(), cancel)


def refund(notify_url: str, ask: CreatePayment, fen: int) -> CreateRefund:
    return CreateRefund(new_key(), ask.key, None, cny(fen), ask.amount, "冷了", notify_url)


def waits(notice: Notice) -> bool:
    """Does the payment that it tells of wait, for its payer or to be asked about?"""
    outcome = notice.outcome
    return notice.subject is Subject.PAYMENT and outcome.state is State.PENDING and outcome.problem is None


def just_now(at: datetime | None) -> bool:
    return at is not None and abs(now() - at) < timedelta(minutes=1)


def same(one: Next | None, other: Next | None) -> bool:
    """Do these show the payer the same?  What an SDK is handed may be signed anew each time."""
    if isinstance(one, Sdk) and isinstance(other, Sdk):
        return one.kind == other.kind and one.params.keys() == other.params.keys()
    return one == other
