"""Callbacks: what channels tell us unasked.

    POST /callbacks/{env}/{channel}/{account}

Size, then signature (with that channel account's key), then meaning: our key, the account, the amount, the currency.  It is acknowledged
when it is stored and not before.  What is authentic and contradicts us, or names nothing of ours, becomes a case and credits nothing.
Where several channel accounts are of one application at the channel, each hears what is told to it: what another of them was asked for
is acknowledged, and that one books it.
Told fifty times, it counts once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from guilder.channels.model import BadSignature, Inbound, NeedsTrust, Notice, Subject, Unreadable
from guilder.core import clock, ids
from guilder.core.errors import GuilderError
from guilder.core.exchange import HttpReply
from guilder.merchants import channel_accounts
from guilder.merchants.channel_accounts import ChannelAccount
from guilder.payments import asking
from guilder.payments.present import Face
from guilder.payments.record import ELSEWHERE, RECORD, RECORD_REFUND, Heard, HeardRefund, Recorded
from guilder.platform import case, context, journal_safe, telemetry
from guilder.platform.case import Case
from guilder.platform.db import CommitUnknown, DatabaseError
from guilder.platform.environment import Env
from guilder.platform.failpoints import reach
from guilder.platform.sql import load
from guilder.platform.wire import About

Q = load(__package__)
log = logging.getLogger("guilder.callbacks")
Door = Callable[[Env, ChannelAccount, Notice], Awaitable[Recorded]]
_doors: dict[Subject, Door] = {}
MAX_BODY = 256 * 1024
PATIENCE_S = 10.0


def register(doors: Mapping[Subject, Door]) -> None:
    """Who hears of what is no payment and no refund.  Called once, by the composition root."""
    _doors.clear()
    _doors.update(doors)


def routes(envs: Mapping[str, Env]) -> list[Route]:
    """The callback address, for every environment of this process."""

    async def callback(request: Request) -> Response:
        env = envs.get(request.path_params["env"])
        id = ids.parse(request.path_params["account"])
        try:
            account = await channel_accounts.get(env, id) if env is not None and id is not None else None
        except DatabaseError:
            return Response("Not now; send it again.\n", 503)
        if env is None or account is None or account.info.code != request.path_params["channel"]:
            return Response("No such channel account.\n", 404)
        try:
            async with asyncio.timeout(PATIENCE_S):
                body = await _body(request)
        except (TimeoutError, ClientDisconnect):
            return Response(status_code=408)
        if body is None:
            return Response("The callback is too large.\n", 413)
        headers = {k.lower(): v for k, v in request.headers.items()}
        about = context.mint(book_id=account.book_id, actor=f"channel:{account.info.code}", env=env.name)
        with context.use(about):
            reach("ntf.recv")
            return _response(await hear(env, account, Inbound(headers, body, request.url.query, clock.now())))

    return [Route("/callbacks/{env}/{channel}/{account}", callback, methods=["POST"])]


async def _body(request: Request) -> bytes | None:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


async def hear(rt: Env, account: ChannelAccount, inbound: Inbound) -> HttpReply:
    """Verify, store, acknowledge.  The answer is what the channel wants to see."""
    channel = account.info.code
    try:
        notice = await _verify(rt, account, inbound)
    except BadSignature as error:
        telemetry.CALLBACKS.labels(channel, "bad_signature").inc()
        log.warning("a callback of %s does not verify: %s", channel, error)
        return HttpReply(401, {"content-type": "text/plain"}, b"The signature does not verify.\n")
    except Unreadable as error:
        await _note(
            rt, account, inbound, "unreadable_callback", f"signed by {channel}, and not of its documented form: {error}"
        )
        return account.channel.ack(stored=True)
    reach("ntf.verified", _named(notice))
    try:
        stored = await _store(rt, account, inbound, notice)
    except (GuilderError, DatabaseError, CommitUnknown) as error:
        telemetry.CALLBACKS.labels(channel, "not_stored").inc()
        log.warning("a callback of %s was not stored, and will come again: %s", channel, error)
        return account.channel.ack(stored=False)
    except Exception:
        telemetry.CALLBACKS.labels(channel, "not_stored").inc()
        log.exception("a callback of %s was not stored, and will come again", channel)
        return account.channel.ack(stored=False)
    telemetry.CALLBACKS.labels(channel, _became(stored)).inc()
    reach("ntf.before_ack", _named(notice))
    return account.channel.ack(stored=True)


def _became(stored: Recorded) -> str:
    if stored is ELSEWHERE:
        return "another_account"
    return "case" if stored.case or not stored.found else "stored"


def _named(notice: Notice) -> UUID | None:
    named = ids.split_key(notice.outcome.key or "")
    return named[0] if named else None


async def _verify(rt: Env, account: ChannelAccount, inbound: Inbound) -> Notice:
    try:
        return account.channel.notice(inbound)
    except NeedsTrust:
        about = About(account.book_id, account.id, account.info.code, "trust")
        # Nothing happens in between: it is this notice's key that is asked for.  Whatever comes of it, another's asking may have brought it.
        await rt.wire.carry_out(account.channel.refresh_trust(), about)
        try:
            return account.channel.notice(inbound)
        except NeedsTrust:
            raise BadSignature("signed with a key that the channel does not hand out, or does not know") from None


async def _store(rt: Env, account: ChannelAccount, inbound: Inbound, notice: Notice) -> Recorded:
    """Into the room; what is of no attempt or refund of ours becomes a case in the account's own book."""
    named = ids.split_key(notice.outcome.key or "")
    about = named[0] if named else None
    journal = About(account.book_id, account.id, account.info.code, "callback", about)
    recorded = Recorded(False)
    if (door := _doors.get(notice.subject)) is not None:
        recorded = await door(rt, account, notice)
    elif await _anothers(rt, account, notice):
        recorded = ELSEWHERE
    elif named is not None and named[1] == ids.book_code(account.book_id):
        by, contract, face = context.current(), asking.contract_of(account), Face(rt)
        if notice.subject is Subject.PAYMENT:
            heard = Heard(account.book_id, named[0], notice.outcome, contract, "callback", by, face)
            recorded = await rt.lane(RECORD).submit(heard, account.book_id)
        else:
            told = HeardRefund(account.book_id, named[0], notice.outcome, contract, "callback", by, face)
            recorded = await rt.lane(RECORD_REFUND).submit(told, account.book_id)
    elif notice.subject is Subject.REFUND and await _hurry(rt, account, notice):
        recorded = Recorded(True)
    reach("ntf.after_commit", about)
    if not recorded.found:
        what = f"{account.info.code} says {notice.outcome.state.value} of {notice.outcome.key}, which is none of ours"
        await _note(rt, account, inbound, "unknown_callback", what, subject=notice.outcome.key or notice.event_id)
        return recorded
    if recorded is ELSEWHERE:
        journal = About(account.book_id, account.id, account.info.code, "callback")  # it may be of another merchant's
    rt.wire.hear(journal, inbound.headers, inbound.body, _became(recorded))
    return recorded


async def _anothers(rt: Env, account: ChannelAccount, notice: Notice) -> bool:
    """Whether it speaks of a payment or refund that another channel account of the same application was asked for."""
    named = ids.split_key(notice.outcome.key or notice.payment_key or "")
    twins = [] if named is None else await channel_accounts.twins(rt, account, named[1])
    if named is None or not twins:
        return False
    return bool(await rt.db.value(Q.find_of_accounts, [t.id for t in twins], [t.book_id for t in twins], named[0]))


async def _hurry(rt: Env, account: ChannelAccount, notice: Notice) -> bool:
    """A refund notice that names only the payment: ask about its open refunds now.  False if there are none."""
    paid = ids.split_key(notice.payment_key or "")
    if notice.outcome.key is not None or paid is None or paid[1] != ids.book_code(account.book_id):
        return False
    hurried = await rt.db.transact(lambda tx: tx.rows(Q.hurry_refunds, account.book_id, paid[0]))
    return bool(hurried)


async def _note(
    rt: Env, account: ChannelAccount, inbound: Inbound, kind: str, summary: str, subject: str | None = None
) -> None:
    """Keep an authentic callback that nothing can be done with, where a person finds it."""
    rt.wire.hear(About(account.id, account.id, account.info.code, "callback"), inbound.headers, inbound.body, kind)
    evidence: dict[str, Any] = {
        "channel_account": ids.show("ca", account.id),
        "body": journal_safe.without_persons(inbound.body)[:2000].decode("utf-8", "replace"),
    }
    await case.open_one(rt.db, Case(account.id, kind, subject or summary[:200], summary, evidence, fact=summary))


def _response(reply: HttpReply) -> Response:
    return Response(reply.body, reply.status, dict(reply.headers))
