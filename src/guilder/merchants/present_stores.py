"""Stores, tills and operators as the API shows them."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from guilder.core import clock, ids
from guilder.merchants import counter_links
from guilder.merchants.model_stores import Operator, Store, Terminal
from guilder.platform.environment import Env

Counter = Annotated[
    str,
    Meta(
        description="What the code on the counter says: whoever opens it in WeChat, Alipay, UnionPay or a browser pays there. "
        "`/plate` behind it is a page to print, `/plate.svg` its picture."
    ),
]


class StoreObject(Struct, kw_only=True):
    """A shop: payments are made in it, at its own code or at its tills."""

    id: str
    object: Literal["store"] = "store"
    address: dict[str, Any] | None
    code: str
    counter_url: Counter
    created: int
    currency: str
    enabled: bool
    livemode: bool
    metadata: dict[str, str]
    name: str


class TerminalObject(Struct, kw_only=True):
    """A till of a store."""

    id: str
    object: Literal["terminal"] = "terminal"
    code: str
    counter_url: Counter
    created: int
    enabled: bool
    livemode: bool
    metadata: dict[str, str]
    name: str
    presenting: Annotated[
        str | None, Meta(description="The PaymentIntent that whoever scans its code is shown; null: he says how much.")
    ]
    store: str


class OperatorObject(Struct, kw_only=True):
    """Whoever stands at a till."""

    id: str
    object: Literal["operator"] = "operator"
    code: str
    created: int
    enabled: bool
    livemode: bool
    name: str
    store: Annotated[str | None, Meta(description="Where he works; null: wherever he is needed.")]


def store(env: Env, s: Store) -> StoreObject:
    """A store as the API shows it."""
    return StoreObject(
        id=ids.show("sto", s.id), address=s.address, code=s.code, counter_url=counter_links.url(env, s.book_id, s.id),
        created=clock.unix(s.created_at), currency=s.currency.lower(), enabled=s.enabled, livemode=env.livemode, metadata=s.metadata,
        name=s.name,
    )  # fmt: skip


def terminal(env: Env, t: Terminal) -> TerminalObject:
    """A till as the API shows it."""
    shown = t.presented_id if t.presented_until is not None and t.presented_until > clock.now() else None
    return TerminalObject(
        id=ids.show("ter", t.id), code=t.code, counter_url=counter_links.url(env, t.book_id, t.id), created=clock.unix(t.created_at),
        enabled=t.enabled, livemode=env.livemode, metadata=t.metadata, name=t.name,
        presenting=None if shown is None else ids.show("pi", shown), store=ids.show("sto", t.store_id),
    )  # fmt: skip


def operator(env: Env, o: Operator) -> OperatorObject:
    """An operator as the API shows it."""
    return OperatorObject(
        id=ids.show("ope", o.id), code=o.code, created=clock.unix(o.created_at), enabled=o.enabled, livemode=env.livemode, name=o.name,
        store=None if o.store_id is None else ids.show("sto", o.store_id),
    )  # fmt: skip
