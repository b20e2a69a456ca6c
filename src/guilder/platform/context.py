"""Who asks for what, and which chain of work it belongs to.

A context is minted where work enters (a request, a callback, a job), stored with what it causes, and restored by whatever
carries the work on; every log line, row, channel call and webhook shows it, so that one search finds the whole story.  The root id is
the W3C trace id: a caller that sends a `traceparent` finds its own trace in our rows, and a webhook's `traceparent` is ours.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

import msgspec

from guilder.core import ids


class Context(msgspec.Struct, frozen=True):
    root_id: UUID  # the chain of work: minted once, carried by everything that follows from it
    request_id: str = ""  # 'req_…' of the request that is being served
    idempotency_key: str = ""
    traceparent: str = ""  # W3C, as the caller sent it
    business_line: str = ""
    book_id: UUID | None = None
    actor: str = ""  # 'key_…', 'usr_…', 'payer', 'channel:wechatpay', 'job:ask'
    place: str = ""  # the network address that it came from
    env: str = ""


_current: ContextVar[Context | None] = ContextVar("guilder_context", default=None)


def current() -> Context:
    """The context of the work at hand; a fresh one where none was set."""
    context = _current.get()
    if context is None:
        context = Context(root_id=ids.new_id())
        _current.set(context)
    return context


def peek() -> Context | None:
    """The context if there is one (logging must not mint any)."""
    return _current.get()


@contextmanager
def use(context: Context) -> Iterator[Context]:
    """Work inside `context`."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def enter(context: Context) -> None:
    """Make `context` the current one for the rest of this task: a request's task serves one request."""
    _current.set(context)


def mint(**fields: object) -> Context:
    """A context with a new root."""
    return Context(root_id=ids.new_id(), **fields)  # pyrefly: ignore[bad-argument-type]


def carry_on(root_id: UUID, **fields: object) -> Context:
    """The context of work that belongs to an earlier chain."""
    return Context(root_id=root_id, **fields)  # pyrefly: ignore[bad-argument-type]
