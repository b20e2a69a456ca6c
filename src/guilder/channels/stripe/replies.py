"""Replies: read, or doubted."""

from typing import Any, TypeVar

import msgspec

from guilder.channels.conclude import Doubtful
from guilder.channels.model import Outcome, State
from guilder.channels.reading import read_as, read_json
from guilder.channels.stripe.states import REFUSES, Dispute, Failure, Payout, Refund, Refusal
from guilder.core.exchange import HttpReply

T = TypeVar("T")


class List(msgspec.Struct, frozen=True):
    """One page of a list."""

    data: list[Any]
    has_more: bool = False


def read_reply(type: type[T], reply: HttpReply) -> T:
    """The reply's object; Doubtful if it is none."""
    try:
        return read_as(type, read_json(reply.body))
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error


def outcome_of(type: type[Refund] | type[Payout] | type[Dispute], reply: HttpReply) -> Outcome:
    """What the reply's object amounts to; Doubtful if it is none."""
    try:
        return read_as(type, read_json(reply.body)).outcome()
    except ValueError as error:
        raise Doubtful("unreadable", str(error)) from error


def absent(reply: HttpReply) -> Outcome:
    """The outcome of a query that found nothing.  That the query itself was refused says nothing."""
    refusal = Refusal.read(reply)
    if reply.status == 404 and refusal.code == "resource_missing":
        return Outcome(State.NOT_FOUND)
    raise Doubtful(refusal.code or refusal.type, refusal.message or "")


def raise_unless_refused(refusal: Failure) -> None:
    """C1: only an error of a type that says so means that nothing was done."""
    if refusal.type not in REFUSES:
        raise Doubtful(refusal.code or refusal.type, refusal.message or "")
