"""A wire that reads from a script: what was asked for, and what came of it."""

from datetime import UTC, datetime
from typing import TypeVar

from guilder.channels.model import ClosePayment, CreatePayment, CreateRefund, QueryPayment, QueryRefund
from guilder.core.amount import cny
from guilder.core.exchange import Exchange, HttpCall, HttpReply

T = TypeVar("T")

NOW = datetime(2026, 11, 21, 4, 0, 0, tzinfo=UTC)
EXPIRES = datetime(2026, 11, 21, 4, 30, 0, tzinfo=UTC)
KEY, REFUND_KEY = "06b2xk6n5vq3x8r6e4m0c9t7wd00000a", "06b2xk6n5vq3x8r6e4m0c9t7wf00000a"


def converse(exchange: Exchange[T], *answers: HttpReply | Exception) -> tuple[T, list[HttpCall]]:
    """Carry out `exchange` with these answers, all of which it must take."""
    calls: list[HttpCall] = []
    script = iter(answers)
    try:
        calls.append(next(exchange))
        for answer in script:
            calls.append(exchange.throw(answer) if isinstance(answer, Exception) else exchange.send(answer))
    except StopIteration as stop:
        left = list(script)
        assert not left, f"nobody asked for {left}"
        return stop.value, calls
    raise AssertionError(f"the script ends, and it asks for {calls[-1]}")


def create(way: str, **changes: object) -> CreatePayment:
    fields = {
        "amount": cny(1250),
        "description": "两杯咖啡",
        "expires_at": EXPIRES,
        "notify_url": "https://pay.example/n",
    }
    return CreatePayment(key=KEY, way=way, **{**fields, **changes})  # type: ignore[arg-type]


def query(way: str) -> QueryPayment:
    return QueryPayment(KEY, way, NOW)


def close(way: str, *, cancel: bool = False) -> ClosePayment:
    return ClosePayment(KEY, way, NOW, cancel)


def refund(fen: int = 500) -> CreateRefund:
    return CreateRefund(REFUND_KEY, KEY, None, cny(fen), cny(1250), "冷了", "https://pay.example/n")


def query_refund(fen: int = 500) -> QueryRefund:
    return QueryRefund(REFUND_KEY, KEY, cny(fen))
