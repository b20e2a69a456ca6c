"""A one-phase POST under its idempotency key: the effect and its answer in one commit, many callers in one batch.

    CREATE = one_phase("create_endpoint", create_many, render)
    return await answer_once(call, CREATE, item)

`do` works on items and answers values or refusals; `render` makes the value what the caller reads.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from guilder.core.errors import GuilderError
from guilder.platform.db import Tx
from guilder.platform.environment import LaneSpec
from guilder.platform.idempotency import Asked, Key, Reply, once_many
from guilder.platform.web.answer import encode, render_error
from guilder.platform.web.call import Answer, Call

I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome


def one_phase(
    name: str,
    do: Callable[[Tx, list[I]], Awaitable[Sequence[O | GuilderError]]],
    render: Callable[[I, O], Any],
) -> LaneSpec[Asked[I], Reply]:
    """The lane of a use case whose whole effect is one transaction."""

    async def reply_many(tx: Tx, items: list[I]) -> list[Reply | GuilderError]:
        results = await do(tx, items)
        return [
            r if isinstance(r, GuilderError) else Reply(200, encode(render(item, r)))
            for item, r in zip(items, results, strict=True)
        ]

    async def work(tx: Tx, asked: list[Asked[I]]) -> list[Reply | GuilderError]:
        return await once_many(tx, asked, reply_many, refusal)

    return LaneSpec(name, work)


def refusal(error: GuilderError) -> Reply:
    """A refusal as it is stored and replayed."""
    answer = render_error(error)
    return Reply(answer.status, answer.body)


async def answer_once(call: Call, lane: LaneSpec[Asked[I], Reply], item: I) -> Answer:
    """Submit `item` under the call's key.  Raises Busy, Unknown, KeyReused, InFlight."""
    book = call.principal.book_id
    key = Key(book, call.idempotency_key, call.fingerprint, call.request_id)
    reply = await call.principal.env.lane(lane).submit(Asked(key, item), book)
    headers = {"Idempotent-Replayed": "true"} if reply.replayed else {}
    if reply.status >= 400:  # only what can never succeed is an answer
        headers["Stripe-Should-Retry"] = "false"
    return Answer(reply.status, reply.body, headers)
