"""A POST of one phase, once per idempotency key: alone in a transaction of its own, or with others of its kind.

    return await once(call, create)                      # async def create(tx: Tx) -> Customer

    CREATE = one_phase("create_endpoint", create_many, render)
    return await answer_once(call, CREATE, item)

What is refused for good (Rejected) is stored and replayed, too, and leaves nothing else.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from guilder.core import ids
from guilder.core.errors import Busy, GuilderError, Invalid, Rejected
from guilder.platform import context, idempotency
from guilder.platform.context import Context
from guilder.platform.db import Conflict, Contended, Database, Lost, Tx
from guilder.platform.environment import LaneSpec
from guilder.platform.idempotency import Asked, Key, Reply
from guilder.platform.sql import load
from guilder.platform.web import Answer, Call, encode, render_error

Q = load(__package__)
I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome


def context_of(call: Call) -> Context:
    """A new chain of work for a request, made current for its task."""
    who = call.principal
    about = context.carry_on(
        UUID(hex=call.traceparent[3:35]) if call.traceparent else ids.new_id(),  # the caller's trace is the chain of work
        request_id=call.request_id, idempotency_key=call.idempotency_key or "", traceparent=call.traceparent or "",
        business_line=who.business_line, book_id=who.book_id, actor=who.actor, place=call.remote_ip, env=who.env.name,
    )  # fmt: skip
    context.enter(about)
    return about


def keyless(call: Call) -> None:
    """For calls that take or answer a secret.  Raises Invalid if there is a key: an answer under it would have to be stored, and so would
    what tells two requests apart."""
    if call.idempotency_key is not None:
        raise Invalid(
            "The header Idempotency-Key is refused here: a secret is in the request or in the answer, and is not stored.",
            code="parameter_unsupported", param="Idempotency-Key",
        )  # fmt: skip


def key_of(call: Call) -> Key:
    """The idempotency key of a request, and what it is for."""
    book, db = call.principal.book_id, call.principal.env.db
    if call.idempotency_key is not None:
        call.on_expanded = lambda body: _store_expanded(db, book, call.idempotency_key, body)
    same = call.fingerprint if call.idempotency_key else b""
    if same and call.principal.names_account:  # many people share a book: one's answer is nothing to another
        same = hashlib.sha256(same + call.principal.actor.encode()).digest()
    return Key(book, call.idempotency_key, same, call.request_id)


def answer(reply: Reply) -> Answer:
    """A stored or fresh reply as it goes out."""
    headers = {"Idempotent-Replayed": "true"} if reply.replayed else {}
    if reply.status >= 400:  # only what can never succeed is an answer
        headers["Stripe-Should-Retry"] = "false"
    return Answer(reply.status, reply.body, headers)


def one_phase(
    name: str, do: Callable[[Tx, list[I]], Awaitable[Sequence[O | GuilderError]]], render: Callable[[I, O], Any]
) -> LaneSpec[Asked[I], Reply]:
    """The lane of a use case whose whole effect is one transaction, many callers in one batch.

    `do` works on items and answers values or refusals; `render` makes the value what the caller reads.
    """

    async def reply_many(tx: Tx, items: list[I]) -> list[Reply | GuilderError]:
        results = await do(tx, items)
        return [
            r if isinstance(r, GuilderError) else Reply(200, encode(render(item, r)))
            for item, r in zip(items, results, strict=True)
        ]

    async def work(tx: Tx, asked: list[Asked[I]]) -> list[Reply | GuilderError]:
        return await idempotency.once_many(tx, asked, reply_many, refusal)

    return LaneSpec(name, work)


def refusal(error: GuilderError) -> Reply:
    """A refusal as it is stored and replayed."""
    rendered = render_error(error)
    return Reply(rendered.status, rendered.body)


async def answer_once(call: Call, lane: LaneSpec[Asked[I], Reply], item: I) -> Answer:
    """Submit `item` under the call's key.  Raises Busy, Unknown, KeyReused, InFlight."""
    book = call.principal.book_id
    return answer(await call.principal.env.lane(lane).submit(Asked(key_of(call), item), book))


async def once(
    call: Call, work: Callable[[Tx], Awaitable[msgspec.Struct | Rejected]], *, hopeful: bool = False
) -> Answer:
    """Run `work` once per key; replay its answer byte for byte.  Raises Busy, and what `work` raises beside Rejected.

    A refusal that `work` raises leaves nothing else; with one that it returns stays what it did.  `hopeful`: the first run takes the key
    for new, and locks nothing that need not be (see db.Tx).
    """
    return await _once(call.principal.env.db, key_of(call), work, hopeful=hopeful)


async def once_in_control(call: Call, work: Callable[[Tx], Awaitable[msgspec.Struct]]) -> Answer:
    """The same in the control database.  A key there is that of the person or service account who calls, whatever the environment; with
    another account it names another request."""
    who = call.principal
    same = hashlib.sha256(call.fingerprint + who.book_id.bytes).digest() if call.idempotency_key is not None else b""
    return await _once(who.env.control, Key(who.person_id, call.idempotency_key, same, call.request_id), work)


async def _once(
    db: Database, key: Key, work: Callable[[Tx], Awaitable[msgspec.Struct | Rejected]], *, hopeful: bool = False
) -> Answer:
    async def attempt(tx: Tx) -> Reply:
        [found] = await idempotency.look_many(tx, [key])
        if isinstance(found, Reply):
            return found
        if isinstance(found, GuilderError):
            raise _Known(found)
        said = await work(tx)
        reply = refusal(said) if isinstance(said, Rejected) else Reply(200, encode(said))
        idempotency.store_answers(tx, [(key, reply)])
        return reply

    for n in range(3):
        try:
            return answer(await db.transact(attempt, hopeful=hopeful and n == 0))
        except _Known as known:
            raise known.error from None
        except Rejected as refused:
            return answer(await _store_refusal(db, key, refused))
        except (Conflict, Contended, Lost):
            continue
    raise Busy


class _Known(Exception):
    """What the key itself answers: not to be stored under it."""

    def __init__(self, error: GuilderError) -> None:
        self.error = error


async def _store_refusal(db: Database, key: Key, refused: Rejected) -> Reply:
    reply = refusal(refused)
    if key.key is None:
        return reply

    async def store(tx: Tx) -> Reply:
        [found] = await idempotency.look_many(tx, [key])
        if isinstance(found, Reply):
            return found
        if isinstance(found, GuilderError):
            raise found
        idempotency.store_answers(tx, [(key, reply)])
        return reply

    try:
        return await db.transact(store)
    except Conflict:
        return reply


async def _store_expanded(db: Database, book: Any, key: str | None, body: bytes) -> None:
    await db.transact(lambda tx: tx.run(Q.expand_answer_body, book, key, body))
